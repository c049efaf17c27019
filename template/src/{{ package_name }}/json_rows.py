"""Rows of JSON: one object a line, one array, or one array inside an object; strict everywhere."""

import json
import re
from collections.abc import Iterator
from itertools import islice
from typing import IO, Any

from .containers import KEPT_OF_LONG, File, RawRow, lines_of
from .encodings import BLOCK, ROW_LIMIT, TOO_LONG, UTF8, open_bytes, unusable

BOM = "\ufeff".encode()
BLANKS = b" \t\r\n"
PEEK_ROWS = 20
# Deeply nested JSON, numbers of thousands of digits: errors of the row, not of ours.
JSON_ERRORS = (ValueError, RecursionError)
# Keys under which a file that is one object keeps its rows.
_KEYS = "data dataset examples instances items records rows samples test train validation"
ROW_KEYS = tuple(_KEYS.split())
ARRAY = "array"  # layouts of a json file
NESTED = "array of lists"
WRAPPED = "object"
# The scanner takes "12" at the end of what was read for a number, though "12e+3" may follow.
NUMBER_MARGIN = 16
ALLOWED = "a JSON array of objects, or one JSON object a line"
_BLANK = re.compile(r"[ \t\n\r]*")


def json_type(value: Any) -> str:
    """Return the JSON name of a value's type."""
    names = {bool: "boolean", int: "number", float: "number", str: "text", dict: "object"}
    names |= {list: "list", type(None): "null"}
    return names.get(type(value), type(value).__name__)


class StrictJson:
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


# -- one object a line ----------------------------------------------------------------------


def read_lines(file: File, _layout: Any) -> Iterator[RawRow]:
    """Yield the lines of a jsonl file. One that is not UTF-8 is a problem of its row only."""
    parser, number, tail = StrictJson(), 0, False
    for line in _byte_lines(file):
        if tail:  # of a line that was refused
            tail = not line.endswith(b"\n")
            continue
        number += 1
        raw = (line.removeprefix(BOM) if number == 1 else line).strip(BLANKS)
        tail = len(line) >= ROW_LIMIT and not line.endswith(b"\n")
        if tail:
            yield RawRow(file.name, number, None, TOO_LONG, raw[:KEPT_OF_LONG])
        elif raw:
            value, problem = _parse_line(parser, raw)
            yield RawRow(file.name, number, value, problem, raw)


def _byte_lines(file: File) -> Iterator[bytes]:
    """Yield lines in UTF-8. They end at \\n only; text methods would also split at U+2028."""
    if file.encoding in UTF8:
        with open_bytes(file.path) as raw:
            yield from lines_of(raw, b"")
    else:
        with file.text("\n") as handle:
            yield from map(str.encode, lines_of(handle, ""))


def _parse_line(parser: StrictJson, raw: bytes) -> tuple[Any, str | None]:
    try:
        text = raw.decode("utf-8")
        value, end = parser.decoder.raw_decode(text)
    except UnicodeDecodeError:
        return None, "encoding: not UTF-8"
    except JSON_ERRORS:
        parser.problem("")
        return None, "json: not valid"
    problem = parser.problem(value)
    if end < len(text):
        problem = "json: not valid"
    return (None, problem) if problem else (value, None)


def holds_lines(file: File) -> bool:
    """Say whether most of the first lines are complete JSON objects, each a row of its own."""
    parser = StrictJson()
    values: list[Any] = []
    with file.text("\n", "replace") as handle:
        if _Stream(handle).peek() != "{":
            return False
    with file.text("\n", "replace") as handle:
        for line in lines_of(handle, ""):
            if raw := line.encode().removeprefix(BOM).strip(BLANKS):
                values.append(_parse_line(parser, raw)[0])
            if len(values) == PEEK_ROWS:
                break
    if len(values) == 1 and isinstance(values[0], dict) and any(map(_is_rows, values[0].items())):
        return False
    return sum(isinstance(value, dict) for value in values) * 2 > len(values)


def _is_rows(pair: tuple[str, Any]) -> bool:
    key, value = pair
    return key in ROW_KEYS and isinstance(value, list) and isinstance((value or [0])[0], dict)


# -- one array ------------------------------------------------------------------------------


def json_layout(file: File) -> tuple[str, str]:
    """Return how the rows of a json file stand in it, and the reason; never fails on its text."""
    with file.text("") as handle:
        stream = _Stream(handle)
        wrapped = stream.peek() == "{"
        values: list[Any] = []
        try:
            if wrapped:
                next(_member_rows(stream), None)
                found = f"its rows are the list under `{stream.key}`, other keys are not read"
                return WRAPPED, f"one object; {found}"
            values.extend(value for value, _ in islice(_elements(stream), PEEK_ROWS))
        except _BadJson:  # said when it is read
            if wrapped:
                return WRAPPED, ""
    if sum(map(_is_nested, values)) * 2 > len(values):
        return NESTED, "most rows stand in a list of their own, which is unwrapped"
    return ARRAY, ""


def read_json(file: File, layout: str) -> Iterator[RawRow]:
    """Yield the rows of a json file, decoded one by one, so that each keeps its own bytes."""
    with file.text("") as handle:
        stream = _Stream(handle)
        try:
            if not stream.peek():
                return
            found = _member_rows(stream) if layout == WRAPPED else _array_rows(stream)
            for number, (value, raw) in enumerate(found, 1):
                if layout == NESTED and _is_nested(value):
                    value = value[0]
                problem = stream.parser.problem(value)
                yield RawRow(file.name, number, None if problem else value, problem, raw)
        except _BadJson as error:
            raise unusable(file.name, f"{error} ({stream.place(error.at)})", ALLOWED) from None


def _is_nested(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict)


class _BadJson(Exception):
    """What is wrong with a file as a whole, and where in the buffer."""

    def __init__(self, found: str, at: int) -> None:
        super().__init__(found)
        self.at = at


class _Stream:
    """JSON text that is read as far as it is needed: the buffer grows to one value.

    Attributes:
        parser: Decodes; its problem() belongs to the value decoded last.
        at: Place in the buffer up to which values were taken.
        key: Name under which the rows stand, where the file is one object.
    """

    def __init__(self, handle: IO[str]) -> None:
        self.parser = StrictJson()
        self.at = 0
        self.key = ""
        self._handle = handle
        self._buffer, self._ended = "", False
        self._line, self._column = 1, 1  # of the first character of the buffer

    def peek(self) -> str:
        """Return the next character that is no blank, without taking it; "" at the end."""
        while True:
            match = _BLANK.match(self._buffer, self.at)
            assert match is not None, "the pattern also matches nothing"
            self.at = match.end()
            if self.at < len(self._buffer) or not self._more():
                return self._buffer[self.at : self.at + 1]

    def take(self, allowed: str) -> str:
        """Take the next character, one of `allowed`."""
        char = self.peek()
        if not char or char not in allowed:
            raise _BadJson("not valid JSON", self.at)
        self.at += 1
        return char

    def value(self) -> tuple[Any, bytes]:
        """Take the next value; return it and its own bytes (in UTF-8)."""
        self.peek()
        self.parser.problem("")
        while True:
            try:
                value, end = self.parser.decoder.raw_decode(self._buffer, self.at)
            except json.JSONDecodeError as error:
                # The text may be cut off rather than wrong; that shows when more is read.
                length = error.pos - self.at
                if not self._more():
                    raise _BadJson("not valid JSON", self.at + length) from None
            except JSON_ERRORS:
                raise _BadJson("a JSON value is too deep or too long", self.at) from None
            else:
                length = end - self.at
                if len(self._buffer) - end >= NUMBER_MARGIN or not self._more():
                    raw = self._buffer[self.at : self.at + length]
                    self.at += length
                    return value, raw.encode("utf-8", "surrogatepass")
            self.parser.problem("")

    def place(self, at: int) -> str:
        """Return line and column of a place in the buffer."""
        breaks = self._buffer.count("\n", 0, at)
        before = self._column - 1 if not breaks else 0
        column = before + at - (self._buffer.rfind("\n", 0, at) + 1 if breaks else 0) + 1
        return f"line {self._line + breaks}, column {column}"

    def _more(self) -> bool:
        """Drop what was taken and read on, twice as much each time; False if that is all."""
        if self._ended or len(self._buffer) - self.at > ROW_LIMIT:
            return False
        breaks = self._buffer.count("\n", 0, self.at)
        last = self._buffer.rfind("\n", 0, self.at)
        self._column = self.at - last if breaks else self._column + self.at
        self._line += breaks
        rest = self._buffer[self.at :]
        block = self._handle.read(max(BLOCK // 4, len(rest)))
        self._buffer, self.at, self._ended = rest + block, 0, not block
        return bool(block)


def _elements(stream: _Stream) -> Iterator[tuple[Any, bytes]]:
    stream.take("[")
    if stream.peek() == "]":
        stream.take("]")
        return
    while True:
        yield stream.value()
        if stream.take(",]") == "]":
            return


def _array_rows(stream: _Stream) -> Iterator[tuple[Any, bytes]]:
    if stream.peek() != "[":
        raise _BadJson("the file is not a list of rows", stream.at)
    yield from _elements(stream)
    _require_end(stream)


def _require_end(stream: _Stream) -> None:
    if stream.peek():
        raise _BadJson("text after the end of the list", stream.at)


def _member_rows(stream: _Stream) -> Iterator[tuple[Any, bytes]]:
    """Yield the rows of the one list under a key of ROW_KEYS; other values are passed over."""
    stream.take("{")
    seen: set[str] = set()
    lists = 0
    while not (stream.peek() == "}" and not seen):
        if stream.peek() != '"':
            raise _BadJson("not valid JSON", stream.at)
        key, _ = stream.value()
        if key in seen:
            raise _BadJson("a name stands twice", stream.at)
        seen.add(key)
        stream.take(":")
        if key in ROW_KEYS and stream.peek() == "[":
            lists, stream.key = lists + 1, key
            if lists > 1:
                raise _BadJson("the object holds more than one list of rows", stream.at)
            yield from _elements(stream)
        else:
            stream.value()
        if stream.take(",}") == "}":
            break
    if not lists:
        keys = ", ".join(ROW_KEYS)
        raise _BadJson(f"the file is not a list of rows, nor has it one under {keys}", stream.at)
    _require_end(stream)
