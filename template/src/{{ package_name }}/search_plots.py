"""Pictures of a comparison of trials: <svg> elements in the colour of the page around them."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from statistics import fmean
from typing import Any

from .pages import shown
from .plots import BASE_COLOUR, INK, OVER_COLOUR, TUNED_COLOUR, inline
from .search_space import flow, title
from .study import PRUNED, Trial

SIZE = (3.2, 2.3)  # inches
SMALL, TEXT_SIZE = 7.5, 8  # points
FEW_PLACES, MOST_PLACES = 3, 8  # numbers that get a place each; fewer where none comes twice
LONG_NAME = 7  # characters of a value that is written slanted
WIDE_RANGE = 20  # largest value over smallest from which an axis is logarithmic


def draw_history(finished: Sequence[Trial], metric: str, larger: bool) -> str:
    """Draw the value of each trial in order, and the best one so far as a line."""
    figure, axis = _axes(metric)
    ordered = sorted(finished, key=lambda one: one.number)
    numbers = [one.number for one in ordered]
    values = [one.value for one in ordered if one.value is not None]
    best = [*accumulate(values, max if larger else min)]
    axis.step(numbers, best, where="post", color=TUNED_COLOUR, linewidth=1.5)
    axis.plot(numbers, values, "o", color=BASE_COLOUR, markersize=4)
    axis.set_xlabel("trial", size=TEXT_SIZE, color=INK)
    axis.locator_params(axis="x", integer=True)
    told = "; ".join(f"{one.number}: {one.value:.4f}" for one in ordered)
    return inline(figure, "history", shown(f"{metric} of each trial: {told}."))


def draw_course(trials: Sequence[Trial], best: Trial | None, metric: str) -> str:
    """Draw the validations of each trial; those that were stopped early end in a cross."""
    figure, axis = _axes(metric)
    for one in trials:
        steps = sorted(one.course)
        values = [one.course[step] for step in steps]
        is_best = best is not None and one.number == best.number
        colour = TUNED_COLOUR if is_best else BASE_COLOUR
        width = 2.0 if is_best else 0.8
        axis.plot(steps, values, color=colour, linewidth=width, zorder=3 if is_best else 2)
        if one.state == PRUNED and steps:
            axis.plot(steps[-1], values[-1], "x", color=OVER_COLOUR, markersize=5)
    axis.set_xlabel("validation; cross: stopped early", size=TEXT_SIZE, color=INK)
    axis.locator_params(axis="x", integer=True)
    stopped = sum(one.state == PRUNED for one in trials)
    alt = f"Course of {metric} in {len(trials)} trials, {stopped} stopped early."
    return inline(figure, "course", shown(alt))


def draw_axis(finished: Sequence[Trial], setting: str, metric: str, prefix: str) -> str:
    """Draw the value of each trial over one setting, with the mean of each value of it.

    Args:
        finished: Trials with a value.
        setting: Varied by some of them; others are shown as configured.
        metric: Name of what is compared.
        prefix: Of the ids, unique on the page.
    """
    figure, axis = _axes(metric)
    groups: dict[str, list[float]] = {}
    for one in sorted(finished, key=lambda trial: _order(trial.changes.get(setting))):
        name = _short(one.changes[setting]) if setting in one.changes else "as configured"
        groups.setdefault(name, []).append(one.value or 0.0)
    varied: list[Any] = [one.changes.get(setting) for one in finished]
    numbers = [value for value in varied if _is_number(value)]
    places = FEW_PLACES if len(groups) == len(finished) else MOST_PLACES
    if len(numbers) == len(finished) and len(groups) > places:
        marks = [one.value for one in finished]
        axis.plot(numbers, marks, "o", color=BASE_COLOUR, markersize=4)
        if min(numbers) > 0 and max(numbers) / min(numbers) >= WIDE_RANGE:
            axis.set_xscale("log")
    else:
        for place, values in enumerate(groups.values()):
            axis.plot([place] * len(values), values, "o", color=BASE_COLOUR, markersize=4)
            ends = [place - 0.25, place + 0.25]
            axis.plot(ends, [fmean(values)] * 2, color=TUNED_COLOUR, linewidth=2)
        slanted = {"rotation": 30, "ha": "right"} if max(map(len, groups)) > LONG_NAME else {}
        axis.set_xticks(range(len(groups)), [*groups], parse_math=False, **slanted)
        axis.set_xlim(-0.6, len(groups) - 0.4)
    axis.set_xlabel(title(setting), size=TEXT_SIZE, color=INK, parse_math=False)
    told = "; ".join(f"{name} {fmean(values):.4f}" for name, values in groups.items())
    return inline(figure, prefix, shown(f"{metric} by {setting}, means: {told}."))


def draw_shares(shares: Mapping[str, float]) -> str:
    """Draw the share of each setting in what makes a trial good."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(SIZE[0], 0.6 + 0.36 * len(shares)), layout="constrained")
    axis = figure.add_subplot()
    for place, (name, share) in enumerate(reversed([*shares.items()])):
        axis.barh(place, share, height=0.3, color=TUNED_COLOUR)
        text = f"{title(name)} {share:.0%}"
        axis.text(0, place + 0.18, text, size=SMALL, color=INK, va="bottom", parse_math=False)
    axis.set_yticks([])
    axis.set_xlim(0, 1)
    axis.set_ylim(-0.4, len(shares) - 0.2)
    _plain(axis)
    told = "; ".join(f"{name} {share:.0%}" for name, share in shares.items())
    return inline(figure, "shares", shown(f"Share of each setting: {told}."))


def _axes(metric: str) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, layout="constrained")
    axis = figure.add_subplot()
    axis.set_ylabel(metric, size=TEXT_SIZE, color=INK)
    axis.locator_params(axis="y", nbins=5)
    _plain(axis)
    return figure, axis


def _plain(axis: Any) -> None:
    axis.tick_params(length=0, labelsize=SMALL, labelcolor=INK)
    axis.spines[:].set_visible(False)
    axis.spines["bottom"].set(visible=True, color=INK)
    axis.grid(axis="y", alpha=0.15, color=INK)
    axis.set_axisbelow(True)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _order(value: Any) -> tuple[bool, float, str]:
    """Numbers by size, then words."""
    is_number = _is_number(value)
    return not is_number, float(value) if is_number else 0.0, flow(value)


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else flow(value)[:16]
