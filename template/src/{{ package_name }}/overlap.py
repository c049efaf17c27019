"""Overlap of evaluation items with the training text, by word n-grams.

An item counts as overlapping if the training text holds one of its 13-word sequences, or at
least 70 % of its 8-word sequences (the rule of the PaLM report). Sequences that many items
of a set share are the wording of the set, not the content of an item, and are cut out first.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from itertools import groupby

from .items import Item

LONG, SHORT = 13, 8
SHARE = 0.7
COMMON_SHARE, COMMON_ITEMS = 0.1, 3
MIN_WORDS = 5  # shorter texts are stock phrases that any text may hold
WORD = re.compile(r"\w+")


def item_texts(item: Item) -> list[str]:
    """Return the parts of an evaluation item that training text could hold."""
    return [text for text in (item.context, item.question) if text]


class OverlapIndex:
    """Holds the n-grams of the evaluation items; training texts stream past it.

    Memory grows with the evaluation sets only, never with the training data.
    """

    def __init__(self, sets: Mapping[str, Iterable[list[str]]]) -> None:
        """Index the items.

        Args:
            sets: Id of a set -> for each item its texts; n-grams do not cross texts.
        """
        self._counts: dict[str, int] = {}
        self._own: dict[tuple[str, int], int] = {}  # item -> number of its own 8-grams
        self._short: dict[str, list[tuple[str, int]]] = defaultdict(list)
        self._long: dict[str, list[tuple[str, int]]] = defaultdict(list)
        self._lengths: set[int] = set()
        self._hits: dict[tuple[str, int], set[str]] = defaultdict(set)
        self._flagged: set[tuple[str, int]] = set()
        for set_id, items in sets.items():
            self._add_set(set_id, [[_words(text) for text in texts] for texts in items])

    def add(self, text: str) -> None:
        """Compare one training text with all items."""
        words = _words(text)
        for length in self._lengths:
            for start in range(len(words) - length + 1):
                gram = " ".join(words[start : start + length])
                for item in self._short.get(gram, ()):
                    self._hits[item].add(gram)
                    if item in self._long.get(" ".join(words[start : start + LONG]), ()):
                        self._flagged.add(item)

    def result(self) -> dict[str, dict[str, int]]:
        """Return for each set `n` items, how many are `overlapping`, and `too_short` to tell."""
        similar = {i for i, hits in self._hits.items() if len(hits) >= SHARE * self._own[i]}
        flagged = Counter(set_id for set_id, _ in self._flagged | similar)
        short = Counter(set_id for (set_id, _), own in self._own.items() if not own)
        return {
            name: {"n": n, "overlapping": flagged[name], "too_short": short[name]}
            for name, n in self._counts.items()
        }

    def _add_set(self, set_id: str, items: list[list[list[str]]]) -> None:
        self._counts[set_id] = len(items)
        grams = [{gram for words in texts for gram in _grams(words, SHORT)} for texts in items]
        seen_in = Counter(gram for own in grams for gram in own)
        limit = max(COMMON_ITEMS, COMMON_SHARE * len(items))
        shared = {gram for gram, count in seen_in.items() if count >= limit}
        for number, texts in enumerate(items):
            item = (set_id, number)
            own = [part for words in texts for part in _without(words, shared)]
            short = {gram for part in own for gram in _grams(part, SHORT)}
            self._own[item] = len(short)
            for gram in short:
                self._short[gram].append(item)
                self._lengths.add(gram.count(" ") + 1)
            for gram in {gram for part in own for gram in _grams(part, LONG)}:
                self._long[gram].append(item)


def _words(text: str) -> list[str]:
    return WORD.findall(text.lower())


def _grams(words: list[str], length: int) -> list[str]:
    """Return the n-grams; a shorter text is one n-gram as a whole, from MIN_WORDS on."""
    if len(words) < MIN_WORDS:
        return []
    length = min(length, len(words))
    return [" ".join(words[i : i + length]) for i in range(len(words) - length + 1)]


def _without(words: list[str], shared: set[str]) -> list[list[str]]:
    """Cut the sequences that a set's items share out of one text; return what is between."""
    kept: list[str | None] = [*words]
    for start, gram in enumerate(_grams(words, SHORT)):
        if gram in shared:
            length = gram.count(" ") + 1
            kept[start : start + length] = [None] * length
    parts = groupby(kept, key=lambda word: word is None)
    return [[word for word in part if word is not None] for gap, part in parts if not gap]
