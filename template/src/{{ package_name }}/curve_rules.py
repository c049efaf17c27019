"""Rules that say what is wrong with a run, from its curves and its guard results.

Each takes what is known so far and returns its figures as a sentence, or "" where it does not
hold. Losses are means in nats, of a token, an example or a pair, as the objective has it.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .objectives import OBJECTIVES
from .statistics import WORSE

RISE, LEAST_RISE = 0.05, 0.02  # of the validation loss over its lowest: share, and nats
IN_A_ROW = 2  # validations, so that one by chance is none
FLAT = 0.02  # share by which a loss may change that stays where it was
HIGH = 0.5  # nats: the right answer gets a chance of 0.61; a guess between two has 0.69
HALF = 0.5  # share of the run after which a flat loss is no slow start
WINDOW = 10  # lines of the log
SPIKE = 6.0  # robust standard deviations over the median of the window
DIVERGED, LEAST_CLIMB = 1.5, 1.0  # over the loss before training: times, and nats
FEW = 3  # lines in a row that are no chance
NEAR_ZERO = 0.02  # nats: the right answer gets a chance of 0.98
PASSES = 16  # over the same rows
NORMAL = 1.4826  # standard deviations of a normal distribution in a median absolute deviation
WITHOUT_LOSS = ("rollouts",)  # what its trainer logs as loss is no measure of the answers
ABOVE_ZERO = ("rollouts", "distilled")  # a loss that may be near zero before anything is learned
Row = dict[str, Any]


@dataclass(slots=True)
class Evidence:
    """What a rule may look at.

    Attributes:
        record: training_args.json; `objective`, `technique`, `config`, `arguments`, `plan` of it.
        steps: lines of the training log with a training loss, in order.
        validations: those with a validation loss.
        results: evaluation_results.json; None while it trains.
    """

    record: Row
    steps: list[Row] = field(default_factory=list)
    validations: list[Row] = field(default_factory=list)
    results: Row | None = None

    def add(self, row: Row) -> None:
        """Take in one more line of the log."""
        (self.validations if row.get("eval_loss") is not None else self.steps).append(row)

    @property
    def validated(self) -> bool:
        """Say whether the newest line is one of a validation."""
        if not self.validations:
            return False
        return not self.steps or self.validations[-1]["step"] >= self.steps[-1]["step"]

    @property
    def step(self) -> int:
        """Return the newest step."""
        return max((rows[-1]["step"] for rows in (self.steps, self.validations) if rows), default=0)

    @property
    def best(self) -> Row:
        """Return the validation with the lowest finite loss."""
        finite = [row for row in self.validations if math.isfinite(row["eval_loss"])]
        return min(finite or self.validations, key=lambda row: row["eval_loss"])

    def has_loss(self, without: Sequence[str] = WITHOUT_LOSS) -> bool:
        """Say whether the losses of this objective mean what a rule takes them for."""
        return OBJECTIVES[self.record["objective"]].planner_class not in without

    def argument(self, name: str, default: Any = None) -> Any:
        """Return an argument that the trainer really got, else the setting."""
        given = self.record.get("arguments") or self.record["config"]["train"]
        return given.get(name, default)

    @property
    def epoch(self) -> float:
        """Return the passes over the training rows so far."""
        return float(self.steps[-1].get("epoch") or 0.0) if self.steps else 0.0

    def done(self) -> float:
        """Return the share of the run that is over."""
        if (total := self.argument("max_steps", -1)) > 0:
            return float(self.step / total)
        return float(self.epoch / self.argument("num_train_epochs", 1))


def overfitting(seen: Evidence) -> str:
    """Validation loss over its lowest twice in a row, while training loss went on down."""
    if not (seen.validated and seen.has_loss()) or len(seen.validations) <= IN_A_ROW:
        return ""
    best, last = seen.best, seen.validations[-1]
    lowest, now = best["eval_loss"], last["eval_loss"]
    least = min(row["eval_loss"] for row in seen.validations[-IN_A_ROW:])
    if not (least - lowest >= LEAST_RISE and least > (1 + RISE) * lowest):
        return ""
    before, after = _training_at(seen, best), _training_at(seen, last)
    if not after < (1 - RISE) * before:
        return ""
    return (
        f"validation loss {lowest:.3f} at step {best['step']}, {now:.3f} at step {last['step']} "
        f"({now / lowest - 1:+.0%}); training loss {before:.3f}, then {after:.3f}"
    )


def underfitting(seen: Evidence) -> str:
    """Training and validation loss where they were, and high, in the second half of the run."""
    if not (seen.validated and seen.has_loss()) or len(seen.validations) < 2:
        return ""
    if seen.done() < HALF or len(seen.steps) < 2 * FEW:
        return ""
    count = min(WINDOW, len(seen.steps) // 2)
    begin, end = _mean(seen.steps[:count]), _mean(seen.steps[-count:])
    first, last = (seen.validations[place]["eval_loss"] for place in (0, -1))
    still = abs(end / begin - 1) < FLAT and abs(last / first - 1) < FLAT
    if not still or last < HIGH:
        return ""
    return (
        f"training loss {begin:.3f}, then {end:.3f}; validation loss {first:.3f}, then {last:.3f}, "
        f"after {seen.done():.0%} of the run"
    )


def instability(seen: Evidence) -> str:
    """A number that is none, a loss far over that of the base, or a spike."""
    return not_finite(seen) or diverged(seen) or spike(seen)


def not_finite(seen: Evidence) -> str:
    """Loss or gradient norm is no finite number."""
    newest = (seen.validations if seen.validated else seen.steps)[-1:]
    for row in newest:
        for name, title in (("loss", "training loss"), ("eval_loss", "validation loss")):
            if row.get(name) is not None and not math.isfinite(row[name]):
                return f"{title} is {row[name]} at step {row['step']}"
    # Scaled 16-bit gradients overflow now and then: the step is left out, and the scale halved.
    needed = FEW if seen.argument("fp16", False) else 1
    last = seen.steps[-needed:]
    norms = [row["grad_norm"] for row in last if row.get("grad_norm") is not None]
    if len(norms) == needed and not any(map(math.isfinite, norms)):
        return f"gradient norm is {norms[-1]} at step {last[-1]['step']}"
    return ""


def diverged(seen: Evidence) -> str:
    """Training loss stays far over its first value, that of the base model."""
    if not seen.has_loss(ABOVE_ZERO) or len(seen.steps) <= FEW:
        return ""
    first, least = seen.steps[0]["loss"], min(row["loss"] for row in seen.steps[-FEW:])
    if not least > max(DIVERGED * first, first + LEAST_CLIMB):
        return ""
    step = seen.steps[-1]["step"]
    return f"training loss {first:.3f} at first, {least:.3f} or more in {FEW} lines up to {step}"


def spike(seen: Evidence) -> str:
    """Training loss jumps out of what the lines before it vary by."""
    if seen.validated or not seen.has_loss(ABOVE_ZERO) or len(seen.steps) <= WINDOW:
        return ""
    losses = [row["loss"] for row in seen.steps[-WINDOW - 1 : -1]]
    now, usual = seen.steps[-1]["loss"], statistics.median(losses)
    spread = NORMAL * statistics.median(abs(loss - usual) for loss in losses)
    if not now - usual > max(SPIKE * spread, HALF * usual, HIGH):
        return ""
    step = seen.steps[-1]["step"]
    told = f"training loss {now:.3f} at step {step}"
    return f"{told}, median of the {WINDOW} lines before {usual:.3f}"


def exhausted(seen: Evidence) -> str:
    """Training rows with nothing left to learn, or seen too often."""
    if seen.validated or not seen.has_loss():
        return ""
    if seen.epoch > PASSES:
        return f"every row was seen {seen.epoch:.1f} times"
    last = seen.steps[-WINDOW:]
    norms = [row.get("grad_norm") or 0.0 for row in last]
    # A loss that is no number is logged as 0.
    if len(last) < WINDOW or not seen.has_loss(ABOVE_ZERO) or not all(map(math.isfinite, norms)):
        return ""
    loss = _mean(last)
    if loss >= NEAR_ZERO:
        return ""
    return f"training loss {loss:.4f} over the last {WINDOW} lines, after {seen.epoch:.1f} passes"


def forgetting(seen: Evidence) -> str:
    """Guard sets are worse than those of the base: the whole interval is."""
    results = seen.results or {}
    rows = [row for row in results.get("sets") or [] if row.get("guard")]
    worse = [row for row in (results.get("guard"), *rows) if row and row["verdict"] == WORSE]
    return "; ".join(
        f"{row['name']}: {row['metric']} {row['base']:.3f} before, {row['tuned']:.3f} after "
        f"({row['n']} items, interval of the difference {row['interval'][0]:+.3f} to "
        f"{row['interval'][1]:+.3f})"
        for row in worse
    )


def _mean(rows: Sequence[Row]) -> float:
    return statistics.fmean(row["loss"] for row in rows)


def _training_at(seen: Evidence, validation: Row) -> float:
    """Return the mean training loss of the lines up to a validation, since the one before it."""
    place = seen.validations.index(validation)
    start = seen.validations[place - 1]["step"] if place else 0
    before = [row for row in seen.steps if row["step"] <= validation["step"]]
    since = [row for row in before if row["step"] > start]
    rows = since or before[-1:]
    return _mean(rows) if rows else math.nan
