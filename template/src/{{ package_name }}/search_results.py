"""What the trials of a study brought: one table with plots, and the best configuration."""

import io
from collections.abc import Sequence
from pathlib import Path
from statistics import stdev
from typing import Any

from markupsafe import Markup
from ruamel.yaml import YAML

from .config import Config
from .runs import RECORD
from .runs_table import Table, read_runs, tables, write
from .search_plots import draw_axis, draw_course, draw_history, draw_shares
from .search_space import flow, shown_value, title
from .study import Comparison, Trial
from .utils import read_json, write_text

NAME = "search"


def write_results(found: Comparison) -> list[Path]:
    """Write the comparison as search.md, .html and .csv into the folder of the study."""
    shown = [_trials(found), *_shares(found), *_folds(found), *_runs(found)]
    return write(shown, [], found.folder, NAME)


def write_best(found: Comparison, config: Config) -> Path:
    """Write the configuration of the best trial where `train` takes it, and return the path."""
    best = found.best
    assert best is not None, "a trial finished"
    path = config.root / "configs" / f"best_{found.folder.name}.yaml"
    text = io.StringIO()
    YAML().dump(config.as_dict(), text)
    head = (
        f"# Written by scripts/search.py: trial {best.number} of study {found.folder.name}, "
        f"{found.metric} {best.value:.4f}.\n"
        f"# make train CONFIG=configs/{path.name}\n"
    )
    write_text(path, head + text.getvalue())
    return path


def _trials(found: Comparison) -> Table:
    others = [one for one in found.trials if one.value is None and one.is_own and one.state]
    best = found.best
    assert best is not None, "a trial finished"
    # With a trial as configured the others are changes of it; else the best is the measure.
    base = next((one for one in found.ranked if not one.changes), best)
    against = f"against trial {base.number}"
    several = any(len(one.values) > 1 for one in found.trials)
    scores = (found.metric, "standard deviation") if several else (found.metric,)
    header = (
        *("place", "trial", "state", *map(title, found.axes), *scores, against),
        *("best step", "steps done", "trained weights", "minutes"),
    )
    rows = []
    for place, one in enumerate([*found.ranked, *others], 1):
        record, own = _record(found, one), one.changes
        spread = [_figure(stdev(one.values) if len(one.values) > 1 else None)] * several
        change = "-" if one.value is None else f"{one.value - (base.value or 0.0):+.4f}"
        rows.append(
            (
                *("-" if one.value is None else str(place), str(one.number), one.state),
                *(shown_value(own[name]) if name in own else "-" for name in found.axes),
                *(_figure(one.value), *spread, change),
                *(_count(record.get(name)) for name in ("best_step", "steps")),
                *(_count(record.get("trainable_parameters")), f"{one.seconds / 60:.1f}"),
            )
        )
    return Table("Trials", header, rows, _notes(found, others), _pictures(found))


def _notes(found: Comparison, others: Sequence[Trial]) -> list[str]:
    direction = "larger" if found.larger else "smaller"
    notes = [
        f"{found.metric}: the best validation of a run; {direction} is better. A dash: as "
        "configured, or not known. All trials have the same seed.",
        "The best of many trials is partly luck: it was chosen by the validation split. What it "
        "is worth is said by `make evaluate`, on items that chose nothing.",
    ]
    if any(len(one.values) > 1 for one in found.trials):
        notes.append(
            "Means over folds of the training split, each trained on the others; standard "
            "deviation over the folds. Steps and weights are those of the first fold."
        )
    if repeated := sum(not one.is_own for one in found.trials):
        notes.append(f"Chosen again and not trained again: {repeated} trials.")
    ends: dict[str, list[str]] = {}
    for one in others:
        ends.setdefault(f"{one.state}: {one.reason}", []).append(str(one.number))
    return notes + [f"Trial {', '.join(numbers)} {end}." for end, numbers in ends.items()]


def _shares(found: Comparison) -> list[Table]:
    if not found.shares:
        return []
    rows = [(title(name), f"{share:.0%}") for name, share in found.shares.items()]
    notes = [
        "Share of each setting in what sets the best tenth of the trials, at least four, apart "
        "from the rest (PED-ANOVA, arXiv 2304.10255); of few trials a hint, no more."
    ]
    picture = _figures([(draw_shares(found.shares), "share in what makes a trial good")])
    return [Table("What mattered", ("setting", "share"), rows, notes, picture)]


def _folds(found: Comparison) -> list[Table]:
    most = max(len(one.values) for one in found.trials)
    if most < 2:
        return []
    header = ("trial", *(f"fold {number + 1}" for number in range(most)))
    rows = [(str(one.number), *map(_figure, one.values)) for one in found.ranked]
    return [Table("Folds", header, rows, ["The same folds for every trial."])]


def _runs(found: Comparison) -> list[Table]:
    """Return the table of `make report runs/*`; not of folds, which differ in their data."""
    folders = [found.runs / one.runs[0] for one in found.ranked if len(one.runs) == 1]
    return tables(read_runs(folders)[0])[:1] if folders else []


def _record(found: Comparison, trial: Trial) -> dict[str, Any]:
    path = found.runs / trial.runs[0] / RECORD if trial.runs else None
    return read_json(path) if path and path.is_file() else {}


def _pictures(found: Comparison) -> str:
    own = [one for one in found.trials if one.is_own]
    finished = found.ranked
    drawn = [
        (draw_history(finished, found.metric, found.larger), "trials in order; line: best so far"),
    ]
    if any(one.course for one in own):
        caption = "course of each trial; strong: the best"
        drawn.append((draw_course(own, found.best, found.metric), caption))
    for number, name in enumerate(found.axes):
        if len({flow(one.changes.get(name)) for one in finished}) > 1:
            caption = f"{title(name)}: one mark for each finished trial; line: mean"
            drawn.append((draw_axis(finished, name, found.metric, f"axis{number}"), caption))
    return _figures(drawn)


def _figures(drawn: Sequence[tuple[str, str]]) -> str:
    frame = Markup("<figure>{}<figcaption>{}</figcaption></figure>")
    figures = [frame.format(Markup(svg), caption) for svg, caption in drawn]
    return Markup('<div class="plots">{}</div>').format(Markup("").join(figures))


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,d}"
