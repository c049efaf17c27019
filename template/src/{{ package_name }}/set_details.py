"""What is said of a set beside its scores: calibration, order of options, a judge's points."""

from .answers_cache import Answers
from .calibration import calibrate
from .comparison import Row, rounded
from .config import Config
from .eval_sets import Task
from .items import CHOICES, GENERATION
from .judge import judge_set
from .measuring import Measured


def add_details(row: Row, config: Config, task: Task, base: Measured, tuned: Measured) -> None:
    """Add to the row of a set what its answers allow, in place."""
    pair = {"base": base.answers[task.name], "tuned": tuned.answers[task.name]}
    row["seconds"] = {side: answers.seconds for side, answers in pair.items()}
    row["truncated"] = {
        side: sum(one.cut > 0 for one in answers.answers) for side, answers in pair.items()
    }
    row["base_from_cache"] = pair["base"].cached
    if task.metric.needs == CHOICES:
        row |= _calibration(task, pair)
    if task.name in tuned.option_order:
        orders = {"base": base.option_order, "tuned": tuned.option_order}
        row["option_order"] = {side: found[task.name] for side, found in orders.items()}
    by_rubric = task.metric.needs == GENERATION and all(item.rubric for item in task.items)
    if by_rubric and (judged := _judged(config, task, pair)):
        row["judge"] = judged


def _calibration(task: Task, pair: dict[str, Answers]) -> Row:
    """Return calibration errors and the bars of the reliability plot of both models."""
    found = {side: calibrate(task.items, one.answers) for side, one in pair.items()}
    return {
        "ece": {side: rounded(one["ece"]) for side, one in found.items()},
        "brier": {side: rounded(one["brier"]) for side, one in found.items()},
        "reliability": {
            side: [[rounded(value) for value in bar] for bar in one["reliability"]]
            for side, one in found.items()
        },
    }


def _judged(config: Config, task: Task, pair: dict[str, Answers]) -> Row | None:
    """Return the mean points of the judge over items that it could judge on both sides."""
    found = {
        side: judge_set(config, task.items, [answer.text for answer in one.answers])
        for side, one in pair.items()
    }
    base, tuned = found["base"], found["tuned"]
    if base is None or tuned is None:
        return None
    scores = zip(base.scores, tuned.scores, strict=True)
    both = [(b, t) for b, t in scores if b is not None and t is not None]
    means = [rounded(sum(side) / len(both)) for side in zip(*both, strict=True)] or [None, None]
    return {
        "model": base.model,
        "prompt": base.prompt,
        "n": len(both),
        "base": means[0],
        "tuned": means[1],
        "unparsable": {"base": base.unparsable, "tuned": tuned.unparsable},
        "agreement": {"base": rounded(base.agreement), "tuned": rounded(tuned.agreement)},
    }
