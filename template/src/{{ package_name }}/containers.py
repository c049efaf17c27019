"""Rows of parquet and text files, and what all containers share."""

import datetime
import decimal
import math
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, AnyStr

from .encodings import BLOCK, NUL_FOUND, ROW_LIMIT, TOO_LONG, open_text, unusable
from .records import canonical

TEXT_UNITS = ("auto", "file", "paragraph", "form_feed")
BATCH_ROWS = 512
KEPT_OF_LONG = 1 << 16  # characters of an over-long row that its keyed hash is made of


@dataclass(frozen=True, slots=True)
class RawRow:
    """One row as it stands in the file.

    Attributes:
        file: Path of the file as reports show it.
        row: 1-based; line of a jsonl file, otherwise record (a csv header does not count).
        value: Fields by name, or plain text, or None if there is a problem.
        problem: Code of the reason why the row cannot be read, or None.
        raw: The bytes that a quarantine entry is a keyed hash of.
    """

    file: str
    row: int
    value: dict[str, Any] | str | None
    problem: str | None
    raw: bytes


@dataclass(frozen=True, slots=True)
class File:
    """A file whose encoding is decided.

    Attributes:
        path: Where it is.
        name: How rows and messages call it.
        encoding: As Python calls it; "" for parquet.
        text_unit: One of TEXT_UNITS: what a row of a txt or md file is.
    """

    path: Path
    name: str
    encoding: str
    text_unit: str = "auto"

    def text(self, newline: str | None, errors: str = "strict") -> IO[str]:
        """Open the file as text; the arguments are those of the function open."""
        return open_text(self.path, self.encoding, newline, errors)


def lines_of(handle: IO[AnyStr], end: AnyStr) -> Iterator[AnyStr]:
    """Return the lines of a file; one beyond ROW_LIMIT comes in pieces of that size.

    `end` is what readline() returns at the end of the file.
    """
    return iter(partial(handle.readline, ROW_LIMIT), end)


# -- parquet ------------------------------------------------------------------------------


def no_layout(_file: File) -> tuple[None, str]:
    """Return that there is nothing to decide."""
    return None, ""


def read_parquet(file: File, _layout: None) -> Iterator[RawRow]:
    """Yield the rows of a parquet file, values of every type as JSON knows them."""
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        # Not pre-buffered: that would hold a whole row group, which is often the whole file.
        options = {"pre_buffer": False, "page_checksum_verification": True}
        with pyarrow.parquet.ParquetFile(file.path, **options) as opened:
            schema = opened.schema_arrow
            if len(set(schema.names)) < len(schema.names):
                raise unusable(file.name, "two columns have one name", "distinct names")
            convert = not all(_is_json(field.type) for field in schema)
            for batch in opened.iter_batches(batch_size=BATCH_ROWS):
                for value in (_exact(batch) if convert else batch).to_pylist():
                    number += 1
                    yield _parquet_row(file.name, number, value, convert)
    except (pyarrow.ArrowException, OSError, OverflowError, ValueError):
        # Arrow's own message may quote a value.
        found = f"not a readable parquet file (after row {number})"
        raise unusable(file.name, found, fix="write the file again, not encrypted") from None


def _is_json(kind: Any) -> bool:
    from pyarrow import types

    if types.is_list(kind) or types.is_large_list(kind):
        return _is_json(kind.value_type)
    if types.is_struct(kind):
        return all(_is_json(kind.field(i).type) for i in range(kind.num_fields))
    tests = (types.is_string, types.is_large_string, types.is_integer, types.is_boolean)
    return any(test(kind) for test in tests)


def _exact(batch: Any) -> Any:
    """Write timestamps of nanoseconds as text: Python's own stop at microseconds."""
    import pyarrow

    fields = [field.with_type(_without_nanoseconds(field.type)) for field in batch.schema]
    return batch.cast(pyarrow.schema(fields))


def _without_nanoseconds(kind: Any) -> Any:
    import pyarrow
    from pyarrow import types

    if (types.is_timestamp(kind) or types.is_time64(kind)) and kind.unit == "ns":
        return pyarrow.string()
    if types.is_list(kind):
        return pyarrow.list_(_without_nanoseconds(kind.value_type))
    if types.is_struct(kind):
        inner = [kind.field(i) for i in range(kind.num_fields)]
        return pyarrow.struct([f.with_type(_without_nanoseconds(f.type)) for f in inner])
    return kind


class _NoJson(Exception):
    """A value that JSON has no form for; the text is the code of the reason."""


def _parquet_row(name: str, number: int, value: dict[str, Any], convert: bool) -> RawRow:
    raw = canonical(value).encode()
    if convert:
        try:
            value = plain(value)
        except _NoJson as error:
            return RawRow(name, number, None, str(error), raw)
    return RawRow(name, number, value, None, raw)


def plain(value: Any) -> Any:
    """Return a value as JSON knows it: dates and times in ISO 8601, decimals as text.

    A float that is not a number is a null: pandas writes missing numbers so.

    Raises:
        _NoJson: bytes, an infinite number, or a type of which no text is certain.
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        if math.isinf(value):
            raise _NoJson("row: infinite number")
        return None if math.isnan(value) else value
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):  # a map is a list of pairs
        return [plain(inner) for inner in value]
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, datetime.timedelta):
        return f"PT{value / datetime.timedelta(seconds=1):f}S"
    if isinstance(value, decimal.Decimal | uuid.UUID):
        return str(value)
    raise _NoJson("row: bytes" if isinstance(value, bytes) else "row: type without a JSON form")


# -- txt and md ---------------------------------------------------------------------------


def markdown_layout(file: File) -> tuple[str, str]:
    """Return what a row of a Markdown file is, and the reason."""
    if file.text_unit != "auto":
        return _wanted_unit(file)
    return "file", "a Markdown file is one row"


def text_layout(file: File) -> tuple[str, str]:
    """Return what a row is (file, paragraph, form_feed), and the reason."""
    if file.text_unit != "auto":
        return _wanted_unit(file)
    with file.text(None) as handle:
        if any("\f" in block for block in iter(partial(handle.read, BLOCK), "")):
            return "form_feed", "form feeds stand between its rows"
    return "paragraph", "blank lines stand between its rows"


def _wanted_unit(file: File) -> tuple[str, str]:
    assert file.text_unit in TEXT_UNITS, "the configuration checks the value"
    return file.text_unit, f"a row is a {file.text_unit} (data.text_unit)"


def read_text(file: File, unit: str) -> Iterator[RawRow]:
    """Yield the whole text, its paragraphs, or what form feeds separate."""
    # Universal line ends: \r\n and \r become \n; U+2028 and U+0085 stay what they are.
    with file.text(None) as handle:
        for number, text in enumerate(_SPLITS[unit](lines_of(handle, "")), 1):
            problem = NUL_FOUND if "\0" in text else None
            if len(text) > ROW_LIMIT:
                problem, text = TOO_LONG, text[:KEPT_OF_LONG]
            yield RawRow(file.name, number, None if problem else text, problem, text.encode())


def _paragraphs(lines: Iterable[str]) -> Iterator[str]:
    """Split at blank lines and form feeds."""
    held = _Held()
    for line in lines:
        first, *others = line.split("\f")
        for piece in [first, *(piece for other in others for piece in ("", other))]:
            if piece.strip():
                held.add(piece)
            elif text := held.take():
                yield text
    if text := held.take():
        yield text


def _pages(lines: Iterable[str]) -> Iterator[str]:
    """Split at form feeds only."""
    held = _Held()
    for line in lines:
        first, *others = line.split("\f")
        held.add(first)
        for other in others:
            if text := held.take():
                yield text
            held.add(other)
    if text := held.take():
        yield text


def _whole(lines: Iterable[str]) -> Iterator[str]:
    held = _Held()
    for line in lines:
        held.add(line)
    if text := held.take():
        yield text


class _Held:
    """Pieces of one text; those that follow after ROW_LIMIT characters are let go."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._length = 0

    def add(self, piece: str) -> None:
        """Append a piece."""
        if self._length <= ROW_LIMIT:
            self._pieces.append(piece)
            self._length += len(piece)

    def take(self) -> str:
        """Return the text without blank lines around it; "" if there are only blanks."""
        text = "".join(self._pieces)
        self._pieces, self._length = [], 0
        return text.strip("\n") if text.strip() else ""


_SPLITS = {"paragraph": _paragraphs, "form_feed": _pages, "file": _whole}
