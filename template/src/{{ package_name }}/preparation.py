"""Raw files -> scrubbed, split records with a report and a manifest.

Two passes over the raw files. The first checks every row and stops a bad data set before
any model is loaded; the second scrubs the rows that passed and writes them. Raw text is held
for one batch at a time and is never written.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from .config import Config
from .errors import Problem, UserError
from .examination import (
    Candidate,
    Examiner,
    Quarantine,
    Source,
    Tally,
    candidates,
    open_source,
    refusals,
)
from .items import Item, load_items
from .keys import SPLITS, Keys, load_keys
from .manifest import hash_files, manifest_path, recognizer_files, write_manifest
from .overlap import OverlapIndex, item_texts
from .packs import Pack, load_packs
from .readers import container_of
from .records import Record
from .utils import timed, write_json

if TYPE_CHECKING:
    from .scrub import Scrubber

BATCH_ROWS = 64
QUARANTINE = "quarantine.jsonl"
REPORT = "report.json"
# Valid in JSON, but some readers end a line at them.
ODD_LINE_ENDS = str.maketrans({c: f"\\u{ord(c):04x}" for c in "\x85\u2028\u2029"})


def survey(config: Config) -> dict[str, Any]:
    """Read and check the raw data without scrubbing or writing anything.

    Returns:
        The report of `prepare` as far as it is known by then, and `refused`: what would stop
        the preparation.

    Raises:
        UserError: a file cannot be read or no format fits; every problem found is listed.
    """
    items = _evaluation_items(load_packs(config))
    source = open_source(config)
    keys, key_reason = load_keys(config, create=False)
    quarantine = Quarantine(None, keys)
    examiner = Examiner(config, source, keys, _canaries(load_packs(config), items))
    for _ in candidates(source, examiner, quarantine):
        pass
    refused = [str(problem) for problem in refusals(config, examiner.tally, quarantine)]
    return {**_describe(source, examiner.tally, key_reason), "refused": refused}


def prepare(config: Config, progress: bool = True) -> dict[str, Any]:
    """Make the prepared data of a run from its raw files.

    Writes `{train,validation,test}.jsonl`, `report.json` and the list of refused rows, and
    the manifest last: without it the data does not count as prepared.

    Args:
        config: The run.
        progress: Show a progress bar on standard error while scrubbing.

    Returns:
        The report.

    Raises:
        UserError: the data or the scrubber cannot be trusted; nothing is prepared then.
    """
    seconds: dict[str, float] = {}
    packs = load_packs(config)
    items = _evaluation_items(packs)
    canaries = _canaries(packs, items)
    with timed(seconds, "detect"):
        source = open_source(config)
    inputs = hash_files(config, list(source.files.values()))
    keys, key_reason = load_keys(config)
    manifest_path(config).unlink(missing_ok=True)
    with ExitStack() as stack:
        handle = stack.enter_context(_create(config.path(config.data.quarantine) / QUARANTINE))
        quarantine = Quarantine(handle, keys)
        with timed(seconds, "read"):
            checked = Examiner(config, source, keys, canaries)
            for _ in candidates(source, checked, quarantine):
                pass
        handle.flush()
        _require_usable(config, checked.tally, quarantine)
        with timed(seconds, "load scrubber"):
            scrubber = _load_scrubber(config, keys)
        # What the first pass refused is listed; the second adds what the scrubber refuses.
        examiner = Examiner(config, source, keys, canaries)
        writer = stack.enter_context(_Writer(config.path(config.data.prepared), items))
        passed = _with_progress(candidates(source, examiner, None), checked.tally.kept, progress)
        for batch in _batches(passed):
            with timed(seconds, "scrub"):
                scrubbed = [*_scrub(scrubber, batch)]
            with timed(seconds, "write"):
                for candidate, record, types in scrubbed:
                    if record is None:
                        examiner.withdraw(candidate, "scrub", quarantine)
                    else:
                        writer.add(candidate, record, types)
        handle.flush()
        _require_usable(config, examiner.tally, quarantine)
        if hash_files(config, list(source.files.values())) != inputs:
            found = "a raw file changed while it was read"
            raise UserError(Problem(config.data.raw, found, fix="make prepare"))
        outputs = writer.finish()
    report = _describe(source, examiner.tally, key_reason)
    report |= {**writer.summary(config), "seconds": seconds}
    path = config.path(config.data.prepared) / REPORT
    write_json(path, report)
    write_manifest(config, inputs, scrubber.fingerprint, [*outputs, path], keys.identity)
    return report


class _Writer:
    """Writes the splits under temporary names and counts what they hold."""

    def __init__(self, folder: Path, items: dict[str, list[Item]]) -> None:
        self._paths = {split: folder / f"{split}.jsonl" for split in SPLITS}
        self._drafts = {split: folder / f".{split}.jsonl.tmp" for split in SPLITS}
        self._overlap = OverlapIndex(
            {name: [item_texts(item) for item in rows] for name, rows in items.items()}
        )
        self._handles: dict[str, IO[str]] = {}
        self._rows = dict.fromkeys(SPLITS, 0)
        self._types: Counter[str] = Counter()

    def __enter__(self) -> "_Writer":
        self._handles = {split: _create(path) for split, path in self._drafts.items()}
        return self

    def __exit__(self, *_: object) -> None:
        for split, handle in self._handles.items():
            handle.close()
            self._drafts[split].unlink(missing_ok=True)

    def add(self, candidate: Candidate, record: Record, types: Counter[str]) -> None:
        """Write one scrubbed record to its split."""
        row = {**record.to_json(), "key": candidate.key.hex()}
        line = json.dumps(row, ensure_ascii=False).translate(ODD_LINE_ENDS)
        self._handles[candidate.split].write(line + "\n")
        self._rows[candidate.split] += 1
        self._types += types
        if candidate.split == "train":
            # The raw text: placeholders would break up the sequences that are looked for.
            for text in candidate.record.texts():
                self._overlap.add(text)

    def finish(self) -> list[Path]:
        """Give the complete files their names and return them."""
        for split, handle in self._handles.items():
            handle.close()
            self._drafts[split].replace(self._paths[split])
        return list(self._paths.values())

    def summary(self, config: Config) -> dict[str, Any]:
        """Return the report's part about what was written."""
        shares = config.data.split.model_dump()
        empty = [split for split in SPLITS if shares[split] and not self._rows[split]]
        notes = [f"split {split} is empty: too few different prompts or groups" for split in empty]
        return {
            "splits": self._rows,
            "pii": dict(self._types.most_common()),
            "overlap": {"eval_sets": self._overlap.result()},
            "notes": notes,
        }


def _create(path: Path) -> IO[str]:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("w", encoding="utf-8", newline="\n")


def _load_scrubber(config: Config, keys: Keys) -> "Scrubber":
    from .scrub import Scrubber  # loads the language model's library: seconds

    settings = config.scrub
    return Scrubber(
        recognizer_files(config),
        settings.languages,
        settings.policy,
        settings.nlp_model,
        keys.scrubber,
        settings.score_threshold,
    )


def _scrub(
    scrubber: "Scrubber", batch: Sequence[Candidate]
) -> Iterator[tuple[Candidate, Record | None, Counter[str]]]:
    """Yield each candidate with its scrubbed record, or None where that cannot be trusted."""
    from .scrub import ScrubError

    texts = [candidate.record.texts() for candidate in batch]
    try:
        results = iter(scrubber.scrub([text for group in texts for text in group]))
    except ScrubError:
        if len(batch) == 1:
            yield batch[0], None, Counter()
        else:  # one record spoils the batch: take them one by one
            for candidate in batch:
                yield from _scrub(scrubber, [candidate])
        return
    for candidate, group in zip(batch, texts, strict=True):
        found = [*islice(results, len(group))]
        types = Counter(span.type for one in found for span in one.spans)
        yield candidate, candidate.record.with_texts(tuple(one.text for one in found)), types


def _batches(passed: Iterable[Candidate]) -> Iterator[list[Candidate]]:
    rows = iter(passed)
    while batch := [*islice(rows, BATCH_ROWS)]:
        yield batch


def _with_progress(rows: Iterator[Candidate], total: int, visible: bool) -> Iterator[Candidate]:
    """Pass the rows on, and show how many went by, the rate and the time left."""
    if not visible:
        yield from rows
        return
    from rich import progress
    from rich.console import Console

    class Rate(progress.ProgressColumn):
        def render(self, task: progress.Task) -> str:
            return f"{task.speed or 0:.0f} rows/s"

    columns = (*progress.Progress.get_default_columns()[:2], progress.MofNCompleteColumn())
    with progress.Progress(
        *columns, Rate(), progress.TimeRemainingColumn(), console=Console(stderr=True)
    ) as bar:
        yield from bar.track(rows, total=total, description="scrub")


def _require_usable(config: Config, tally: Tally, quarantine: Quarantine) -> None:
    if problems := refusals(config, tally, quarantine):
        raise UserError(problems)


def _evaluation_items(packs: Sequence[Pack]) -> dict[str, list[Item]]:
    return {row.id: load_items(row.path, row.id) for pack in packs for row in pack.eval_sets}


def _canaries(packs: Sequence[Pack], items: dict[str, list[Item]]) -> set[str]:
    marks = {pack.canary for pack in packs}
    marks |= {item.canary for rows in items.values() for item in rows}
    return {mark.lower() for mark in marks if mark}


def _describe(source: Source, tally: Tally, key_reason: str) -> dict[str, Any]:
    """Return the report's part about the raw rows."""
    files = []
    for name, path in source.files.items():
        container, reason = container_of(path)
        entry = {"file": name, "container": container.name, "reason": reason}
        files.append({**entry, "rows": tally.files[name]})
    chosen = source.format
    return {
        "rows": tally.rows(),
        "reasons": dict(tally.reasons.most_common()),
        "format": {
            "name": chosen.name if chosen else None,
            "kind": chosen.kind if chosen else None,
            "reason": source.reason,
            "unused_columns": source.unused,
        },
        "files": files,
        "line_ends_normalised": tally.line_ends,
        "key": key_reason,
    }
