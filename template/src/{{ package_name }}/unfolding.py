"""Text as a reader sees it: escapes of HTML and JSON undone, broken numbers and words joined.

Identifiers are looked for in that view; where each of its characters stood is kept, so that what is
found can be replaced in the text itself.
"""

import html
import unicodedata
from collections.abc import Sequence

import regex

# `"key":` or an escaped quotation mark: backslashes are escapes then, not parts of a path.
JSON = regex.compile(r'"\s{0,4}:|\\"')
ENTITY = r"&(?:\#[xX][0-9a-fA-F]{1,6}|\#\d{1,7}|[A-Za-z][A-Za-z\d]{1,7});"
# A number or a word that goes on in the next line, and the line end of Windows.
WRAPPED = r"(?<=\d)-[ \t]{0,8}\r?\n[ \t]{0,16}(?=\d)|(?<=\p{Ll})-\r?\n[ \t]{0,16}(?=\p{Ll})|\r\n"
PLAIN = regex.compile(f"{ENTITY}|{WRAPPED}")
ESCAPED = regex.compile(rf'{ENTITY}|{WRAPPED}|\\u[0-9a-fA-F]{{4}}|\\["\\/nrt]')
CONTROLS = {"n": "\n", "r": " ", "t": "\t"}


def unfold(text: str) -> tuple[str, Sequence[int]]:
    """Return the view of a text, and for each of its offsets the offset in the text.

    The second part has one entry more than the view has characters: the length of the text. A view
    that is the text itself has `range(len(text) + 1)`.
    """
    if "&" not in text and "\\" not in text and "-" not in text and "\r" not in text:
        return text, range(len(text) + 1)
    parts: list[str] = []
    origins: list[int] = []
    position = 0
    for found in (ESCAPED if JSON.search(text) else PLAIN).finditer(text):
        plain = _plain(found[0], number=text[found.start() - 1 : found.start()].isdecimal())
        if plain is None:
            continue
        parts += [text[position : found.start()], plain]
        origins += [*range(position, found.start()), *[found.start()] * len(plain)]
        position = found.end()
    if not position:
        return text, range(len(text) + 1)
    origins += range(position, len(text) + 1)
    return "".join(parts) + text[position:], origins


def _plain(escape: str, number: bool) -> str | None:
    """Return what an escape stands for, one character or, in a word, none; None if unknown.

    Args:
        escape: An entity, an escape of JSON or the end of a line.
        number: A digit stands before it.
    """
    if escape[0] == "&":
        return _shown(html.unescape(escape))
    if escape[0] == "\\":
        if escape[1] == "u":
            return _shown(chr(int(escape[2:], 16)))
        return CONTROLS.get(escape[1], escape[1])
    if escape == "\r\n":
        return "\n"
    return "-" if number else ""


def _shown(char: str) -> str | None:
    """Return a character, nothing for an invisible one, None for what is none or cannot stand."""
    if len(char) != 1:
        return None
    if char.isprintable() or char.isspace():
        return char
    return "" if unicodedata.category(char) == "Cf" else None
