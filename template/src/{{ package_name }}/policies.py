"""What stands in the place of an identifier: one row of POLICIES for each policy."""

from collections.abc import Callable
from dataclasses import dataclass

import regex

# What `replace` writes, and what no rule may touch when a text is scrubbed a second time.
PLACEHOLDER = regex.compile(r"<[A-Z][A-Z0-9_]*>")


@dataclass(frozen=True, slots=True)
class Mention:
    """One identifier that is about to be replaced; `key` is the project's secret key."""

    type: str
    text: str
    key: bytes


@dataclass(frozen=True, slots=True)
class Policy:
    """A way to replace identifiers. `replacement` must give the same text for the same mention."""

    name: str
    doc: str
    replacement: Callable[[Mention], str]


def replace(mention: Mention) -> str:
    """Return the type in angle brackets, for example `<PERSON>`."""
    return f"<{mention.type}>"


def mask(mention: Mention) -> str:
    """Return an asterisk for each letter and digit, so that length and punctuation stay."""
    return "".join("*" if char.isalnum() else char for char in mention.text)


POLICIES: dict[str, Policy] = {
    row.name: row
    for row in (
        Policy("replace", "the type in angle brackets, `<PERSON>`", replace),
        Policy("mask", "an asterisk for each letter and digit, `**** *****`", mask),
    )
}
