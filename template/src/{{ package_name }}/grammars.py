"""Fragments of regular expressions that the rules of all packs share."""

import tomllib
from collections.abc import Iterable
from pathlib import Path

import regex

NAMES = tomllib.loads(Path(__file__).with_name("names.toml").read_text(encoding="utf-8"))

STOP_WORDS = "|".join(NAMES["stop_words"].split())


def trie(words: Iterable[str]) -> str:
    """Return an expression that matches exactly these words, with shared beginnings merged.

    One branch for each letter instead of one for each word: the time for a position of the text
    grows with the length of a word, not with the number of words.
    """
    branches: dict[str, list[str]] = {}
    for word in sorted(set(words)):
        branches.setdefault(word[:1], []).append(word[1:])
    ends = "" in branches
    branches.pop("", None)
    single = "".join(regex.escape(first) for first, rest in branches.items() if rest == [""])
    parts = [f"[{single}]" if len(single) > 1 else single] * bool(single)
    parts += [regex.escape(first) + trie(rest) for first, rest in branches.items() if rest != [""]]
    if not parts:
        return ""
    whole = parts[0] if len(parts) == 1 and not ends else f"(?:{'|'.join(parts)})"
    return f"{whole}?" if ends else whole


_MONTHS = (
    "Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?"
    "|Sept?(?:ember)?|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?"
)
# In capitals `MAY 3 TIMES` is no date.
_MAY = r"|MAY(?=\.?[ ](?:\d{1,2},?[ ])?(?:19|20)\d{2})|"
_CAPITALS = _MONTHS.upper().replace("|MAY|", _MAY)
MONTHS = f"(?:{_MONTHS}|{_CAPITALS})"
MONTHS_DE = (
    r"(?:Jan(?:uar|\.)|Jänner|Feb(?:ruar|\.)|März|Mrz\.|Apr(?:il|\.)|Mai|Jun[io]|Jul[iy]"
    r"|Aug(?:ust|\.)|Sept?(?:ember|\.)|Okt(?:ober|\.)|Nov(?:ember|\.)|Dez(?:ember|\.))"
)
MONTHS_FR = (
    r"(?:(?i:janv(?:ier|\.)|févr(?:ier|\.)|fevrier|mars|avr(?:il|\.)|mai|juin|juil(?:let|\.)|août"
    r"|aout|sept(?:embre|\.)|oct(?:obre|\.)|nov(?:embre|\.)|déc(?:embre|\.)|decembre))"
)
MONTHS_ES = (
    r"(?:(?i:enero|febrero|marzo|abril|mayo|junio|julio|agosto|sept?iembre|octubre|noviembre"
    r"|diciembre))"
)
# Words that follow a given name in the name of a firm, a place or a thing, not of a person.
NOT_SURNAMES = (
    "Academy Act Airlines Airport Associates Association Avenue Award Awards Bank Beach Bridge"
    " Building Capital Castle Cathedral Center Centre Church City Clinic College Company Cup Day"
    " Disease Drive Effect Elementary Falls Foundation Fund Group Hall High Highway Hospital Hotel"
    " House Inc Index Institute Island Lake LLC LLP Ltd Memorial Method Museum Mountain Open Park"
    " Parkway Partners Place Plc Prize Province Road Securities Square Stadium Street Sons Syndrome"
    " Technique Test Theater Theatre Tower Trust Union University Valley Village"
)
# Function words and verbs that follow a name in a text without capitals.
NOT_LOWER_SURNAMES = (
    "a about after again all also always am an and are as asked asks at be because been before but"
    " by call called calls came can could did do does for from gave get gets go goes got had has"
    " have he her here him his how i if in is it just know knows last left likes lived lives live"
    " made may me my need needs never next not now of on or our out over paid please said says"
    " sent she should signed so speak spoke stays still than thanks that the their them then there"
    " they this to today told tomorrow too until up us use used wants was we went were what when"
    " where which who whose why will with work works would wrote yes yesterday yet you your"
)
# Words that follow a title or a greeting in lower case, and are no name.
NOT_LOWER_NAMES = (
    "accounts admin advice advised anyone appointment appointments approval approved appt bad best"
    " billing board both bro care clinic client colleague colleagues confirmed consult customer"
    " customers diary dr early editor else everyone fine folks found friend friends full god good"
    " gave great guys had help hiring holding important informed late lord love madam many me mom"
    " more mum new no none note noted noticed notes nothing office okay one only order ordered"
    " parent parents patient patients please prescribed prof progress reader rec recommendation"
    " recommended recommends recs referral referred regarding report reported review reviewed sales"
    " saw scheduled see seen sir some someone something soul started states stated still student"
    " students such"
    " suggested suggests support sure team teacher teachers thinks today two unknown urgent users"
    " valued very visit visits wanted week word words"
)
# What follows a name in a note that is written in capitals.
CAPITAL_STOPS = frozenset(
    (
        NOT_LOWER_SURNAMES + " admitted advised arrived being complains denies discharged examined"
        " informed lived notified observed reported reports resides sir sworn transferred"
    )
    .upper()
    .split()
)
LOWER_WORDS = frozenset(NAMES["lower_words"].split())
LISTS = ("census", "births_us", "births_berlin", "residents_europe")
GIVEN = frozenset(name for key in LISTS for name in NAMES[key].split())
GIVEN_ANY = GIVEN | frozenset(NAMES["needs_surname"].split())
# The hundred or so commonest Chinese surnames (Ministry of Public Security, report on names 2020).
HAN_SURNAMES = (
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何林罗高郑梁谢宋唐许韩邓冯曹"
    "彭曾肖田董潘袁蔡蒋余于杜叶程魏苏吕丁任卢姚沈钟姜崔谭陆范汪廖"
    "石金韦贾夏付方邹熊白孟秦邱侯江尹薛闫雷龙史黎贺陶顾毛郝龚邵万"
    "覃武钱戴严莫孔汤張劉陳楊黃趙吳孫馬鄭"
)
NO_NAME = f"(?:(?i:{trie(STOP_WORDS.split('|'))})|{trie(CAPITAL_STOPS)})"
# Fragments that the packs share. Each is bounded, so that no rule needs more than linear time.
GRAMMARS = {
    "CAP": rf"(?=\p{{Lu}})(?!{NO_NAME}\b)"
    r"\p{Lu}[\p{L}\p{M}]{0,30}+(?:['\u2019\-]\p{L}[\p{L}\p{M}]{1,30}){0,2}+(?![\p{L}\p{M}\d])",
    "CAPS_WORD": rf"(?=\p{{Lu}}{{2}})(?!{NO_NAME}\b)"
    r"\p{Lu}{2,30}+(?:['\u2019\-]\p{Lu}{2,30}){0,2}+(?![\p{L}\p{M}\d])",
    "PARTICLE": r"(?:van|von|de|der|den|del|della|di|da|dos|du|la|le|bin|ibn|al|el|ter|ten|zu|zur)",
    "INITIAL": r"\p{Lu}(?:\.|(?![\p{L}\d'\u2019&.\-]))",
    "GIVEN": rf"(?=\p{{Lu}}){trie(GIVEN)}(?![\p{{L}}\p{{M}}\d'\u2019\-](?!s\b))",
    "GIVEN_ANY": rf"(?=\p{{Lu}}){trie(GIVEN_ANY)}(?:-\p{{Lu}}\p{{Ll}}{{2,20}})?"
    r"(?![\p{L}\p{M}\d\-])",
    "GIVEN_CAPS": rf"(?=\p{{Lu}}{{2}}){trie(name.upper() for name in GIVEN_ANY)}"
    r"(?![\p{L}\p{M}\d])",
    "GIVEN_LOWER": "(?=[a-z])"
    + trie({name.lower() for name in GIVEN if len(name) > 3 and name.isascii()} - LOWER_WORDS)
    + r"(?![\p{L}\p{M}\d])",
    "SURNAME": rf"(?!(?:{trie(NOT_SURNAMES.split())})\b)(?&CAP)",
    "LOWER_SURNAME": rf"(?!{trie(NOT_LOWER_SURNAMES.split())}\b)"
    r"\p{Ll}[\p{Ll}'\u2019\-]{1,25}",
    "STREET_WORD": r"(?:(?!(?&MONTH)\b|\p{Lu}\.|(?:AM|PM|UTC|GMT|EST|PST|CET|USD|EUR|GBP|The|It|He"
    r"|She|We|They|My|And|Phone|Mobile|Tel|Email|Fax|Desk|Chapter|Article|Phase|Stage|Version"
    r"|Windows|Python|Figure|Table|Appendix|Exhibit|Grade|Part|Step|Option|Rule|Form|Act|Round"
    r"|Week|Gate|Boeing|Airbus|Apollo|Vitamin|Covid)\b)"
    r"\p{Lu}(?:\p{L}{0,4}\.|[\p{L}\p{M}'\u2019\-]{0,25})"
    r"|ul\.|u\.|al\.|av\.|de|la|le|les|del|di|dei|degli|delle|du|des|do|da|dos|van|von|der|den"
    r"|zum|zur|am|im|\p{Ll}{2,15}(?:útja|utca|stra(?:ß|ss)e|gade|katu|tie|gatan|vägen|vej|veien))",
    "STREET_TAIL": r"(?:[\s,]{1,4}(?i:apt|apartment|suite|unit|flat|ste)\.?[ ]?#?\d{1,5}[A-Z]?)?"
    r"(?:[\s,]{1,4}(?&STREET_WORD)"
    r"(?:[ ](?&STREET_WORD)){0,2}(?:[ ]\(\p{Lu}\p{Ll}{2,15}\))?){0,3}(?:[\s,]{1,4}\d{4,6}(?!\d))?",
    "HAN_SURNAME": f"[{HAN_SURNAMES}]|欧阳|歐陽|司马|上官|诸葛",
    "MONTH": MONTHS,
    "MONTH_DE": MONTHS_DE,
    "MONTH_FR": MONTHS_FR,
    "MONTH_ES": MONTHS_ES,
    "WEEKDAY": r"(?:(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day"
    r"|(?:Mon|Tues?|Wed|Thurs?|Fri|Sat|Sun)\b\.?)",
    "DAY": r"(?:0?[1-9]|[12]\d|3[01])(?!\d)",
    "DATE_DIGITS": r"(?:(?:19|20)\d{2}[\-/.]\d{1,2}[\-/.]\d{1,2}"
    r"|\d{1,2}[\-/.]\d{1,2}[\-/.](?:19|20)?\d{2})(?!\d)",
    "SEP": r"[\"'”]{0,2}[ \t]{0,3}(?:[:=#|>]|\b(?:is|was|are|of|like|being)\b)?"
    r"[ \t]{0,3}(?:\r?\n[ \t]{0,8})?[#\"'“*]{0,2}",
    # Between a label and its value in marked-up text.
    "GAP": r"(?:</?[A-Za-z][^<>\n]{0,40}>|[ \t]|&nbsp;|&#160;|\*\*|_{2,40}){0,6}",
    "NO_LOWER_NAME": trie([*NOT_LOWER_SURNAMES.split(), *NOT_LOWER_NAMES.split()]),
    "NUMBER_WORD": r"(?:number|numer|num|nbr|no\b\.?|nr\b\.?|id\b|ids\b|identifier|identification"
    r"|code|ref\b|#)",
    "ID": r"(?=[\p{L}_./*\-]{0,14}\d)[\p{L}\d*][\p{L}\d_/*.\-]{1,30}[\p{L}\d](?![\p{L}\d])",
    "DIGITS": r"\d(?:[ .\-]{0,2}\d){5,20}(?!\d)",
    "STREET_TYPE": r"(?:Street|St|Avenue|Ave|Av|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct"
    r"|Place|Pl|Square|Sq|Terrace|Ter|Parkway|Pkwy|Highway|Hwy|Way|Circle|Cir|Trail|Trl|Alley"
    r"|Crescent|Close|Grove|Row|Walk|Quay|Mews|Loop|Plaza|Pike|Turnpike|Run|Ridge|View|Heights)",
    "STATE": r"(?:A[KLRZ]|C[AOT]|D[CE]|FL|GA|HI|I[ALN]|ID(?=[ ,]{1,2}\d{5}\b)|K[SY]|LA|M[ADEINOST]"
    r"|N[CDEHJMVY]|O[HKR]|PA|PR|RI|S[CD]|T[NX]|UT|V[AT]|W[AIVY])",
}
NAME_WORD = r"(?=\p{Lu})(?:(?:[ \t]{1,2}(?:(?&PARTICLE)[ \t]){0,2})?(?:(?&CAP)|(?&INITIAL)))"
GRAMMARS["PERSON"] = NAME_WORD + "{1,4}"
# A look ahead at two words costs less than to try whether the first is a name.
GRAMMARS["FULL_NAME"] = (
    r"(?=\p{Lu}[\p{L}\p{M}.'\u2019\-]{0,95}[ \t]{1,2}[\p{Lu}abdeiltvz])" + NAME_WORD + "{2,4}"
)
REFERENCE = regex.compile(r"\(\?&([A-Z_]+)\)")


def expand(text: str) -> str:
    """Replace each `(?&NAME)` by its fragment.

    Raises:
        KeyError: a fragment that is not in GRAMMARS.
    """
    while REFERENCE.search(text):
        text = REFERENCE.sub(lambda found: f"(?:{GRAMMARS[found[1]]})", text)
    return text
