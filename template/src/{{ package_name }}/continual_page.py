"""A sequence of steps as a table for the terminal and as a page: each step on each set."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from .continual_scores import Row, perplexity
from .pages import Section, document, listing, paragraph, sentence, table
from .plots import BASE_COLOUR, INK, OUTCOME_COLOURS, TUNED_COLOUR, inline
from .report import text_table
from .utils import write_text

PAGE = "continual.html"
TITLE = "Versions of the data, learned one after the other"
COLOURS = (TUNED_COLOUR, *list(OUTCOME_COLOURS.values())[1:], BASE_COLOUR)


def table_of(state: Row) -> tuple[list[str], list[list[str]]]:
    """Return header and rows: the base, then each step, with its score on each set.

    The last columns are perplexities of the test split of each version, from the step on that
    learned it; the base has read them all.
    """
    steps = state["steps"]
    names = [step["version"] for step in steps]
    sets = steps[-1]["sets"]
    header = ["after", *map(_title, sets), *(f"perplexity, {name}" for name in names)]
    base = [perplexity(step["base"]) for step in steps]
    rows = [["base", *(_score(row["base"]) for row in sets), *map(_score, base)]]
    for number, step in enumerate(steps):
        own = [perplexity(step["own"][name]) for name in names[: number + 1]]
        blank = ["-"] * (len(names) - len(own))
        scores = [_score(row["tuned"]) for row in step["sets"]]
        rows.append([step["version"], *scores, *map(_score, own), *blank])
    return header, rows


def _title(row: Row) -> str:
    return f"{row['name']} (guard)" if row["guard"] else str(row["name"])


def _score(value: float) -> str:
    return f"{value:.3f}" if value < 1000 else f"{value:.0f}"


def notes(state: Row) -> list[str]:
    """Return what the table says, in sentences."""
    found, steps = state["summary"], state["steps"]
    lines = []
    transfer = found["backward_transfer"]
    if transfer is None:
        lines.append("A single step: nothing could be forgotten yet.")
    else:
        effect = "later steps cost" if transfer < 0 else "later steps did not cost"
        lines.append(
            f"Backward transfer {transfer:+.4f} {found['unit']}, forgetting "
            f"{found['forgetting']:+.4f}: {effect} what earlier ones had learned."
        )
    for row in found["versions"]:
        lines.append(
            f"{row['version']}: perplexity {row['then']:.3f} when it was learned, {row['now']:.3f} "
            f"at the end ({row['verdict']}, n = {row['n']})."
        )
    for row in found["sets"]:
        if row["guard"]:
            lines.append(
                f"{row['name']}: {row['base']:.3f} of the base, lowest {row['worst']:.3f} after "
                f"{row['after']}, {row['end']:.3f} at the end ({row['verdict']})."
            )
    failed = {gate["name"] for step in steps for gate in step["gates"] if _failed(gate)}
    lines += [f"Gate {name} failed after: {_where(steps, name)}." for name in sorted(failed)]
    return lines


def _failed(gate: Row) -> bool:
    return bool(gate["status"] == "failed")


def _where(steps: Sequence[Row], name: str) -> str:
    return ", ".join(
        step["version"]
        for step in steps
        if any(_failed(gate) and gate["name"] == name for gate in step["gates"])
    )


def as_text(state: Row) -> str:
    """Return table and sentences for the terminal."""
    return text_table(*table_of(state)) + "\n\n" + "\n".join(notes(state))


def write_page(state: Row, folder: Path) -> Path:
    """Write the sequence as one self-contained page; return its path."""
    header, rows = table_of(state)
    cells = [[row[0], *(Markup("{}").format(cell) for cell in row[1:])] for row in rows]
    figure = Markup("<figure>{}</figure>")
    sections: list[Section] = [
        ("kept", "What was kept", listing([sentence(line) for line in notes(state)])),
        ("scores", "Scores after each step", table(header, cells)),
        ("sets", "Evaluation sets", figure.format(Markup(_draw_sets(state)))),
        ("own", "Test splits of the versions", figure.format(Markup(_draw_own(state)))),
    ]
    body = Markup("<h1>{}</h1>").format(TITLE)
    body += paragraph("{} steps; {}.", len(state["steps"]), state["start"])
    for key, title, content in sections:
        body += Markup('<section id="{}"><h2>{}</h2>{}</section>').format(key, title, content)
    path = folder / PAGE
    write_text(path, document(TITLE, body))
    return path


def _draw_sets(state: Row) -> str:
    """Return the scores of the sets over the steps, guard sets drawn with thick lines."""
    steps = state["steps"]
    shown = [row for row in steps[-1]["sets"] if row["higher_is_better"]]
    figure, axis = _axis(["base", *(step["version"] for step in steps)], "score")
    for number, row in enumerate(shown):
        later = [
            one["tuned"] for step in steps for one in step["sets"] if one["name"] == row["name"]
        ]
        _line(axis, 0, [row["base"], *later], number, _title(row), 2.5 if row["guard"] else 1.2)
    axis.legend(frameon=False, fontsize=8, labelcolor=INK)
    parts = ", ".join(f"{row['name']} {row['base']:.3f} to {row['tuned']:.3f}" for row in shown)
    return inline(figure, "sets", f"Scores from the base to the last step: {parts}.")


def _draw_own(state: Row) -> str:
    """Return the perplexity of each version's test split, from the step on that learned it."""
    steps = state["steps"]
    figure, axis = _axis(["base", *(step["version"] for step in steps)], "perplexity")
    for number, step in enumerate(steps):
        values = [perplexity(one["own"][step["version"]]) for one in steps[number:]]
        _line(axis, number + 1, values, number, step["version"], 2.0)
        base = perplexity(step["base"])
        colour = COLOURS[number % len(COLOURS)]
        axis.plot([0, number + 1], [base, values[0]], color=colour, linewidth=1, linestyle=":")
    axis.set_yscale("log")
    axis.legend(frameon=False, fontsize=8, labelcolor=INK)
    ends = ", ".join(
        f"{step['version']} {perplexity(steps[-1]['own'][step['version']]):.3f}" for step in steps
    )
    return inline(figure, "own", f"Perplexity of the test splits after the last step: {ends}.")


def _axis(places: Sequence[str], label: str) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 2.8), layout="constrained")
    axis = figure.add_subplot()
    axis.set_xticks(range(len(places)), places)
    axis.set_ylabel(label, size=9, color=INK)
    axis.tick_params(which="both", length=0, labelsize=8, labelcolor=INK)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="y", alpha=0.2, color=INK)
    return figure, axis


def _line(
    axis: Any, first: int, values: Sequence[float], number: int, label: str, width: float
) -> None:
    places = range(first, first + len(values))
    colour = COLOURS[number % len(COLOURS)]
    axis.plot(places, values, color=colour, linewidth=width, marker="o", markersize=4, label=label)
