"""Text -> words -> hashed n-grams: what duplicates and overlaps are looked for with.

A script that sets no blanks between words gives one word for each character, whatever else
stands in the text, so that a text is cut in the same way wherever it stands.
"""

import unicodedata
from collections.abc import Iterable, Iterator
from zlib import crc32

import numpy as np
import regex
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]

# Scripts without blanks between words, and how many of their characters stand for a word of a
# language with blanks: Chinese words have 1.5 to 2 characters on average, Thai words 4 to 5
# (marks included). Both are taken as round numbers, on the strict side for Chinese.
EAST, EAST_CHARACTERS = r"\p{Han}\p{Hiragana}\p{Katakana}", 2
SOUTHEAST, SOUTHEAST_CHARACTERS = r"\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}", 4
# regex, not re: its \w holds combining marks, without which Hindi falls into single letters.
WORD = regex.compile(rf"(?V1)[[{EAST}{SOUTHEAST}]&&\w]|[\w--[{EAST}{SOUTHEAST}]]+")
IS_EAST = regex.compile(f"[{EAST}]")
IS_SOUTHEAST = regex.compile(f"[{SOUTHEAST}]")
# Odd multipliers modulo 2**64: the first that of Knuth's MMIX generator, the second that of
# the finaliser of MurmurHash3 (public domain).
BASE = np.uint64(6364136223846793005)
SPREAD = np.uint64(0xFF51AFD7ED558CCD)


def words(text: str) -> list[str]:
    """Return the words of a text, blind to case, punctuation and Unicode variants (NFKC)."""
    found: list[str] = WORD.findall(unicodedata.normalize("NFKC", text).lower())
    return found


def word_length(found: list[str]) -> int:
    """Return how many entries of `words` stand for one word: 1, or characters of a script."""
    east = sum(1 for word in found if IS_EAST.match(word))
    southeast = sum(1 for word in found if IS_SOUTHEAST.match(word))
    if 2 * max(east, southeast) <= len(found):
        return 1
    return EAST_CHARACTERS if east > southeast else SOUTHEAST_CHARACTERS


def hashed(found: list[str]) -> Hashes:
    """Return one number for each word, shape (len(found),), the same in every process."""
    codes = (crc32(word.encode("utf-8", "surrogatepass")) for word in found)
    return np.fromiter(codes, np.uint64, len(found))


def grams(codes: Hashes, lengths: Iterable[int]) -> Iterator[tuple[int, Hashes]]:
    """Yield (length, hashes of the n-grams of this length), shorter lengths first.

    A polynomial in the hashes of the words modulo 2**64 (Karp and Rabin 1987). Lengths that
    the text does not reach are left out.

    Args:
        codes: Hashes of the words of one text, in order.
        lengths: Numbers of words.
    """
    rolled = np.zeros(len(codes), np.uint64)
    done = 0
    for length in sorted(set(lengths)):
        if not 0 < length <= len(codes):
            continue
        for last in range(done, length):
            rolled = rolled[: len(codes) - last] * BASE + codes[last:]
        done = length
        yield length, mixed(rolled)


def mixed(values: Hashes) -> Hashes:
    """Return a bijection of 64-bit numbers that spreads every bit over the whole number."""
    values = (values ^ (values >> np.uint64(33))) * SPREAD
    return values ^ (values >> np.uint64(33))
