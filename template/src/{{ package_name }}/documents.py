"""Documents (md, txt, html, docx, pdf) -> text under headings. One row of ROWS for each kind."""

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .chunks import Document, Outline
from .errors import Problem, UserError
from .marked_text import read_html, read_md
from .office_text import read_docx, read_pdf
from .plain_text import Refused, read_txt

INSTALL = "pip install .[documents]"


@dataclass(frozen=True, slots=True)
class Reader:
    """One kind of document. `read` fills the outline and returns notes; `module` is its library."""

    name: str
    suffixes: tuple[str, ...]
    module: str
    read: Callable[[Path, Outline], list[str]]


def find_documents(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """Return (documents, other files) of files and folders, sorted; dotfiles belong to neither."""
    found: set[Path] = set()
    for path in paths:
        inner = path.rglob("*") if path.is_dir() else [path]
        files = (file for file in inner if file.is_file() or file == path)
        found |= {file for file in files if not _hidden(file.relative_to(path))}
    known = {file for file in found if file.suffix.lower() in DOCUMENTS or file in set(paths)}
    return sorted(known), sorted(found - known)


def read_documents(paths: Sequence[Path], root: Path) -> list[Document]:
    """Read all documents.

    Args:
        paths: The files.
        root: Folder that the names in reports and rows are relative to.

    Raises:
        UserError: files that cannot be used; all are listed, without a word of their text.
    """
    documents: list[Document] = []
    problems: list[Problem] = []
    for path in paths:
        inside = path.is_relative_to(root)
        name = (path.relative_to(root) if inside else path).as_posix()
        try:
            documents.append(_read(path, name))
        except Refused as refused:
            problems.append(Problem(name, refused.found, fix=refused.fix))
    if problems:
        raise UserError(problems)
    return documents


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _read(path: Path, name: str) -> Document:
    reader = DOCUMENTS.get(path.suffix.lower())
    if reader is None:
        raise Refused("unknown kind of document", f"convert it to one of {', '.join(DOCUMENTS)}")
    if importlib.util.find_spec(reader.module) is None:
        raise Refused(f"reading {reader.name} needs a library that is not installed", INSTALL)
    outline = Outline()
    try:
        notes = reader.read(path, outline)
    except (Refused, MemoryError):
        raise
    except OSError as error:
        raise Refused(error.strerror or "cannot be read") from None
    except Exception as error:
        # The libraries raise what they like on a broken file, with its text in the message.
        found = f"not a readable {reader.name} file ({type(error).__name__})"
        raise Refused(found, "open it in its program and save it again") from None
    document = outline.finish(name, notes)
    if not document.sections:
        raise Refused("the document holds no text", "fill it or take it away")
    return document


ROWS = (
    Reader("Markdown", (".md", ".markdown"), "markdown_it", read_md),
    Reader("plain text", (".txt",), "re", read_txt),
    Reader("HTML", (".html", ".htm"), "bs4", read_html),
    Reader("Word", (".docx",), "docx", read_docx),
    Reader("PDF", (".pdf",), "pypdf", read_pdf),
)
DOCUMENTS: dict[str, Reader] = {suffix: row for row in ROWS for suffix in row.suffixes}
