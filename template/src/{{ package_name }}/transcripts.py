"""Transcripts: texts in which a prefix such as `Patient:` says who speaks."""

import re
from collections.abc import Iterator
from functools import lru_cache

from .conversations import Turn
from .fields import Fields, RowError
from .json_rows import json_type

# Words for the one who asks, and for the one who answers and whose part is learned. One row
# for each setting: which row a transcript is read by shows in its prefixes.
PREFIXES = (
    (
        "user, human, nutzer, nutzerin, benutzer, utilisateur, usuario, usuário, utente, "
        "gebruiker, 用户, 人类, ユーザー, 사용자, пользователь, المستخدم",
        "assistant, ai, bot, chatbot, assistent, assistente, asistente, 助手, 助理, 机器人, "
        "アシスタント, 어시스턴트, ассистент, المساعد",
    ),
    (
        "patient, patientin, paciente, paziente, patiënt, guest_family, caregiver, 患者, 病人, "
        "환자, пациент, المريض",
        "doctor, dr, physician, clinician, nurse, guest_clinician, arzt, ärztin, médecin, "
        "docteur, médico, médica, doctora, dottore, medico, 医生, 医师, 医師, 의사, врач, الطبيب",
    ),
    (
        "client, cliente, mandant, mandantin, 客户, 当事人, 委托人, 依頼者, 의뢰인, клиент, الموكل",
        "lawyer, attorney, counsel, solicitor, paralegal, anwalt, anwältin, rechtsanwalt, "
        "rechtsanwältin, avocat, avocate, abogado, abogada, advogado, advogada, avvocato, "
        "advocaat, 律师, 弁護士, 변호사, адвокат, юрист, المحامي",
    ),
    (
        "customer, client, caller, employee, kunde, kundin, cliente, klant, 顾客, 客户, 客人, "
        "お客様, 고객, клиент, العميل",
        "agent, advisor, adviser, representative, support, operator, banker, berater, beraterin, "
        "conseiller, conseillère, agente, asesor, asesora, consulente, adviseur, 客服, 顾问, "
        "オペレーター, 상담원, оператор, консультант, الموظف",
    ),
)


def has_roles(text: str) -> bool:
    """Say whether a text holds prefixes of both sides of a conversation."""
    return len({role for role, *_ in _marks(text)}) == 2


def transcript_turns(fields: Fields, name: str) -> list[Turn]:
    """Return the turns of a field: a text with prefixes, or a list of texts or of pairs.

    In a list each text is one turn; only its beginning is searched for a prefix.

    Raises:
        RowError: no prefix, text before the first one, or nothing after one.
    """
    column, value = fields.column(name), fields.get(name)
    if not isinstance(value, list):
        return _split(fields, fields.required(name), column)
    if value and all(isinstance(one, list) for one in value):
        return paired_turns(fields, name)
    texts = [fields.filled(one, f"{column}[{i}]") for i, one in enumerate(value)]
    row = _row_of(*texts)
    turns = []
    for index, text in enumerate(texts):
        place = f"{column}[{index}]"
        first = next(_found(text, row), None)
        if first is None or text[: first[1]].strip():
            raise RowError(place, "no role prefix")
        turns.append(Turn(first[0], fields.filled(text[first[2] :], place).strip(), place))
    return turns


def paired_turns(fields: Fields, name: str) -> list[Turn]:
    """Return the turns of a list of [question, answer] pairs."""
    column, value = fields.column(name), fields.get(name)
    if not isinstance(value, list):
        raise RowError(column, f"type: {json_type(value)}")
    turns = []
    for index, pair in enumerate(value):
        place = f"{column}[{index}]"
        if not isinstance(pair, list) or len(pair) != 2:
            raise RowError(place, "not a pair of turns")
        turns += [
            Turn(role, fields.filled(text, place), place)
            for role, text in zip(("user", "assistant"), pair, strict=True)
        ]
    return turns


def _split(fields: Fields, text: str, column: str) -> list[Turn]:
    marks = _marks(text)
    if not marks:
        raise RowError(column, "no role prefix")
    if text[: marks[0][1]].strip():
        raise RowError(column, "text before the first role prefix")
    ends = [start for _, start, _ in marks[1:]] + [len(text)]
    turns = []
    for index, ((role, _, begin), end) in enumerate(zip(marks, ends, strict=True)):
        place = f"{column}[{index}]"
        turns.append(Turn(role, fields.filled(text[begin:end], place).strip(), place))
    return turns


def _marks(text: str) -> list[tuple[str, int, int]]:
    """Return (role, start, end) of each prefix of a text."""
    return list(_found(text, _row_of(text)))


def _row_of(*texts: str) -> int:
    """Return the row of PREFIXES that reads most prefixes; a row with both sides wins."""

    def score(row: int) -> tuple[int, int]:
        roles = [role for text in texts for role, *_ in _found(text, row)]
        return len(set(roles)), len(roles)

    return max(range(len(PREFIXES)), key=score)


def _found(text: str, row: int) -> Iterator[tuple[str, int, int]]:
    pattern, users = _pattern(row)
    for match in pattern.finditer(text):
        word = match["line"] or match["bracket"] or match["angle"]
        yield "user" if word.lower() in users else "assistant", match.start(), match.end()


@lru_cache
def _pattern(row: int) -> tuple[re.Pattern[str], frozenset[str]]:
    """Return the expression for the prefixes of a row, and its words for the one who asks.

    `Word:` and `[Word]` count at the start of a line, `<word>:` anywhere: nobody writes it in
    running text.
    """
    asking, answering = (words.split(", ") for words in PREFIXES[row])
    words = "|".join(re.escape(word) for word in (*asking, *answering))
    line = rf"^[ \t]*(?:(?P<line>{words})[ \t]*[:\uff1a]|\[(?P<bracket>{words})\][ \t]*[:\uff1a]?)"
    angle = rf"<(?P<angle>{words})>[ \t]*[:\uff1a]"
    flags = re.IGNORECASE | re.MULTILINE
    return re.compile(f"(?:{line}|{angle})[ \\t]*", flags), frozenset(asking)
