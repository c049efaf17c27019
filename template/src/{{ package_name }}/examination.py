"""Every raw row gets exactly one outcome: candidate, quarantined, duplicate or filtered."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import IO, Any

from .config import Config
from .errors import Problem, UserError
from .formats import Fields, Format, RowError, choose_format, unused_columns
from .keys import Keys, split_of
from .manifest import shown_name
from .objectives import check_combination
from .readers import CONTAINERS, RawRow, find_files, json_type, read_rows
from .records import Record, canonical

SAMPLE_ROWS = 200
OVER_LENGTH = "over max_characters"
EVALUATION_ITEM = "evaluation item"


@dataclass(frozen=True, slots=True)
class Source:
    """The raw files and how they are read. No format: not one row could be read."""

    files: dict[str, Path]
    format: Format | None
    reason: str
    unused: list[str]


@dataclass(slots=True)
class Tally:
    """What became of the rows. Every row is counted under exactly one outcome."""

    read: int = 0
    kept: int = 0
    quarantined: int = 0
    duplicate: int = 0
    filtered: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    line_ends: int = 0
    files: Counter[str] = field(default_factory=Counter)

    def rows(self) -> dict[str, int]:
        """Return the counts; read = kept + quarantined + duplicate + filtered."""
        counts = {name: getattr(self, name) for name in ("kept", "quarantined")}
        counts |= {"duplicate": self.duplicate, "filtered": self.filtered}
        assert self.read == sum(counts.values()), "a row was lost or counted twice"
        return {"read": self.read, **counts}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A row that passed every check; its record is not scrubbed yet."""

    row: RawRow
    record: Record
    key: bytes
    split: str


class Quarantine:
    """Lists refused rows by position, reason and keyed hash; holds no text.

    Attributes:
        first: Reason -> place of the first row that was refused for it.
    """

    def __init__(self, handle: IO[str] | None, keys: Keys) -> None:
        self._handle = handle
        self._keys = keys
        self.first: dict[str, str] = {}

    def add(self, row: RawRow, column: str, reason: str) -> None:
        """Write one entry."""
        place = f"{row.file} row {row.row}" + (f", {column}" if column else "")
        self.first.setdefault(reason, place)
        if self._handle is not None:
            entry = {"file": row.file, "row": row.row, "column": column, "reason": reason}
            entry["hash"] = self._keys.raw(row.raw).hex()
            self._handle.write(json.dumps(entry, ensure_ascii=False) + "\n")


class Examiner:
    """Decides about one row after the other; equal rows in equal order give equal decisions."""

    def __init__(self, config: Config, source: Source, keys: Keys, canaries: set[str]) -> None:
        self._data = config.data
        self._format = source.format
        self._keys = keys
        self._canaries = canaries
        self._shares = config.data.split.model_dump()
        self._seen: set[bytes] = set()
        self.tally = Tally()

    def examine(self, row: RawRow, quarantine: Quarantine | None) -> Candidate | None:
        """Return the row as a candidate, or count (and list) why it is none."""
        self.tally.read += 1
        self.tally.files[row.file] += 1
        try:
            record = self._convert(row)
        except RowError as error:
            self.refuse(row, error.column, error.reason, quarantine)
            return None
        if sum(map(len, record.texts())) > self._data.max_characters:
            self.tally.filtered += 1
            self.tally.reasons[OVER_LENGTH] += 1
            return None
        # The group is not part of the row key: one text under two groups is one text.
        key = self._keys.row(replace(record, group=None))[:16]
        if key in self._seen:
            self.tally.duplicate += 1
            return None
        self._seen.add(key)
        self.tally.kept += 1
        place = self._keys.prompt(record) if record.group is None else bytes.fromhex(record.group)
        return Candidate(row, record, key, split_of(place, self._shares))

    def refuse(self, row: RawRow, column: str, reason: str, quarantine: Quarantine | None) -> None:
        """Count a row as quarantined and list it."""
        self.tally.quarantined += 1
        self.tally.reasons[reason] += 1
        if quarantine is not None:
            quarantine.add(row, column, reason)

    def withdraw(self, candidate: Candidate, reason: str, quarantine: Quarantine) -> None:
        """Take back a row that had passed."""
        self.tally.kept -= 1
        self.refuse(candidate.row, "", reason, quarantine)

    def _convert(self, row: RawRow) -> Record:
        if row.problem is not None or row.value is None:
            raise RowError("", row.problem or "row: null")
        if self._canaries:
            text = canonical(row.value).lower()
            if any(canary in text for canary in self._canaries):
                raise RowError("", EVALUATION_ITEM)
        assert self._format is not None, "a readable row has decided the format"
        fields = Fields(row.value, self._data.columns)
        record = self._format.convert(fields)
        self.tally.line_ends += fields.line_ends_changed
        return replace(record, group=self._group(row.value))

    def _group(self, value: dict[str, Any] | str) -> str | None:
        name = self._data.group_by
        if name is None:
            return None
        group = value.get(name) if isinstance(value, dict) else None
        if group is None or group == "":
            raise RowError(name, "missing")
        if isinstance(group, bool) or not isinstance(group, str | int):
            raise RowError(name, f"type: {json_type(group)}")
        return self._keys.group(str(group)).hex()


def open_source(config: Config) -> Source:
    """Find the raw files and decide their format from the first rows.

    Raises:
        UserError: no file, a file of unknown kind or not readable, or no format that fits.
    """
    where, raw = config.data.raw, config.path(config.data.raw)
    paths, others = find_files(raw)
    known = ", ".join(CONTAINERS)
    problems = [
        Problem(shown_name(config, path), f"unknown kind of file `{path.suffix}`", known)
        for path in others
    ]
    if not raw.exists():
        fix = "put your data there, or set data.raw"
        problems.append(Problem(where, "no such file or folder", fix=fix))
    elif not paths and not others:
        problems.append(Problem(where, "the folder holds no data file", known))
    files = {shown_name(config, path): path for path in paths}
    sample: list[dict[str, Any] | str] = []
    for name, path in files.items():
        readable = (row.value for row in read_rows(path, name) if row.value is not None)
        try:
            sample += islice(readable, max(1, SAMPLE_ROWS // len(files)))
        except UserError as error:
            problems += error.problems
    if problems:
        raise UserError(problems)
    if not sample:
        return Source(files, None, "not one row could be read", [])
    data = config.data
    chosen, reason = choose_format(data.format, sample, data.columns, where)
    check_combination(config.objective, chosen)
    return Source(
        files, chosen, reason, unused_columns(sample, chosen, data.columns, data.group_by)
    )


def candidates(
    source: Source, examiner: Examiner, quarantine: Quarantine | None
) -> Iterator[Candidate]:
    """Yield the rows of all files that pass.

    Raises:
        UserError: files that cannot be read to their end; all are listed, after the last row.
    """
    problems: list[Problem] = []
    for name, path in source.files.items():
        try:
            for row in read_rows(path, name):
                if (candidate := examiner.examine(row, quarantine)) is not None:
                    yield candidate
        except UserError as error:
            problems += error.problems
    if problems:
        raise UserError(problems)


def refusals(config: Config, tally: Tally, quarantine: Quarantine) -> list[Problem]:
    """Return why a data set as a whole is refused; empty if it may be used."""
    problems, count = [], tally.reasons[EVALUATION_ITEM]
    if count:
        found = f"{count} rows are items of an evaluation set (their canary stands in them)"
        first = f"first: {quarantine.first[EVALUATION_ITEM]}"
        fix = f"take them out, or the evaluation proves nothing; {first}"
        problems.append(Problem(config.data.raw, found, fix=fix))
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
        found = f"no row is left of {tally.read}: {dict(tally.reasons)}"
        problems.append(Problem(config.data.raw, found, "at least one row"))
    return problems
