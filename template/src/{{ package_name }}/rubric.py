"""Rubrics: weighted points for what an answer says and must not say, without a judge.

A criterion with positive points is met if the answer holds at least one phrase of each group of
`must_mention`, and has the `shape` that it asks for: how many words, lines or bullet points, from
and to. One with negative points is met if the answer holds a phrase of `must_not` that is not
denied just before it. Such a phrase stands within one clause, unless it has a pause inside ("yes,
you can"). The score is (points of the criteria that are met) / (all positive points), cut to 0..1,
as HealthBench does it (Arora et al. 2025).

Phrases are compared word by word without case, punctuation and hyphens; `*` at the end
of a word stands for any ending. That finds wording, not meaning: a good answer in other words
loses points, so the phrases of an item list the usual ways to say a thing.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

_DENIALS = "no not never none nor without avoid cannot instead rather neither"
DENIALS = frozenset(_DENIALS.split())
REACH = 5  # words before a phrase in which a denial counts, within its clause
_PAUSE = re.compile(r"[.;:!?\n,]+(?=\s|$)")  # not the point of 2.5
_WORD = re.compile(r"[^\W_]+(?:[.,]\d+)*(?:'[^\W_]+)?%?")
_BULLET = re.compile(r"^[ \t]*(?:[-*\u2022\u2013]|\d{1,2}[.)])[ \t]+\S", re.MULTILINE)
# What `shape` can count in an answer.
SHAPES: dict[str, Callable[[str], int]] = {
    "words": lambda text: len(_WORD.findall(text)),
    "lines": lambda text: sum(1 for line in text.split("\n") if line.strip()),
    "bullets": lambda text: len(_BULLET.findall(text)),
}
_MARKS = str.maketrans({"\u2019": "'", "\u2018": "'", "\u00a0": " "})


def rubric_score(answer: str, rubric: Sequence[Mapping[str, Any]]) -> float:
    """Return the share of the points that an answer reaches, from 0 to 1.

    Args:
        answer: what the model wrote.
        rubric: criteria with `points` and `must_mention`, `shape` or both, or `must_not`; at
            least one has positive points.
    """
    return points_share(met(answer, rubric), rubric)


def points_share(
    reached: Sequence[Mapping[str, Any]], rubric: Sequence[Mapping[str, Any]]
) -> float:
    """Return the points of the criteria reached over all positive points, cut to 0..1."""
    points: float = sum(row["points"] for row in reached)
    best: float = sum(max(row["points"], 0) for row in rubric)
    return min(1.0, max(0.0, points / best))


def met(answer: str, rubric: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the criteria that an answer meets; a negative one is met by a mistake."""
    clauses = _clauses(answer)
    whole = [word for clause in clauses for word in clause]
    return [row for row in rubric if _fits(row, answer) and _is_met(row, clauses, whole)]


def _fits(row: Mapping[str, Any], answer: str) -> bool:
    """Return True if the answer has the shape that a criterion asks for, or it asks for none."""
    shape = row.get("shape") or {}
    return all(
        name in SHAPES and low <= SHAPES[name](answer) <= high
        for name, (low, high) in shape.items()
    )


def _is_met(row: Mapping[str, Any], clauses: list[list[str]], whole: list[str]) -> bool:
    if row.get("must_not"):
        return any(_said(phrase, clauses) for phrase in row["must_not"])
    groups = row.get("must_mention") or []
    named = all(any(_places(phrase, whole) for phrase in group) for group in groups)
    return named and bool(groups or row.get("shape"))


def _said(phrase: str, clauses: list[list[str]]) -> bool:
    """Return True if a clause holds the phrase, or its beginning, and does not deny it."""
    for number, clause in enumerate(clauses):
        rest = clauses[number + 1 :] if _holds_pause(phrase) else []
        places = _places(phrase, [*clause, *chain.from_iterable(rest)])
        begins = (at for at in places if at < len(clause))
        if any(not _denied(clause[max(0, at - REACH) : at]) for at in begins):
            return True
    return False


def _denied(before: Iterable[str]) -> bool:
    return any(word in DENIALS or word.endswith("n't") for word in before)


def _places(phrase: str, words: list[str]) -> list[int]:
    """Return where the phrase begins in a list of words."""
    parts = _phrase(phrase)
    last = len(words) - len(parts)
    return [
        at
        for at in range(last + 1)
        if all(
            words[at + i].startswith(part) if open_end else words[at + i] == part
            for i, (part, open_end) in enumerate(parts)
        )
    ]


@lru_cache(maxsize=4096)
def _phrase(phrase: str) -> tuple[tuple[str, bool], ...]:
    """Return the words of a phrase, each with True if any ending fits."""
    parts = []
    for piece in _folded(phrase).split():
        words = _WORD.findall(piece)
        parts += [(word, False) for word in words[:-1]]
        parts += [(word, piece.endswith("*")) for word in words[-1:]]
    return tuple(parts)


@lru_cache(maxsize=4096)
def _holds_pause(phrase: str) -> bool:
    """Return True if words of a phrase stand on both sides of a comma, full stop or the like."""
    return sum(1 for clause in _clauses(phrase) if clause) > 1


def _clauses(text: str) -> list[list[str]]:
    return [_WORD.findall(clause) for clause in _PAUSE.split(_folded(text))]


def _folded(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).translate(_MARKS).casefold()
    apart = re.sub(r"(?<=\d)(?=[^\W\d_])", " ", folded)  # 5mg is 5 mg
    return re.sub(r"[-\u2010-\u2015/]", " ", apart)
