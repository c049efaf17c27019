"""What came out of a run, as text: the comparison, the data, where time went, where files are."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .config import Config
from .diagnosis import summary
from .errors import Problem, UserError
from .runs import PROMOTED, RECORD, read_record
from .utils import read_json, sha256_file

RESULTS = "evaluation_results.json"
FILES = (
    ("model", "model.safetensors"),
    ("adapter", "adapter"),
    ("model card", "README.md"),
    ("results", RESULTS),
    ("answers per item", "evaluation_items.jsonl"),
    ("report", "evaluation_report.html"),
    ("sheet for raters", "manual_review.csv"),
    ("comparison plot", "comparison.png"),
    ("loss curve", "loss_curve.png"),
    ("training log", "training_log.jsonl"),
)


def run_folder(config: Config, folder: Path) -> Path:
    """Return the run that `fine_tuned_model/` was copied from, or the folder itself.

    Results belong into the run; the copy is renewed from it.

    Raises:
        UserError: the folder is no run.
    """
    record = read_record(folder)
    original = config.path(config.train.output_dir) / str(record.get("run") or folder.name)
    return original if (original / RECORD).is_file() else folder


def is_promoted(config: Config, run_dir: Path) -> bool:
    """Return True if `fine_tuned_model/` is the copy of this run."""
    promoted = config.root / PROMOTED
    if not (promoted / RECORD).is_file():
        return False
    return read_record(promoted).get("run") == read_record(run_dir).get("run")


def data_report(config: Config, record: dict[str, Any]) -> dict[str, Any] | None:
    """Return the report of the data that a run was trained on.

    None if it is gone, or if the data was prepared anew since: its figures would be wrong.
    """
    path = config.path(config.data.prepared) / "report.json"
    then = record.get("data", {}).get("outputs", {}).get(path.name)
    if not path.is_file() or sha256_file(path) != then:
        return None
    return read_json(path)


def render_report(config: Config, run_dir: Path) -> str:
    """Return the report of a run.

    Raises:
        UserError: the run was not evaluated.
    """
    path = run_dir / RESULTS
    if not path.is_file() and read_record(run_dir).get("test"):
        return _tested_only(config, run_dir)
    if not path.is_file():
        raise UserError(Problem(str(run_dir), f"holds no {RESULTS}", fix="make evaluate"))
    results, record = read_json(path), read_record(run_dir)
    data = data_report(config, record) or {}
    parts = [
        f"Run {run_dir.name}: {record['technique']}, {record['objective']}",
        comparison_text(results),
        "\n".join(_finding_lines(record, results)),
        "\n".join(_data_lines(data)),
        "\n".join(_time_lines(data, record, results)),
        "\n".join(_file_lines(config, run_dir)),
    ]
    return "\n\n".join(part for part in parts if part)


def _tested_only(config: Config, run_dir: Path) -> str:
    """Return the report of a run that was scored on its own test split, and on no other set."""
    record = read_record(run_dir)
    parts = [
        f"Run {run_dir.name}: {record['technique']}, {record['objective']}",
        test_title(record),
        text_table(*test_table(record)),
        "\n".join(_finding_lines(record, None)),
        "\n".join(_data_lines(data_report(config, record) or {})),
        "\n".join(_file_lines(config, run_dir)),
    ]
    return "\n\n".join(part for part in parts if part)


def test_title(record: dict[str, Any]) -> str:
    """Return what the scores of the test split are, as a sentence."""
    new = record["reasons"].get("head")
    chance = f" The model before training {new}." if new else ""
    return f"Scores of the {record['test']['examples']} examples of the test split.{chance}"


def test_table(record: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of the test split's scores.

    `majority` is a score of its own row: what the most frequent label alone would reach.
    """
    before, after = record["test"]["before"], record["test"].get("after", {})
    rows = [
        [name, f"{value:.4f}", f"{after[name]:.4f}" if name in after else "-"]
        for name, value in before.items()
    ]
    return ["score", "before", "after"], rows


def comparison_text(results: dict[str, Any]) -> str:
    """Return the table base against tuned, and what has to be said beside it."""
    level = f"{results['confidence']:.0%} interval"
    header = ["set", "metric", "n", "base", "tuned", "difference", level, "majority", "verdict"]
    rows = [_cells(row) for row in [*results["sets"], results["pooled"], results["guard"]] if row]
    lines = [text_table(header, rows), *_notes(results)]
    return "\n".join(lines)


def _cells(row: dict[str, Any]) -> list[str]:
    low, high = row["interval"]
    name = f"{row['name']} (guard)" if row.get("guard") else row["name"]
    return [
        name,
        row["metric"],
        str(row["n"]),
        f"{row['base']:.3f}",
        f"{row['tuned']:.3f}",
        f"{row['difference']:+.3f}",
        f"[{low:+.3f}, {high:+.3f}]",
        "-" if row["majority"] is None else f"{row['majority']:.3f}",
        row["verdict"],
    ]


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return an aligned table; columns of numbers are aligned to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    right = [
        all(cell[:1] in "+-[.0123456789" for cell in column) for column in zip(*rows, strict=True)
    ]
    lines = []
    for row in (header, ["-" * width for width in widths], *rows):
        cells = zip(row, widths, right, strict=True)
        lines.append("  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in cells).rstrip())
    return "\n".join(lines)


def _notes(results: dict[str, Any]) -> Iterator[str]:
    pooled = results["pooled"]
    if pooled:
        effect = pooled["minimum_detectable_effect"]
        yield f"pooled: {pooled['gained']} items gained, {pooled['lost']} lost"
        yield f"a true pooled difference of {effect:.3f} would be found in 4 of 5 such comparisons"
    for row in results["sets"]:
        if row.get("predictions"):
            shown = ", ".join(
                f"{side} {_histogram(row['predictions'][side])}" for side in ("base", "tuned")
            )
            yield f"predictions, {row['name']}: {shown}"
    for row in results["sets"]:
        invalid = row.get("invalid") or {}
        if any(invalid.values()):
            shown = f"base {invalid['base']:.0%}, tuned {invalid['tuned']:.0%}"
            yield f"unreadable answers, {row['name']}: {shown}"
        for side, notes in (row.get("notes") or {}).items():
            slips = {name: count for name, count in notes.items() if name != "invalid"}
            if slips:
                yield f"near misses, {row['name']}, {side}: {_histogram(slips)}"
        truncated = row.get("truncated") or {}
        if any(truncated.values()):
            shown = f"base {truncated['base']}, tuned {truncated['tuned']} of {row['n']}"
            yield f"prompts cut to fit the model's context, {row['name']}: {shown}"
    goal = results["goal"]
    yield f"goal: {goal['status']} ({goal['reason']})"
    for gate in results["gates"]:
        value = "" if gate["value"] is None else f" at {gate['value']:g}"
        limit = f"limit {gate['threshold']:g}, {gate['source']}"
        yield f"gate {gate['name']}: {gate['status']}{value} ({limit})"
    overlap = results["overlap"]
    if overlap is None:
        yield "overlap with the training data: unknown (no data report of this run)"
    else:
        shown = ", ".join(f"{k} {v['overlapping']} of {v['n']}" for k, v in overlap.items())
        yield f"evaluation items that overlap with the training data: {shown or 'no set checked'}"
    if note := results.get("few_shot", {}).get("note"):
        yield f"warning: {note}"
    if overlap is not None and results.get("overlap_unknown"):
        names = ", ".join(results["overlap_unknown"])
        yield f"not compared with the training data, which was prepared before: {names}"
    yield from benchmark_notes(results)


def benchmark_notes(results: dict[str, Any]) -> Iterator[str]:
    """Yield for each public benchmark its source, licence, and the rows that were refused."""
    for one in results.get("benchmarks") or []:
        limits = f" ({one['restricted']})" if one["restricted"] else ""
        refused = f", {sum(one['refused'].values())} refused" if one["refused"] else ""
        yield (
            f"benchmark {one['title']}: {one['rows']} rows{refused}, from {one['source']}; "
            f"licence {one['licence']}{limits}"
        )


def _histogram(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _finding_lines(record: dict[str, Any], results: dict[str, Any] | None) -> Iterator[str]:
    yield from (f"diagnosis: {text}" for text in summary(record, results))


def _data_lines(data: dict[str, Any]) -> Iterator[str]:
    if not data:
        yield "data: no report (missing, or the data was prepared anew since this run)"
        return
    yield f"rows: {rows_identity(data['rows'])}"
    if data.get("reasons"):
        yield f"  refused or left out: {_histogram(data['reasons'])}"
    yield f"splits: {_histogram(data['splits'])}"
    yield f"personal data replaced: {_histogram(data['pii']) or 'none found'}"


def rows_identity(rows: dict[str, int]) -> str:
    """Return "read = kept + quarantined + duplicate + filtered" with its numbers."""
    parts = " + ".join(f"{rows[k]} {k}" for k in ("kept", "quarantined", "duplicate", "filtered"))
    return f"{rows['read']} read = {parts}"


def _time_lines(
    data: dict[str, Any], record: dict[str, Any], results: dict[str, Any]
) -> Iterator[str]:
    stages = (
        ("prepare", data.get("seconds", {})),
        ("train", record.get("seconds", {})),
        ("evaluate", results["seconds"]),
    )
    yield f"time: {sum(sum(s.values()) for _, s in stages):.0f} s"
    for name, seconds in stages:
        detail = ", ".join(f"{stage} {value:.1f}" for stage, value in seconds.items())
        yield f"  {name:<8} {sum(seconds.values()):7.1f} s  ({detail})"
    cached = [row["name"] for row in results["sets"] if row["base_from_cache"]]
    if cached:
        yield f"  base answers from the cache: {', '.join(cached)}"


def _file_lines(config: Config, run_dir: Path) -> Iterator[str]:
    folder = config.root / PROMOTED if is_promoted(config, run_dir) else run_dir
    yield f"files in {_shown(config, folder)}/ (run: {_shown(config, run_dir)}/):"
    for title, name in FILES:
        if (folder / name).exists():
            yield f"  {title:<17} {_shown(config, folder / name)}"


def _shown(config: Config, path: Path) -> str:
    return str(path.relative_to(config.root)) if path.is_relative_to(config.root) else str(path)
