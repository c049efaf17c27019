"""The converters behind the rows of FORMATS: fields of a raw row -> Record.

Each raises RowError for a row that does not fit; none guesses what a row may have meant.
"""

import re
from collections.abc import Sequence
from typing import Any

from .conversations import Turn, check_order, messages_of, read_turns, with_system
from .fields import Fields, RowError
from .images import image_names, placed
from .json_rows import json_type
from .records import Record
from .transcripts import has_roles, paired_turns, transcript_turns

LONGEST_LABEL = 100  # characters; a class name, never a sentence: labels are not scrubbed
RATINGS = {"true": True, "1": True, 1: True, "false": False, "0": False, 0: False}
BOXED = "\\boxed{"
C1 = re.compile(r"[\x80-\x9f]")  # control characters that `fields` leaves to cleaning


def text(fields: Fields) -> Record:
    """Convert a document."""
    return Record("text", text=fields.required("text"))


def alpaca(fields: Fields) -> Record:
    """Convert an instruction with its input; `history` holds earlier pairs of turns."""
    asked, context = fields.required("instruction"), fields.optional("input")
    question = Turn("user", f"{asked}\n\n{context}" if context else asked, "")
    earlier = paired_turns(fields, "history") if fields.get("history") else []
    return _conversation(fields, [*earlier, question, *_turns(fields, "output", "assistant")])


def prompt_completion(fields: Fields) -> Record:
    """Convert a prompt and its completion, each a text or a list of turns."""
    turns = [*_turns(fields, "prompt", "user"), *_turns(fields, "completion", "assistant")]
    return _conversation(fields, turns, fields.column("prompt"))


def messages(fields: Fields) -> Record:
    """Convert a list of OpenAI's or Anthropic's messages."""
    return _conversation(fields, read_turns(fields, "messages"), fields.column("messages"))


def sharegpt(fields: Fields) -> Record:
    """Convert a ShareGPT conversation."""
    turns = read_turns(fields, "conversations")
    return _conversation(fields, turns, fields.column("conversations"))


def transcript(fields: Fields) -> Record:
    """Convert a text or a list of texts whose role prefixes say who speaks.

    `question` and `answer` are turns that stand in columns of their own, after the others.
    """
    if not fields.has("dialogue"):
        raise RowError(fields.column("dialogue"), "missing")
    more = [
        Turn(role, fields.required(name), fields.column(name))
        for name, role in (("question", "user"), ("answer", "assistant"))
        if fields.get(name) is not None
    ]
    # Without earlier turns the first question's dialogue is empty.
    earlier = transcript_turns(fields, "dialogue") if fields.get("dialogue") or not more else []
    return _conversation(fields, [*earlier, *more], fields.column("dialogue"))


def preference(fields: Fields) -> Record:
    """Convert a preferred and another answer to one prompt.

    The answers are texts, turns or lists of turns. Where both hold the whole conversation
    (lists that begin with the question, or transcripts as in HH-RLHF without a prompt), the
    turns that both begin with are the prompt.
    """
    source = _source(fields, "conversations", "messages", "prompt")
    chosen, rejected = (_answers(fields, name, source) for name in ("chosen", "rejected"))
    if chosen and chosen[0].role != "assistant":
        asked, chosen, rejected = _common(fields, chosen, rejected)
    else:
        asked = _turns(fields, source, "user")
    asked = with_system(fields, asked)
    check_order(asked, fields.column(source), last="user")
    for name, turns in (("chosen", chosen), ("rejected", rejected)):
        # What follows a question has the order of a conversation that begins with one.
        check_order([Turn("user", "", ""), *turns], fields.column(name))
    if _said(chosen) == _said(rejected):
        raise RowError(fields.column("rejected"), "same as chosen")
    return Record(
        "preference", messages_of(asked), chosen=messages_of(chosen), rejected=messages_of(rejected)
    )


def kto(fields: Fields) -> Record:
    """Convert a conversation whose last answer is rated good (true) or bad (false)."""
    good = _rating(fields)
    source = _source(fields, "messages", "conversations", "completion")
    column, turns = fields.column(source), _turns(fields, source, "assistant")
    if source == "completion":
        turns = [*_turns(fields, "prompt", "user"), *turns]
    turns = with_system(fields, turns)
    check_order(turns, column)
    asked, answer = messages_of(turns[:-1]), messages_of(turns[-1:])
    return Record("unpaired", asked, chosen=answer if good else (), rejected=() if good else answer)


def labelled(fields: Fields) -> Record:
    """Convert a text with one label or a list of labels, or tokens with one label each."""
    names = ("label", "labels", "tags", "ner_tags")
    name = next((name for name in names if fields.has(name)), "label")
    column, value = fields.column(name), fields.get(name)
    if value is None:
        raise RowError(column, "type: null" if fields.has(name) else "missing")
    tokens = fields.get("tokens")
    if tokens is None:
        given = value if isinstance(value, list) else [value]
        labels = tuple(dict.fromkeys(_label(fields, one, column) for one in given))
        if len(labels) < len(given):
            fields.converted["repeated label"] += 1
        return Record("labelled", text=fields.required("text"), labels=labels)
    for where, values in ((fields.column("tokens"), tokens), (column, value)):
        if not isinstance(values, list):
            raise RowError(where, f"type: {json_type(values)}")
    if len(tokens) != len(value):
        raise RowError(column, "number of labels")
    words = [fields.clean(token, fields.column("tokens")) for token in tokens]
    if not "".join(words).strip():
        raise RowError(fields.column("tokens"), "empty")
    labels = tuple(_label(fields, one, column) for one in value)
    return Record("labelled", tokens=tuple(words), labels=labels)


def image_text(fields: Fields) -> Record:
    """Convert an image and the text that fits it."""
    names = image_names(fields)
    if len(names) != 1:
        raise RowError(fields.column("image"), "image: not exactly one" if names else "missing")
    said = fields.required("caption" if fields.get("text") is None else "text")
    return Record("image_text", text=said, images=names)


def question_answer(fields: Fields) -> Record:
    """Convert a question and its verifiable answer: the final answer becomes the reference."""
    question, answer = fields.required("question"), fields.required("answer")
    final = final_answer(answer)
    if final is None or not final.strip():
        raise RowError(fields.column("answer"), "no final answer")
    if final != answer.strip():
        fields.converted["final answer of a solution"] += 1
    turns = with_system(fields, [Turn("user", question, fields.column("question"))])
    return Record("prompt", messages_of(turns), reference=final.strip())


def final_answer(answer: str) -> str | None:
    """Return what counts in an answer: what follows `####` in the last line (as in GSM8K),
    else the content of the last `\\boxed{}` (as in MATH), else all of it.

    None: a `\\boxed{` is not closed.
    """
    _, mark, rest = answer.strip().rpartition("\n")[2].partition("####")
    if mark:
        return rest
    start = answer.rfind(BOXED)
    if start < 0:
        return answer.strip()
    depth, begin = 1, start + len(BOXED)
    for match in re.compile(r"[{}]").finditer(answer, begin):
        depth += 1 if match[0] == "{" else -1
        if not depth:
            return answer[begin : match.start()]
    return None


def _conversation(fields: Fields, turns: Sequence[Turn], column: str = "") -> Record:
    turns = with_system(fields, turns)
    check_order(turns, column)
    names, where = image_names(fields), fields.column("images")
    if fields.images and names:
        raise RowError(where, "image: in a column and in a turn")
    names = names or tuple(fields.images)
    if names:
        texts = placed([(turn.role, turn.text) for turn in turns], len(names), where)
        turns = [Turn(turn.role, text, "") for turn, text in zip(turns, texts, strict=True)]
    return Record("messages", messages=messages_of(turns), images=names)


def _source(fields: Fields, *names: str) -> str:
    """Return the first field that the row fills, or the last one of the names."""
    return next((name for name in names[:-1] if fields.get(name) is not None), names[-1])


def _turns(fields: Fields, name: str, role: str) -> list[Turn]:
    """Return the turns of a field; a plain text is one turn of the role."""
    value = fields.get(name)
    some = value if isinstance(value, list) else [value]
    if any(isinstance(one, dict) for one in some):
        return read_turns(fields, name)
    return [Turn(role, fields.required(name), fields.column(name))]


def _answers(fields: Fields, name: str, source: str) -> list[Turn]:
    value = fields.get(name)
    if fields.get(source) is None and isinstance(value, str) and has_roles(value):
        return transcript_turns(fields, name)
    return _turns(fields, name, "assistant")


def _common(
    fields: Fields, chosen: list[Turn], rejected: list[Turn]
) -> tuple[list[Turn], list[Turn], list[Turn]]:
    """Return the turns that both conversations begin with, and the rest of each."""
    pairs = zip(_said(chosen), _said(rejected), strict=False)
    count = next((i for i, (one, other) in enumerate(pairs) if one != other), None)
    count = min(len(chosen), len(rejected)) if count is None else count
    if chosen[count:] == rejected[count:] == []:
        raise RowError(fields.column("rejected"), "same as chosen")
    while count and chosen[count - 1].role != "user":
        count -= 1
    if not count:
        raise RowError(fields.column("rejected"), "another prompt than chosen")
    asked = chosen[:count]
    prompt = fields.get("prompt")
    if isinstance(prompt, str) and fields.optional("prompt") not in [t.text for t in asked]:
        raise RowError(fields.column("prompt"), "not the prompt of chosen")
    return asked, chosen[count:], rejected[count:]


def _said(turns: Sequence[Turn]) -> list[tuple[str, str]]:
    return [(turn.role, turn.text) for turn in turns]


def _rating(fields: Fields) -> bool:
    """Return a label that is a boolean, or the word for one as csv files write it."""
    column, value = fields.column("label"), fields.get("label")
    if not isinstance(value, bool):
        if not fields.has("label"):
            raise RowError(column, "missing")
        if not isinstance(value, str | int):
            raise RowError(column, f"type: {json_type(value)}")
        value = RATINGS.get(value.strip().lower() if isinstance(value, str) else value)
        if value is None:
            raise RowError(column, "neither true nor false")
        fields.converted["text to boolean"] += 1
    return value


def _label(fields: Fields, value: Any, column: str) -> str:
    """Return a class name. Labels are not scrubbed, so only what looks like a name is one."""
    if isinstance(value, list):
        raise RowError(column, "type: list")
    label = fields.filled(value, column).strip()
    if len(label) > LONGEST_LABEL:
        raise RowError(column, f"label over {LONGEST_LABEL} characters")
    if len(label.splitlines()) > 1:
        raise RowError(column, "label of several lines")
    if C1.search(label):  # labels are not cleaned
        raise RowError(column, "control character")
    return label
