"""Runs side by side: what was changed, what it brought, what was planned.

Written as runs_table.md, .html and .csv into the folder of the runs. Runs of another base model,
other data or other items than most are marked: their scores do not compare.
"""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markupsafe import Markup

from .errors import Problem, UserError
from .manual_review import cell
from .pages import MOST_ROWS, document, listing, paragraph, sentence, shown, table
from .report import RESULTS, text_table
from .run_log import LOG_NAME, read_log
from .runs import RECORD
from .statistics import BETTER, WORSE
from .techniques import TECHNIQUES
from .utils import read_json, sha256_json, write_text

NAME = "runs_table"
ITEMS = "evaluation_items.jsonl"
RANKED = {name for name, row in TECHNIQUES.items() if row.low_rank}
UNKNOWN = "unknown"
# What has to be the same for scores to be compared: attribute of a run, name.
ASPECTS = (
    ("base", "base model"),
    ("data", "data"),
    ("items", "items"),
    ("conditions", "prompt or precision"),
)
FIGURE = re.compile(r"-|[-+\[]?\d[-+\d., \]]*")  # a cell that belongs to the right
Row = dict[str, Any]


@dataclass(slots=True)
class Run:
    """One run: its record, its results where it was evaluated, its log."""

    name: str
    record: Row
    results: Row
    log: list[Row]
    items: str  # hash of sets, ids and right answers; empty if not evaluated
    differs: list[str] = field(default_factory=list)  # what keeps it from being compared

    @property
    def base(self) -> str:
        """Return the name of the base model."""
        return str((self.record.get("model") or {}).get("name", UNKNOWN))

    @property
    def conditions(self) -> str:
        """Return what else a score depends on: prompt, number format, level of the intervals."""
        names = ("system_prompt", "precision", "confidence")
        return sha256_json([self.results.get(name) for name in names]) if self.results else ""

    @property
    def data(self) -> str:
        """Return eight digits that stand for the prepared rows."""
        outputs = (self.record.get("data") or {}).get("outputs") or {}
        rows = {name: digest for name, digest in outputs.items() if name.endswith(".jsonl")}
        return sha256_json(rows)[:8] if rows else UNKNOWN


@dataclass(frozen=True, slots=True)
class Table:
    """One table, for all three formats; its picture, an <svg> element, is in the page alone."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()
    picture: str = ""


def read_runs(folders: Sequence[Path]) -> tuple[list[Run], list[str]]:
    """Return the runs among folders, and the names of folders that are none.

    Raises:
        UserError: no folder is a run.
    """
    runs = [_read(folder) for folder in folders if (folder / RECORD).is_file()]
    others = [folder.name for folder in folders if not (folder / RECORD).is_file()]
    if not runs:
        fix = "name folders below runs/ that hold training_args.json"
        raise UserError(Problem("runs", "none of the folders is a run", fix=fix))
    for key, title in ASPECTS:
        values = Counter(value for run in runs if (value := getattr(run, key)))
        usual = values.most_common(1)[0][0] if values else ""
        for run in runs:
            value = getattr(run, key)
            told = f"other {title}" if value else "not evaluated"
            if value != usual and told not in run.differs:
                run.differs.append(told)
    return runs, others


def _read(folder: Path) -> Run:
    results, items = folder / RESULTS, folder / ITEMS
    lines = items.read_text(encoding="utf-8").split("\n") if items.is_file() else []
    keys = [_item_key(line) for line in lines if line.strip()]
    return Run(
        folder.name,
        read_json(folder / RECORD),
        read_json(results) if results.is_file() else {},
        read_log(folder / LOG_NAME),
        sha256_json(sorted(keys)) if keys and results.is_file() else "",
    )


def _item_key(line: str) -> list[str]:
    row = json.loads(line)
    return [row["set"], row["id"], str(row["gold"])]


def tables(runs: Sequence[Run]) -> list[Table]:
    """Return what was changed, what it brought, and what was planned, over the runs."""
    return [_overview(runs), _scores(runs), _sets(runs), _targets(runs)]


def _text(value: float | None, form: str = ".3f") -> str:
    return "-" if value is None else format(value, form)


def _setting(run: Run, section: str, key: str) -> Any:
    return ((run.record.get("config") or {}).get(section) or {}).get(key)


def _rate(run: Run) -> str:
    """Return the highest learning rate that was used, or the one that was set."""
    used = max((row.get("learning_rate") or 0 for row in run.log), default=0)
    if used:
        return f"{used:.1e}"
    value = _setting(run, "train", "learning_rate")
    return f"{value:.1e}" if isinstance(value, int | float) else str(value or UNKNOWN)


def _overview(runs: Sequence[Run]) -> Table:
    header = (
        *("run", "technique", "objective", "rank", "learning rate", "steps", "examples"),
        *("trained weights", "data", "minutes", "peak GiB", "comparable"),
    )
    rows = []
    for run in runs:
        record = run.record
        technique = str(record.get("technique", UNKNOWN))
        rank = _setting(run, "lora", "lora_r") if technique in RANKED else None
        minutes = (record.get("seconds") or {}).get("train")
        examples = ((record.get("data") or {}).get("train") or {}).get("examples")
        rows.append(
            (
                *(run.name, technique, str(record.get("objective", UNKNOWN))),
                *(_text(rank, "d"), _rate(run), _text(record.get("steps"), ",d")),
                *(_text(examples, ",d"), _text(record.get("trainable_parameters"), ",d")),
                *(run.data, _text(None if minutes is None else minutes / 60, ".1f")),
                _text(record.get("peak_memory_gib"), ".2f"),
                "yes" if not run.differs else f"no: {', '.join(run.differs)}",
            )
        )
    notes = [
        "Learning rate: the highest of the schedule. Data: the first digits of a hash of the "
        "prepared rows. Minutes: training alone. Peak: memory of the process on a CPU, of the "
        "device on a GPU.",
    ]
    if any(run.differs for run in runs):
        notes.append(
            "Not comparable: base model, data, items or prompt are not those of most runs here; a "
            "difference of scores may come from that alone."
        )
    return Table("Runs: technique and ablation", header, rows, notes)


def _scores(runs: Sequence[Run]) -> Table:
    header = ("run", "n", "base", "tuned", "difference", "interval", "verdict", "guard, points")
    rows = []
    for run in runs:
        pooled, guard = run.results.get("pooled") or {}, run.results.get("guard") or {}
        drop = guard.get("difference")
        rows.append(
            (
                *(_marked(run), _text(pooled.get("n"), "d")),
                *(_text(pooled.get("base")), _text(pooled.get("tuned"))),
                _text(pooled.get("difference"), "+.3f"),
                _interval(pooled.get("interval")),
                pooled.get("verdict") or "not evaluated",
                _text(None if drop is None else 100 * drop, "+.1f"),
            )
        )
    notes = [
        "Differences are tuned - base on the same items. Guard: change on what must not be "
        "forgotten, in points. With many runs the best one is partly luck: confirm it on items "
        "that chose nothing."
    ]
    if any(run.differs for run in runs):
        notes.append("* not comparable, see the first table")
    return Table("Scores", header, rows, notes)


def _sets(runs: Sequence[Run]) -> Table:
    found = [{row["name"]: row for row in run.results.get("sets", [])} for run in runs]
    rows = []
    for name in dict.fromkeys(name for sets in found for name in sets):
        cells = (sets.get(name) for sets in found)
        rows.append((name, *("-" if one is None else _verdict(one) for one in cells)))
    header = ("set", *map(_marked, runs))
    notes = ["Tuned - base; better or worse is said where there is evidence for it."]
    return Table("Differences, set by set", header, rows, notes)


def _verdict(row: Row) -> str:
    known = f"{row['verdict']} " if row["verdict"] in (BETTER, WORSE) else ""
    return f"{known}{row['difference']:+.3f}"


def _marked(run: Run) -> str:
    return f"{run.name} *" if run.differs else run.name


def _interval(pair: Sequence[float] | None) -> str:
    return "-" if pair is None else f"[{pair[0]:+.3f}, {pair[1]:+.3f}]"


def _targets(runs: Sequence[Run]) -> Table:
    header = (
        *("run", "goal", "gates passed", "gates failed", "memory planned, GiB"),
        *("memory used, GiB", "used / planned", "hours planned", "hours used"),
    )
    rows = []
    for run in runs:
        plan, seconds = run.record.get("plan") or {}, run.record.get("seconds") or {}
        gates = run.results.get("gates", [])
        failed = [gate["name"] for gate in gates if gate["status"] == "failed"]
        planned, used = plan.get("peak_gib"), run.record.get("peak_memory_gib")
        hours = plan.get("hours")
        trained = seconds.get("train")
        rows.append(
            (
                *(run.name, (run.results.get("goal") or {}).get("status", "not evaluated")),
                f"{sum(gate['status'] == 'passed' for gate in gates)} of {len(gates)}",
                ", ".join(failed) or "-",
                *(_text(planned, ".2f"), _text(used, ".2f")),
                _text(used / planned if used and planned else None, ".2f"),
                f"{hours[0]:.2f} to {hours[1]:.2f}" if hours else "-",
                _text(None if trained is None else trained / 3600, ".2f"),
            )
        )
    goals = [
        f"{run.name}: {run.results['goal']['reason']}" for run in runs if run.results.get("goal")
    ]
    notes = ["A dash: not planned (no plan of hours for this device) or not measured.", *goals]
    return Table("Planned and reached", header, rows, notes)


def as_text(found: Sequence[Table]) -> str:
    """Return all tables for the terminal."""
    parts = []
    for one in found:
        notes = "".join(f"\n- {shown(note)}" for note in one.notes)
        cells = [[shown(text) for text in row] for row in one.rows]
        parts.append(f"{one.title}\n{text_table(one.header, cells)}{notes}")
    return "\n\n".join(parts)


def write(
    found: Sequence[Table], left_out: Sequence[str], folder: Path, name: str = NAME
) -> list[Path]:
    """Write all tables as Markdown, HTML and CSV; return the three paths."""
    texts = {
        "md": _markdown(found, left_out),
        "html": _html(found, left_out),
        "csv": _csv(found),
    }
    paths = []
    for suffix, text in texts.items():
        paths.append(folder / f"{name}.{suffix}")
        write_text(paths[-1], text)
    return paths


def _markdown(found: Sequence[Table], left_out: Sequence[str]) -> str:
    parts = ["# Comparison of runs"]
    for one in found:
        rows = [list(one.header), ["---"] * len(one.header), *one.rows]
        parts.append(f"## {one.title}")
        parts.append("\n".join(f"| {' | '.join(map(_escaped, row))} |" for row in rows))
        parts.append("\n".join(f"- {_escaped(note)}" for note in one.notes))
    if left_out:
        parts.append(f"No runs, left out: {', '.join(map(_escaped, left_out))}.")
    return "\n\n".join(parts) + "\n"


def _escaped(text: str) -> str:
    """Return text as one line of Markdown in which nothing is markup."""
    return re.sub(r"([\\|*_`\[\]<>#])", r"\\\1", shown(text))


def _html(found: Sequence[Table], left_out: Sequence[str]) -> str:
    body = Markup("<h1>Comparison of runs</h1>")
    for one in found:
        rows = [[_html_cell(text, i) for i, text in enumerate(row)] for row in one.rows]
        body += Markup("<section><h2>{}</h2>").format(one.title)
        body += Markup(one.picture)  # of inline(), which escapes what it writes
        starts = range(0, len(rows), MOST_ROWS)
        body += Markup("").join(table(one.header, rows[i : i + MOST_ROWS]) for i in starts)
        body += listing([sentence(note) for note in one.notes]) + Markup("</section>")
    if left_out:
        names = Markup(", ").join(map(sentence, left_out))
        body += paragraph("No runs, left out: {}.", names)
    return document("Comparison of runs", body)


def _html_cell(text: str, column: int) -> str | Markup:
    return sentence(text) if column and FIGURE.fullmatch(text) else text


def _csv(found: Sequence[Table]) -> str:
    """Return all tables below each other, an empty line between them."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    for one in found:
        for row in ([one.title], one.header, *one.rows):
            writer.writerow("" if value == "-" else cell(value) for value in row)
        writer.writerow([])
    return "\ufeff" + text.getvalue()
