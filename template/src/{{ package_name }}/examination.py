"""What one raw row is: a record with its keys, or the reason why it is none."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from .config import Config
from .dates import parse_day
from .errors import Problem, UserError
from .fields import MISSING, Fields, RowError, lookup
from .formats import FORMATS, Format, choose_format, unused_columns
from .hub import PREFIX, fetch_dataset
from .images import COLUMNS as IMAGE_COLUMNS
from .images import SUFFIXES, content_hash
from .json_rows import json_type
from .keys import Keys
from .layouts import LONGEST_LABEL
from .manifest import HUB_FOLDER, raw_path, shown_name
from .objectives import check_combination
from .readers import (
    CONTAINERS,
    FileInfo,
    RawFile,
    RawRow,
    describe,
    described_rows,
    find_files,
)
from .records import Record, canonical, effective_policy
from .settings_data import Data

SAMPLE_ROWS = 200
OVER_CHARACTERS = "over max_characters"
NOT_WANTED = "data.where"
EVALUATION_ITEM = "evaluation item"


@dataclass(frozen=True, slots=True)
class Source:
    """The raw files and how they are read. No format: not one row could be read."""

    files: dict[str, Path]
    infos: dict[str, FileInfo]
    format: Format | None
    reason: str
    unused: list[str]


class Verdict(NamedTuple):
    """What a row is by itself, before it is compared with others.

    Attributes:
        key: Keyed hash of the record, 16 bytes; empty: the row is no record.
        prompt: Keyed hash of what is asked, 16 bytes.
        column: Where the reason lies.
        reason: Why the row is no record.
        filtered: The row is sound, and left out by a setting.
        images: How many images belong to it.
    """

    key: bytes = b""
    prompt: bytes = b""
    column: str = ""
    reason: str = ""
    filtered: bool = False
    images: int = 0


class Examiner:
    """Turns raw rows into records. Equal rows give equal verdicts, in every process."""

    def __init__(
        self,
        data: Data,
        layout: str | None,
        keys: Keys,
        canaries: frozenset[str],
        folder: Path,
    ) -> None:
        """Keep the settings.

        Args:
            data: Section `data` of the configuration.
            layout: Name of the format; None: not one row could be read.
            keys: Of the project.
            canaries: Marks of evaluation items, in lower case.
            folder: That paths of images are relative to.
        """
        self._data = data
        self._format = None if layout is None else FORMATS[layout]
        self._keys = keys
        self._canaries = canaries
        self._folder = folder

    def examine(self, row: RawRow) -> Verdict:
        """Return the keys of a row, or why it is no record."""
        try:
            if not self._wanted(row):
                return Verdict(reason=NOT_WANTED, filtered=True)
            record, _ = self.convert(row)
            self.strata(row, record)  # a row without its class is refused here
        except RowError as error:
            return Verdict(column=error.column, reason=error.reason)
        too_long = sum(map(len, record.texts())) > self._data.max_characters
        if too_long and not is_cut(self._data, record.kind):
            return Verdict(reason=OVER_CHARACTERS, filtered=True)
        images = len(record.images)
        return Verdict(self.key(record), self._keys.prompt(record)[:16], images=images)

    def key(self, record: Record) -> bytes:
        """Return the key of a record, 16 bytes: equal keys are exact duplicates."""
        # Group and day are not part of it: one text under two groups is one text.
        # An image is known by its content, under whatever name it lies.
        return self._keys.row(replace(record, group=None, day=None))[:16]

    def place(self, record: Record) -> bytes:
        """Return the 32 bytes that decide about the split: of the group, or of the prompt."""
        return self._keys.prompt(record) if record.group is None else bytes.fromhex(record.group)

    def convert(self, row: RawRow) -> tuple[Record, Counter[str]]:
        """Return the record of a row, and what was changed to make it.

        Raises:
            RowError: the row is none; names column and reason.
        """
        value = _readable(row)
        if self._canaries:
            text = canonical(value).lower()
            if any(canary in text for canary in self._canaries):
                raise RowError("", EVALUATION_ITEM)
        assert self._format is not None, "a readable row has decided the format"
        fields = Fields(value, self._data.columns)
        record = self._format.convert(fields)
        images = self._image_keys(record, fields)
        # One image stays in one split, whatever is asked about it.
        group = self._group(value) or (images[0] if images else None)
        day = self._day(value)
        return replace(record, group=group, day=day, image_keys=images), fields.converted

    def strata(self, row: RawRow, record: Record) -> tuple[str, ...]:
        """Return the classes whose shares are compared between the splits.

        Raises:
            RowError: the column of the class is missing, empty or no class name.
        """
        name = self._data.stratify_by
        if name is None or name == "auto":
            return tuple(dict.fromkeys(record.labels))
        label = str(self._column(_readable(row), name))
        if len(label) > LONGEST_LABEL or not label.isprintable():
            raise RowError(name, "no label: longer than a name, or of several lines")
        return (label,)

    def _wanted(self, row: RawRow) -> bool:
        if not self._data.where:
            return True
        value = _readable(row)
        return all(_column(value, name) in allowed for name, allowed in self._data.where.items())

    def _image_keys(self, record: Record, fields: Fields) -> tuple[str, ...]:
        if not record.images:
            return ()
        column = fields.column(next((c for c in IMAGE_COLUMNS if fields.has(c)), "images"))
        hashes = [content_hash(self._folder, name, column) for name in record.images]
        return tuple(self._keys.image(one).hex() for one in hashes)

    def _group(self, value: dict[str, Any] | str) -> str | None:
        name = self._data.group_by
        return None if name is None else self._keys.group(str(self._column(value, name))).hex()

    def _day(self, value: dict[str, Any] | str) -> int | None:
        name = self._data.time_column
        if name is None:
            return None
        try:
            return parse_day(_column(value, name))
        except ValueError as error:
            raise RowError(name, str(error)) from None

    def _column(self, value: dict[str, Any] | str, name: str) -> str | int:
        found = _column(value, name)
        if found is None or found == "":
            raise RowError(name, "missing")
        if isinstance(found, bool) or not isinstance(found, str | int):
            raise RowError(name, f"type: {json_type(found)}")
        return found


def is_cut(data: Data, kind: str) -> bool:
    """Say whether a long record is cut into several: it need not be left out for its length."""
    return kind == "text" and effective_policy(data.over_length, kind) == "split"


def _readable(row: RawRow) -> dict[str, Any] | str:
    if row.problem is not None or row.value is None:
        raise RowError("", row.problem or "row: null")
    return row.value


def _column(value: dict[str, Any] | str, name: str) -> Any:
    found = lookup(value, name) if isinstance(value, dict) else None
    return None if found is MISSING else found


def open_source(config: Config) -> Source:
    """Find the raw files and decide how each is read, and their format from the first rows.

    Raises:
        UserError: no file, a file of unknown kind or not readable, or no format that fits.
    """
    data, raw = config.data, _fetched(config)
    paths, others = find_files(raw)
    pictures = [path for path in others if path.suffix.lower() in SUFFIXES and path.is_file()]
    others = [path for path in others if path not in set(pictures)]
    known = ", ".join(CONTAINERS)
    problems = [_unknown(config, path) for path in others]
    if not raw.exists():
        fix = "put your data there, or set data.raw"
        problems.append(Problem(data.raw, "no such file or folder", fix=fix))
    elif not paths and not others:
        problems.append(Problem(data.raw, "the folder holds no data file", known))
    files = {shown_name(config, path): path for path in paths}
    infos: dict[str, FileInfo] = {}
    sample: list[dict[str, Any] | str] = []
    for name, path in files.items():
        try:
            infos[name] = describe(path, name, data.text_unit, data.encoding)
            rows = described_rows(path, name, infos[name])
            readable = (row.value for row in rows if row.value is not None)
            sample += islice(readable, max(1, SAMPLE_ROWS // len(files)))
        except UserError as error:
            problems += error.problems
    if not problems and sample:
        chosen, reason = choose_format(data.format, sample, data.columns, data.raw)
        if not _name_images(sample, chosen, data):
            problems += [_unknown(config, path) for path in pictures]
    if problems:
        raise UserError(problems)
    if not sample:
        return Source(files, infos, None, "not one row could be read", [])
    check_combination(config.objective, chosen)
    named = {data.group_by, data.time_column, data.stratify_by, *data.where}
    unused = unused_columns(sample, chosen, data.columns, named)
    return Source(files, infos, chosen, reason, unused)


def _unknown(config: Config, path: Path) -> Problem:
    known = ", ".join(CONTAINERS)
    return Problem(shown_name(config, path), f"unknown kind of file `{path.suffix}`", known)


def _name_images(rows: list[dict[str, Any] | str], chosen: Format, data: Data) -> bool:
    """Say whether some of the rows name images, in a column or in a turn."""
    if not {*IMAGE_COLUMNS} & {*chosen.fields()}:
        return False
    for row in rows:
        fields = Fields(row, data.columns)
        try:
            if chosen.convert(fields).images:
                return True
        except RowError:
            if fields.images or any(fields.has(name) for name in IMAGE_COLUMNS):
                return True
    return False


def _fetched(config: Config) -> Path:
    """Return the raw file or folder; a data set of the hub is fetched into data/raw first."""
    if config.data.raw.startswith(PREFIX):
        return fetch_dataset(config.data.raw, config.path(HUB_FOLDER))
    return raw_path(config)


def raw_files(source: Source) -> tuple[RawFile, ...]:
    """Return the files as another process reads them."""
    return tuple(RawFile(path, name, source.infos[name]) for name, path in source.files.items())


def rows_of(source: Source) -> Iterator[RawRow]:
    """Yield the rows of all files, in order.

    Raises:
        UserError: files that cannot be read to their end; all are listed, after the last row.
    """
    problems: list[Problem] = []
    for file in raw_files(source):
        try:
            yield from described_rows(file.path, file.name, file.info)
        except UserError as error:
            problems += error.problems
    if problems:
        raise UserError(problems)
