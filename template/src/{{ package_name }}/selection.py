"""Which scrubbed rows are kept, and the files they are written to."""

import json
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from .config import Config
from .duplicates import Rows, near_duplicates, similarity
from .errors import Problem, UserError
from .guidance import Diversity
from .ledger import Quarantine, Tally, nothing_left
from .overlap import Hit, OverlapIndex
from .records import Record
from .shards import Shards
from .splits import SPLITS, Leakage, empty_classes, resample, split_rule

NEAR_DUPLICATE, SAME_TEXT = "near duplicate", "same text once scrubbed"
CONTAMINATED = "evaluation item inside"
EXAMPLES = 5
MOST_CLASSES = 1000  # more different labels are no closed vocabulary
# Valid in JSON, but some readers end a line at them.
ODD_LINE_ENDS = str.maketrans({c: f"\\u{ord(c):04x}" for c in "\x85\u2028\u2029"})


@dataclass(slots=True)
class Selection:
    """What became of the scrubbed rows, and the figures of those that are kept."""

    flags: bytearray = field(default_factory=bytearray)  # of each entry: is it kept
    near: int = 0
    examples: list[dict[str, Any]] = field(default_factory=list)
    pairs: list[tuple[int, int]] = field(default_factory=list)  # the entries of the examples
    hits: list[Hit] = field(default_factory=list)
    kept_hits: list[Hit] = field(default_factory=list)
    contaminated: int = 0
    hit_examples: list[tuple[str, Hit]] = field(default_factory=list)
    lengths: "array[int]" = field(default_factory=lambda: array("I"))
    over: int = 0
    counters: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    strata: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    leakage: dict[str, int] = field(default_factory=dict)  # of the written files
    written: Counter[str] = field(default_factory=Counter)  # records of each split
    single: bool = True  # no row has several labels
    diversity: Diversity = field(default_factory=Diversity)


def select(
    config: Config, shards: Shards, index: OverlapIndex, tally: Tally, quarantine: Quarantine
) -> Selection:
    """Decide about every scrubbed row: refused, repeated, contaminated, leaking, or kept.

    Raises:
        UserError: the classes are no closed vocabulary, or one is missing in a split.
    """
    result, columns = Selection(), _Columns()
    hits: list[tuple[int, Hit]] = []
    for number, entry in enumerate(shards.rows()):
        columns.add(entry)
        hits += [(number, _hit(values)) for values in entry.get("hits", ())]
    assert len(columns.sound) == tally.kept, "every row that is left has an entry"
    by_row: dict[int, list[Hit]] = defaultdict(list)
    for number, hit in index.settle(hits):
        by_row[number].append(hit)
        result.hits.append(hit)
    if config.data.contaminated == "drop":
        for number in by_row:
            columns.sound[number] = False
    first = _first_alike(config, shards, columns)
    leakage, asked = Leakage(), array("I")  # the entries that the test of leakage looks at
    for number, entry in enumerate(shards.rows()):
        repeats = number if first is None else int(first[number])
        same = columns.texts[repeats] == columns.texts[number]
        decision = _Decision(config, entry, number, by_row.get(number, []), repeats, same)
        outcome, reason = decision.outcome()
        _enter(decision, outcome, result, columns)
        if outcome:
            tally.move(outcome, reason)
            if outcome == "quarantined":
                quarantine.add(entry["file"], entry["row"], "", reason, entry["hash"])
        else:
            for record in entry["records"]:
                add_to(leakage, entry["split"], record)
                asked.append(number)
    _add_similarity(shards, result)
    for position, reason in leakage.leaking_rows().items():
        if result.flags[asked[position]]:
            result.flags[asked[position]] = False
            tally.move("filtered", reason)
    for number, entry in enumerate(shards.rows()):
        if result.flags[number]:
            _count(entry, by_row.get(number, []), result)
    assert sum(result.counters["rows"].values()) == tally.kept, "every row that is left is kept"
    if not tally.kept:
        raise UserError(nothing_left(config, tally))
    if not result.counters["rows"]["train"]:
        found = f"none of {tally.kept} rows falls into the training split"
        fix = "change data.split (as_of, train), or add rows with other prompts or groups"
        raise UserError(Problem("data.split", found, "at least one row", fix))
    _check_classes(config, result)
    return result


def _first_alike(config: Config, shards: Shards, columns: "_Columns") -> Rows | None:
    """Return for each entry the first sound one that it nearly repeats, or itself.

    None: near-duplicates are not looked for.
    """
    import numpy as np

    threshold = config.data.near_duplicates
    if threshold is None:
        return None
    return near_duplicates(shards.signatures(), threshold, np.frombuffer(columns.sound, np.bool_))


def add_to(leakage: Leakage, split: str, row: dict[str, Any]) -> None:
    """Add a prepared row to the test for what stands in two splits."""
    record = Record.from_json(row)
    leakage.add(split, record.group, "\n".join(record.prompt()), "\n".join(record.texts()))


def _hit(values: Sequence[Any]) -> Hit:
    set_id, item, rule, parts = values
    return Hit(set_id, item, rule, tuple(parts))


class _Columns:
    """What of all entries is needed at once, in 17 bytes for each.

    Attributes:
        sound: May it be kept, so far as the row alone decides?
        texts: Digests of the whole scrubbed texts.
    """

    def __init__(self) -> None:
        self.sound = bytearray()
        self.texts = array("Q")
        self._files: dict[str, int] = {}
        self._file, self._row = array("I"), array("I")

    def add(self, entry: dict[str, Any]) -> None:
        self.sound.append("refused" not in entry and not entry["filtered"])
        self.texts.append(int(entry.get("text", "0"), 16))
        self._file.append(self._files.setdefault(entry["file"], len(self._files)))
        self._row.append(entry["row"])

    def __getitem__(self, number: int) -> str:
        return f"{[*self._files][self._file[number]]} row {self._row[number]}"


@dataclass(frozen=True, slots=True)
class _Decision:
    """What decides about one entry."""

    config: Config
    entry: dict[str, Any]
    number: int
    hits: list[Hit]
    repeats: int
    same: bool

    def outcome(self) -> tuple[str, str]:
        """Return (outcome, reason); no outcome: it is kept so far."""
        if "refused" in self.entry:
            return "quarantined", self.entry["refused"]
        if self.entry["filtered"]:
            return "filtered", self.entry["filtered"]
        if self.repeats != self.number:
            return "duplicate", SAME_TEXT if self.same else NEAR_DUPLICATE
        if self.hits and self.config.data.contaminated == "drop":
            return "filtered", CONTAMINATED
        return "", ""


def _enter(decision: _Decision, outcome: str, result: Selection, columns: _Columns) -> None:
    """Enter a decision in the figures of the report."""
    entry, number = decision.entry, decision.number
    result.flags.append(not outcome)
    if outcome == "quarantined":
        return
    result.lengths.append(entry["length"])
    result.over += entry["length"] > decision.config.train.max_length
    if outcome == "duplicate":
        result.near += 1
        if len(result.examples) < EXAMPLES:
            pair = (number, decision.repeats)
            result.examples.append({"row": columns[pair[0]], "repeats": columns[pair[1]]})
            result.pairs.append(pair)
    elif decision.hits:
        result.contaminated += 1
        if len(result.hit_examples) < EXAMPLES:
            result.hit_examples.append((columns[number], decision.hits[0]))


def _add_similarity(shards: Shards, result: Selection) -> None:
    """Add to the examples how similar their rows are."""
    for example, (row, repeats) in zip(result.examples, result.pairs, strict=True):
        alike = similarity(shards.signature(row), shards.signature(repeats))
        example["similarity"] = round(alike, 2)


def _count(entry: dict[str, Any], hits: list[Hit], result: Selection) -> None:
    """Add a kept row to the figures of the report."""
    split, counters = entry["split"], result.counters
    counters["splits"][split] += len(entry["records"])
    counters["rows"][split] += 1
    for name in ("cleaned", "converted"):
        counters[name].update(entry[name].keys())  # rows, not places
    counters["pii"].update(entry["pii"])
    counters["odd"].update(entry["odd"])
    counters["languages"][entry["language"]] += 1
    for label in entry["strata"]:
        result.strata[label][split] += 1
    result.single &= len(entry["strata"]) == 1 and "tokens" not in entry["records"][0]
    if split == "train":
        result.kept_hits += hits
    result.diversity.add(Record.from_json(entry["records"][0]))


def _check_classes(config: Config, result: Selection) -> None:
    """Refuse classes that are no closed vocabulary, and a class that a split lacks."""
    column = config.data.stratify_by
    where = f"data.stratify_by ({column})" if column not in (None, "auto") else "labels"
    rows = sum(result.counters["rows"].values())
    if len(result.strata) > min(MOST_CLASSES, max(2, rows // 2)):
        found = f"{len(result.strata)} different values in {rows} rows"
        fix = "name the column that holds the class, not free text"
        raise UserError(Problem(where, found, "a closed set of classes", fix))
    if not result.strata:
        return
    wanted = split_rule(config.data.split.model_dump()).wanted()
    order = sorted(result.strata, key=lambda label: -sum(result.strata[label].values()))
    names = {label: f"{place} by size" for place, label in enumerate(order, 1)}
    problems = empty_classes(result.strata, wanted, names.__getitem__)
    if problems and (column not in (None, "auto") or (column == "auto" and result.single)):
        raise UserError(problems)


class SplitFiles:
    """The splits under temporary names; they get their own when all are complete."""

    def __init__(self, folder: Path) -> None:
        self._paths = {split: folder / f"{split}.jsonl" for split in SPLITS}
        self._drafts = {split: folder / f".{split}.jsonl.tmp" for split in SPLITS}
        self._handles: dict[str, IO[str]] = {}
        self.written: Counter[str] = Counter()

    def __enter__(self) -> "SplitFiles":
        for split, path in self._drafts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._handles[split] = path.open("w", encoding="utf-8", newline="\n")
        return self

    def __exit__(self, *_: object) -> None:
        with ExitStack() as stack:  # a full disk shows when a file is closed
            for split, handle in self._handles.items():
                stack.callback(self._drafts[split].unlink, missing_ok=True)
                stack.callback(handle.close)

    def write(self, split: str, row: dict[str, Any], times: int) -> None:
        """Write one prepared row, once or several times."""
        line = json.dumps(row, ensure_ascii=False).translate(ODD_LINE_ENDS) + "\n"
        self._handles[split].write(line * times)
        self.written[split] += times

    def shared(self) -> dict[str, int]:
        """Read back what was written; return how much of it stands in more than one split."""
        leakage = Leakage()
        for split, handle in self._handles.items():
            handle.flush()
            with self._drafts[split].open(encoding="utf-8", newline="\n") as lines:
                for line in lines:
                    add_to(leakage, split, json.loads(line))
        return leakage.counts()

    def finish(self) -> list[Path]:
        """Give the complete files their names and return them."""
        for split, handle in self._handles.items():
            handle.close()
            self._drafts[split].replace(self._paths[split])
        return list(self._paths.values())


def write_selected(
    config: Config, shards: Shards, result: Selection, files: SplitFiles
) -> dict[str, int]:
    """Write the kept rows; return how many records came of them and why more than rows."""
    in_train = {label: counts["train"] for label, counts in result.strata.items()}
    repeats = resample(in_train, config.train.seed)
    balance = config.data.resample == "balance"
    added = {"added_by_splitting": 0, "added_by_resampling": 0}
    for entry in _kept(shards, result):
        key, parts, split = entry["key"], entry["records"], entry["split"]
        times = 1
        if balance and split == "train":
            times = repeats(bytes.fromhex(key), entry["strata"])
        for place, record in enumerate(parts):
            name = key if len(parts) == 1 else f"{key}-{place}"
            # The day has decided about the split, and says more about a person than it should.
            row = {k: v for k, v in record.items() if k != "day"}
            files.write(split, row | {"key": name}, times)
        added["added_by_splitting"] += len(parts) - 1
        added["added_by_resampling"] += len(parts) * (times - 1)
    return {"written": sum(files.written.values()), **added}


def _kept(shards: Shards, result: Selection) -> Iterator[dict[str, Any]]:
    rows = zip(shards.rows(), result.flags, strict=True)
    return (entry for entry, keep in rows if keep)
