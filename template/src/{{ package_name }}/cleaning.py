"""Cleaning of texts: one row of RULES per rule, each switched by `data.cleaning`, each counted.

Only what carries no meaning is changed. Letters, digits, signs, units, quotes, dashes,
bullets, indentation, tabs and the order of lines stay as they are.
"""

import re
import unicodedata
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import regex

from .records import Record

LEFT = "left: nothing but blanks and invisible characters"
# A letter that UTF-8 read as another encoding starts with (Latin-1, Windows-1252 and -1251,
# Mac Roman) and another character beyond ASCII; or a C1 control character.
TELL_TALE = re.compile("[\x80-\x9f]|[\u00c2-\u00f4\u0420\u0421\u221a\u201a\u00ac][^\x00-\x7f]")
# Blanks of another width or that do not break. The ideographic space U+3000 is not odd: it
# is the blank of Chinese and Japanese text.
ODD_BLANK = re.compile("[\u00a0\u2000-\u200a\u202f\u205f]")
SEPARATOR = re.compile("[\u2028\u2029]")
# A soft hyphen at the end of a line, inside a word; and one where no word is ever broken:
# exports from PDF write the hyphens of COVID-19, Mid-Tier and 12-month that way.
BROKEN_WORD = regex.compile(r"(?<=\p{Ll})\u00ad+ *\n(?=\p{Ll})")
REAL_HYPHEN = regex.compile(
    r"(?<=\p{Nd})\u00ad+(?=[\p{L}\p{Nd}])|(?<=\p{L})\u00ad+(?=\p{Nd})"
    r"|(?<=\p{Ll})\u00ad+(?=\p{Lu})"
)
# Direction marks, variation selectors and fillers next to the characters that identifiers are
# made of: there they change nothing that can be seen, and hide the identifier from the rules.
UNSEEN = regex.compile(
    r"(?<=[-A-Za-z0-9@.+()/_])[\u034f\u061c\u115f\u1160\u17b4\u17b5\u200e\u200f\u202a-\u202e"
    r"\u2061-\u206f\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]+(?=[-A-Za-z0-9@.+()/_])"
)
HIDDEN = re.compile("[\u00ad\u180e\u200b-\u200d\u2060\ufeff]")
# Scripts in which an invisible joiner or space between letters has no meaning.
_PLAIN = (
    "Common Inherited Latin Greek Cyrillic Armenian Georgian Hebrew Han Hiragana Katakana "
    "Bopomofo Hangul"
)
# A letter or mark of the others: there, joiners shape letters and zero-width spaces part words.
_NO_JOINERS = "".join(r"\p{" + name + "}" for name in _PLAIN.split())
SHAPED = regex.compile(r"[[\p{L}\p{M}]--[" + _NO_JOINERS + "]]", regex.V1)
EMOJI = regex.compile(r"[\p{Extended_Pictographic}\uFE0F\U0001F3FB-\U0001F3FF]")
PICTURE = regex.compile(r"\p{Extended_Pictographic}")
JOINERS = re.compile("[\u180e\u200b-\u200d]+")
MEANINGLESS = re.compile("[\u00ad\u2060\ufeff]+")
# A trailing tab is an empty cell of a table, unless the whole line is blank.
TRAILING = re.compile(r"(?<=[^ \t\n]) +$|^[ \t]+$", re.MULTILINE)
EMPTY_LINES = re.compile(r"\n{4,}")
VARIANTS = str.maketrans(
    {
        "\u2010": "-",
        "\u2011": "-",
        "\ufb00": "ff",
        "\ufb01": "fi",
        "\ufb02": "fl",
        "\ufb03": "ffi",
        "\ufb04": "ffl",
    }
)
VARIANT = re.compile("[\u2010\u2011\ufb00-\ufb04]")
# Elements of HTML. Other words between angle brackets are data: <PERSON>, <tool_call>, vector<T>.
_INLINE = "a abbr b big center cite code del em font i img ins kbd mark q s small span strike"
_INLINE += " strong sub sup tt u var wbr"
_BLOCK = "article aside blockquote body dd div dl dt figcaption figure footer form h1 h2 h3 h4 h5"
_BLOCK += " h6 head header hr html iframe input label li main meta link nav ol option p pre script"
_BLOCK += " section select style table tbody td tfoot th thead title tr ul button noscript"
BLOCKS = tuple(_BLOCK.split())
NAMES = "|".join((*_INLINE.split(), *BLOCKS, "br"))
# `a <b and c> d` compares numbers: what follows a name must look like attributes.
_VALUE = r"""(?:"[^"<>]*"|'[^'<>]*'|[^\s"'<>]+)"""
_ATTRIBUTES = rf"(?:\s+[\w:-]+\s*=\s*{_VALUE}|\s+(?:checked|disabled|nowrap|selected))*\s*"
_TAG = rf"/?(?:{NAMES}){_ATTRIBUTES}/?>"
TAG = re.compile(f"<{_TAG}", re.IGNORECASE)
NOT_A_TAG = re.compile(f"<(?!{_TAG}|!--)", re.IGNORECASE)
NOT_AN_ENTITY = re.compile(r"&(?!(?:[A-Za-z][A-Za-z0-9]{1,30}|#\d{1,7}|#[xX][0-9A-Fa-f]{1,6});)")
CODE = re.compile(r"(```.*?(?:```|\Z)|`[^`\n]+`)", re.DOTALL)
BLOCK_GAP = re.compile(r"\n(?:[ \t]*\n)+")
# What suspicious() counts: name -> what stands in a text. Nothing is changed for it.
SIGNS = {
    "control character": re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]"),
    "direction override": re.compile("[\u202a-\u202e\u2066-\u2069]"),
    "private-use character": re.compile("[\ue000-\uf8ff\U000f0000-\U0010fffd]"),
    "replacement character": re.compile("\ufffd"),
}
ENCODED = re.compile(r"[A-Za-z0-9+/]{200,}")  # base64 of 150 bytes or more
LENGTH_RATIO = 1000  # characters of the answer to those of the prompt, or the reverse


@dataclass(frozen=True, slots=True)
class Rule:
    """One way of cleaning.

    Attributes:
        name: its switch below `data.cleaning`, and its key in the report.
        apply: text -> text; gives the same text where the rule has nothing to do.
        doc: one sentence for the documentation.
    """

    name: str
    apply: Callable[[str], str]
    doc: str


def _mojibake(text: str) -> str:
    if text.isascii() or not TELL_TALE.search(text):
        return text
    import ftfy

    # Both switches guess: one takes a blank for half of a letter, the other writes U+FFFD.
    return ftfy.fix_encoding(text, restore_byte_a0=False, replace_lossy_sequences=False)


def _unicode_nfc(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _whitespace(text: str) -> str:
    if not text.isascii():
        if SEPARATOR.search(text):
            text = text.replace("\u2028", "\n").replace("\u2029", "\n\n")
        text = UNSEEN.sub("", ODD_BLANK.sub(" ", text))
        if HIDDEN.search(text):
            text = REAL_HYPHEN.sub("-", BROKEN_WORD.sub("", text))
            text = JOINERS.sub(_needed_joiners, MEANINGLESS.sub("", text))
    if " \n" in text or "\t\n" in text or text.endswith((" ", "\t")):
        text = TRAILING.sub("", text)
    if "\n\n\n\n" in text:
        text = EMPTY_LINES.sub("\n\n\n", text)
    return text.strip("\n") if text[:1] == "\n" or text[-1:] == "\n" else text


def _needed_joiners(found: re.Match[str]) -> str:
    """Return joiners and zero-width spaces that shape letters, part words or join an emoji."""
    text, run, (start, end) = found.string, found[0], found.span()
    before, after = text[max(0, start - 1) : start], text[end : end + 1]
    if SHAPED.match(before) or SHAPED.match(after):
        return run
    return run if run == "\u200d" and EMOJI.match(before) and PICTURE.match(after) else ""


def _punctuation(text: str) -> str:
    if text.isascii() or not VARIANT.search(text):
        return text
    return text.translate(VARIANTS)


def has_tags(text: str) -> bool:
    """Say whether a text holds tags of HTML outside code between backticks."""
    return "<" in text and any(TAG.search(part) for part in CODE.split(text)[::2])


def without_tags(text: str) -> str:
    """Return HTML as text: blocks on lines of their own, cells of a table parted by |.

    Text without tags, code between backticks, other words in angle brackets and a single <
    or & stay as they are.
    """
    if not has_tags(text):
        return text
    parts = CODE.split(text)
    parts[::2] = [_to_text(part) if TAG.search(part) else part for part in parts[::2]]
    return "".join(parts)


def _to_text(html: str) -> str:
    from bs4 import BeautifulSoup

    html = NOT_A_TAG.sub("&lt;", NOT_AN_ENTITY.sub("&amp;", html))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its warnings quote what they are about
        soup = BeautifulSoup(html, "html.parser")
    for element in soup(["script", "style"]):
        element.decompose()
    for element in soup("br"):
        element.replace_with("\n")
    for element in soup(["td", "th"]):
        if element.find_next_sibling(["td", "th"]):
            element.append(" | ")
    for element in soup("li"):
        element.insert(0, "- ")
    for element in soup([name for name in BLOCKS if name not in ("td", "th")]):
        element.insert_before("\n")
        element.insert_after("\n")
    return BLOCK_GAP.sub("\n\n", soup.get_text())


# The order matters: the characters that mojibake is made of must not be changed before.
RULES = (
    Rule("mojibake", _mojibake, "Repairs text whose bytes were read in the wrong encoding."),
    Rule("markup", without_tags, "Turns HTML into text; code between backticks stays."),
    Rule("unicode_nfc", _unicode_nfc, "Writes composed characters in one way (Unicode NFC)."),
    Rule(
        "whitespace",
        _whitespace,
        "Odd blanks become blanks; trailing blanks, invisible characters and more than two "
        "empty lines in a row go.",
    ),
    Rule(
        "punctuation",
        _punctuation,
        "The hyphens U+2010 and U+2011 become -, and ligatures of a font their letters.",
    ),
)


def chosen_rules(switches: Mapping[str, bool]) -> tuple[Rule, ...]:
    """Return the rules that the settings of `data.cleaning` switch on, in their order."""
    return tuple(rule for rule in RULES if switches[rule.name])


def clean_text(text: str, rules: Sequence[Rule]) -> tuple[str, tuple[str, ...]]:
    """Return the cleaned text and the names of the rules that changed it.

    Cleaning a cleaned text changes nothing. A text of which nothing would be left is
    returned as it is, with LEFT in place of names.
    """
    names: dict[str, None] = {}
    clean, before = text, None
    # What one rule takes away may show another one something new. This ends: no rule writes
    # what another one replaces, but for repaired text and entities, which get shorter.
    while clean != before:
        before = clean
        for rule in rules:
            changed = rule.apply(clean)
            if changed != clean:
                clean = changed
                names[rule.name] = None
    if names and not clean.strip():
        return text, (LEFT,)
    return clean, tuple(names)


def clean_record(record: Record, rules: Sequence[Rule]) -> tuple[Record, Counter[str]]:
    """Return the cleaned record and how many of its texts each rule changed, or LEFT."""
    counts: Counter[str] = Counter()
    texts = []
    for text in record.texts():
        clean, names = clean_text(text, rules)
        counts.update(names)
        texts.append(clean)
    return (record.with_texts(tuple(texts)) if counts else record), counts


def suspicious(record: Record) -> list[str]:
    """Return what is odd about a record: found, counted in the report, and left as it is."""
    found = {name: None for text in record.texts() for name in _signs(text)}
    answers = (*record.chosen, *record.rejected) or record.messages
    answer = sum(len(turn.content) for turn in answers if turn.role == "assistant")
    asked = sum(map(len, record.prompt())) if answer else 0
    if asked and max(asked, answer) >= LENGTH_RATIO * min(asked, answer):
        found["extreme length ratio"] = None
    return list(found)


def _signs(text: str) -> list[str]:
    """Return the names of what is odd about one text."""
    found = []
    if not text.isascii() and TELL_TALE.search(text):
        from ftfy.badness import is_bad

        found += ["mojibake"] * is_bad(text)
    found += [name for name, sign in SIGNS.items() if sign.search(text)]
    found += ["markup"] * has_tags(text)
    # Sequences of bases or proteins and hexadecimal numbers lack one of the three.
    runs = ENCODED.findall(text) if len(text) >= 200 else []
    kinds = (str.isupper, str.islower, str.isdigit)
    if any(all(any(map(kind, run)) for kind in kinds) for run in runs):
        found.append("base64")
    return found
