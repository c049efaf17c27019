"""When training has left the road: a loss or gradient that is no number, or a loss that jumped.

The rule, in one place. A jump is a loss at least SIGMAS standard deviations above the mean of the
last WINDOW steps: the measure of spikes of the OLMo 2 report (2025, section 3: seven standard
deviations from a rolling average). Two things are added, because batches of a fine-tuning run are
small and their losses have outliers: the loss is also at least twice the mean, and SUSTAINED
steps in a row have to be so. What a run answers is the setting train.on_divergence.
"""

import math
from collections import deque
from statistics import fmean

from .errors import Problem, UserError

WINDOW = 100  # optimiser steps
ENOUGH = 20  # of them, before a jump is judged
SIGMAS = 7.0
SUSTAINED = 3


class Diverged(UserError):
    """Training has left the road; the weights are those before the step that showed it.

    Attributes:
        step: that showed it, counted from 1.
        since: first step whose loss was in doubt; checkpoints from it on are not trusted.
        reason: what was seen.
    """

    def __init__(self, step: int, since: int, reason: str) -> None:
        found = f"training diverged at step {step}: {reason}"
        super().__init__(Problem("train.learning_rate", found, fix="halve it"))
        self.step, self.since, self.reason = step, since, reason


class LossWatch:
    """Remembers the losses of the last steps, and judges the next."""

    def __init__(self) -> None:
        self._losses: deque[float] = deque(maxlen=WINDOW)
        self._doubtful: list[int] = []

    @property
    def in_doubt(self) -> bool:
        """Say whether the last loss had jumped."""
        return bool(self._doubtful)

    def check(self, step: int, loss: float, norm: float) -> None:
        """Judge a step before its gradient changes the weights.

        Args:
            step: counted from 1.
            loss: of its batch.
            norm: of its gradient, before it is scaled down.

        Raises:
            Diverged: the loss or the norm is no number, or the loss jumped and stayed there.
        """
        since = self._doubtful[0] if self._doubtful else step
        for name, value in (("loss", loss), ("norm of the gradient", norm)):
            if not math.isfinite(value):
                raise Diverged(step, since, f"the {name} is {value}")
        limit = self._limit()
        if loss < limit:
            self._losses.append(loss)
            self._doubtful = []
            return
        self._doubtful.append(step)
        if len(self._doubtful) >= SUSTAINED:
            reason = f"the loss is {loss:.3g}, and was below {limit:.3g} until step {since - 1}"
            raise Diverged(step, since, reason)

    def _limit(self) -> float:
        if len(self._losses) < ENOUGH:
            return math.inf
        mean = fmean(self._losses)
        spread = math.sqrt(fmean([(loss - mean) ** 2 for loss in self._losses]))
        return mean + max(SIGMAS * spread, abs(mean))
