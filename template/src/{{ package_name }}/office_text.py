"""Word and PDF files -> headings and blocks.

Dropped from a docx: headers and footers, text boxes, footnotes, comments, deleted text and the
table of contents. Dropped from a pdf: images, and lines that repeat at the top or bottom of its
pages.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .chunks import Outline, table_lines
from .plain_text import Refused, add_plain_text

# Office files with a password, and those of the time before docx, are OLE containers.
OLE_MAGIC = bytes.fromhex("d0cf11e0a1b11ae1")
PLAIN_TABLE_STYLES = ("", "Normal Table", "Table Grid")
MIN_RUNNING_PAGES = 3  # fewer equal first lines may be chance


def read_docx(path: Path, outline: Outline) -> list[str]:
    """Read a Word document: headings by their style, paragraphs, lists, tables row by row."""
    with path.open("rb") as handle:
        if handle.read(len(OLE_MAGIC)) == OLE_MAGIC:
            fix = "save it as docx without a password"
            raise Refused("an old .doc file, or one with a password", fix)
    import docx

    document = docx.Document(str(path))
    items: list[str] = []  # lines of the list that is being read

    def flush() -> None:
        outline.block("\n".join(items))
        items.clear()

    for block in _docx_blocks(document.element.body, document):
        if isinstance(block, docx.table.Table):
            flush()
            outline.block("\n".join(_docx_table(block)))
            continue
        text, style = _docx_text(block._p), _style_names(block)
        level = next((_heading_level(name) for name in style if _heading_level(name)), 0)
        if level:
            flush()
            outline.heading(level, text)
        elif (mark := _list_mark(block, style)) and text.strip():
            numbered = sum(not line.startswith("- ") for line in items) + 1
            items.append(f"{numbered}. {text}" if mark == "1" else f"- {text}")
        elif not any(name.lower().startswith("toc") for name in style):
            flush()
            outline.block(text)
    flush()
    return []


def _docx_blocks(body: Any, parent: Any) -> Iterator[Any]:
    """Yield the paragraphs and tables of a body, content controls included."""
    from docx.oxml.ns import qn
    from docx.table import Table
    from docx.text.paragraph import Paragraph

    for element in body.iterchildren():
        if element.tag == qn("w:p"):
            yield Paragraph(element, parent)
        elif element.tag == qn("w:tbl"):
            yield Table(element, parent)
        elif element.tag == qn("w:sdt"):
            gallery = element.xpath(".//w:docPartGallery/@w:val")
            for content in element.iterchildren(qn("w:sdtContent")):
                if "Table of Contents" not in gallery:
                    yield from _docx_blocks(content, parent)


def _docx_text(paragraph: Any) -> str:
    """Return the text with insertions of tracked changes, without deletions and text boxes."""
    from docx.oxml.ns import qn

    marks = {qn("w:tab"): " ", qn("w:br"): "\n", qn("w:noBreakHyphen"): "-"}
    inside = "[not(ancestor::w:txbxContent)][not(ancestor::w:pPr)]"
    names = ("w:t", "w:tab", "w:br", "w:noBreakHyphen")
    found = paragraph.xpath(" | ".join(f".//{name}{inside}" for name in names))
    return "".join(marks.get(element.tag, element.text or "") for element in found)


def _style_names(paragraph: Any) -> list[str]:
    """Return the name of a paragraph's style and of those it is based on."""
    names, style = [], paragraph.style
    while style is not None:
        names.append(style.name or "")
        style = style.base_style
    return names


def _heading_level(style: str) -> int:
    match = re.fullmatch(r"heading ([1-9])", style.lower())
    return int(match[1]) + 1 if match else int(style.lower() == "title")


def _list_mark(paragraph: Any, style: Sequence[str]) -> str:
    """Return `1` for a numbered item, `-` for another item, and nothing for no list item."""
    numbering = paragraph._p.xpath("./w:pPr/w:numPr")
    if not numbering:
        kind = next((name for name in style if name.startswith("List ")), "")
        return {"List Number": "1", "List Bullet": "-"}.get(kind.rstrip(" 0123456789"), "")
    number = "".join(numbering[0].xpath("./w:numId/@w:val"))
    level = "".join(numbering[0].xpath("./w:ilvl/@w:val")) or "0"
    if number in ("", "0"):  # 0 takes a paragraph out of the list of its style
        return ""
    root = paragraph.part.numbering_part.element
    abstract = root.xpath(f"./w:num[@w:numId='{int(number)}']/w:abstractNumId/@w:val")
    where = f"./w:abstractNum[@w:abstractNumId='{''.join(abstract)}']/w:lvl[@w:ilvl='{int(level)}']"
    formats = root.xpath(f"{where}/w:numFmt/@w:val")
    return "-" if formats in ([], ["bullet"], ["none"]) else "1"


def _docx_table(table: Any) -> list[str]:
    header = _has_header(table)
    rows = [
        _docx_cells(row.cells, repeat=header and not index) for index, row in enumerate(table.rows)
    ]
    return table_lines(rows, header)


def _docx_cells(cells: Sequence[Any], repeat: bool) -> list[str]:
    """Return the texts of a row; python-docx gives a merged cell for each column it covers.

    Only a header repeats the text: it names each of the columns.
    """
    texts, before = [], None
    for cell in cells:
        paragraphs = [] if cell._tc is before and not repeat else cell._tc.xpath(".//w:p")
        texts.append(" ".join(_docx_text(paragraph) for paragraph in paragraphs))
        before = cell._tc
    return texts


def _has_header(table: Any) -> bool:
    """Return whether the first row is one: marked so, all bold, or set off by a table style."""
    first = table.rows[0]
    if first._tr.xpath("./w:trPr/w:tblHeader"):
        return True
    runs = [run for cell in first.cells for text in cell.paragraphs for run in text.runs]
    if runs and all(run.bold for run in runs if run.text.strip()):
        return True
    looks = table._tbl.xpath("./w:tblPr/w:tblLook/@w:firstRow")
    style = table.style.name if table.style is not None else ""
    return looks == ["1"] and style not in PLAIN_TABLE_STYLES


def read_pdf(path: Path, outline: Outline) -> list[str]:
    """Read a pdf page by page; bookmarks tell which lines are headings."""
    from pypdf import PdfReader

    with path.open("rb") as handle:
        reader = PdfReader(handle)
        if reader.is_encrypted:
            fix = "save a copy without a password, for example: qpdf --decrypt IN OUT"
            raise Refused("the pdf is encrypted", fix)
        titles = _bookmarks(reader.outline)
        pages = [page.extract_text().strip().split("\n") for page in reader.pages]
    empty = [number for number, lines in enumerate(pages, 1) if not "".join(lines).strip()]
    if len(empty) == len(pages):
        fix = "recognise its text first, for example: ocrmypdf IN OUT"
        raise Refused("the pdf holds no text (a scan?)", fix)
    running = _running_lines(pages)
    for number, lines in enumerate(pages, 1):
        outline.close()
        outline.page = number
        ends = {0, len(lines) - 1}
        kept = [x for i, x in enumerate(lines) if not (i in ends and _masked(x) in running)]
        add_plain_text(outline, "\n".join(kept).replace("\f", "\n"), titles)
    return [f"{len(empty)} of {len(pages)} pages hold no text (scanned?)"] if empty else []


def _bookmarks(entries: Sequence[Any], level: int = 1) -> dict[str, int]:
    """Return the titles of the bookmarks, in lower case, and their levels."""
    titles: dict[str, int] = {}
    for entry in entries:
        if isinstance(entry, list):
            titles |= _bookmarks(entry, level + 1)
        elif title := " ".join(str(entry.title).split()).casefold():
            titles[title] = level
    return titles


def _running_lines(pages: Sequence[Sequence[str]]) -> set[str]:
    """Return the first and last lines, numbers masked, of at least half of the pages."""
    found = Counter(_masked(line) for lines in pages for line in {lines[0], lines[-1]})
    least = max(MIN_RUNNING_PAGES, len(pages) / 2)
    return {line for line, count in found.items() if count >= least}


def _masked(line: str) -> str:
    return re.sub(r"\d+", "#", " ".join(line.split()))
