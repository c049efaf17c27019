"""Raw files -> scrubbed, deduplicated, split records, in three passes over the rows.

1. Read, convert and key every row; find what is no record and what stands twice. Nothing is
   loaded or written for this but the list of refused rows.
2. Clean, scrub, measure and sign the rows that are left, block by block, in one process or
   several. A finished block stays on the disk: a killed preparation goes on after it.
3. Decide about near-duplicates, evaluation items and leaks, and write the splits.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import IO, Any

from . import accounting
from .benchmarks import overlap_texts
from .config import Config
from .crew import HERE, Crew, crew_of, require_written
from .data_loader import system_prompt
from .duplicates import Conflicts
from .errors import Problem, UserError
from .examination import Source, open_source, raw_files, rows_of
from .items import Item, load_items
from .keys import load_keys
from .ledger import KEPT, Ledger, Quarantine, Tally, conflicts_report, examined, refusals
from .lengths import TOKENS, Lengths
from .manifest import hash_files, manifest_path, preparation_identity, write_manifest
from .overlap import ItemText, OverlapIndex, item_texts, load_items_from_file
from .packs import Pack, load_packs
from .processes import ProcessKilled
from .readers import RawRow
from .selection import Selection, SplitFiles, select, write_selected
from .shards import NAME, Shards
from .utils import timed, write_json
from .workers import Task, scrub_notices

BLOCK_ROWS = 512
PAIRED = {
    "preference",
    "unpaired",
    "image_text",
}  # several rows for one prompt are the point of these
QUARANTINE = "quarantine.jsonl"
REPORT = "report.json"
LOCK = ".lock"


@dataclass(slots=True)
class Survey:
    """What the first pass found."""

    source: Source
    ledger: Ledger
    tally: Tally
    quarantine: Quarantine
    duplicates: dict[str, Any]
    conflicts: dict[str, Any]


def survey(config: Config) -> dict[str, Any]:
    """Read and check the raw data without scrubbing or writing anything.

    Returns:
        The report of `prepare` as far as it is known by then, and `refused`: what would stop
        the preparation.

    Raises:
        UserError: a file cannot be read or no format fits; every problem found is listed.
    """
    packs = load_packs(config)
    keys, key_reason = load_keys(config, create=False)
    source = open_source(config)
    task = Task(config, _layout(source), keys, _canaries(packs, _evaluation_items(packs)))
    found = _survey(task, source, Quarantine(None), progress=False)
    refused = [str(problem) for problem in refusals(config, found.tally, found.quarantine)]
    return {**_describe(config, found, key_reason), "refused": refused}


def prepare(config: Config, progress: bool = True) -> dict[str, Any]:
    """Make the prepared data of a run from its raw files.

    Writes `{train,validation,test}.jsonl`, `report.json` and the list of refused rows, and
    the manifest last: without it the data does not count as prepared.

    Args:
        config: The run.
        progress: Show progress bars on standard error.

    Returns:
        The report.

    Raises:
        UserError: the data or the scrubber cannot be trusted, or another preparation is
            writing to the same folder; nothing is prepared then.
    """
    seconds: dict[str, float] = {}
    folder = config.path(config.data.prepared)
    packs = load_packs(config)
    items = _evaluation_items(packs)
    benchmarks = overlap_texts(config)
    named = {name: load_items_from_file(path) for name, path in _named_files(config)}
    with timed(seconds, "detect"):
        source = open_source(config)
    with ExitStack() as stack:
        stack.enter_context(_alone(folder / LOCK))
        stack.enter_context(_alone(config.path(config.data.quarantine) / LOCK))
        crew = stack.enter_context(crew_of(config))
        inputs = hash_files(config, list(source.files.values()))
        keys, key_reason = load_keys(config)
        manifest_path(config).unlink(missing_ok=True)
        handle = stack.enter_context(_create(config.path(config.data.quarantine) / QUARANTINE))
        texts = {name: item_texts(rows) for name, rows in items.items()} | benchmarks | named
        marks = _canaries(packs, items)
        task = Task(config, _layout(source), keys, marks, raw_files(source))
        with timed(seconds, "read"), _unchanged(config, source, inputs):
            found = _survey(task, source, Quarantine(handle), progress, crew)
        handle.flush()
        _require_usable(config, found)
        identity = preparation_identity(config, inputs, keys.identity)
        identity |= {"items": texts, "prompt": system_prompt(config)}
        shards = Shards(folder / NAME, identity)
        index = OverlapIndex(texts)
        task = replace(task, overlap=index, shards=shards)
        with _refusing(shards):
            with timed(seconds, "scrub"), _unchanged(config, source, inputs):
                processes, reason = _scrub(task, found, progress, crew)
            with timed(seconds, "select"):
                chosen = select(config, shards, index, found.tally, found.quarantine)
            handle.flush()
            _require_usable(config, found)
        files = stack.enter_context(SplitFiles(folder))
        with timed(seconds, "write"):
            records = write_selected(config, shards, chosen, files)
            chosen.leakage, chosen.written = files.shared(), files.written
        outputs = files.finish()
        report = _describe(config, found, key_reason) | {"records": records}
        report |= _result(config, found, chosen, index, texts)
        report["notes"] += [*accounting.image_notes(found.tally), *scrub_notices(config)]
        report["pii_files"] = accounting.identifiers_by_file(shards.rows(), chosen.flags)
        report |= {"seconds": seconds, "workers": {"n": processes, "reason": reason}}
        path = folder / REPORT
        write_json(path, report)
        tokens = report["tokens"]
        # Estimated lengths leave nothing out.
        over = tokens["over"] if tokens["unit"] == TOKENS else 0
        write_manifest(config, inputs, [*outputs, path], keys.identity, _kind(source), over)
        shards.remove()
    return report


def _survey(
    task: Task, source: Source, quarantine: Quarantine, progress: bool, crew: Crew = HERE
) -> Survey:
    """Read, convert and key every row; mark what stands twice."""
    ledger, tally = Ledger(), Tally()
    blocks = _blocks(rows_of(source))
    size = sum(path.stat().st_size for path in source.files.values())
    processes, _ = crew.size(task.config, size // 2000)
    distant = crew.engine.distant
    with _bar("read", None, progress) as advance:
        pending: list[list[RawRow]] = []

        def given() -> Iterator[tuple[Any, ...]]:
            first = 0
            for block in blocks:
                pending.append(block)
                yield (first, len(block)) if distant else (block,)
                first += len(block)

        method = "examine_places" if distant else "examine"
        for verdicts in crew.run(task, method, given(), processes):
            rows = pending.pop(0)
            examined(rows, verdicts, ledger, tally, quarantine, task.keys)
            advance(len(rows))
    exact, pairs, conflicts = ledger.mark_duplicates()
    if _kind(source) in PAIRED:
        conflicts = Conflicts(0, 0, [])
    for _ in range(exact):
        tally.move("duplicate", "exact duplicate")
    examples = [
        {"row": ledger.place(a), "repeats": ledger.place(b), "similarity": 1.0} for a, b in pairs
    ]
    duplicates = {"exact": exact, "examples": examples}
    shown = conflicts_report(conflicts, ledger)
    return Survey(source, ledger, tally, quarantine, duplicates, shown)


def _scrub(task: Task, found: Survey, progress: bool, crew: Crew) -> tuple[int, str]:
    """Scrub the rows that are left; return in how many processes, and why so many."""
    assert task.shards is not None
    shards, outcomes, kept = task.shards, found.ledger.outcomes, found.tally.kept
    processes, reason = crew.size(task.config, kept)
    given: dict[int, int] = {}

    def blocks() -> Iterator[tuple[int, list[int]]]:
        for number, start in enumerate(range(0, len(outcomes), BLOCK_ROWS)):
            places = range(start, min(start + BLOCK_ROWS, len(outcomes)))
            wanted = [place for place in places if outcomes[place] == KEPT]
            if wanted and shards.is_finished(number, len(wanted)):
                advance(len(wanted))
            elif wanted:
                given[number] = len(wanted)
                yield number, wanted

    with _bar("scrub", kept, progress) as advance:
        for count in crew.run(task, "scrub", blocks(), processes):
            advance(count)
    if crew.engine.distant:
        require_written(shards, given)
    return processes, reason


def _describe(config: Config, found: Survey, key_reason: str) -> dict[str, Any]:
    """Return the report's part about the raw rows."""
    return accounting.describe(
        config, found.source, found.tally, found.duplicates, found.conflicts
    ) | {"key": key_reason}


def _result(
    config: Config,
    found: Survey,
    chosen: Selection,
    index: OverlapIndex,
    items: dict[str, list[ItemText]],
) -> dict[str, Any]:
    """Return the report's part about what was written."""
    lengths, kind = Lengths(config), _kind(found.source)
    return accounting.result(config, kind, chosen, found.duplicates, index, items, lengths)


def _named_files(config: Config) -> list[tuple[str, Path]]:
    files = [(name, config.path(name)) for name in config.data.decontaminate_files]
    where, fix = "data.decontaminate_files", "name a file that exists, or take it out"
    if absent := [name for name, path in files if not path.is_file()]:
        raise UserError([Problem(where, f"no such file: {name}", fix=fix) for name in absent])
    return files


def _layout(source: Source) -> str | None:
    return source.format.name if source.format else None


def _kind(source: Source) -> str:
    return source.format.kind if source.format else ""


def _blocks(rows: Iterable[RawRow]) -> Iterator[list[RawRow]]:
    iterator = iter(rows)
    while block := [*islice(iterator, BLOCK_ROWS)]:
        yield block


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the lock of a folder; the system gives it back even if this process is killed."""
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        found = "another preparation writes to it"
        fix = "wait for it, or give this one other folders (data.prepared, data.quarantine)"
        raise UserError(Problem(str(path.parent), found, fix=fix)) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _unchanged(config: Config, source: Source, inputs: dict[str, str]) -> Iterator[None]:
    """Refuse raw files that change while they are read, whatever error that led to.

    Raises:
        UserError: a file is no longer the one whose hash was taken.
    """
    changed = Problem(config.data.raw, "a raw file changed while it was read", fix="make prepare")
    try:
        yield
    except Exception:
        if hash_files(config, list(source.files.values())) != inputs:
            raise UserError(changed) from None
        raise
    if hash_files(config, list(source.files.values())) != inputs:
        raise UserError(changed)


@contextmanager
def _refusing(shards: Shards) -> Iterator[None]:
    """Delete the blocks of data that is refused: they are of no use, whatever is changed.

    Among the reasons are classes that are no classes, and classes are written unscrubbed. A
    process that was killed says nothing about the data.
    """
    try:
        yield
    except ProcessKilled:
        raise
    except UserError:
        shards.remove()
        raise


@contextmanager
def _bar(title: str, total: int | None, visible: bool) -> Iterator[Callable[[int], None]]:
    """Show how many rows went by, the rate and the time left; yield what counts them."""
    if not visible:
        yield lambda _count: None
        return
    from rich import progress
    from rich.console import Console

    class Rate(progress.ProgressColumn):
        def render(self, task: progress.Task) -> str:
            return f"{task.speed or 0:.0f} rows/s"

    columns = [*progress.Progress.get_default_columns()[:2], progress.MofNCompleteColumn()]
    columns += [Rate(), progress.TimeRemainingColumn()]
    with progress.Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=total)
        yield lambda count: bar.advance(task, count)


def _create(path: Path) -> IO[str]:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("w", encoding="utf-8", newline="\n")


def _require_usable(config: Config, found: Survey) -> None:
    if problems := refusals(config, found.tally, found.quarantine):
        raise UserError(problems)


def _evaluation_items(packs: Sequence[Pack]) -> dict[str, list[Item]]:
    return {row.id: load_items(row.path, row.id) for pack in packs for row in pack.eval_sets}


def _canaries(packs: Sequence[Pack], items: dict[str, list[Item]]) -> frozenset[str]:
    marks = {pack.canary for pack in packs}
    marks |= {item.canary for rows in items.values() for item in rows}
    return frozenset(mark.lower() for mark in marks if mark)
