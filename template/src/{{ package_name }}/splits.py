"""Which split a row falls into, what that promises, and the test of the promise afterwards.

A row's split depends on its keyed hash (and its day, with `as_of`), never on its neighbours:
shuffling the rows or adding new ones moves no old row, and rows with one key (one prompt, or
one patient where `data.group_by` is set) fall into one split.

Stratification needs no second rule. The hash of a row is uniform within each label as it is
over all rows, so the same thresholds give every label the same expected shares. What is left
is chance: a label of n rows (of n groups with `data.group_by`) misses a share s by about
sqrt(s (1 - s) / n), 0.9 points for s = 0.1 and n = 1000, 3 points for n = 100, and it has no
row at all in that split with probability (1 - s) ** n: 35 % for n = 10, 1 % for n = 44.
"""

import unicodedata
from array import array
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from .dates import parse_day
from .errors import Problem

SPLITS = ("train", "validation", "test")
WHERE = "data.split"
USUAL = {"train": (0.8, 0.9), "validation": (0.1, 0.2)}  # common shares
MOST_REPEATS = 3  # more copies of one row are learned by heart
PROMPT_LEAK, GROUP_LEAK = "prompt in another split", "group in another split"


@dataclass(frozen=True, slots=True)
class SplitRule:
    """How keys become splits.

    Attributes:
        shares: share of each split, as fractions that add up to 1.
        as_of: rows of later days (since 1970-01-01) are the test split; None: by hash.
        folds: number of cross-validation folds; 0: none.
        fold: the fold that is the validation split, from 0.
    """

    shares: Mapping[str, float]
    as_of: int | None = None
    folds: int = 0
    fold: int = 0

    @property
    def by(self) -> str:
        """Return `hash`, `as_of` or `folds`."""
        if self.as_of is not None:
            return "as_of"
        return "folds" if self.folds else "hash"

    def wanted(self) -> dict[str, float]:
        """Return the expected share of each split; with `as_of`, of the rows up to that day."""
        train, validation, test = (self.shares[name] for name in SPLITS)
        if self.as_of is not None:
            both = train + validation
            train, validation, test = train / both, validation / both, 0.0
        elif self.folds:
            validation = (train + validation) / self.folds
            train = validation * (self.folds - 1)
        return dict(zip(SPLITS, (train, validation, test), strict=True))


def split_rule(values: Mapping[str, Any]) -> SplitRule:
    """Make the rule from the settings of `data.split`, which split_problems() has passed."""
    shares = {name: float(values[name]) for name in SPLITS}
    as_of = values["as_of"]
    day = None if as_of is None else parse_day(as_of)
    return SplitRule(shares, day, values["folds"], values["fold"])


def split_problems(values: Mapping[str, Any], time_column: str | None) -> list[Problem]:
    """Return every setting of `data.split` that makes no sense with the others."""
    found = []
    total = sum(values[name] for name in SPLITS)
    if abs(total - 1) > 1e-6:
        fix = "train, validation and test are fractions, for example 0.8, 0.1 and 0.1"
        found.append(Problem(WHERE, f"the shares add up to {total:g}", "1", fix))
    if values["train"] <= 0:
        found.append(Problem(f"{WHERE}.train", "0", "above 0"))
    return found + _time_problems(values, time_column) + _fold_problems(values)


def _time_problems(values: Mapping[str, Any], time_column: str | None) -> list[Problem]:
    as_of, where = values["as_of"], f"{WHERE}.as_of"
    if as_of is None:
        return []
    found = []
    try:
        parse_day(as_of)
    except ValueError as error:
        found.append(Problem(where, str(error), "a day such as 2025-06-30"))
    if time_column is None:
        fix = "set data.time_column to the column that holds the date of a row"
        found.append(Problem(where, "no column holds the date of a row", fix=fix))
    if values["folds"]:
        fix = "set data.split.folds to 0 or data.split.as_of to null"
        found.append(Problem(where, "set together with data.split.folds", "one of them", fix))
    return found


def _fold_problems(values: Mapping[str, Any]) -> list[Problem]:
    folds, fold = values["folds"], values["fold"]
    if folds == 0 and fold == 0:
        return []
    if folds < 2:
        allowed = "at least 2, or 0 for none (then data.split.fold is 0)"
        return [Problem(f"{WHERE}.folds", str(folds), allowed)]
    if not 0 <= fold < folds:
        return [Problem(f"{WHERE}.fold", str(fold), f"0 to {folds - 1}")]
    return []


def fraction(key: bytes) -> float:
    """Map a key (at least 8 bytes, uniformly distributed) to a number in [0, 1)."""
    # 53 bits fill the mantissa exactly, so that the result never rounds up to 1.0.
    return (int.from_bytes(key[:8], "big") >> 11) / (1 << 53)


def split_of(key: bytes, rule: SplitRule, day: int | None = None) -> str:
    """Return the split of a key.

    With `as_of`, rows of later days are the test split and the others are divided between
    train and validation by hash, their shares made to add up to 1. With `folds`, the test
    share stays aside by hash as always, so every fold has the same test split; the rest is
    divided by an independent part of the hash.

    Args:
        key: Keyed hash of the group or the prompt, at least 16 bytes.
        rule: How keys become splits.
        day: Days since 1970-01-01; needed with `as_of`.
    """
    shares = rule.shares
    if rule.as_of is not None:
        assert day is not None, "a split by time needs the day of every row"
        if day > rule.as_of:
            return "test"
        shares = rule.wanted()
    split = _by_hash(key, shares)
    if rule.folds and split != "test":
        assert len(key) >= 16, "the second 8 bytes decide the fold"
        chosen = int.from_bytes(key[8:16], "big") % rule.folds == rule.fold
        return "validation" if chosen else "train"
    return split


def _by_hash(key: bytes, shares: Mapping[str, float]) -> str:
    position, limit = fraction(key), 0.0
    for name in SPLITS:
        limit += shares[name]
        if position < limit:
            return name
    # Shares such as 0.8 + 0.1 + 0.1 may add up to a little under 1.
    return next(name for name in reversed(SPLITS) if shares[name] > 0)


def share_warnings(shares: Mapping[str, float]) -> list[str]:
    """Return a sentence for each share outside the usual range."""
    return [
        f"{name} gets {shares[name]:.0%} of the rows; usual are {low:.0%} to {high:.0%}."
        for name, (low, high) in USUAL.items()
        # Half a percent of tolerance: 0.8 + 0.1 made to add up to 1 is 88.9 % and 11.1 %.
        if not low - 0.005 <= shares[name] <= high + 0.005
    ]


def deviation(
    counts: Mapping[str, Mapping[str, int]], wanted: Mapping[str, float]
) -> dict[str, dict[str, float]]:
    """Return share minus wanted share, label -> split -> fraction (module's first lines).

    Args:
        counts: label -> split -> rows.
        wanted: split -> fraction, SplitRule.wanted().
    """
    shares = {split: share for split, share in wanted.items() if share > 0}
    found = {}
    for label, rows in counts.items():
        # With `as_of` the test rows are no part of what the shares divide.
        total = sum(rows.get(split, 0) for split in shares)
        found[label] = {
            split: round(rows.get(split, 0) / total - share, 4)
            for split, share in shares.items()
            if total
        }
    return found


def empty_classes(
    counts: Mapping[str, Mapping[str, int]],
    wanted: Mapping[str, float],
    shown: Callable[[str], str],
) -> list[Problem]:
    """Return a problem for each label without a row in a split that should have some.

    Args:
        counts: label -> split -> rows.
        wanted: split -> fraction.
        shown: gives the name under which a label may stand in a message.
    """
    problems = []
    for label, rows in counts.items():
        empty = [split for split, share in wanted.items() if share > 0 and not rows.get(split)]
        if empty:
            total = sum(rows.values())
            found = f"class {shown(label)}: no row of {total} in {' and '.join(empty)}"
            fix = (
                "add rows of this class, give the split a larger share, merge the class with "
                "another, or set data.stratify_by to null"
            )
            allowed = "at least one row of each class in each split"
            problems.append(Problem("data.stratify_by", found, allowed, fix))
    return problems


def resample(counts: Mapping[str, int], seed: int) -> Callable[[bytes, Sequence[str]], int]:
    """Return the function that says how often a training row is written, at least once.

    Each class reaches the size of the largest, but at most MOST_REPEATS times its own. Where
    that is no whole number, the row's hash decides who gets one copy more, so the result
    depends on no order and the size is met within about sqrt(rows of the class) / 2. A row
    of several classes is repeated for the rarest of them.

    Args:
        counts: class -> rows of the training split.
        seed: changes who gets the extra copies.
    """
    largest = max(counts.values(), default=0)
    factors = {name: min(largest / n, MOST_REPEATS) for name, n in counts.items() if n}
    salt = seed.to_bytes(8, "big")

    def repeats(key: bytes, labels: Sequence[str]) -> int:
        factor = max((factors[label] for label in labels), default=1.0)
        whole = int(factor)
        drawn = fraction(blake2b(key, digest_size=8, salt=salt).digest())
        return whole + (drawn < factor - whole)

    return repeats


def normalised(text: str) -> str:
    """Return a text blind to case, blanks and Unicode variants (NFKC)."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


class Leakage:
    """Test, after everything was decided, that no split knows what another one asks.

    Works on scrubbed text: two prompts that became equal by scrubbing are found too. Holds
    25 bytes a row (three digests of 8 bytes and the split); with the sorting at the end the
    peak is 90 bytes a row, measured at a million rows of which every fifth leaks. Two of a
    million texts share a digest with a probability of 3 in 100 million.
    """

    def __init__(self) -> None:
        self._splits = array("B")
        self._digests = {name: array("Q") for name in ("groups", "prompts", "records")}

    def add(self, split: str, group: str | None, prompt: str, text: str) -> None:
        """Take the next row: its split, group key, scrubbed prompt and whole scrubbed text."""
        self._splits.append(SPLITS.index(split))
        self._digests["groups"].append(_digest(group or ""))
        self._digests["prompts"].append(_digest(normalised(prompt)))
        self._digests["records"].append(_digest(normalised(text)))

    def leaking_rows(self) -> dict[int, str]:
        """Return validation and test rows to filter out: index in order of add() -> reason.

        Such a row has its prompt (or, with `as_of`, its group) also in training, or it is a
        test row whose prompt stands in validation.
        """
        import numpy as np

        splits = np.asarray(self._splits)
        found: dict[int, str] = {}
        for name, reason in (("prompts", PROMPT_LEAK), ("groups", GROUP_LEAK)):
            values = np.asarray(self._digests[name])
            for later in (1, 2):
                earlier = np.unique(values[splits < later])
                rows = np.flatnonzero((splits == later) & (values != 0))
                leaking = rows[np.isin(values[rows], earlier)].tolist()
                found |= dict.fromkeys(leaking, reason) | found
        return dict(sorted(found.items()))

    def counts(self, without: Collection[int] = ()) -> dict[str, int]:
        """Return how many groups, prompts and records stand in more than one split.

        Args:
            without: rows that were filtered out since, as leaking_rows() names them.
        """
        import numpy as np

        kept = np.ones(len(self._splits), bool)
        kept[[*without]] = False
        splits = np.asarray(self._splits)
        found = {}
        for name, digests in self._digests.items():
            values = np.asarray(digests)
            sides = [np.unique(values[kept & (splits == i)]) for i in range(len(SPLITS))]
            different, times = np.unique(np.concatenate(sides), return_counts=True)
            found[name] = int(((times > 1) & (different != 0)).sum())
        return found


def _digest(text: str) -> int:
    """Return 8 bytes as a number; 0 stands for no text."""
    data = text.encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "big") if text else 0
