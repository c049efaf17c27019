"""The comparison as a picture: base and tuned score of every set, with intervals."""

from pathlib import Path
from typing import Any

from .items import TEXT
from .metrics import METRICS

COMPARISON = "comparison.png"
BASE_COLOUR, TUNED_COLOUR = "#8a8f98", "#1f6fb2"


def draw_comparison(results: dict[str, Any], target: Path) -> Path:
    """Draw one line per set and per pool: points with intervals, a tick for the majority.

    Sets without right answers (perplexity) have another scale and are left out.

    Args:
        results: content of `evaluation_results.json`.
        target: PNG file to write.
    """
    import matplotlib

    matplotlib.use("Agg")  # no screen needed
    from matplotlib import pyplot

    rows = [row for row in results["sets"] if METRICS[row["metric"]].needs != TEXT]
    rows += [row for row in (results["pooled"], results["guard"]) if row]
    figure, axis = pyplot.subplots(figsize=(7.5, 1.4 + 0.55 * len(rows)), layout="constrained")
    for place, row in enumerate(reversed(rows)):
        for side, shift, colour in (("base", 0.14, BASE_COLOUR), ("tuned", -0.14, TUNED_COLOUR)):
            low, high = row[f"{side}_interval"]
            score, height = row[side], place + shift
            axis.plot([low, high], [height, height], color=colour, linewidth=2)
            axis.plot(score, height, "o", color=colour, markersize=6)
        axis.plot([row["majority"]] * 2, [place - 0.3, place + 0.3], color="#b3432b", linewidth=1.5)
    names = [f"{row['name']} (n = {row['n']})\n{row['verdict']}" for row in reversed(rows)]
    axis.set_yticks(range(len(rows)), names)
    axis.set_xlim(0, 1)
    axis.set_ylim(-0.6, len(rows) - 0.4)
    axis.set_xlabel("score (share of right answers, or macro-F1)")
    axis.set_title(f"Base and tuned, {results['confidence']:.0%} intervals", loc="left")
    handles = [
        pyplot.Line2D([], [], color=BASE_COLOUR, marker="o", label="base"),
        pyplot.Line2D([], [], color=TUNED_COLOUR, marker="o", label="tuned"),
        pyplot.Line2D([], [], color="#b3432b", label="majority"),
    ]
    figure.legend(handles=handles, frameon=False, ncols=3, loc="outside lower center")
    axis.grid(axis="x", alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(target, dpi=130)
    pyplot.close(figure)
    return target
