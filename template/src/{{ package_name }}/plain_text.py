"""Plain text, from a txt file or a page of a pdf, as headings and paragraphs.

Nothing marks a heading in plain text, so only clear ones are taken: underlined lines, lines in
capitals, and numbered titles that are not part of a list. The rest stays text.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from .chunks import LIST_LINE, Outline, plain
from .encodings import detect
from .errors import UserError

UTF8_FIX = "convert it, for example: iconv -f WINDOWS-1252 -t UTF-8 OLD > NEW"
UNDERLINE = re.compile(r"^(=|-|~)\1{2,}$")
NUMBERED = re.compile(
    r"^(?:(?i:section|article|clause|chapter|part)\s+(\d{1,2}(?:\.\d{1,2})*|[IVX]{1,5})[.):]?"
    r"|(\d{1,2}|[IVX]{1,5})[.)]|(\d{1,2}(?:\.\d{1,2}){1,3})[.)]?)\s+(?=[A-Z])(.+)$"
)
FILLER = re.compile(r"_{2,}|\.{3,}|\u2026|[<>|=]|@")  # forms to fill in, tables of contents
MAX_HEADING_WORDS = 10
WIDE = 150  # characters; longer lines are whole paragraphs, shorter ones were wrapped
SHORT = 0.6  # of the usual width; a line that ends before was ended on purpose


class Refused(Exception):
    """A file cannot be used as a whole: what was found, and what to do."""

    def __init__(self, found: str, fix: str = "") -> None:
        super().__init__(found)
        self.found = found
        self.fix = fix


def decode(path: Path) -> str:
    """Return the text of a file in the encoding that `encodings.detect` is sure of.

    Raises:
        Refused: no encoding is certain, or the file holds no text.
    """
    data = path.read_bytes()
    try:
        encoding, _ = detect(path, path.name, "auto", by_line=False)
    except UserError as error:
        raise Refused(error.problems[0].found, UTF8_FIX) from None
    text = data.decode(encoding)
    if "\0" in text:
        raise Refused("the file holds binary data, no text", "give it the suffix of its kind")
    return text


def read_txt(path: Path, outline: Outline) -> list[str]:
    """Read a txt file."""
    add_plain_text(outline, decode(path))
    return []


def add_plain_text(outline: Outline, text: str, titles: Mapping[str, int] | None = None) -> None:
    """Add the headings and blocks of a plain text to an outline.

    Args:
        outline: Where they go.
        text: The text; a form feed begins a new document, so headings before it end there.
        titles: Lines known to be headings (the bookmarks of a pdf), and their levels.
    """
    for index, part in enumerate(text.split("\f")):
        if index:
            outline.close()
            outline.path = []
        lines = plain(part).split("\n")
        _add_lines(outline, [line.strip() for line in lines], titles or {})


def _add_lines(outline: Outline, lines: Sequence[str], titles: Mapping[str, int]) -> None:
    width = usual_width(lines)
    held: list[str] = []

    def flush() -> None:
        if held:
            outline.block(unwrap(held, width))
            held.clear()

    for index, line in enumerate(lines):
        following = lines[index + 1] if index + 1 < len(lines) else ""
        if UNDERLINE.match(line):
            flush()
        elif line and UNDERLINE.match(following) and not held:
            outline.heading(1 if following[0] == "=" else 2, line)
        elif line and (found := _heading(lines, index, titles)):
            flush()
            outline.heading(*found)
        elif line:
            held.append(line)
        else:
            flush()
    flush()


def usual_width(lines: Sequence[str]) -> int:
    """Return the length in characters that one line in twenty exceeds."""
    lengths = sorted(len(line) for line in lines if line)
    return lengths[len(lengths) * 95 // 100] if lengths else 0


def unwrap(lines: Sequence[str], width: int) -> str:
    """Return paragraphs from lines that were wrapped at `width` characters.

    A line continues the one before unless that one ended early or this one is a list item. A
    word divided at the end of a line is put together: half a name would not be recognised.
    """
    text = lines[0]
    for before, line in pairwise(lines):
        ended = before.endswith((".", "!", "?", ":", ";"))
        if width > WIDE:
            text += "\n\n" + line
        elif LIST_LINE.match(line):
            text += "\n" + line
        elif len(before) < SHORT * width:
            text += ("\n\n" if ended else "\n") + line
        elif re.search(r"[a-z]-$", before) and line[:1].islower():
            text = text[:-1] + line
        else:
            text += " " + line
    return text


def _heading(lines: Sequence[str], index: int, titles: Mapping[str, int]) -> tuple[int, str] | None:
    """Return (level, title) if a line is a heading."""
    line = lines[index]
    if (known := " ".join(line.split()).casefold()) in titles:
        return titles[known], line
    words = line.split()
    if len(words) > MAX_HEADING_WORDS + 1 or FILLER.search(line) or line[-1] in ",;)]":
        return None
    if match := NUMBERED.match(line):
        title = match[4]
        sentence = title.endswith((".", ":")) or len(title.split()) > MAX_HEADING_WORDS
        inside = sentence or _in_list(lines, index)
        return None if inside else (2 + _depth(match), title)
    letters = [char for char in line if char.isalpha()]
    shouted = len(letters) >= 5 and line[0].isalnum() and all(char.isupper() for char in letters)
    return (1, line) if shouted and not line.endswith(".") and len(words) < 10 else None


def _in_list(lines: Sequence[str], index: int) -> bool:
    """Return whether a numbered line goes on a sentence, or has a neighbour of its own kind."""
    places = [range(index - 1, -1, -1), range(index + 1, len(lines))]
    before, after = (next((lines[i] for i in place if lines[i]), "") for place in places)
    if index and lines[index - 1] and before[-1].islower() and len(before.split()) > 10:
        return True
    own, *near = (NUMBERED.match(line) for line in (lines[index], before, after))
    assert own, "only numbered lines are asked about"
    return not after or any(match and _depth(match) == _depth(own) for match in near)


def _depth(match: re.Match[str]) -> int:
    """Return 0 for `1.`, 1 for `1.1` and so on."""
    number = next(group for group in match.groups() if group)
    return number.count(".")
