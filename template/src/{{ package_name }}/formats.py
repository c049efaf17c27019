"""Raw row -> Record: one row of FORMATS per layout. Text is data; nothing in it is rendered."""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from . import layouts
from .errors import Problem, UserError
from .fields import Columns, Fields, names_of, steps
from .fields import RowError as RowError
from .images import COLUMNS
from .records import Record
from .transcripts import has_roles

OR = " or "
LONGEST_ANSWER = 100  # characters of a final answer that `auto` takes for verifiable
# Column names that may be shown: others could be data, as in a csv without a header.
_NAMES = """
answer answers caption category chosen completion content context conversation conversations data
date description dialogue document grounded group history id image images input instruction
instructions kind label labels language message messages metadata name ner_tags output outputs
prompt prompts query question reference rejected response responses role score sentence source
split subject summary system tag tags target task text timestamp title tokens tools topic type url
user value
"""
KNOWN_NAMES = frozenset(_NAMES.split())
MADE = re.compile(r"column_\d+")  # of a csv without a header


def _always(_fields: Fields) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Format:
    """One layout of raw rows.

    Attributes:
        name: Value of the setting `data.format`.
        kind: Kind of the records it gives; an objective says which kinds it reads.
        required: Fields that every row has; `a or b` stands for one of several.
        optional: Fields that a row may have.
        convert: Makes the record; raises RowError.
        doc: One sentence for the documentation.
        looks_like: For `auto`: whether the values fit, where names alone do not decide.
        sign: What of the values `looks_like` goes by, to follow the names in a reason.
    """

    name: str
    kind: str
    required: tuple[str, ...]
    optional: tuple[str, ...]
    convert: Callable[[Fields], Record]
    doc: str
    looks_like: Callable[[Fields], bool] = _always
    sign: str = ""

    def fields(self) -> list[str]:
        """Return every field by itself."""
        return [*(one for field in self.required for one in field.split(OR)), *self.optional]


def _is_rated(fields: Fields) -> bool:
    label = fields.get("label")
    words = ("true", "false")
    return isinstance(label, bool) or (isinstance(label, str) and label.strip().lower() in words)


def _is_pair(fields: Fields) -> bool:
    return fields.has("chosen") and fields.has("rejected")


def _is_anthropic(fields: Fields) -> bool:
    """Say whether the system prompt stands beside the messages, or tool use inside them."""
    turns = fields.get("messages")
    if not isinstance(turns, list) or _is_rated(fields) or _is_pair(fields):
        return False
    contents = [turn.get("content") for turn in turns if isinstance(turn, dict)]
    parts = [part for content in contents if isinstance(content, list) for part in content]
    types = [part.get("type") for part in parts if isinstance(part, dict)]
    return fields.get("system") is not None or "tool_use" in types or "tool_result" in types


def _is_messages(fields: Fields) -> bool:
    return not (_is_rated(fields) or _is_pair(fields) or _is_anthropic(fields))


def _is_transcript(fields: Fields) -> bool:
    value = fields.get("dialogue")
    return isinstance(value, list) or (isinstance(value, str) and has_roles(value))


def _is_labelled(fields: Fields) -> bool:
    """Tell class names from other columns of these names: `tags` of a document are none."""
    if isinstance(fields.get("tokens"), list):
        return any(isinstance(fields.get(name), list) for name in ("labels", "tags", "ner_tags"))
    label = fields.get("labels") if fields.get("label") is None else fields.get("label")
    labels = label if isinstance(label, list) else [label]
    return all(
        len(one) <= layouts.LONGEST_LABEL if isinstance(one, str) else isinstance(one, int | float)
        for one in labels
    )


def _is_verifiable(fields: Fields) -> bool:
    final = layouts.final_answer(fields.required("answer"))
    return final is not None and len(final) <= LONGEST_ANSWER and "\n" not in final


# Order decides between equals: a row with instruction, output and text is alpaca.
ROWS = (
    Format(
        name="messages",
        kind="messages",
        required=("messages",),
        optional=("system", "tools", *COLUMNS),
        convert=layouts.messages,
        doc="OpenAI's list of turns: `role`, `content` (text or text parts), tool calls.",
        looks_like=_is_messages,
    ),
    Format(
        name="anthropic",
        kind="messages",
        required=("messages",),
        optional=("system", "tools", *COLUMNS),
        convert=layouts.messages,
        doc="Anthropic's list of turns: content blocks, the system prompt in its own column.",
        looks_like=_is_anthropic,
        sign="with a system prompt of its own or tool blocks",
    ),
    Format(
        name="sharegpt",
        kind="messages",
        required=("conversations",),
        optional=("system", "tools", *COLUMNS),
        convert=layouts.sharegpt,
        doc="A list of turns, each with `from` (human, gpt, function_call, ...) and `value`.",
        looks_like=lambda fields: not (_is_rated(fields) or _is_pair(fields)),
    ),
    Format(
        name="alpaca",
        kind="messages",
        required=("instruction", "output"),
        optional=("input", "system", "history", *COLUMNS),
        convert=layouts.alpaca,
        doc="An instruction, an optional input that it refers to, and the answer.",
    ),
    Format(
        name="prompt_completion",
        kind="messages",
        required=("prompt", "completion"),
        optional=("system", "tools", *COLUMNS),
        convert=layouts.prompt_completion,
        doc="A prompt and the answer to it, each a text or a list of turns.",
        looks_like=lambda fields: not _is_rated(fields),
    ),
    Format(
        name="transcript",
        kind="messages",
        required=("dialogue",),
        optional=("question", "answer", "system"),
        convert=layouts.transcript,
        doc="Text, or a list of texts, with prefixes such as `Patient:` that say who speaks.",
        looks_like=_is_transcript,
        sign="with prefixes that say who speaks",
    ),
    Format(
        name="preference",
        kind="preference",
        required=("chosen", "rejected"),
        optional=("prompt", "conversations", "messages", "system", "tools"),
        convert=layouts.preference,
        doc="A preferred and another answer to one prompt, or two whole conversations.",
    ),
    Format(
        name="kto",
        kind="unpaired",
        required=("label", "messages or conversations or completion"),
        optional=("prompt", "system", "tools"),
        convert=layouts.kto,
        doc="A conversation whose last answer is labelled true (good) or false (bad).",
        looks_like=_is_rated,
        sign="with a label that is true or false",
    ),
    Format(
        name="labelled",
        kind="labelled",
        required=("text or tokens", "label or labels or tags or ner_tags"),
        optional=(),
        convert=layouts.labelled,
        doc="A text with one or several class names, or tokens with one class name each.",
        looks_like=_is_labelled,
        sign="with labels of at most 100 characters",
    ),
    Format(
        name="image_text",
        kind="image_text",
        required=("image", "text or caption"),
        optional=(),
        convert=layouts.image_text,
        doc="The path of an image and a text that fits it.",
        looks_like=lambda fields: isinstance(fields.get("image"), str),
        sign="with a path",
    ),
    Format(
        name="text",
        kind="text",
        required=("text",),
        optional=(),
        convert=layouts.text,
        doc="Plain text: a column, a list of strings, or the paragraphs of a txt file.",
    ),
    Format(
        name="question_answer",
        kind="prompt",
        required=("question", "answer"),
        optional=("system",),
        convert=layouts.question_answer,
        doc="A question and an answer to check; of a solution, what `####` or `boxed` marks.",
        looks_like=_is_verifiable,
        sign="with short final answers",
    ),
)
FORMATS: dict[str, Format] = {row.name: row for row in ROWS}


def choose_format(
    name: str, rows: Sequence[dict[str, Any] | str], columns: Columns, where: str
) -> tuple[Format, str]:
    """Return the format of a data set and the reason for it.

    Args:
        name: A format, or `auto`.
        rows: The first rows, for `auto`.
        columns: Field that a format expects -> column of the file, path to it, or a list.
        where: What messages call the data set.

    Raises:
        UserError: no such format, none fits, or `columns` names a field it does not have or
            no column.
    """
    if name != "auto" and name not in FORMATS:
        allowed = ", ".join(["auto", *FORMATS])
        raise UserError(Problem("data.format", "no such format", allowed))
    reason = "set in data.format"
    if name == "auto":
        name, reason = detect(rows, columns, where)
    chosen = FORMATS[name]
    fields = chosen.fields()
    if unknown := [field for field in columns if field not in fields]:
        allowed = f"the fields of format {name}: {', '.join(fields)}"
        raise UserError([Problem(f"data.columns.{u}", "no such field", allowed) for u in unknown])
    if empty := [field for field in columns if not all(names_of(columns, field) or [""])]:
        raise UserError([Problem(f"data.columns.{e}", "it names no column") for e in empty])
    for field in columns:
        for column in names_of(columns, field):
            if not any(Fields(row, {field: column}).has(field) for row in rows):
                reason += f"; none of these rows has `{column}` (data.columns.{field})"
    return chosen, reason


def detect(rows: Sequence[dict[str, Any] | str], columns: Columns, where: str) -> tuple[str, str]:
    """Return the format that fits most of the rows, and the reason.

    Raises:
        UserError: none fits half of them; columns are named only where that is safe.
    """
    read = [Fields(row, columns) for row in rows]
    fitting = {row.name: [fields for fields in read if _fits(row, fields)] for row in ROWS}
    best = max(ROWS, key=lambda row: len(fitting[row.name]))  # the first of equals
    count = len(fitting[best.name])
    if not rows or count * 2 < len(rows):
        allowed = "; ".join(f"{row.name}: {wanted(row)}" for row in ROWS)
        fix = "set data.format, and data.columns as {field of the format: column of your file}"
        raise UserError(Problem(where, f"no format fits; {show_columns(rows)}", allowed, fix))
    found = [_present(field, fitting[best.name][0]) for field in best.required]
    reason = f"{count} of the first {len(rows)} rows have {' and '.join(found)}"
    return best.name, f"{reason} {best.sign}".rstrip() + _advice(best, fitting[best.name])


def wanted(row: Format) -> str:
    """Return the columns that every row of a format has, for a message."""
    return " + ".join(f"({field})" if OR in field else field for field in row.required)


def _fits(row: Format, fields: Fields) -> bool:
    try:
        return all(_present(field, fields) for field in row.required) and row.looks_like(fields)
    except RowError:
        return False


def _present(field: str, fields: Fields) -> str:
    """Return the column of the first alternative that a row has, or ""."""
    return next((f"`{fields.column(one)}`" for one in field.split(OR) if fields.has(one)), "")


def _advice(best: Format, rows: Sequence[Fields]) -> str:
    """Point out conversations that stand in one text: as a prompt their prefixes would stay."""
    if best.convert not in (layouts.alpaca, layouts.prompt_completion):
        return ""
    asked = [fields.get(best.required[0]) for fields in rows]
    packed = sum(isinstance(text, str) and has_roles(text) for text in asked)
    hint = f"; {packed} of them hold several turns: format transcript would separate them"
    return hint if packed else ""


def unused_columns(
    rows: Sequence[dict[str, Any] | str],
    chosen: Format,
    columns: Columns,
    others: Collection[str | None],
) -> list[str]:
    """Return the columns of the first rows that nothing reads, named only where safe.

    Args:
        rows: The first rows.
        chosen: The format, whose fields are read.
        columns: Setting `data.columns`.
        others: Columns that other settings name.
    """
    wanted = [column for field in chosen.fields() for column in names_of(columns, field)]
    names = dict.fromkeys(name for row in rows if isinstance(row, dict) for name in row)
    # A path reads part of the column that it begins with.
    used = {column if column in names else steps(column)[0] for column in wanted} | {*others}
    return [shown for name, shown in _shown(names).items() if name not in used]


def show_columns(rows: Sequence[dict[str, Any] | str]) -> str:
    """Describe the columns of the first row for a message."""
    first = next((row for row in rows if isinstance(row, dict)), None)
    if first is None:
        return f"{len(rows)} rows without named fields"
    shown = list(_shown(first).values())
    more = f" and {len(shown) - 20} more" if len(shown) > 20 else ""
    return f"columns: {', '.join(shown[:20])}{more}"


def _shown(names: Collection[str]) -> dict[str, str]:
    """Map a name to itself if it is in KNOWN_NAMES or was made by us, else to its position."""
    safe = {name for name in names if name.lower() in KNOWN_NAMES or MADE.fullmatch(name)}
    return {
        name: name if name in safe else f"(column {position})"
        for position, name in enumerate(names, 1)
    }
