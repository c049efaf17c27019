"""Which patterns can match a text at all: most need a word, a digit or a sign it does not hold."""

from collections.abc import Sequence

import regex

from .literals import DIGIT, EDGE, UPPER, fold, is_word, joined, parts, required

GRAMS = (2, 3, 4)  # letters by which parts of words are looked up
KNOWN_WORDS = 20_000  # of which what they hold is remembered: a few MB
ANY_DIGIT, ANY_UPPER = regex.compile(r"\d"), regex.compile(r"[\p{Lu}\p{Lt}]")


class Prefilter:
    """Tells for a text which of many patterns may match it."""

    def __init__(self, patterns: Sequence[str]) -> None:
        needs = [required(pattern) for pattern in patterns]
        clauses = sorted({clause for need in needs for clause in need}, key=sorted)
        bits = {clause: 1 << place for place, clause in enumerate(clauses)}
        self._needs = [
            (number, sum(bits[clause] for clause in need)) for number, need in enumerate(needs)
        ]
        self._classes = {DIGIT: 0, UPPER: 0}
        self._index = _Index()
        literals: dict[str, int] = {}
        for clause in clauses:
            for literal in clause:
                literals[literal] = literals.get(literal, 0) | bits[clause]
        for literal, mask in literals.items():
            if literal in self._classes:
                self._classes[literal] = mask
            else:
                self._index.add(literal, mask)

    def possible(self, text: str) -> list[int]:
        """Return the numbers of the patterns that may match `text`, ascending."""
        mask = self._classes[DIGIT] if ANY_DIGIT.search(text) else 0
        if ANY_UPPER.search(text):
            mask |= self._classes[UPPER]
        mask |= self._index.found(fold(text))
        return [number for number, need in self._needs if need & mask == need]


class _Index:
    """Literals with a number each, by a word or the beginning of a part of one that they hold."""

    def __init__(self) -> None:
        self._words: dict[str, list[tuple[str, int]]] = {}
        self._grams: dict[str, list[tuple[str, int]]] = {}
        self._others: list[tuple[str, int]] = []
        self._known: dict[str, tuple[int, dict[str, int]]] = {}

    def add(self, literal: str, number: int) -> None:
        """Add a literal."""
        pieces = literal.split(EDGE)
        whole = max(filter(is_word, pieces[1:-1]), key=len, default="")
        piece = max(filter(is_word, pieces), key=len, default="")
        row = (literal, number)
        if whole:
            self._words.setdefault(whole, []).append(row)
        elif len(piece) >= GRAMS[0]:
            self._grams.setdefault(piece[: GRAMS[-1]], []).append(row)
        else:
            self._others.append(row)

    def found(self, text: str) -> int:
        """Return the numbers of all literals in a folded text, joined by `or`."""
        found = parts(text)
        whole = joined(found)
        mask = 0
        perhaps = dict(self._others)
        for word in set(found):
            if word not in self._known:
                self._learn(word)
            numbers, rows = self._known[word]
            mask |= numbers
            perhaps |= rows
        for literal, number in perhaps.items():
            if number & ~mask and literal in whole:
                mask |= number
        return mask

    def _learn(self, word: str) -> None:
        """Remember the numbers of the literals that a word holds, and those it may be a part of."""
        numbers = 0
        perhaps: dict[str, int] = {}
        for literal, number in self._words.get(word, ()):
            if len(literal) == len(word) + 2:
                numbers |= number
            else:
                perhaps[literal] = number
        for size in GRAMS:
            for gram in {word[at : at + size] for at in range(len(word) - size + 1)}:
                for literal, number in self._grams.get(gram, ()):
                    if literal in word:
                        numbers |= number
                    else:
                        perhaps[literal] = number
        if len(self._known) >= KNOWN_WORDS:
            self._known.clear()
        self._known[word] = numbers, perhaps
