"""What became of every raw row: the counts, the list of refused rows, the keys."""

import json
from array import array
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from typing import IO, Any

from .config import Config
from .duplicates import Conflicts, conflicts, first_rows
from .errors import Problem
from .examination import EVALUATION_ITEM, Verdict
from .keys import Keys
from .readers import RawRow

QUARANTINED, FILTERED, KEPT, DUPLICATE = range(4)


@dataclass(slots=True)
class Tally:
    """What became of the rows. Every row is counted under exactly one outcome.

    Images are counted apart, where a row is sound by itself.
    """

    read: int = 0
    kept: int = 0
    quarantined: int = 0
    duplicate: int = 0
    filtered: int = 0
    images: int = 0
    with_images: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    files: Counter[str] = field(default_factory=Counter)

    def rows(self) -> dict[str, int]:
        """Return the counts; read = kept + quarantined + duplicate + filtered."""
        counts = {name: getattr(self, name) for name in ("kept", "quarantined")}
        counts |= {"duplicate": self.duplicate, "filtered": self.filtered}
        assert self.read == sum(counts.values()), "a row was lost or counted twice"
        return {"read": self.read, **counts}

    def move(self, outcome: str, reason: str) -> None:
        """Count a row that was kept so far under another outcome."""
        self.kept -= 1
        setattr(self, outcome, getattr(self, outcome) + 1)
        self.reasons[reason] += 1


class Quarantine:
    """Lists refused rows by position, reason and keyed hash; holds no text.

    Attributes:
        first: Reason -> place of the first row that was refused for it.
    """

    def __init__(self, handle: IO[str] | None) -> None:
        self._handle = handle
        self.first: dict[str, str] = {}

    def add(self, file: str, row: int, column: str, reason: str, digest: str) -> None:
        """Write one entry; `digest` is the keyed hash of the row's bytes."""
        self.first.setdefault(reason, f"{file} row {row}" + (f", {column}" if column else ""))
        if self._handle is not None:
            entry = {"file": file, "row": row, "column": column, "reason": reason, "hash": digest}
            self._handle.write(json.dumps(entry, ensure_ascii=False) + "\n")


class Ledger:
    """The outcome of each row by its number over all files, and the keys of the kept ones.

    About 41 bytes a row, and as much as `first_rows` takes while duplicates are found.
    """

    def __init__(self) -> None:
        self.outcomes = bytearray()
        self._numbers = array("I")  # of each row: its number in its file
        self._starts: list[int] = []  # first row of each file that has rows
        self._files: list[str] = []
        self._keyed = array("I")  # the rows that have keys
        self._keys = bytearray()
        self._prompts = bytearray()

    def add(self, row: RawRow, verdict: Verdict) -> None:
        """Take the next row."""
        if not self._files or self._files[-1] != row.file:
            self._starts.append(len(self.outcomes))
            self._files.append(row.file)
        if verdict.key:
            self._keyed.append(len(self.outcomes))
            self._keys += verdict.key
            self._prompts += verdict.prompt
        outcome = KEPT if verdict.key else FILTERED if verdict.filtered else QUARANTINED
        self.outcomes.append(outcome)
        self._numbers.append(row.row)

    def place(self, index: int) -> str:
        """Return where a row stands, by its number over all files."""
        file = self._files[bisect_right(self._starts, index) - 1]
        return f"{file} row {self._numbers[index]}"

    def mark_duplicates(self, examples: int = 5) -> tuple[int, list[tuple[int, int]], Conflicts]:
        """Mark the rows that repeat an earlier one; the keys are forgotten afterwards.

        Returns:
            How many there are, the first pairs (row, the row that it repeats), and the
            prompts that stand in different rows, all by their number over all files.
        """
        import numpy as np

        keyed = np.asarray(self._keyed)
        first = first_rows(self._keys)
        self._keys = bytearray()
        repeats = np.flatnonzero(first != np.arange(len(first)))
        outcomes = np.frombuffer(self.outcomes, np.uint8)
        outcomes[keyed[repeats]] = DUPLICATE
        pairs = [(int(keyed[i]), int(keyed[first[i]])) for i in repeats[:examples]]
        found = conflicts(first, first_rows(self._prompts), examples)
        self._prompts = bytearray()
        shown = [(int(keyed[a]), int(keyed[b])) for a, b in found.examples]
        return len(repeats), pairs, Conflicts(found.prompts, found.rows, shown)


def examined(
    rows: list[RawRow],
    verdicts: list[Verdict],
    ledger: Ledger,
    tally: Tally,
    quarantine: Quarantine,
    keys: Keys,
) -> None:
    """Enter a block of rows with their verdicts."""
    for row, verdict in zip(rows, verdicts, strict=True):
        ledger.add(row, verdict)
        tally.read += 1
        tally.files[row.file] += 1
        tally.kept += 1
        tally.images += verdict.images
        tally.with_images += verdict.images > 0
        if verdict.filtered:
            tally.move("filtered", verdict.reason)
        elif not verdict.key:
            tally.move("quarantined", verdict.reason)
            digest = keys.raw(row.raw).hex()
            quarantine.add(row.file, row.row, verdict.column, verdict.reason, digest)


def refusals(config: Config, tally: Tally, quarantine: Quarantine) -> list[Problem]:
    """Return why a data set as a whole is refused; empty if it may be used."""
    problems, count = [], tally.reasons[EVALUATION_ITEM]
    if count:
        found = f"{count} rows are items of an evaluation set (their canary stands in them)"
        first = f"first: {quarantine.first[EVALUATION_ITEM]}"
        fix = f"take them out, or the evaluation proves nothing; {first}"
        problems.append(Problem(config.data.raw, found, fix=fix))
    if tally.images and not config.data.images_checked:
        problems.append(unchecked_images(tally.images, tally.with_images))
    bad = tally.quarantined - count
    if bad > config.data.max_bad_fraction * tally.read:
        parts = [
            f"\n      {tally.reasons[reason]} x {reason}, first: {place}"
            for reason, place in quarantine.first.items()
            if reason != EVALUATION_ITEM
        ]
        share = f"{bad / tally.read:.1%}"
        found = f"{bad} of {tally.read} rows ({share}) cannot be used:{''.join(parts)}"
        allowed = f"{config.data.max_bad_fraction:.1%} (data.max_bad_fraction)"
        fix = f"mend the rows that {config.data.quarantine} lists, or allow a larger share"
        problems.append(Problem(config.data.raw, found, allowed, fix))
    if not problems and not tally.kept:
        problems.append(nothing_left(config, tally))
    return problems


def unchecked_images(images: int, rows: int) -> Problem:
    """Return why rows with images are refused until somebody has looked at the images."""
    found = f"{rows} rows have {images} images, and nothing takes identifiers out of images"
    fix = (
        "look for faces, name tags, text inside the image (names and numbers that a device burned "
        "in) and metadata (EXIF, DICOM headers), take them out, then set data.images_checked=true"
    )
    return Problem("data.images_checked", found, "true", fix)


def nothing_left(config: Config, tally: Tally) -> Problem:
    """Return that no row is left, and what became of them."""
    why = ", ".join(f"{count} x {reason}" for reason, count in tally.reasons.most_common())
    fix = "look at data.where (column, and text or number as in the file), train.max_length, "
    fix += "data.max_characters and data.contaminated"
    found = f"no row is left of {tally.read}: {why}"
    return Problem(config.data.raw, found, "at least one row", fix)


def conflicts_report(found: Conflicts, ledger: Ledger) -> dict[str, Any]:
    """Return the report's entry `conflicts`."""
    pairs = [[ledger.place(a), ledger.place(b)] for a, b in found.examples]
    return {"prompts": found.prompts, "rows": found.rows, "examples": pairs}
