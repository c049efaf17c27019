"""The text of a document as sections, and sections cut into chunks that fit into a prompt.

Offsets are character positions in the extracted text of a document, so that every chunk can be
found again: `document.text[chunk.start : chunk.end] == chunk.text`.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

MAX_WORDS = 220  # about 300 tokens of English: passage, question and answer fit into 1024
HEADING_SEPARATOR = " > "
CELL_SEPARATOR = " | "
# Characters that export programs leave behind: control characters (a prepared row may hold
# none), soft hyphens, zero-width spaces, byte order marks.
DEBRIS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u200b\u2060\ufeff\ufffe]")
BLANKS = re.compile(r"(?<=\S)[ \t\u00a0\u2007\u202f]+")  # those that begin a line stay
# A character of a script without spaces counts as a word of its own.
WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\s\u3040-\u30ff\u3400-\u9fff]+")
LIST_LINE = re.compile(r"^\s*(?:[-*\u2022\u00b7\u2013]|\d{1,2}[.)]|[a-z][.)])\s+(?=\S)")
BLOCK = re.compile(r"[^\n](?:(?!\n\n).)*", re.DOTALL)
SENTENCE_END = re.compile(
    r"[.!?][\"\u201d\u2019)\]]*(?=\s+[\"\u201c\u2018(\[`<]*[A-Z0-9])|[\u3002\uff01\uff1f]"
)
ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:[A-Za-z]|e\.g|i\.e|etc|vs|cf|al|approx|Dr|Mr|Mrs|Ms|Prof|No|Nos|Fig|Figs"
    r"|Eq|Sec|Art|Inc|Ltd|Co|Corp|St|Jr|Sr|U\.S|U\.K|p\.m|a\.m)\.$"
)


@dataclass(frozen=True, slots=True)
class Section:
    """The text below one heading, or of one page where a document has no headings.

    Attributes:
        heading: Titles from the outermost to the innermost; empty before the first one.
        text: Blocks (paragraphs, lists, tables) with an empty line between them.
        start: Offset of the text in the extracted text of the document.
        page: 1-based page of a pdf, else None.
    """

    heading: tuple[str, ...]
    text: str
    start: int
    page: int | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """One file as text. `notes` says what of the file is not in the text."""

    name: str
    text: str
    sections: tuple[Section, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of one section; `parts` says how many the section has."""

    file: str
    heading: tuple[str, ...]
    text: str
    start: int
    end: int
    page: int | None
    parts: int

    @property
    def passage(self) -> str:
        """Return the text with its headings in a first line of their own, as a prompt shows it."""
        head = HEADING_SEPARATOR.join(self.heading)
        return f"{head}\n\n{self.text}" if head else self.text

    @property
    def place(self) -> str:
        """Return where the chunk stands in its file."""
        page = [] if self.page is None else [f"page {self.page}"]
        heading = [f"heading {HEADING_SEPARATOR.join(self.heading)}"] if self.heading else []
        return ", ".join([*page, *heading, f"characters {self.start} to {self.end}"])


class Outline:
    """Collects the blocks of a document under the headings that were seen before them."""

    def __init__(self) -> None:
        self.page: int | None = None
        self.path: list[tuple[int, str]] = []
        self._blocks: list[str] = []
        self._parts: list[str] = []
        self._length = 0
        self._sections: list[Section] = []

    def heading(self, level: int, title: str) -> None:
        """Begin a section; a heading of the same or a higher level ends here (1 is highest)."""
        title = " ".join(plain(title).split())
        if not title:
            return
        self.close()
        self.path = [(other, text) for other, text in self.path if other < level]
        self.path.append((level, title))
        self._add(title)

    def block(self, text: str) -> None:
        """Add a paragraph, a list or a table to the section."""
        if text := re.sub(r"\n{3,}", "\n\n", plain(text)).strip("\n").rstrip():
            self._blocks.append(text)

    def close(self) -> None:
        """End the section, for example before a change of `page` or `path`."""
        if self._blocks:
            text = "\n\n".join(self._blocks)
            titles = tuple(title for _, title in self.path)
            self._sections.append(Section(titles, text, self._add(text), self.page))
            self._blocks = []

    def finish(self, name: str, notes: Sequence[str] = ()) -> Document:
        """Return the document."""
        self.close()
        return Document(name, "\n\n".join(self._parts), tuple(self._sections), tuple(notes))

    def _add(self, text: str) -> int:
        """Append to the extracted text and return the offset."""
        start = self._length + (2 if self._parts else 0)
        self._parts.append(text)
        self._length = start + len(text)
        return start


def plain(text: str) -> str:
    """Return a text with \\n line ends, single blanks and no control characters."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\u2028", "\n")
    text = BLANKS.sub(" ", DEBRIS.sub("", text.replace("\x0b", "\n")))
    return "\n".join(line.rstrip() for line in text.split("\n"))


def table_lines(rows: Sequence[Sequence[str]], has_header: bool) -> list[str]:
    """Return one line a table row; under a header each cell is named, `price: 5 | unit: EUR`."""
    cells = [[" ".join(plain(cell).split()) for cell in row] for row in rows]
    if not has_header or len(cells) < 2:
        return [CELL_SEPARATOR.join(cell for cell in row if cell) for row in cells if any(row)]
    names, *body = cells
    lines = []
    for row in body:
        named = zip([*names, *[""] * len(row)], row, strict=False)
        texts = [f"{name}: {cell}" if name else cell for name, cell in named if cell]
        lines.append(CELL_SEPARATOR.join(texts))
    return [line for line in lines if line]


def count_words(text: str) -> int:
    """Return the number of words; each character of Chinese or Japanese counts as one."""
    return len(WORD.findall(text))


def sentences(text: str) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of each sentence. Common English abbreviations end none."""
    start = 0
    for match in SENTENCE_END.finditer(text):
        if ABBREVIATION.search(text[start : match.end()]):
            continue
        yield start, match.end()
        start = match.end()
        while start < len(text) and text[start].isspace():
            start += 1
    if text[start:].strip():
        yield start, len(text)


def cut(document: Document, max_words: int = MAX_WORDS) -> Iterator[Chunk]:
    """Yield the chunks of a document in their order.

    Chunks do not overlap and never cross a section. They end where a paragraph ends, or else a
    line, a sentence, a word, whatever is the first that fits.

    Args:
        document: The document.
        max_words: Longest chunk in words.
    """
    for section in document.sections:
        spans = _joined(section.text, _glued(section.text, max_words), max_words)
        for start, end in spans:
            yield Chunk(
                document.name,
                section.heading,
                section.text[start:end],
                section.start + start,
                section.start + end,
                section.page,
                len(spans),
            )


def _glued(text: str, limit: int) -> list[tuple[int, int]]:
    """Return the blocks; what announces the next one (`...:`, a question) stays with it."""
    spans: list[tuple[int, int]] = []
    announced = False
    for match in BLOCK.finditer(text):
        start, end = match.span()
        if announced and count_words(text[spans[-1][0] : end]) <= limit:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
        announced = match[0].rstrip().endswith((":", "?"))
    return [part for span in spans for part in _parts(text, span, limit)]


def _parts(text: str, span: tuple[int, int], limit: int) -> list[tuple[int, int]]:
    """Cut one block that is too long at lines, then sentences, then words."""
    start, end = span
    block = text[start:end]
    if count_words(block) <= limit:
        return [span]
    lines = [match.span() for match in re.finditer(r"[^\n]+", block)]
    pieces = lines if len(lines) > 1 else [*sentences(block)]
    if len(pieces) < 2:
        starts = [match.start() for match in WORD.finditer(block)][::limit]
        return [
            (start + a, start + a + len(block[a:b].rstrip()))
            for a, b in pairwise([*starts, len(block)])
        ]
    return [part for a, b in pieces for part in _parts(text, (start + a, start + b), limit)]


def _joined(text: str, parts: Sequence[tuple[int, int]], limit: int) -> list[tuple[int, int]]:
    """Join neighbours as long as they fit together."""
    spans: list[tuple[int, int]] = []
    for start, end in parts:
        if spans and count_words(text[spans[-1][0] : end]) <= limit:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
    return spans
