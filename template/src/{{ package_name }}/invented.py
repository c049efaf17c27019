"""Keyed invention: the same text gives the same invented word or number, in every process.

Everything is drawn from HMAC-SHA256 of (kind, text) under the project's key. That is one-way:
neither the outputs nor the outputs with the key give a text back, except by trying texts.
"""

import hashlib
import hmac
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from .checksums import CHECKSUMS

ATTEMPTS = 200  # of finding a number that fails every check digit; one in ten would pass one
# Rows of CHECKSUMS that look at a prefix or an area: most numbers pass them.
NO_CHECK_DIGIT = ("ein", "ssn")
# Parts of invented words. 18 * 5 * 18 * 5 * 18 * 5 * 12 = 8,748,000 words of three syllables:
# among n different words, n * (n - 1) / 17,496,000 pairs are expected to share one.
ONSETS = (*"bcdfghklmnprtvz", "br", "dr", "gr")
VOWELS = "aeiou"
CODAS = ("n", "r", "l", "m", "s", "th", "nd", "rk", "ld", "x", "sk", "rt")
SYLLABLES = 3
LETTERS = "abcdefghijklmnopqrstuvwxyz"


class NoSurrogateError(ValueError):
    """Nothing can be invented for a text: what stands in its place must be the type."""


class Draw:
    """Numbers that follow from a seed and look random."""

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._block = 0
        self._rest = b""

    def below(self, limit: int) -> int:
        """Return a number of 0 to limit - 1; uneven by less than limit / 2**64."""
        if not self._rest:
            block = self._block.to_bytes(4, "big")
            self._rest = hashlib.sha512(self._seed + block).digest()
            self._block += 1
        value, self._rest = self._rest[:8], self._rest[8:]
        return int.from_bytes(value, "big") % limit


@dataclass(frozen=True, slots=True)
class Source:
    """What is drawn from: the key of the project, and the number of the attempt."""

    key: bytes
    attempt: int = 0

    def draw(self, kind: str, text: str, attempt: int = 0) -> Draw:
        """Return the numbers of a text; texts of different kinds are unrelated."""
        number = self.attempt + attempt
        data = f"{kind}\0{number}\0{text}".encode("utf-8", "surrogatepass")
        return Draw(hmac.new(self.key, b"surrogate\0" + data, hashlib.sha256).digest())


def plain(text: str) -> str:
    """Return `text` without accents, case and typographical variants: what two spellings share."""
    parts = unicodedata.normalize("NFKD", text)
    return "".join(char for char in parts if not unicodedata.combining(char)).casefold()


def compact(text: str) -> str:
    """Return the letters and digits of a text in their plain form."""
    digits = (str(unicodedata.digit(char, char)) for char in plain(text))
    return "".join(char for char in digits if char.isalnum())


def word(source: Source, kind: str, text: str) -> str:
    """Return the invented word for a real one, in lower case and never the word itself."""
    real = plain(text)
    for attempt in range(ATTEMPTS):
        # The attempt of the whole does not count: a word has one surrogate wherever it stands.
        draw = Source(source.key).draw(kind, real, attempt)
        syllables = (
            ONSETS[draw.below(len(ONSETS))] + VOWELS[draw.below(len(VOWELS))]
            for _ in range(SYLLABLES)
        )
        found = "".join(syllables) + CODAS[draw.below(len(CODAS))]
        if found != real:
            return found
    raise NoSurrogateError


def as_written(text: str, like: str) -> str:
    """Return a lower-case word in capitals, capitalised or as it is, as `like` is written."""
    if len(like) > 1 and like.isupper():
        return text.upper()
    return text if like.islower() else text.capitalize()


def letter(source: Source, like: str, name: str) -> str:
    """Return the letter for an initial of a name; alone, initials could be told by their number."""
    draw = source.draw("initial", f"{plain(like)}\0{plain(name)}")
    found = LETTERS[draw.below(len(LETTERS))]
    return found.upper() if like.isupper() else found


def characters(source: Source, text: str) -> str:
    """Return one drawn letter or digit for each letter or digit of compact(text)."""
    real = compact(text)
    if not real:
        raise NoSurrogateError
    draw = source.draw("id", real)
    return "".join(
        str(draw.below(10)) if char.isdigit() else LETTERS[draw.below(len(LETTERS))]
        for char in real
    )


def poured(invented: str, text: str) -> str:
    """Return `text` with its letters and digits replaced, in order; case and the rest stay.

    Args:
        invented: As many letters and digits as compact(text) has.
        text: As it is written. Accents go with their letters.
    """
    rest = iter(invented)
    parts = []
    for char in text:
        if not unicodedata.combining(char):
            new = "".join(next(rest) for _ in compact(char))
            parts.append((new.upper() if char.isupper() else new) or char)
    return "".join(parts)


def shaped(text: str, source: Source) -> str:
    """Return an identifier of the same shape: letters to letters, digits to digits.

    Raises:
        NoSurrogateError: there is no letter and no digit.
    """
    return poured(characters(source, text), text)


def passes_a_check(text: str, also: Sequence[str] = ()) -> bool:
    """Return whether a number could be somebody's: a check digit of CHECKSUMS fits.

    Args:
        text: The number as it is written.
        also: Rows of NO_CHECK_DIGIT that count too.
    """
    return any(
        rule(text) for name, rule in CHECKSUMS.items() if name not in NO_CHECK_DIGIT or name in also
    )
