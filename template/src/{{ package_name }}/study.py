"""A study: what its trials share, what one of them brought, and all of them side by side."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .config import Config
from .errors import Problem, UserError
from .search_space import Range, Space, Values, combinations_of, one_at_a_time, size

SEARCH = "search"  # the method that lets optuna choose; the others are those of a sweep
# What a trial of optuna holds besides its settings.
NAMES, RUNS, VALUES, REASON = "names", "runs", "values", "reason"
SECONDS, STARTS, TWIN = "seconds", "starts", "twin"
FINISHED, PRUNED, FAILED = "finished", "stopped", "failed"


@dataclass(frozen=True, slots=True)
class Job:
    """What is asked for.

    Attributes:
        make: words of the command line -> the configuration with them.
        space: the file of the search.
        sweep: the values below `sweep` by the method of the file, not a search.
        folds: of a cross-validation; 0: the validation split of the preparation.
    """

    make: Callable[[Sequence[str]], Config]
    space: Space
    sweep: bool = False
    folds: int = 0

    @property
    def method(self) -> str:
        """Return how trials are chosen."""
        return self.space.method if self.sweep else SEARCH

    @property
    def axes(self) -> Mapping[str, Values | Range]:
        """Return setting -> what it takes."""
        return self.space.sweep if self.sweep else self.space.search

    @property
    def folder(self) -> Path:
        """Return the folder of the study: each method and number of folds has its own."""
        config = self.make([])
        parts = [self.space.name, *([self.method] if self.sweep else [])]
        parts += [f"{self.folds}-folds"] if self.folds else []
        return config.path(config.train.output_dir) / "search" / "-".join(parts)


def planned(job: Job) -> list[dict[str, Any]] | None:
    """Return the settings of each trial in order; None where the sampler chooses them.

    A search of no more combinations than trials tries each of them.

    Raises:
        UserError: there is nothing to vary, or a sweep has more trials than the file allows.
    """
    if not job.axes and not job.folds:
        part, fix = ("sweep" if job.sweep else "search"), "write `axis: auto`, or `axis: [values]`"
        raise UserError(Problem(f"{part} of the search file", "nothing to vary", fix=fix))
    lists = {name: row for name, row in job.axes.items() if not isinstance(row, Range)}
    if not job.sweep and size(job.axes) > job.space.trials:
        return None
    ablation = job.method == "ablation"
    count = 1 + sum(map(len, lists.values())) if ablation else size(lists)
    if count > job.space.trials:
        found = f"{count:g} runs, more than trials: {job.space.trials}"
        fix = "fewer values, `method: ablation`, or more trials"
        raise UserError(Problem("sweep of the search file", found, fix=fix))
    return one_at_a_time(lists, job.make([])) if ablation else combinations_of(lists)


@dataclass(frozen=True, slots=True)
class Study:
    """What all trials share.

    Attributes:
        make: words of the command line -> the configuration with them.
        folder: of the study.
        metric: that is compared, of the validation split.
        folds: prepared folders, each with another validation part; (): the data as prepared.
        say: shows a line of progress.
    """

    make: Callable[[Sequence[str]], Config]
    folder: Path
    metric: str
    folds: Sequence[Path]
    say: Callable[[str], None]

    @property
    def runs(self) -> Path:
        """Return the folder that gets the run folders."""
        return self.folder / "trials"


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial.

    Attributes:
        number: from 0.
        changes: setting -> value.
        state: FINISHED, PRUNED (early, by the median), FAILED; "": it still runs.
        value: best validation, the mean over the folds; None unless finished.
        values: of each fold.
        course: number of a validation -> its value, of the first fold.
        runs: names of its run folders.
        seconds: that it took.
        reason: why it did not finish.
        twin: the trial before it with the same settings.
    """

    number: int
    changes: Mapping[str, Any]
    state: str
    value: float | None
    values: Sequence[float]
    course: Mapping[int, float]
    runs: Sequence[str]
    seconds: float
    reason: str
    twin: int | None

    @property
    def is_own(self) -> bool:
        """Return whether it was trained, not taken over from an earlier one."""
        return self.twin is None


@dataclass(frozen=True, slots=True)
class Comparison:
    """The trials of a study.

    Attributes:
        folder: of the study; its name is that of the study.
        runs: holds the run folders.
        metric: that is compared.
        larger: more of it is better.
        axes: settings that were varied.
        trials: in order.
        shares: setting -> its part in what makes a trial good, 1 in all; {} where unknown.
    """

    folder: Path
    runs: Path
    metric: str
    larger: bool
    axes: Sequence[str]
    trials: Sequence[Trial]
    shares: Mapping[str, float]

    @property
    def ranked(self) -> list[Trial]:
        """Return the finished trials, the best first, of equal ones the earlier."""
        finished = [one for one in self.trials if one.value is not None and one.is_own]
        sign = -1 if self.larger else 1
        return sorted(finished, key=lambda one: (sign * (one.value or 0.0), one.number))

    @property
    def best(self) -> Trial | None:
        """Return the best trial; None where none finished."""
        return next(iter(self.ranked), None)
