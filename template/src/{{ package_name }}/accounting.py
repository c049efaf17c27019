"""The report of a preparation: what was read, what became of it, and what was written."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from .config import Config
from .examination import Source
from .guidance import UNKNOWN, judge, rare_labels, task_of
from .ledger import Tally
from .lengths import Lengths, policy_note
from .objectives import OBJECTIVES
from .overlap import ItemText, OverlapIndex
from .records import effective_policy
from .selection import Selection
from .splits import SPLITS, deviation, share_warnings, split_rule

BINS = 40
PERCENTILES = {"p5": 5, "p50": 50, "p95": 95, "max": 100}
NOT_DECLARED = "not declared"
MOST_UNCOVERED = 0.05  # share of rows in other languages; single rows are often misjudged


def describe(
    config: Config,
    source: Source,
    tally: Tally,
    duplicates: Mapping[str, Any],
    conflicts: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the report's part about the raw rows."""
    chosen, files, licences = source.format, [], dict[str, int]()
    for name, info in source.infos.items():
        licence = licence_of(config, name)
        licences[licence or NOT_DECLARED] = licences.get(licence or NOT_DECLARED, 0) + 1
        entry = {"file": name, "container": info.container, "encoding": info.encoding}
        entry |= {"reason": info.reason, "licence": licence}
        files.append({**entry, "rows": tally.files[name]})
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
        "licences": licences,
        "duplicates": {**duplicates, "near": 0, "threshold": config.data.near_duplicates},
        "conflicts": dict(conflicts),
        "notes": image_notes(tally),
    } | ({"images": {"rows": tally.with_images, "images": tally.images}} if tally.images else {})


def image_notes(tally: Tally) -> list[str]:
    """Return what the report says about images; nothing where there are none."""
    if not tally.images:
        return []
    return [
        f"{tally.images} images in {tally.with_images} rows were not scrubbed: that none shows an "
        "identifier is the word of whoever set data.images_checked"
    ]


def licence_of(config: Config, file: str) -> str:
    """Return the declared licence of a raw file: its own, or that of the nearest folder."""
    declared = {PurePosixPath(name): licence for name, licence in config.data.licences.items()}
    path = PurePosixPath(file)
    places = [path, *path.parents]
    raw = PurePosixPath(config.data.raw)
    inside = path.relative_to(raw) if path.is_relative_to(raw) else path
    places += [inside, *inside.parents]
    return next((declared[place] for place in places if place in declared), "")


def result(
    config: Config,
    kind: str,
    chosen: Selection,
    duplicates: Mapping[str, Any],
    index: OverlapIndex,
    items: Mapping[str, Sequence[ItemText]],
    lengths: Lengths,
) -> dict[str, Any]:
    """Return the report's part about what was written."""
    counters = chosen.counters
    splits = {split: chosen.written[split] for split in SPLITS}
    task, reason = task_of(config.data.task, kind, config.objective)
    guidance = judge(task, counters["rows"]["train"])
    return {
        "splits": splits,
        "split_rule": _rule(config, chosen),
        "leakage": chosen.leakage,
        "labels": _labels(chosen),
        "cleaned": dict(counters["cleaned"].most_common()),
        "converted": dict(counters["converted"].most_common()),
        "pii": dict(counters["pii"].most_common()),
        "languages": dict(counters["languages"].most_common()),
        "duplicates": {
            **duplicates,
            "near": chosen.near,
            "threshold": config.data.near_duplicates,
            "examples": [*duplicates["examples"], *chosen.examples],
        },
        "contamination": _contamination(chosen, index, items),
        "overlap": {"eval_sets": _of_packs(config, index.report(chosen.kept_hits))},
        "tokens": _tokens(config, kind, chosen, lengths),
        "guidance": {**guidance, "reason": reason},
        "diversity": _diversity(chosen),
        "notes": [*_notes(config, kind, chosen, splits, lengths)],
    }


def identifiers_by_file(
    entries: Iterable[Mapping[str, Any]], kept: Iterable[int]
) -> dict[str, dict[str, int]]:
    """Return file -> type -> identifiers found in the rows that are kept.

    Args:
        entries: Of all scrubbed rows.
        kept: Of each entry: is it kept?
    """
    files: dict[str, Counter[str]] = defaultdict(Counter)
    for entry, keep in zip(entries, kept, strict=True):
        if keep and entry["pii"]:
            files[entry["file"]].update(entry["pii"])
    return {file: dict(found.most_common()) for file, found in files.items()}


def _uncovered(config: Config, chosen: Selection) -> list[str]:
    """Return a note where rows are in languages that the scrubber has no rules for."""
    found, known = chosen.counters["languages"], {*config.scrub.languages, UNKNOWN}
    others = {name: rows for name, rows in found.items() if name not in known}
    if sum(others.values()) <= MOST_UNCOVERED * sum(found.values()):
        return []
    told = ", ".join(f"{name} {rows}" for name, rows in others.items())
    return [
        f"identifiers may be left: rows in languages that scrub.languages does not name ({told}); "
        "names, labels and addresses are looked for by the rules of the named ones only"
    ]


def _rule(config: Config, chosen: Selection) -> dict[str, Any]:
    rule = split_rule(config.data.split.model_dump())
    wanted = rule.wanted()
    return {
        "by": rule.by,
        "shares": wanted,
        "group_by": config.data.group_by,
        "stratify_by": _stratified_by(config, chosen),
        "deviation": deviation(chosen.strata, wanted),
    }


def _stratified_by(config: Config, chosen: Selection) -> str | None:
    name = config.data.stratify_by
    if name == "auto":
        return "label" if chosen.strata else None
    return name


def _labels(chosen: Selection) -> dict[str, dict[str, int]]:
    """Return split -> label -> rows, the most frequent label first."""
    order = sorted(chosen.strata, key=lambda label: -sum(chosen.strata[label].values()))
    return {
        split: {
            label: chosen.strata[label][split] for label in order if chosen.strata[label][split]
        }
        for split in SPLITS
        if order
    }


def _contamination(
    chosen: Selection, index: OverlapIndex, items: Mapping[str, Sequence[ItemText]]
) -> dict[str, Any]:
    examples = [
        {"row": place, "set": hit.set_id, "item": items[hit.set_id][hit.item].id, "rule": hit.rule}
        for place, hit in chosen.hit_examples
    ]
    sets = index.report(chosen.hits)
    return {"sets": sets, "rows": chosen.contaminated, "examples": examples}


def _of_packs(config: Config, sets: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
    """Return the sets that the evaluation scores; the user's files are not among them."""
    return {name: row for name, row in sets.items() if name not in config.data.decontaminate_files}


def _tokens(config: Config, kind: str, chosen: Selection, lengths: Lengths) -> dict[str, Any]:
    import numpy as np

    values = np.asarray(chosen.lengths)
    counts, edges = np.histogram(values, bins=BINS) if len(values) else (values, values)
    points = {
        name: int(np.percentile(values, share)) if len(values) else 0
        for name, share in PERCENTILES.items()
    }
    return {
        "unit": lengths.unit,
        "tokenizer": lengths.tokenizer,
        "max_length": config.train.max_length,
        "policy": _policy(config, kind),
        "over": chosen.over,
        "percentiles": points,
        "histogram": {
            "edges": [round(float(edge), 1) for edge in edges],
            "counts": [int(count) for count in counts],
        },
    }


def _policy(config: Config, kind: str) -> str:
    auto = OBJECTIVES[config.objective].over_length
    return effective_policy(config.data.over_length, kind, auto)


def _diversity(chosen: Selection) -> dict[str, Any]:
    found = chosen.diversity.result()
    if chosen.strata:
        totals = {label: sum(counts.values()) for label, counts in chosen.strata.items()}
        found["rare_labels"] = rare_labels(totals)
    return found


def _notes(
    config: Config, kind: str, chosen: Selection, splits: Mapping[str, int], lengths: Lengths
) -> list[str]:
    split = config.data.split
    rule = split_rule(split.model_dump())
    wanted = rule.wanted()
    why = "no row is dated so" if rule.by == "as_of" else "too few different prompts or groups"
    notes = [
        f"split {name} is empty: {why}" for name in SPLITS if wanted[name] and not splits[name]
    ]
    notes += _uncovered(config, chosen)
    if not rule.folds:  # their number says what the shares are
        notes += share_warnings({name: getattr(split, name) for name in SPLITS})
    if chosen.over:
        notes.append(
            policy_note(_policy(config, kind), chosen.over, config.train.max_length, lengths.unit)
        )
    notes += [
        f"{name}: {rows} rows, left as they are" for name, rows in chosen.counters["odd"].items()
    ]
    return notes
