"""Canaries of the audit: made-up identifiers, planted into the user's own text.

They are made in memory for one audit and are written nowhere. (The `canary` of a pack is another
thing: a mark in its evaluation items.) Names are invented words, so that no list knows them.
"""

import hashlib
import re
import tomllib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .checksums import CHECKSUMS
from .crypto_addresses import BASE58
from .grammars import GIVEN_ANY
from .invented import CODAS, ONSETS, VOWELS, Draw
from .languages import ENGLISH
from .packs import GENERAL

PLACE = "..."
ATTEMPTS = 20_000  # of meeting a check; the rarest here fits once in about 250 numbers
# Types that rules find and that nothing is planted for, with the reason.
NOT_PLANTED = {
    "REDACTED": "what another tool left in the place of an identifier",
    "CUSTOM": "your deny list: its texts are found as they stand",
    "COUNTRY": "a closed list: none can be invented",
}
MONTHS = (
    *("January", "February", "March", "April", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
CHARACTERS = {
    "#": "0123456789",
    "!": "123456789",
    "^": "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "&": "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
    "%": "0123456789abcdef",
    "~": "abcdefghijklmnopqrstuvwxyz0123456789",
}
FIELD = re.compile(r"\{(\w+)\}|([#!^&%~])")
KNOWN = frozenset(name.lower() for name in GIVEN_ANY)


@dataclass(frozen=True, slots=True)
class Form:
    """One way to write an identifier: a row of canaries.toml, which explains the fields."""

    pack: str
    type: str
    name: str
    label: str
    sentence: str
    shape: str
    check: str = ""
    cased: bool = False
    language: str = ENGLISH


@dataclass(frozen=True, slots=True)
class Canary:
    """One planted identifier with the words around it.

    Attributes:
        form: How it is written.
        phrasing: Row of PHRASINGS.
        before: Words before it.
        value: The identifier; no message and no report may show it.
        after: Words after it.
    """

    form: Form
    phrasing: str
    before: str
    value: str
    after: str


def _forms() -> tuple[Form, ...]:
    path = Path(__file__).with_name("canaries.toml")
    packs = tomllib.loads(path.read_text(encoding="utf-8"))
    return tuple(
        Form(pack, kind, name, **row)
        for pack, kinds in packs.items()
        for kind, rows in kinds.items()
        for name, row in rows.items()
    )


FORMS = _forms()


def _word(draw: Draw, syllables: int) -> str:
    """Return an invented word that is no given name of the lists."""
    while True:
        parts = (
            ONSETS[draw.below(len(ONSETS))] + VOWELS[draw.below(len(VOWELS))]
            for _ in range(syllables)
        )
        word = "".join(parts) + CODAS[draw.below(len(CODAS))]
        if word not in KNOWN:
            return word


def _bitcoin(draw: Draw) -> str:
    """Return an address in Base58Check with the first byte 0 (Bitcoin wiki, pay to a hash)."""
    content = bytes([0, *(draw.below(256) for _ in range(20))])
    content += hashlib.sha256(hashlib.sha256(content).digest()).digest()[:4]
    number, text = int.from_bytes(content, "big"), ""
    while number:
        number, rest = divmod(number, 58)
        text = BASE58[rest] + text
    return "1" * (len(content) - len(content.lstrip(b"\0"))) + text


WORDS: dict[str, Callable[[Draw], str]] = {
    "given": lambda draw: _word(draw, 2).capitalize(),
    "surname": lambda draw: _word(draw, 3).capitalize(),
    "lower": lambda draw: _word(draw, 2),
    "town": lambda draw: _word(draw, 2).capitalize() + ("ville", "burg", "ton")[draw.below(3)],
    "month": lambda draw: MONTHS[draw.below(len(MONTHS))],
    "day": lambda draw: str(1 + draw.below(28)),
    "year": lambda draw: str(1950 + draw.below(74)),
    "short": lambda draw: str(10 + draw.below(14)),  # a year in two digits
    "bitcoin": _bitcoin,
    "gtin": lambda draw: _checked("0#############", "gtin", draw),
}
# How an identifier stands in the text -> what is before it and after it. `capitals` and
# `line end` differ from `sentence` in that alone, and so does `table` from `label`.
PHRASINGS: dict[str, Callable[[Form], tuple[str, str]]] = {
    "label": lambda form: (f"{form.label}: ", ". "),
    "sentence": lambda form: _around(form, ". "),
    "capitals": lambda form: (_around(form)[0].upper(), _around(form, ". ")[1].upper()),
    "table": lambda form: (f"\n| {form.label} | ", " |\n"),
    "line end": lambda form: (_around(form)[0], "\n"),
}


def _around(form: Form, end: str = "") -> tuple[str, str]:
    before, after = form.sentence.split(PLACE)
    return before, after + end


def chosen_forms(
    packs: Collection[str], languages: Collection[str], left_out: Collection[str]
) -> list[Form]:
    """Return the forms that the packs claim to find.

    Whether a rule is still there does not count: one that was deleted must show as a leak.

    Args:
        packs: Names of the packs of a run; `general` is part of every run.
        languages: Of the data, as codes of ISO 639-1.
        left_out: Types that the policy or the rules keep.
    """
    return [
        form
        for form in FORMS
        if form.pack in {GENERAL, *packs}
        and form.language in {ENGLISH, *languages}
        and form.type not in left_out
    ]


def canaries(forms: Sequence[Form], count: int, seed: int) -> Iterator[Canary]:
    """Yield `count` canaries of each type; forms and phrasings take turns.

    The same seed gives the same canaries.
    """
    types: dict[str, list[Form]] = defaultdict(list)
    for form in forms:
        types[form.type].append(form)
    names = list(PHRASINGS)
    for kind, rows in types.items():
        for number in range(count):
            # Every form meets every phrasing, however many forms there are.
            form = rows[number % len(rows)]
            phrasing = names[(number // len(rows) + number % len(rows)) % len(names)]
            draw = Draw(f"canary\0{seed}\0{kind}\0{number}".encode())
            value = _checked(form.shape, form.check, draw)
            before, after = PHRASINGS[phrasing](form)
            if phrasing == "capitals" and not form.cased:
                value = value.upper()
            yield Canary(form, phrasing, before, value, after)


def _checked(shape: str, check: str, draw: Draw) -> str:
    """Return a filled shape whose check digit fits."""
    for _ in range(ATTEMPTS):
        found = FIELD.sub(lambda part: _filled(part, draw), shape)
        if not check or CHECKSUMS[check](found):
            return found
    raise AssertionError(f"no {shape} passes {check}")


def _filled(part: "re.Match[str]", draw: Draw) -> str:
    if part[1]:
        return WORDS[part[1]](draw)
    choice = CHARACTERS[part[2]]
    return choice[draw.below(len(choice))]
