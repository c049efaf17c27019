"""Rows of csv and tsv files: delimiter and header are decided openly, quoted cells are kept whole.

Cells are as in RFC 4180: quoted where they hold a delimiter, a quote (written twice) or a line end.
"""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO

from .containers import File, RawRow, lines_of
from .encodings import NUL_FOUND, ROW_LIMIT, unusable

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
PEEK_CHARACTERS = 1 << 18
PEEK_ROWS = 100
# A first line that holds one of these is a header, whatever else speaks against it.
_NAMES = """
answer category chosen completion content context conversation date id input instruction label
labels language message messages name output prompt query question rejected response role score
sentence source subject summary tag target text title type value
"""
HEADER_NAMES = frozenset(_NAMES.split())
HEADER_LENGTH = 100  # characters; a longer cell of the first line is text, not a name
YEARS = range(1900, 2101)  # numbers that are names of columns in tables of accounts
NUMBER = re.compile(r"\s*[-+]?[\d.,]*\d\s*%?\s*")
# Stands for a \r inside a cell while the csv module reads, which would end the row there. Half
# a surrogate pair: no decoder yields it.
CARRIAGE_RETURN = "\ud80d"
ENCODER = json.JSONEncoder(separators=(",", ":"))  # made once: it is used for each row
LINE_ENDS = ("\r\n", "\r")
SHAPE = "cells separated by one character and quoted as in RFC 4180"


@dataclass(frozen=True, slots=True)
class Layout:
    """How a file is split into cells.

    Attributes:
        delimiter: One of DELIMITERS.
        header: The first row holds names; otherwise columns are called column_1, column_2 ...
        newline: What ends a line for open(): "\\n", or "" where the file has only \\r.
    """

    delimiter: str
    header: bool
    newline: str


def csv_layout(file: File) -> tuple[Layout, str]:
    """Return how the file is read, and the reasons. A file without rows gets the usual layout."""
    csv.field_size_limit(ROW_LIMIT)
    with file.text("") as handle:
        head = handle.read(PEEK_CHARACTERS)
        cut = bool(handle.read(1))
    newline = "" if "\r" in head and "\n" not in head else "\n"
    usual = "\t" if ".tsv" in file.path.name.lower() else ","
    samples = {mark: _sample(head, mark, newline, cut) for mark in DELIMITERS}
    agreeing = {mark: _agreeing(rows) for mark, rows in samples.items()}
    # The usual one wins a tie, then the order of the table.
    best = max(agreeing, key=lambda mark: (agreeing[mark], mark == usual))
    delimiter = best if agreeing[best] else usual
    rows = samples[delimiter]
    header, why = _header(rows)
    count = f"{agreeing[best]} of the first {len(rows)} rows agree" if agreeing[best] else "usual"
    reason = f"separated by {DELIMITERS[delimiter]} ({count}); {why}"
    return Layout(delimiter, header, newline), reason


def _sample(head: str, delimiter: str, newline: str, cut: bool) -> list[list[str]]:
    """Return the first rows as split at a delimiter, up to the first that cannot be."""
    lines = io.StringIO(head, newline=newline)
    rows: list[list[str]] = []
    try:
        for cells in csv.reader(map(_shielded, lines), delimiter=delimiter, strict=True):
            if cells:
                rows.append(cells)
            if len(rows) > PEEK_ROWS:
                break
    except csv.Error:
        return rows
    return rows[:-1] if cut and len(rows) <= PEEK_ROWS else rows


def _agreeing(rows: Sequence[Sequence[str]]) -> int:
    """Return how many rows have as many cells as the first; 0 for one column, or if few have."""
    sizes = Counter(map(len, rows))
    size = len(rows[0]) if rows else 0
    return sizes[size] if size > 1 and sizes[size] == max(sizes.values()) else 0


def _header(rows: Sequence[Sequence[str]]) -> tuple[bool, str]:
    """Say whether the first row holds the names of the columns, and why."""
    if not rows:
        return True, "the first line is the header"
    first = rows[0]
    if any(cell.strip().lower() in HEADER_NAMES for cell in first):
        return True, "the first line is the header (it holds a usual name)"
    named = "columns are called column_1, column_2 ..."
    others = [row for row in rows[1:] if row != first and len(row) == len(first)]
    for number, cell in enumerate(first, 1):
        if len(cell) > HEADER_LENGTH or "\n" in cell:
            return False, f"no header (the first line holds a text, cell {number}): {named}"
        if NUMBER.fullmatch(cell) and not _is_year(cell):
            return False, f"no header (the first line holds a number, cell {number}): {named}"
        if cell.strip() and any(row[number - 1] == cell for row in others):
            return False, f"no header (cell {number} of the first line recurs below): {named}"
    return True, "the first line is taken for the header (nothing in it looks like a value)"


def _is_year(cell: str) -> bool:
    return cell.strip().isdecimal() and int(cell) in YEARS


def _shielded(line: str) -> str:
    """Return a line with its \\r replaced, apart from that of a line end."""
    body = line.removesuffix("\n").removesuffix("\r")
    return body.replace("\r", CARRIAGE_RETURN) + line[len(body) :]


class _Lines:
    """The lines of a file, and what was found in those of the row being read."""

    def __init__(self, handle: IO[str], newline: str) -> None:
        self._lines = lines_of(handle, "")
        self._shield = newline == "\n"
        self.returns = self.zeros = False

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            if len(line) >= ROW_LIMIT:
                raise csv.Error("a line beyond the limit")
            if "\0" in line:
                self.zeros = True
            if self._shield and "\r" in line and line[line.find("\r") :] not in LINE_ENDS:
                line, self.returns = _shielded(line), True
            yield line


def read_csv(file: File, layout: Layout) -> Iterator[RawRow]:
    """Yield the rows of a csv or tsv file as objects of text."""
    csv.field_size_limit(ROW_LIMIT)
    with file.text(layout.newline) as handle:
        lines = _Lines(handle, layout.newline)
        reader = csv.reader(lines, delimiter=layout.delimiter, strict=True)
        header: list[str] | None = None
        number, started = 0, 1
        try:
            for cells in reader:
                started = reader.line_num + 1
                if not cells:  # a blank line
                    continue
                if lines.returns:
                    cells = [cell.replace(CARRIAGE_RETURN, "\r") for cell in cells]
                    lines.returns = False
                if header is None:
                    header = _names(cells, layout, file.name)
                    if layout.header:
                        lines.zeros = False
                        continue
                number += 1
                problem = NUL_FOUND if lines.zeros else None
                lines.zeros = False
                yield _csv_row(file.name, number, header, cells, problem)
        except csv.Error:
            found = f"the quotes of the row that starts in line {started} do not match"
            fix = f'write a quote inside a cell twice: "" (longest cell: {ROW_LIMIT >> 20} MiB)'
            raise unusable(file.name, found, SHAPE, fix) from None


def _csv_row(
    name: str, number: int, header: list[str], cells: list[str], problem: str | None
) -> RawRow:
    raw = ENCODER.encode(cells).encode()
    if len(cells) != len(header):
        problem = "csv: number of cells"
    if problem:
        return RawRow(name, number, None, problem, raw)
    return RawRow(name, number, dict(zip(header, cells, strict=True)), None, raw)


def _names(first: list[str], layout: Layout, name: str) -> list[str]:
    if not layout.header:
        return [f"column_{number}" for number in range(1, len(first) + 1)]
    twice = [str(i) for i, cell in enumerate(first, 1) if cell in first[: i - 1]]
    if twice:
        found = f"header: column {', '.join(twice)} repeats an earlier name"
        raise unusable(name, found, "a first line with one distinct name for each column")
    return first
