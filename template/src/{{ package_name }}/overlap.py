"""Contamination: evaluation items that stand in training rows, by n-grams of words.

A row is contaminated by an item if it holds

1. thirteen words in a row of the item's question (Brown et al. 2020, GPT-3, appendix C),
2. the whole question, where it has 5 to 12 words (8 to 12 beside a context, because "What does
   the table show?" says nothing without its table),
3. at least 70 % of the eight-word sequences of question and context (Chowdhery et al. 2022,
   PaLM, section 8),
4. nearly the same text as question and context, or as one of them: Jaccard similarity of
   five-word sequences at least 0.5, or
5. a part of the item (70 % of the eight-word sequences of one of the row's texts), where all
   such rows together hold 70 % of the item: a document cut into paragraphs.

Rules 1 to 4 need the row alone; the fifth is decided by `OverlapIndex.settle` once all rows
were compared.

Sequences that many items of a set share are the wording of the set, not the content of an
item, and do not count. In scripts without blanks a word stands for 2 or 4 characters (see
shingles): thirteen words are 26 characters of Chinese, 52 of Thai.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import Problem, UserError
from .items import Item
from .readers import read_rows
from .shingles import Hashes, grams, hashed, word_length, words

LONG, SHORT, SHINGLE = 13, 8, 5  # words
MIN_WORDS = 5  # shorter texts are stock phrases that any text may hold
# A longer question is a document. Thirteen words of it are often standard wording: 13 of 21
# contracts that are no items held some of one of 40 that are.
MAX_QUESTION = 500
SHARE = 0.7  # of an item's eight-word sequences
# Jaccard similarity. At 0.8, as for duplicates, rule 3 fires first: a changed word breaks eight
# eight-word sequences, but five five-word ones only. 0.5 finds items that were edited lightly.
NEAR = 0.5
# A sequence of a context is wording from 10 % of the items on: a document has many questions.
# One of a question is wording from 3 items on.
COMMON_SHARE, COMMON_ITEMS = 0.1, 3
PART = "part"
RULES = ("13-gram", "question", "8-grams", "near-duplicate", PART)
# What an n-gram in the index stands for; the first four are the rules in their order.
IN_QUESTION, QUESTION, IN_ITEM, IN_SHINGLES, IN_SET = range(5)
KINDS = 5
QUESTION_COLUMNS = ("question", "prompt", "instruction", "query", "text", "sentence")
CONTEXT_COLUMNS = ("context", "contexts", "passage", "input")


class ItemText(NamedTuple):
    """What of an evaluation item training text could hold."""

    id: str
    question: str
    context: str = ""


class Hit(NamedTuple):
    """A training row holds an item, or a part of it.

    Attributes:
        set_id: The evaluation set.
        item: The item's place in the set, from 0.
        rule: One of RULES.
        parts: Of a part: numbers of the item's sequences in the row. They hold for all
            indexes of the same sets.
    """

    set_id: str
    item: int
    rule: str
    parts: tuple[int, ...] = ()


def item_texts(items: Iterable[Item]) -> list[ItemText]:
    """Return what to look for of the items of an evaluation set."""
    return [ItemText(item.id, item.question, item.context or "") for item in items]


def load_items_from_file(path: Path) -> list[ItemText]:
    """Read what must not be trained on from a file of any container that rows come in.

    The question is the first of QUESTION_COLUMNS that a row has, the context the first of
    CONTEXT_COLUMNS, in upper or lower case; the items of a text file are its paragraphs.

    Raises:
        UserError: the file cannot be read, or a row of it, or a row has no question.
    """
    items: list[ItemText] = []
    bad: list[int] = []
    for row in read_rows(path, path.name):
        value = {"text": row.value} if isinstance(row.value, str) else row.value or {}
        named = {name.lower(): content for name, content in value.items()}
        question = _first(named, QUESTION_COLUMNS)
        if row.problem is not None or not question:
            bad.append(row.row)
        items.append(ItemText(f"row {row.row}", question, _first(named, CONTEXT_COLUMNS)))
    if bad:
        found = f"{len(bad)} of {len(items)} rows hold no question, first: row {bad[0]}"
        allowed = f"a text in one of the columns {', '.join(QUESTION_COLUMNS)}"
        raise UserError(Problem(path.name, found, allowed, "rename the column of the questions"))
    return items


def _first(row: Mapping[str, Any], names: Iterable[str]) -> str:
    """Return the first text among the columns; a list of texts counts as one text."""
    for name in names:
        value = row.get(name)
        parts = value if isinstance(value, list) else [value]
        if text := "\n".join(part for part in parts if isinstance(part, str)).strip():
            return text
    return ""


class OverlapIndex:
    """Holds the n-grams of the evaluation items; nothing of the rows that are compared.

    1,000 items of 170 words take 11 MB. It can be pickled.
    """

    def __init__(self, sets: Mapping[str, Sequence[ItemText]]) -> None:
        """Index the items of each set, by the id of the set."""
        self._sets = {name: len(items) for name, items in sets.items()}
        self._places: list[tuple[str, int]] = []  # of an item: its set and its place there
        self._set_of: list[int] = []
        self._parts: list[int] = []  # of an item: how many eight-word sequences of its own
        self._shingles: list[int] = []  # of an item: how many five-word sequences of its own
        self._short_length: list[int] = []  # of an item: eight words, or characters for them
        self._short: Counter[str] = Counter()
        self._lengths = {SHINGLE}
        found: list[Hashes] = []
        codes: list[NDArray[np.int64]] = []
        for number, (name, items) in enumerate(sets.items()):
            for code, hashes in self._index(number, name, _Set(items)):
                found.append(hashes)
                codes.append(np.full(len(hashes), code, np.int64))
        self._table = _Table(found, codes)

    def find(self, texts: Sequence[str]) -> list[Hit]:
        """Return the items that one training row holds, each with the first rule that fits.

        Args:
            texts: The unscrubbed texts of the row: placeholders would break up the sequences.
        """
        rolled = [dict(grams(hashed(words(text)), self._lengths)) for text in texts]
        every = [self._table.known(found) for by_length in rolled for found in by_length.values()]
        row = self._table.count(_joined(every))
        if not row.counts:
            return []
        near = [by_length.get(SHINGLE, _NONE) for by_length in rolled]
        compared = [self._table.count(hashes) for hashes in (_joined(near), *near)]
        rules: dict[int, int] = {}
        parts: set[int] = set()
        for code, count in sorted(row.counts.items()):
            item, kind = divmod(code, KINDS)
            # The codes of an item come in the order of the rules.
            if kind == IN_SET or item in rules:
                continue
            if kind == IN_ITEM and count < SHARE * self._parts[item]:
                parts.add(item)
            elif kind != IN_SHINGLES or self._is_near(item, compared):
                rules[item] = kind
        hits = [Hit(*self._places[item], RULES[kind]) for item, kind in rules.items()]
        return sorted([*hits, *self._part_hits(parts - rules.keys(), rolled)])

    def settle(self, found: Iterable[tuple[int, Hit]]) -> list[tuple[int, Hit]]:
        """Return the pairs (row, hit) that count: parts only where they make up an item."""
        found = list(found)
        seen: dict[tuple[str, int], set[int]] = defaultdict(set)
        for _, hit in found:
            seen[hit.set_id, hit.item].update(hit.parts)
        whole = {
            self._places[item]
            for item, own in enumerate(self._parts)
            if own and len(seen.get(self._places[item], ())) >= SHARE * own
        }
        return [
            (row, hit) for row, hit in found if hit.rule != PART or (hit.set_id, hit.item) in whole
        ]

    def report(self, hits: Iterable[Hit]) -> dict[str, dict[str, int]]:
        """Return for each set `n` items, how many are `overlapping`, and `too_short` to tell."""
        flagged = Counter(set_id for set_id, _ in {(hit.set_id, hit.item) for hit in hits})
        return {
            name: {"n": n, "overlapping": flagged[name], "too_short": self._short[name]}
            for name, n in self._sets.items()
        }

    def _index(self, number: int, name: str, texts: "_Set") -> Iterator[tuple[int, Hashes]]:
        yield number * KINDS + IN_SET, texts.common_shingles
        for place in range(self._sets[name]):
            item = len(self._places)
            self._places.append((name, place))
            self._set_of.append(number)
            own = texts.own(place)
            self._lengths |= own.lengths
            self._parts.append(len(own.parts))
            self._shingles.append(len(own.shingles))
            self._short_length.append(SHORT * own.unit)
            self._short[name] += not len(own.parts) and not len(own.question)
            yield item * KINDS + IN_QUESTION, own.in_question
            yield item * KINDS + QUESTION, own.question
            yield item * KINDS + IN_ITEM, own.parts
            yield item * KINDS + IN_SHINGLES, own.shingles

    def _is_near(self, item: int, texts: Sequence["_Count"]) -> bool:
        """Compare an item with the texts of a row; the wording of its set counts nowhere."""
        own, wording = item * KINDS + IN_SHINGLES, self._set_of[item] * KINDS + IN_SET
        for text in texts:
            both = text.counts.get(own, 0)
            row = text.different - text.counts.get(wording, 0)
            if both and both >= NEAR * (row + self._shingles[item] - both):
                return True
        return False

    def _part_hits(self, items: set[int], rolled: Sequence[Mapping[int, Hashes]]) -> Iterator[Hit]:
        """Yield the items of which one of the row's texts is a part."""
        for length in {self._short_length[item] for item in items}:
            for hashes in (by_length[length] for by_length in rolled if length in by_length):
                text = self._table.count(hashes)
                for item in [item for item in items if self._short_length[item] == length]:
                    code = item * KINDS + IN_ITEM
                    if text.counts.get(code, 0) >= SHARE * text.different:
                        items = items - {item}
                        yield Hit(*self._places[item], PART, self._table.numbers(hashes, code))


_NONE = np.empty(0, np.uint64)


def _joined(found: Sequence[Hashes]) -> Hashes:
    return np.concatenate([_NONE, *found])


class _Table:
    """From the hash of an n-gram to the codes of what holds it."""

    def __init__(self, found: Sequence[Hashes], codes: Sequence[NDArray[np.int64]]) -> None:
        hashes = _joined(found)
        order = np.argsort(hashes, kind="stable")
        self._codes = np.concatenate([np.empty(0, np.int64), *codes])[order]
        self._hashes, starts = np.unique(hashes[order], return_index=True)
        self._limits = np.append(starts, len(hashes))
        # One bit of the hash's beginning says for most n-grams at once that they are unknown.
        self._shift = np.uint64(64 - max(10, len(hashes).bit_length() + 3))
        self._seen = np.zeros(1 << int(64 - self._shift), np.bool_)
        self._seen[self._hashes >> self._shift] = True

    def known(self, hashes: Hashes) -> Hashes:
        """Leave out most of the n-grams that stand for nothing; a quick look."""
        return hashes[self._seen[hashes >> self._shift]]

    def count(self, hashes: Hashes) -> "_Count":
        """Count different n-grams, and by code those that stand for something."""
        hashes = np.unique(hashes)
        _, codes = self._look_up(hashes)
        found, counts = np.unique(codes, return_counts=True)
        return _Count(len(hashes), dict(zip(found.tolist(), counts.tolist(), strict=True)))

    def numbers(self, hashes: Hashes, code: int) -> tuple[int, ...]:
        """Return the places in the table of those n-grams that have a code."""
        places, codes = self._look_up(np.unique(hashes))
        return tuple(places[codes == code].tolist())

    def _look_up(self, hashes: Hashes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return (places, codes) of what different n-grams, in order, stand for."""
        hashes = self.known(hashes)
        places = np.searchsorted(self._hashes, hashes)
        places = places[places < len(self._hashes)]
        places = places[self._hashes[places] == hashes[: len(places)]]
        sizes = self._limits[places + 1] - self._limits[places]
        # Each place has a run of codes: the first of each run, then one after the other.
        jumps = np.repeat(self._limits[places] - np.cumsum(sizes) + sizes, sizes)
        return np.repeat(places, sizes), self._codes[jumps + np.arange(len(jumps))]


class _Count(NamedTuple):
    """How many different n-grams a text has, and how many of them have a code."""

    different: int
    counts: dict[int, int]


class _Own(NamedTuple):
    """The n-grams of one item without the wording of its set."""

    in_question: Hashes
    question: Hashes
    parts: Hashes
    shingles: Hashes
    lengths: set[int]
    unit: int  # entries of `words` for one word, as in the longest text


class _Text(NamedTuple):
    """One text of an item: hashes of its words, and how many of them make a word."""

    codes: Hashes
    unit: int

    def grams(self, length: int) -> tuple[int, Hashes]:
        """Return (length, n-grams); a shorter text is one as a whole, from MIN_WORDS on."""
        if len(self.codes) < MIN_WORDS * self.unit:
            return 0, _NONE
        return next(grams(self.codes, [min(length * self.unit, len(self.codes))]))


class _Set:
    """The texts of one evaluation set, and the wording that its items share."""

    def __init__(self, items: Sequence[ItemText]) -> None:
        self._texts = [[_text(item.question), _text(item.context)] for item in items]
        limit = max(COMMON_ITEMS, COMMON_SHARE * len(items))
        questions = [texts[0] for texts in self._texts]
        by_item = [_joined([text.grams(SHORT)[1] for text in texts]) for texts in self._texts]
        by_question = [text.grams(SHORT)[1] for text in questions]
        self._common = np.union1d(_frequent(by_item, limit), _frequent(by_question, COMMON_ITEMS))
        self._common_questions = _frequent([_whole(*texts) for texts in self._texts], COMMON_ITEMS)
        self.common_shingles = np.union1d(
            _frequent([self._shingles(place) for place in range(len(items))], limit),
            _frequent([_shingles(text) for text in questions], COMMON_ITEMS),
        )

    def own(self, place: int) -> _Own:
        """Return what an item does not share with many others of the set."""
        question, context = self._texts[place]
        parts = [part for text in (question, context) for part in self._without_common(text)]
        found = [part.grams(SHORT) for part in parts]
        asked = [
            part.grams(LONG)
            for part in self._without_common(question)
            if LONG * part.unit <= len(part.codes)
            and len(question.codes) <= MAX_QUESTION * question.unit
        ]
        whole = np.setdiff1d(_whole(question, context), self._common_questions)
        lengths = {length for length, _ in (*found, *asked) if length}
        lengths |= {len(question.codes)} if len(whole) else set()
        unit = max(question, context, key=lambda text: len(text.codes)).unit
        lengths.add(SHORT * unit)
        own = np.unique(_joined([hashes for _, hashes in found]))
        shingles = np.setdiff1d(self._shingles(place), self.common_shingles)
        in_question = np.unique(_joined([hashes for _, hashes in asked]))
        return _Own(in_question, whole, own, shingles if len(own) else _NONE, lengths, unit)

    def _shingles(self, place: int) -> Hashes:
        return np.unique(_joined([_shingles(text) for text in self._texts[place]]))

    def _without_common(self, text: _Text) -> list[_Text]:
        """Cut the wording of the set out of one text; return what is between."""
        length, hashes = text.grams(SHORT)
        gaps = np.zeros(len(text.codes) + 2, np.bool_)  # with one at each end
        gaps[[0, -1]] = True
        for start in np.flatnonzero(np.isin(hashes, self._common)):
            gaps[start + 1 : start + 1 + length] = True
        edges = np.flatnonzero(gaps)
        pairs = zip(edges[:-1], edges[1:] - 1, strict=True)
        return [_Text(text.codes[a:b], text.unit) for a, b in pairs if b > a]


def _text(text: str) -> _Text:
    found = words(text)
    return _Text(hashed(found), word_length(found))


def _whole(question: _Text, context: _Text) -> Hashes:
    """Return the question as one n-gram, if it is long enough to tell and short of LONG words."""
    least = SHORT if len(context.codes) else MIN_WORDS
    if not least * question.unit <= len(question.codes) < LONG * question.unit:
        return _NONE
    return question.grams(LONG)[1]


def _shingles(text: _Text) -> Hashes:
    if len(text.codes) < MIN_WORDS * text.unit:
        return _NONE
    return next(grams(text.codes, [SHINGLE]))[1]


def _frequent(found: Sequence[Hashes], limit: float) -> Hashes:
    """Return the n-grams that stand in at least `limit` of the texts."""
    every = _joined([np.unique(hashes) for hashes in found])
    hashes, counts = np.unique(every, return_counts=True)
    return hashes[counts >= limit]
