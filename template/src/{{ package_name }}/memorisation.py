"""Memorisation probe of a run: what the tuned model has by heart that its base has not.

Two questions, asked of both models:

- Rows: does it continue training rows word for word, and more of them than held-out rows?
- Identifiers: does it write a value that was replaced before training, given the scrubbed row up
  to it, and does it prefer that value to others of the same form (exposure)?

`memorisation.json` holds counts, shares and bounds, and no text.
"""

import datetime
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from .answers_cache import require_sound
from .audit_leak import upper_bound
from .config import Config
from .data_loader import load_split, system_prompt, tokenise
from .errors import Problem, UserError
from .evaluation import evaluation_precision
from .manifest import check_manifest, raw_path
from .memorisation_probe import (
    CONTINUATION,
    LEAST_CONTINUATION,
    Measured,
    Pair,
    Probe,
    continuations,
    probe_values,
    repeated,
    require_writer,
)
from .memorisation_rows import OTHERS, Replaced, replaced_identifiers
from .model_wrapper import LoadedModel, load_base, load_tuned
from .objectives import OBJECTIVES
from .outcomes import Outcome, mean_value
from .records import Record
from .report import text_table
from .runs import read_record, require_same_base
from .statistics import mcnemar_exact, wilson_interval
from .sums_bootstrap import paired_bootstrap
from .utils import read_json, timed, write_json

RESULT = "memorisation.json"
DRILL = "drill"
SPLITS = ("train", "held_out")
MODELS = ("base", "tuned")
ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is looked at.

    Attributes:
        rows: Of the training split and of those held out, and raw rows read again.
        identifiers: Probed at most.
        canaries: Planted in a drill.
        seed: Of everything that is drawn.
    """

    rows: int = 100
    identifiers: int = 60
    canaries: int = 12
    seed: int = 42


@dataclass(slots=True)
class Answers:
    """What one model did: for each row of a split, and for each identifier."""

    rows: dict[str, list[bool]]
    identifiers: list[Measured]


def probe(config: Config, run_dir: Path, extent: Extent, progress: bool = True) -> dict[str, Any]:
    """Probe base and tuned model and write `memorisation.json` into the run folder.

    Args:
        config: The run's.
        run_dir: Folder of a finished run.
        extent: How much is looked at.
        progress: Show progress bars on standard error.

    Returns:
        The content of `memorisation.json`; a drill that it holds already stays.

    Raises:
        UserError: the run, its data or the raw data do not allow it.
    """
    require_writer(read_record(run_dir).get("objective", config.objective))
    require_same_base(config, run_dir)
    require_same_data(config, run_dir)
    seconds: dict[str, float] = {}
    trained = load_split(config, "train")
    aside, held_out = next(
        ((name, rows) for name in ("test", "validation") if (rows := load_split(config, name))),
        ("none", []),
    )
    with timed(seconds, "raw rows"):
        found, note = _identifiers(config, trained, extent)
    chosen = {"train": trained, "held_out": held_out}
    drawn = {name: _drawn(rows, extent) for name, rows in chosen.items()}
    if shown := sum(bool(record.image_keys) for rows in drawn.values() for record in rows):
        note.append(f"{shown} rows have images, and were probed by their text alone")
    precision = evaluation_precision(config, run_dir)
    answers = {}
    for who in MODELS:
        with timed(seconds, who):
            loaded = (
                load_base(config, precision)
                if who == "base"
                else load_tuned(run_dir, precision, config)
            )
            require_sound(who, loaded)  # a model that diverged repeats nothing
            answers[who] = _ask(config, loaded, drawn, found.probes, who, progress)
    report = {
        "schema": 1,
        "run": run_dir.name,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "seed": extent.seed,
        "confidence": 1 - ALPHA,
        **_identifier_figures(found, answers),
        "notes": note,
        "verbatim": {"held_out_split": aside, **_row_figures(answers)},
        "precision": precision,
        "seconds": seconds,
    }
    report |= judge(report)
    return save(run_dir, report)


def save(run_dir: Path, part: dict[str, Any]) -> dict[str, Any]:
    """Add a part to `memorisation.json` of a run and return the whole."""
    path = run_dir / RESULT
    before = read_json(path) if path.is_file() else {}
    kept = {DRILL: before[DRILL]} if DRILL in before and DRILL not in part else {}
    whole = (before | part) if DRILL in part else (part | kept)
    write_json(path, whole)
    return whole


def require_same_data(config: Config, run_dir: Path) -> None:
    """Refuse prepared data that is not what the run was trained on.

    Raises:
        UserError: it was prepared anew since, or nothing says what the run was trained on.
    """
    name, now = "train.jsonl", check_manifest(config)["outputs"]
    then = read_record(run_dir).get("data", {}).get("outputs", {})
    if then.get(name) != now[name]:
        fix = "prepare the data of this run again, or train on the data that is there"
        found = "not the data that this run was trained on"
        raise UserError(Problem(config.data.prepared, found, fix=fix))


def _identifiers(
    config: Config, trained: Sequence[Record], extent: Extent
) -> tuple[Replaced, list[str]]:
    """Return what was replaced in training rows, and why it is nothing where it is."""
    if not raw_path(config).exists():
        note = "the raw data is not on this machine, so no replaced identifier could be probed"
        return Replaced([], 0, 0), [note]
    rows, count = extent.rows, extent.identifiers
    found = replaced_identifiers(config, trained, rows, count, extent.seed)
    notes = []
    if not found.rows:
        notes.append(f"none of {rows} raw rows drawn is a row of the training split")
    elif not found.probes:
        notes.append(f"nothing was replaced in what the model learns of {found.rows} training rows")
    if found.visible:
        notes.append(
            f"{found.visible} replaced identifiers stand in the scrubbed text before them as well: "
            "another mention was missed (make scrub-report)"
        )
    return found, notes


def _drawn(records: Sequence[Record], extent: Extent) -> list[Record]:
    return random.Random(extent.seed).sample(records, min(extent.rows, len(records)))


def _ask(
    config: Config,
    loaded: LoadedModel,
    drawn: dict[str, list[Record]],
    probes: Sequence[Probe],
    who: str,
    progress: bool,
) -> Answers:
    from tqdm import tqdm

    tokenizer, size = loaded.tokenizer, config.eval.batch_size
    objective = OBJECTIVES[config.objective]
    prompt = system_prompt(config) if objective.assistant_only else ""
    pairs: dict[str, list[Pair]] = {}
    for name, records in drawn.items():
        # Any split but that of training may be empty.
        split = tokenise(records, tokenizer, objective, config.train.max_length, prompt, name)
        pairs[name] = continuations(split)
    total = sum(map(len, pairs.values())) + len(probes)
    with tqdm(total=total, desc=f"{who}: memorisation", disable=not progress or None) as bar:
        pad = tokenizer.pad_token_id
        rows = {
            name: repeated(loaded.model, pad, some, size, bar.update)
            for name, some in pairs.items()
        }
        found = probe_values(loaded.model, tokenizer, probes, prompt, size, bar.update)
    return Answers(rows, found)


def _identifier_figures(found: Replaced, answers: dict[str, Answers]) -> dict[str, Any]:
    """Return counts and exposures of the identifiers, and the same by type."""
    base, tuned = (answers[who].identifiers for who in MODELS)
    count = len(found.probes)
    extracted = {who: sum(one.extracted for one in answers[who].identifiers) for who in MODELS}
    bits = {
        who: [one.exposure for one in answers[who].identifiers if one.exposure is not None]
        for who in MODELS
    }
    change = None
    if bits["base"]:
        old, new = ([Outcome("", "", "", value) for value in bits[who]] for who in MODELS)
        low, high = paired_bootstrap(old, new, mean_value)
        change = [round(low, 3), round(high, 3)]
    types: dict[str, Counter[str]] = {}
    for probe, *pair in zip(found.probes, base, tuned, strict=True):
        tally = types.setdefault(probe.type, Counter(n=0, base=0, tuned=0))
        tally["n"] += 1
        for who, one in zip(MODELS, pair, strict=True):
            tally[who] += one.extracted
    return {
        "canaries": count,
        "extracted": extracted,
        "gained": sum(b.extracted < t.extracted for b, t in zip(base, tuned, strict=True)),
        "lost": sum(b.extracted > t.extracted for b, t in zip(base, tuned, strict=True)),
        "bound": round(upper_bound(extracted["tuned"], count), 4) if count else 1.0,
        "exposure": {who: round(median(bits[who]), 2) if bits[who] else None for who in MODELS},
        "exposure_n": len(bits["base"]),
        "exposure_change": change,  # 95 % interval of the mean difference tuned - base, in bits
        "most_exposure": (OTHERS + 1).bit_length() - 1,
        "training_rows": found.rows,
        "types": {kind: dict(tally) for kind, tally in sorted(types.items())},
    }


def _row_figures(answers: dict[str, Answers]) -> dict[str, Any]:
    """Return how many rows of each split are continued word for word, with Wilson intervals."""
    result: dict[str, Any] = {"tokens": CONTINUATION, "least_tokens": LEAST_CONTINUATION}
    for name in SPLITS:
        figures: dict[str, Any] = {"n": len(answers["base"].rows[name])}
        for who in MODELS:
            found = answers[who].rows[name]
            low, high = wilson_interval(sum(found), len(found), 1 - ALPHA)
            figures[who] = sum(found)
            figures[f"{who}_interval"] = [round(low, 4), round(high, 4)]
        result[name] = figures
    return result


def judge(report: dict[str, Any]) -> dict[str, Any]:
    """Return `memorised` (what of) and the verdict in one line.

    Identifiers: the tuned model writes more of them than its base (exact McNemar), or their mean
    exposure rose (interval above 0). Rows: the intervals of training and held-out rows do not
    meet, and the base continues fewer; where none is held out, those of both models do not meet.
    """
    memorised, said = [], []
    count, extracted = report["canaries"], report["extracted"]
    more = report["gained"] and mcnemar_exact(report["gained"], report["lost"]) < ALPHA
    change = report["exposure_change"]
    rose = change is not None and change[0] > 0
    if more or rose:
        memorised.append("identifiers")
    if count:
        bits = report["exposure"]
        said.append(
            f"{extracted['tuned']} of {count} replaced identifiers are written (base "
            f"{extracted['base']}), at most {report['bound']:.1%} with 95 % confidence"
        )
        if bits["tuned"] is not None:
            said.append(
                f"median exposure {bits['tuned']:.1f} bits (base {bits['base']:.1f}, "
                f"chance 1.0, most {report['most_exposure']})"
            )
    else:
        said.append("no identifier was probed")
    rows, aside = (report["verbatim"][name] for name in SPLITS)
    usual = aside["tuned_interval"] if aside["n"] else rows["base_interval"]
    apart = rows["tuned_interval"][0] > usual[1]
    if apart and rows["tuned"] > rows["base"]:
        memorised.append("rows")
    said.append(
        f"{rows['tuned']} of {rows['n']} training rows and {aside['tuned']} of {aside['n']} "
        f"held-out rows are continued word for word (base {rows['base']} and {aside['base']})"
    )
    if not count and not rows["n"]:
        why = f"no training row ends with {LEAST_CONTINUATION} learned tokens or more"
        return {"memorised": [], "verdict": f"nothing could be probed: {said[0]}, and {why}"}
    start = f"memorised: {', '.join(memorised)}" if memorised else "no sign of memorisation"
    return {"memorised": memorised, "verdict": f"{start}; {'; '.join(said)}"}


def summary(report: dict[str, Any]) -> str:
    """Return the content of `memorisation.json` as lines for a terminal."""
    lines = []
    if "verbatim" in report:
        table = [
            [f"{name.replace('_', '-')} rows word for word", *_cells(report["verbatim"][name])]
            for name in SPLITS
        ]
        pair = [str(report["extracted"][who]) for who in MODELS]
        table.append(["replaced identifiers written", str(report["canaries"]), *pair])
        bits = [report["exposure"][who] for who in MODELS]
        shown = ["-" if one is None else f"{one:.2f}" for one in bits]
        table.append(["median exposure, bits", str(report["exposure_n"]), *shown])
        lines += [text_table(["", "n", *MODELS], table), *report["notes"], report["verdict"]]
    if DRILL in report:
        lines += ["", *_drill_lines(report[DRILL])]
    return "\n".join(lines)


def _cells(figures: dict[str, Any]) -> list[str]:
    return [str(figures[name]) for name in ("n", *MODELS)]


def _drill_lines(result: dict[str, Any]) -> list[str]:
    header = ["drill: trained on", "repeated", "n", "extracted", "exposure, bits"]
    table = [
        [arm, f"{repeats} x", str(row["n"]), str(row["extracted"]), f"{row['exposure']:.2f}"]
        for arm, figures in {"nothing (base)": result["base"], **result["arms"]}.items()
        for repeats, row in figures["by_repeats"].items()
    ]
    return [text_table(header, table), result["verdict"]]
