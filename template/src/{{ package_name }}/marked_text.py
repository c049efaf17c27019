"""Markdown and HTML -> headings and blocks.

Dropped: comments and images; scripts, styles, navigation, side bars and forms of a web page.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .chunks import Outline, table_lines
from .plain_text import UTF8_FIX, Refused, decode

_SKIPPED = """
script style nav footer aside form noscript template svg button iframe select title head
"""
SKIPPED_TAGS = _SKIPPED.split()
_BLOCKS = """
address article blockquote body dd details div dl dt fieldset figcaption figure header html h1 h2
h3 h4 h5 h6 hr li main ol p pre section summary table ul
"""
BLOCK_TAGS = frozenset(_BLOCKS.split())
SUMMARY_LEVEL = 7  # below h6: the fold-out text of a web page


def read_md(path: Path, outline: Outline) -> list[str]:
    """Read a Markdown file (CommonMark with tables)."""
    from markdown_it import MarkdownIt
    from markdown_it.tree import SyntaxTreeNode

    text = decode(path).replace("\r\n", "\n")
    # Front matter would be read as a ruler and an underlined heading.
    text = re.sub(r"\A---\n.*?\n(?:---|\.\.\.)\n", "", text, flags=re.DOTALL)
    parser = MarkdownIt("commonmark").enable("table")
    for node in SyntaxTreeNode(parser.parse(text)).children:
        if node.type == "heading":
            outline.heading(int(node.tag[1]), " ".join(_md_lines(node)))
        else:
            outline.block("\n".join(_md_lines(node)))
    return []


def _md_lines(node: Any) -> list[str]:
    """Return the lines of a Markdown block."""
    if node.type == "inline":
        return _md_text(node).split("\n")
    if node.type in ("fence", "code_block"):
        return ["    " + line for line in node.content.rstrip("\n").split("\n")]
    if node.type == "html_block":
        bare = re.sub(r"<!--.*?-->|<[^>]+>", "", node.content, flags=re.DOTALL)
        return [line.strip() for line in bare.split("\n") if line.strip()]
    if node.type == "table":
        rows = [row for part in node.children for row in part.children]
        return table_lines([[_md_text(cell) for cell in row.children] for row in rows], True)
    if node.type in ("bullet_list", "ordered_list"):
        first = int(node.attrs.get("start", 1)) if node.type == "ordered_list" else None
        items = [[line for part in item.children for line in _md_lines(part)] for item in node]
        return _list_lines(items, first)
    return [line for child in node.children for line in _md_lines(child)]


def _md_text(node: Any) -> str:
    """Return inline Markdown as text: emphasis, links and HTML lose their marks, code keeps its."""
    if node.type == "code_inline":
        return f"`{node.content}`"
    if node.type in ("softbreak", "hardbreak"):
        return " " if node.type == "softbreak" else "\n"
    if node.type in ("text", "text_special"):
        return str(node.content)
    return "".join(_md_text(child) for child in node.children)


def _list_lines(items: Sequence[Sequence[str]], first: int | None) -> list[str]:
    """Return the lines of a list: `- ` before an item, or its number if `first` is one."""
    lines = []
    for index, item in enumerate(items):
        mark = "- " if first is None else f"{first + index}. "
        marks = [mark, *[" " * len(mark)] * len(item)]
        lines += [before + line for before, line in zip(marks, item, strict=False) if line.strip()]
    return lines


def read_html(path: Path, outline: Outline) -> list[str]:
    """Read a web page: its main part where it marks one, else its body."""
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(path.read_bytes(), "html.parser")
    if soup.contains_replacement_characters:
        raise Refused("the text is not in the encoding that the file declares", UTF8_FIX)
    for tag in soup(SKIPPED_TAGS):
        tag.decompose()
    for tag in soup.select("[hidden], [aria-hidden=true], [role=navigation], [role=search]"):
        tag.decompose()
    _html_blocks(soup.find("main") or soup.find("body") or soup, outline)
    return []


def _html_blocks(node: Any, outline: Outline) -> None:
    """Walk an element: what stands between two block elements is one paragraph."""
    inline: list[str] = []

    def flush() -> None:
        if text := " ".join("".join(inline).split()):
            outline.block(text)
        inline.clear()

    for child in node.children:
        if child.name in BLOCK_TAGS:
            flush()
            _html_block(child, outline)
        elif child.name is None:
            inline.append(_html_string(child))
        elif child.find(BLOCK_TAGS):  # a span or custom element around blocks
            flush()
            _html_blocks(child, outline)
        else:
            inline.append("\n" if child.name == "br" else _html_text(child))
    flush()


def _html_block(tag: Any, outline: Outline) -> None:
    if re.fullmatch(r"h[1-6]", tag.name):
        outline.heading(int(tag.name[1]), _html_text(tag))
    elif tag.name == "summary":
        outline.heading(SUMMARY_LEVEL, _html_text(tag))
    elif tag.name == "table":
        rows = [row.find_all(["th", "td"]) for row in tag.find_all("tr")]
        header = bool(rows) and all(cell.name == "th" for cell in rows[0])
        lines = table_lines([[_html_text(cell) for cell in row] for row in rows], header)
        outline.block("\n".join(lines))
    elif tag.name in ("ul", "ol"):
        outline.block("\n".join(_html_list(tag)))
    elif tag.name == "pre":
        outline.block("\n".join("    " + line for line in tag.get_text().strip("\n").split("\n")))
    elif tag.name == "dl":
        outline.block("\n\n".join(_html_terms(tag)))
    else:
        before = list(outline.path)
        _html_blocks(tag, outline)
        if tag.name == "details":  # its summary is no heading of what follows
            outline.close()
            outline.path = before


def _html_string(string: Any) -> str:
    """Return a text node; comments and declarations are subclasses of it."""
    return str(string) if type(string).__name__ in ("NavigableString", "CData") else ""


def _html_text(tag: Any) -> str:
    return " ".join(tag.get_text(" " if tag.find(BLOCK_TAGS) else "").split())


def _html_list(tag: Any) -> list[str]:
    items = []
    for item in tag.find_all("li", recursive=False):
        nested = [_html_list(inner.extract()) for inner in item.find_all(["ul", "ol"])]
        items.append([_html_text(item), *(line for lines in nested for line in lines)])
    return _list_lines(items, 1 if tag.name == "ol" else None)


def _html_terms(tag: Any) -> Iterator[str]:
    """Yield the entries of a description list: `term: text`, or a question and its answer."""
    term = ""
    for child in tag.find_all(["dt", "dd"]):
        text = _html_text(child)
        if child.name == "dt":
            term = text
        elif term.endswith("?"):
            yield f"Q: {term}\nA: {text}"
        else:
            yield f"- {term}: {text}" if term else text
