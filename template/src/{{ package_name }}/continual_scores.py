"""What a sequence of steps kept and forgot: scores of each step on each set, backward transfer.

The score of a version's test split is the mean log-likelihood of its tokens, in nats: higher is
better, and exp(-score) is the perplexity.

- Backward transfer (Lopez-Paz and Ranzato 2017, arXiv 1706.08840, section 2): the mean over the
  earlier versions of how much the later steps changed their score; below 0 they forgot.
- Forgetting (Chaudhry et al. 2018, arXiv 1801.10112, section 3): the mean over the earlier
  versions of the best score there ever was less the one at the end.
"""

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from .held_out import Scored, held_out_row

Row = dict[str, Any]


def likelihood(scored: Sequence[Scored]) -> float:
    """Return the mean log-likelihood of the tokens of some texts, in nats."""
    return -sum(nats for nats, _ in scored) / sum(tokens for _, tokens in scored)


def backward_transfer(scores: Sequence[Sequence[float]]) -> float | None:
    """Return the backward transfer, None with a single step.

    Args:
        scores: Row t has the scores after step t on the versions 0 to t; higher is better.
    """
    if len(scores) < 2:
        return None
    last = scores[-1]
    return fmean(last[version] - scores[version][version] for version in range(len(scores) - 1))


def forgetting(scores: Sequence[Sequence[float]]) -> float | None:
    """Return how much was lost of the best score on each earlier version, None with a single step.

    Args:
        scores: As for backward_transfer().
    """
    if len(scores) < 2:
        return None
    last = scores[-1]
    return fmean(
        max(row[version] for row in scores[version:]) - last[version]
        for version in range(len(scores) - 1)
    )


def matrix(state: Row) -> list[list[float]]:
    """Return the scores after each step on its own and all earlier versions."""
    names = [step["version"] for step in state["steps"]]
    return [
        [likelihood(step["own"][name]) for name in names[: number + 1]]
        for number, step in enumerate(state["steps"])
    ]


def summary(state: Row, confidence: float) -> Row:
    """Return backward transfer, forgetting, and what became of each version and each set.

    Args:
        state: Of a sequence whose steps are all scored.
        confidence: Of the intervals.
    """
    scores, last = matrix(state), state["steps"][-1]
    kept = []
    for step in state["steps"][:-1]:
        name = step["version"]
        row = held_out_row(step["own"][name], last["own"][name], confidence)
        assert row is not None, "a test split without text is refused before the first step"
        kept.append({"version": name, "then": row.pop("base"), "now": row.pop("tuned"), **row})
    return {
        "backward_transfer": _rounded(backward_transfer(scores)),
        "forgetting": _rounded(forgetting(scores)),
        "unit": "nats per token",
        "versions": kept,
        "sets": [_worst(state, row["name"]) for row in last["sets"]],
    }


def _worst(state: Row, name: str) -> Row:
    """Return the lowest point of a set over all steps, and where it ended."""
    rows = [
        (step["version"], row)
        for step in state["steps"]
        for row in step["sets"]
        if row["name"] == name
    ]
    sign = 1 if rows[0][1]["higher_is_better"] else -1
    after, row = min(rows, key=lambda pair: sign * pair[1]["tuned"])
    end = rows[-1][1]
    return {
        "name": name,
        "guard": end["guard"],
        "base": end["base"],
        "worst": row["tuned"],
        "after": after,
        "end": end["tuned"],
        "verdict": end["verdict"],
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def perplexity(scored: Sequence[Scored]) -> float:
    """Return the perplexity of some texts."""
    return math.exp(-likelihood(scored))
