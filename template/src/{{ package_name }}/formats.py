"""Raw row -> Record: one row of FORMATS per layout. Text is data; nothing in it is rendered."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import Problem, UserError
from .readers import json_type
from .records import ROLES, Message, Record

# After line ends are normalised, only \n and \t are left of the control characters.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
HALF_PAIR = re.compile(r"[\ud800-\udfff]")
LINE_END = re.compile(r"\r\n?")
# Column names that may be shown: others could be data, as in a csv without a header.
_NAMES = """
answer answers category chosen completion content context conversation conversations data date
description dialogue group history id input instruction instructions label labels language
message messages metadata name output outputs prompt prompts query question reference rejected
response responses role score sentence source split subject summary system tag tags target
task text timestamp title tools topic type url user value
"""
KNOWN_NAMES = frozenset(_NAMES.split())


class RowError(Exception):
    """A row does not fit: the column and the code of the reason, never the value."""

    def __init__(self, column: str, reason: str) -> None:
        super().__init__(f"{column}: {reason}")
        self.column = column
        self.reason = reason


class Fields:
    """The fields of one raw row under the names that a format expects."""

    def __init__(self, row: dict[str, Any] | str, columns: Mapping[str, str]) -> None:
        self._row = {"text": row} if isinstance(row, str) else row
        self._columns = columns
        self.line_ends_changed = False

    def column(self, name: str) -> str:
        """Return the name of a field in the user's file."""
        return self._columns.get(name, name)

    def get(self, name: str) -> Any:
        """Return a raw value; None stands for a null and for a missing field."""
        return self._row.get(self.column(name))

    def required(self, name: str) -> str:
        """Return a text that must be there and hold more than blanks."""
        if self.column(name) not in self._row:
            raise RowError(self.column(name), "missing")
        text = self.clean(self.get(name), self.column(name))
        if not text.strip():
            raise RowError(self.column(name), "empty")
        return text

    def optional(self, name: str) -> str:
        """Return a text, or "" where the field is missing, null or blank."""
        value = self.get(name)
        text = "" if value is None else self.clean(value, self.column(name))
        return text if text.strip() else ""

    def clean(self, value: Any, column: str) -> str:
        """Check one text and write its line ends as \\n."""
        if not isinstance(value, str):
            raise RowError(column, f"type: {json_type(value)}")
        if "\r" in value:
            value = LINE_END.sub("\n", value)
            self.line_ends_changed = True
        if CONTROL.search(value):
            raise RowError(column, "control character")
        if HALF_PAIR.search(value):
            raise RowError(column, "half of a surrogate pair")
        return value


@dataclass(frozen=True, slots=True)
class Format:
    """One layout of raw rows.

    Attributes:
        name: Value of the setting `data.format`.
        kind: Kind of the records it gives; an objective says which kinds it reads.
        required: Fields that every row has.
        optional: Fields that a row may have.
        convert: Makes the record; raises RowError.
        doc: One sentence for the documentation.
    """

    name: str
    kind: str
    required: tuple[str, ...]
    optional: tuple[str, ...]
    convert: Callable[[Fields], Record]
    doc: str


def _turns(*pairs: tuple[str, str]) -> Record:
    """Make a conversation; a system turn without text is left out."""
    kept = (Message(role, text) for role, text in pairs if text or role != "system")
    return Record("messages", messages=tuple(kept))


def _alpaca(fields: Fields) -> Record:
    asked = fields.required("instruction")
    if context := fields.optional("input"):
        asked = f"{asked}\n\n{context}"
    system, answer = fields.optional("system"), fields.required("output")
    return _turns(("system", system), ("user", asked), ("assistant", answer))


def _prompt_completion(fields: Fields) -> Record:
    system = fields.optional("system")
    prompt, completion = fields.required("prompt"), fields.required("completion")
    return _turns(("system", system), ("user", prompt), ("assistant", completion))


def _messages(fields: Fields) -> Record:
    column = fields.column("messages")
    turns = fields.get("messages")
    if turns is None:
        raise RowError(column, "missing")
    if not isinstance(turns, list):
        raise RowError(column, f"type: {json_type(turns)}")
    messages = tuple(_message(fields, turn, f"{column}[{i}]") for i, turn in enumerate(turns))
    _check_order(messages, column)
    return Record("messages", messages=messages)


def _message(fields: Fields, turn: Any, column: str) -> Message:
    if not isinstance(turn, dict):
        raise RowError(column, f"type: {json_type(turn)}")
    for name in ("role", "content"):
        if name not in turn:
            raise RowError(f"{column}.{name}", "missing")
    if turn["role"] not in ROLES:
        raise RowError(f"{column}.role", "unknown role")
    content = fields.clean(turn["content"], f"{column}.content")
    if not content.strip():
        raise RowError(f"{column}.content", "empty")
    return Message(turn["role"], content)


def _check_order(messages: Sequence[Message], column: str) -> None:
    """Allow one system turn, then user and assistant in turn, the assistant last."""
    start = 1 if messages and messages[0].role == "system" else 0
    for index, turn in enumerate(messages[start:]):
        if turn.role != ("user", "assistant")[index % 2]:
            raise RowError(f"{column}[{start + index}].role", "order of roles")
    if len(messages) == start:
        raise RowError(column, "no turns")
    if messages[-1].role != "assistant":
        raise RowError(column, "last turn is not the assistant's")


def _text(fields: Fields) -> Record:
    return Record("text", text=fields.required("text"))


# Order decides between equals: a row with instruction, output and text is alpaca.
ROWS = (
    Format(
        name="messages",
        kind="messages",
        required=("messages",),
        optional=(),
        convert=_messages,
        doc="A list of turns, each with `role` and `content`.",
    ),
    Format(
        name="alpaca",
        kind="messages",
        required=("instruction", "output"),
        optional=("input", "system"),
        convert=_alpaca,
        doc="An instruction, an optional input that it refers to, and the answer.",
    ),
    Format(
        name="prompt_completion",
        kind="messages",
        required=("prompt", "completion"),
        optional=("system",),
        convert=_prompt_completion,
        doc="A prompt and the answer to it.",
    ),
    Format(
        name="text",
        kind="text",
        required=("text",),
        optional=(),
        convert=_text,
        doc="Plain text: a column, a list of strings, or the paragraphs of a txt file.",
    ),
)
FORMATS: dict[str, Format] = {row.name: row for row in ROWS}


def choose_format(
    name: str, rows: Sequence[dict[str, Any] | str], columns: Mapping[str, str], where: str
) -> tuple[Format, str]:
    """Return the format of a data set and the reason for it.

    Args:
        name: A format, or `auto`.
        rows: The first rows, for `auto`.
        columns: Field that a format expects -> column of the file.
        where: What messages call the data set.

    Raises:
        UserError: no such format, none fits, or `columns` names a field it does not have.
    """
    if name != "auto" and name not in FORMATS:
        allowed = ", ".join(["auto", *FORMATS])
        raise UserError(Problem("data.format", "no such format", allowed))
    reason = "set in data.format"
    if name == "auto":
        name, reason = detect(rows, columns, where)
    chosen = FORMATS[name]
    fields = (*chosen.required, *chosen.optional)
    if unknown := [field for field in columns if field not in fields]:
        allowed = f"the fields of format {name}: {', '.join(fields)}"
        raise UserError([Problem(f"data.columns.{u}", "no such field", allowed) for u in unknown])
    return chosen, reason


def detect(
    rows: Sequence[dict[str, Any] | str], columns: Mapping[str, str], where: str
) -> tuple[str, str]:
    """Return the format that fits most of the rows, and the reason.

    Raises:
        UserError: none fits half of them; columns are named only where that is safe.
    """

    def fits(candidate: Format) -> int:
        wanted = [columns.get(field, field) for field in candidate.required]
        return sum(
            all(name in row for name in wanted) if isinstance(row, dict) else wanted == ["text"]
            for row in rows
        )

    best = max(ROWS, key=fits)  # the first of equals
    count = fits(best)
    if not rows or count * 2 < len(rows):
        allowed = "; ".join(f"{row.name}: {' + '.join(row.required)}" for row in ROWS)
        fix = "set data.format, and data.columns as {field of the format: column of your file}"
        raise UserError(Problem(where, f"no format fits; {show_columns(rows)}", allowed, fix))
    names = " and ".join(f"`{columns.get(field, field)}`" for field in best.required)
    return best.name, f"{count} of the first {len(rows)} rows have {names}"


def unused_columns(
    rows: Sequence[dict[str, Any] | str],
    chosen: Format,
    columns: Mapping[str, str],
    group_by: str | None,
) -> list[str]:
    """Return the columns of the first rows that no field reads, named only where safe."""
    used = {columns.get(field, field) for field in (*chosen.required, *chosen.optional)}
    names = dict.fromkeys(name for row in rows if isinstance(row, dict) for name in row)
    return [shown for name, shown in _shown(names).items() if name not in used | {group_by}]


def show_columns(rows: Sequence[dict[str, Any] | str]) -> str:
    """Describe the columns of the first row for a message."""
    first = next((row for row in rows if isinstance(row, dict)), None)
    if first is None:
        return f"{len(rows)} rows without named fields"
    shown = list(_shown(first).values())
    more = f" and {len(shown) - 20} more" if len(shown) > 20 else ""
    return f"columns: {', '.join(shown[:20])}{more}"


def _shown(names: Iterable[str]) -> dict[str, str]:
    """Map a name to itself if it is in KNOWN_NAMES, else to its position."""
    return {
        name: name if name.lower() in KNOWN_NAMES else f"(column {position})"
        for position, name in enumerate(names, 1)
    }
