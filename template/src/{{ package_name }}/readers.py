"""Raw files -> rows. No row is lost: one that cannot be read carries its problem instead.

Raw text goes through the standard library and pyarrow only, never through a library that
keeps caches on the disk.
"""

import codecs
import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import Problem, UserError
from .records import canonical

BOM = codecs.BOM_UTF8
WIDE_BOMS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
UTF8_FIX = "convert it, for example: iconv -f WINDOWS-1252 -t UTF-8 OLD > NEW"
PEEK_LINES = 20
# The csv module refuses cells above 128 KiB unless told otherwise; a document is longer.
CELL_LIMIT = 2**31 - 1
# Deeply nested JSON, numbers of thousands of digits: errors of the row, not of ours.
JSON_ERRORS = (ValueError, RecursionError)


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
class Container:
    """One kind of file. `read` yields its rows and raises UserError for a file as a whole."""

    name: str
    suffix: str
    read: Callable[[Path, str], Iterator[RawRow]]


READ_ME = {"README", "README.md", "README.txt"}


def find_files(path: Path) -> tuple[list[Path], list[Path]]:
    """Return (data files, other files) of a file or a folder, in sorted order.

    Dotfiles and README files belong to neither. A link to a folder, or to nothing, counts as
    another file: it is named, not passed over.
    """
    if path.is_file():
        found = [path]
    else:
        visible = (p for p in path.rglob("*") if p.is_file() or p.is_symlink())
        found = sorted(p for p in visible if not _ignored(p.relative_to(path)))
    known = [p for p in found if p.suffix.lower() in CONTAINERS and p.is_file()]
    return known, [p for p in found if p not in set(known)]


def container_of(path: Path) -> tuple[Container, str]:
    """Return how a file is read, and the reason: its suffix, or what stands in it."""
    container = CONTAINERS[path.suffix.lower()]
    if container.name == "json" and _holds_json_lines(path):
        return CONTAINERS[".jsonl"], "named .json, but each line is a JSON object of its own"
    return container, f"suffix {path.suffix.lower()}"


def read_rows(path: Path, name: str) -> Iterator[RawRow]:
    """Yield the rows of one file.

    Args:
        path: The file.
        name: How rows and messages call it.

    Raises:
        UserError: the file as a whole cannot be read; names position and cause, no text.
    """
    container, _ = container_of(path)
    with path.open("rb") as handle:
        head = handle.read(2)
    if head in WIDE_BOMS and container.name != "parquet":
        raise _unusable(name, "the text is encoded as UTF-16", "UTF-8", UTF8_FIX)
    if container.name not in ("parquet", "jsonl"):
        _require_utf8(path, name)
    rows = 0
    for row in container.read(path, name):
        rows += 1
        yield row
    if not rows:
        raise _unusable(name, "the file holds no rows", fix="fill it or take it away")


def _ignored(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts) or path.name in READ_ME


def _unusable(name: str, found: str, allowed: str = "", fix: str = "") -> UserError:
    return UserError(Problem(name, found, allowed, fix))


def _require_utf8(path: Path, name: str) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    line, offset = 1, 0
    with path.open("rb") as handle:
        while True:
            block = handle.read(1 << 20)
            try:
                decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                # error.object holds what the decoder kept of the last block, then this one.
                kept = len(error.object) - len(block)
                line += error.object[: error.start].count(b"\n")
                at = f"line {line}, byte {offset - kept + error.start + 1}"
                found = f"the text is not UTF-8 ({at} cannot be decoded)"
                raise _unusable(name, found, "UTF-8", UTF8_FIX) from None
            if not block:
                return
            line += block.count(b"\n")
            offset += len(block)


class _Json:
    """Strict JSON: what Python's parser lets pass silently is a problem of the row."""

    def __init__(self) -> None:
        self._found = ""
        self.decoder = json.JSONDecoder(
            object_pairs_hook=self._object, parse_constant=self._constant
        )

    def problem(self, value: Any) -> str | None:
        """Return what is wrong with the value decoded last, or None."""
        found, self._found = self._found, ""
        if found:
            return found
        return None if isinstance(value, dict | str) else f"row: {json_type(value)}"

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        fields = dict(pairs)
        if len(fields) < len(pairs):
            self._found = "json: a name stands twice"
        return fields

    def _constant(self, _name: str) -> None:
        self._found = "json: NaN or Infinity"


def json_type(value: Any) -> str:
    """Return the JSON name of a value's type."""
    names = {bool: "boolean", int: "number", float: "number", str: "text", dict: "object"}
    names |= {list: "list", type(None): "null"}
    return names.get(type(value), type(value).__name__)


def _read_jsonl(path: Path, name: str) -> Iterator[RawRow]:
    parser = _Json()
    with path.open("rb") as handle:
        # Binary lines end at \n only; text methods would also split at U+2028.
        for number, line in enumerate(handle, 1):
            raw = (line.removeprefix(BOM) if number == 1 else line).strip(b" \t\r\n")
            if raw:
                value, problem = _parse_line(parser, raw)
                yield RawRow(name, number, value, problem, raw)


def _parse_line(parser: _Json, raw: bytes) -> tuple[Any, str | None]:
    try:
        value = parser.decoder.decode(raw.decode("utf-8"))
    except UnicodeDecodeError:
        return None, "encoding: not UTF-8"
    except JSON_ERRORS:
        parser.problem("")
        return None, "json: not valid"
    problem = parser.problem(value)
    return (None, problem) if problem else (value, None)


def _holds_json_lines(path: Path) -> bool:
    """Say whether most of the first lines are complete JSON objects."""
    parser, lines, objects = _Json(), 0, 0
    with path.open("rb") as handle:
        for line in handle:
            raw = line.removeprefix(BOM).strip()
            if not raw:
                continue
            lines += 1
            value, _ = _parse_line(parser, raw)
            objects += isinstance(value, dict)
            if lines == PEEK_LINES:
                break
    return objects * 2 > lines


_BLANK = re.compile(r"[ \t\n\r]*")


def _read_json(path: Path, name: str) -> Iterator[RawRow]:
    """Decode a JSON array element by element, so that each row keeps its own bytes."""
    text = path.read_bytes().removeprefix(BOM).decode("utf-8")
    parser = _Json()

    def skip(position: int) -> int:
        match = _BLANK.match(text, position)
        assert match is not None, "the pattern also matches nothing"
        return match.end()

    def fail(position: int, found: str) -> UserError:
        line = text.count("\n", 0, position) + 1
        column = position - text.rfind("\n", 0, position)
        where = f"{found} (line {line}, column {column})"
        return _unusable(name, where, "a JSON array of objects, or one JSON object a line")

    position = skip(0)
    if position == len(text):
        return
    if text[position] != "[":
        raise fail(position, "the file is not a list of rows")
    position, number = skip(position + 1), 0
    while text[position : position + 1] != "]":
        try:
            value, end = parser.decoder.raw_decode(text, position)
        except json.JSONDecodeError as error:
            raise fail(error.pos, "not valid JSON") from None
        except JSON_ERRORS:
            raise fail(position, "a JSON value is too deep or too long") from None
        number += 1
        problem = parser.problem(value)
        raw = text[position:end].encode("utf-8", "surrogatepass")
        yield RawRow(name, number, None if problem else value, problem, raw)
        position = skip(end)
        if text[position : position + 1] == ",":
            position = skip(position + 1)
        elif text[position : position + 1] != "]":
            raise fail(position, "not valid JSON")
    if skip(position + 1) != len(text):
        raise fail(skip(position + 1), "text after the end of the list")


def _read_csv(path: Path, name: str) -> Iterator[RawRow]:
    csv.field_size_limit(CELL_LIMIT)
    with path.open(encoding="utf-8-sig", newline="") as handle:
        reader = csv.reader(handle, strict=True)
        number, started = 0, 1
        try:
            header = next(reader, [])
            _check_header(header, name)
            started = reader.line_num + 1
            for cells in reader:
                started = reader.line_num + 1
                if not cells:  # a blank line
                    continue
                number += 1
                raw = canonical(cells).encode()
                if len(cells) != len(header):
                    yield RawRow(name, number, None, "csv: number of cells", raw)
                else:
                    yield RawRow(name, number, dict(zip(header, cells, strict=True)), None, raw)
        except csv.Error:
            found = f"the quotes of the row that starts in line {started} do not match"
            fix = 'write a quote inside a quoted cell twice: ""'
            raise _unusable(name, found, "comma-separated cells as in RFC 4180", fix) from None


def _check_header(header: list[str], name: str) -> None:
    twice = [str(i) for i, cell in enumerate(header, 1) if cell in header[: i - 1]]
    if twice:
        found = f"header: column {', '.join(twice)} repeats an earlier name"
        raise _unusable(name, found, "a first line with one distinct name for each column")


def _read_parquet(path: Path, name: str) -> Iterator[RawRow]:
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=512):
                for value in batch.to_pylist():
                    number += 1
                    yield RawRow(name, number, value, None, canonical(value).encode())
    except (pyarrow.ArrowException, OSError, OverflowError, ValueError):
        # Arrow's own message may quote a value.
        found = f"not a readable parquet file (after row {number})"
        raise _unusable(name, found, fix="write the file again") from None


def _read_txt(path: Path, name: str) -> Iterator[RawRow]:
    with path.open(encoding="utf-8-sig") as handle:
        for number, paragraph in enumerate(_paragraphs(handle), 1):
            yield RawRow(name, number, paragraph, None, paragraph.encode())


def _paragraphs(lines: Iterable[str]) -> Iterator[str]:
    """Split at blank lines and form feeds. Lines end at \\n only, not at U+2028."""
    held: list[str] = []
    for line in lines:
        first, *others = line.split("\f")
        pieces = [first, *(piece for other in others for piece in ("", other))]
        for piece in pieces:
            if piece.strip():
                held.append(piece)
            elif held:
                yield "".join(held).strip("\n")
                held = []
    if held:
        yield "".join(held).strip("\n")


ROWS = (
    Container("json", ".json", _read_json),
    Container("jsonl", ".jsonl", _read_jsonl),
    Container("csv", ".csv", _read_csv),
    Container("parquet", ".parquet", _read_parquet),
    Container("txt", ".txt", _read_txt),
)
CONTAINERS: dict[str, Container] = {row.suffix: row for row in ROWS}
