"""The fields of one raw row: found by name, path or list of columns, checked and made text."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from .json_rows import json_type

Columns = Mapping[str, str | Sequence[str]]
MISSING = object()
# After line ends are normalised, only \n and \t are left of these. U+0080 to U+009F pass: most are
# text in Windows-1252 that was read as Latin-1, which cleaning repairs; the scrubber refuses
# what is left of them.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
HALF_PAIR = re.compile(r"[\ud800-\udfff]")
LINE_END = re.compile(r"\r\n?")
STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d+)\]")


class RowError(Exception):
    """A row does not fit: the column and the code of the reason, never the value."""

    def __init__(self, column: str, reason: str) -> None:
        super().__init__(f"{column}: {reason}")
        self.column = column
        self.reason = reason

    def __reduce__(self) -> tuple[type["RowError"], tuple[str, str]]:
        return RowError, (self.column, self.reason)  # to be raised again in another process


def lookup(row: Mapping[str, Any], column: str) -> Any:
    """Return the value of a column or of a path such as `context.parts[0].text`, or MISSING.

    A column whose own name holds dots or brackets wins over a path.
    """
    if column in row:
        return row[column]
    value: Any = row
    for step in steps(column):
        if isinstance(step, int):
            value = value[step] if isinstance(value, list) and step < len(value) else MISSING
        else:
            value = value.get(step, MISSING) if isinstance(value, dict) else MISSING
        if value is MISSING:
            break
    return value


def steps(path: str) -> list[str | int]:
    """Return the names and positions of a path; `a.b[0]` has the steps a, b and 0."""
    found = list(STEP.finditer(path))
    if not path or "".join(match[0] for match in found) != path:
        return [path]
    return [int(match[2]) if match[2] else match[1] for match in found]


def names_of(columns: Columns, field: str) -> list[str]:
    """Return the columns that a field is read from; without a mapping that of its own name."""
    wanted = columns.get(field, field)
    return [wanted] if isinstance(wanted, str) else list(wanted)


class Fields:
    """The fields of one raw row under the names that a format expects.

    Attributes:
        converted: What was changed to fit (line ends, numbers to text, ...) and how often.
        images: Paths of images that stood among the parts of turns, in their order.
    """

    def __init__(self, row: dict[str, Any] | str, columns: Columns) -> None:
        self._row = {"text": row} if isinstance(row, str) else row
        self._columns = columns
        self.converted: Counter[str] = Counter()
        self.images: list[str] = []

    def column(self, name: str) -> str:
        """Return what a field is called in the user's file."""
        return " + ".join(names_of(self._columns, name))

    def has(self, name: str) -> bool:
        """Say whether the row has the field; a null counts as there."""
        columns = names_of(self._columns, name)
        return any(lookup(self._row, column) is not MISSING for column in columns)

    def get(self, name: str) -> Any:
        """Return a raw value; None stands for a null and for a missing field.

        A field of several columns is their texts, joined by a blank line.
        """
        columns = names_of(self._columns, name)
        values = [lookup(self._row, column) for column in columns]
        if len(columns) == 1:
            return None if values[0] is MISSING else values[0]
        texts = [
            self.clean(value, column)
            for value, column in zip(values, columns, strict=True)
            if value is not MISSING and value is not None
        ]
        return "\n\n".join(text for text in texts if text.strip()) if texts else None

    def required(self, name: str) -> str:
        """Return a text that must be there and hold more than blanks."""
        if not self.has(name):
            raise RowError(self.column(name), "missing")
        return self.filled(self.get(name), self.column(name))

    def optional(self, name: str) -> str:
        """Return a text, or "" where the field is missing, null or blank."""
        value = self.get(name)
        text = "" if value is None else self.clean(value, self.column(name))
        return text if text.strip() else ""

    def filled(self, value: Any, column: str) -> str:
        """Return a value as a text that holds more than blanks."""
        text = self.clean(value, column)
        if not text.strip():
            raise RowError(column, "empty")
        return text

    def clean(self, value: Any, column: str) -> str:
        """Return a value as text with line ends written as \\n.

        Numbers and booleans become text as JSON writes them (1.0 stays 1.0), lists of such
        values one line each. Objects and nulls are refused: what of them is meant is unknown.
        """
        text = self._as_text(value, column)
        if "\r" in text:
            text = LINE_END.sub("\n", text)
            self.converted["line ends"] += 1
        if CONTROL.search(text):
            raise RowError(column, "control character")
        if HALF_PAIR.search(text):
            raise RowError(column, "half of a surrogate pair")
        return text

    def _as_text(self, value: Any, column: str) -> str:
        if isinstance(value, str):
            return value
        if isinstance(value, list):
            if not any(isinstance(one, list) for one in value):
                self.converted["list to text"] += 1
                return "\n".join(self._as_text(one, column) for one in value)
        elif isinstance(value, bool):
            self.converted["boolean to text"] += 1
            return "true" if value else "false"
        elif isinstance(value, int | float | Decimal):
            return self._number(value, column)
        raise RowError(column, f"type: {json_type(value)}")

    def _number(self, value: int | float | Decimal, column: str) -> str:
        if not isinstance(value, int) and not math.isfinite(value):
            raise RowError(column, "not a number")  # how parquet files often hold a null
        try:
            text = str(value)
        except ValueError:  # Python writes no integers above 4,300 digits
            raise RowError(column, "number too long") from None
        self.converted["number to text"] += 1
        return text
