"""Search and sweep: many runs of one configuration, kept in a study that goes on where it was."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .data_loader import load_split
from .errors import Problem, UserError
from .folds import write_folds
from .optuna_study import (
    JOURNAL,
    changes_of,
    comparison,
    is_repeated,
    next_trial,
    open_study,
    read_trials,
    require_optuna,
)
from .search_results import write_best, write_results
from .search_space import shown_value, words
from .study import REASON, Comparison, Job, Study, planned
from .trials import clear, compared_metric, run_trial, time_left

LOCK = ".lock"


def run_search(job: Job, say: Callable[[str], None] = print) -> Path:
    """Run the trials that are missing, write the comparison and the best configuration.

    Returns:
        The folder of the study.

    Raises:
        UserError: optuna is missing, nothing can be trained, the study was begun with something
            else, or no trial came to a result.
    """
    require_optuna()
    base = job.make([])
    metric, larger = compared_metric(base)
    wanted = planned(job)
    if not load_split(base, "validation") and not job.folds:
        fix = "a larger share for data.split.validation, or cross-validation: --folds 5"
        raise UserError(Problem("prepared data", "the validation split is empty", fix=fix))
    folder = job.folder
    with _alone(folder):
        folds = write_folds(base, job.folds, folder / "folds") if job.folds else []
        study = Study(job.make, folder, metric, folds, say)
        opened = open_study(job, base, study, larger)
        try:
            _go_on(job, study, opened, wanted)
        finally:  # an interruption shows what there is
            found = comparison(job, study, opened, larger)
            if found.best is not None:
                for path in write_results(found):
                    say(f"written: {path}")
        if found.best is None:
            raise _without_result(found)
        say(f"best:    trial {found.best.number}, {metric} {found.best.value:.4f}")
        say(f"written: {write_best(found, job.make(words(found.best.changes)))}")
    return folder


def _without_result(found: Comparison) -> UserError:
    reasons = dict.fromkeys(trial.reason for trial in found.trials if trial.reason)
    fix = "change the configuration or the search file, and its name"
    return UserError([Problem("no trial came to a result", reason, fix=fix) for reason in reasons])


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the lock of a study; mend what a killed process left.

    Raises:
        UserError: another process runs it.
    """
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        fix = "wait for it, or give the search file another name"
        raise UserError(Problem(str(folder), "another process runs this study", fix=fix)) from None
    try:
        journal = folder / JOURNAL
        for stale in folder.glob(f"{JOURNAL}.lock*"):
            stale.unlink(missing_ok=True)
        if journal.is_file():  # half a line at the end, which optuna would append to
            content = journal.read_bytes()
            if not content.endswith(b"\n") and content:
                journal.write_bytes(content[: content.rfind(b"\n") + 1])
        yield
    finally:
        lock.release()


def _go_on(job: Job, study: Study, opened: Any, wanted: list[dict[str, Any]] | None) -> None:
    """Run what was cut off, then new trials until there are enough."""
    total = job.space.trials if wanted is None else len(wanted)
    while (trial := next_trial(job, opened, wanted)) is not None:
        changes = changes_of(trial, job)
        if wanted is None and is_repeated(opened, trial):
            continue
        done = [one for one in read_trials(opened, job) if one.state and one.is_own]
        left = time_left([one.seconds for one in done if one.seconds], total - len(done))
        title = ", ".join(f"{name}={shown_value(value)}" for name, value in changes.items())
        place = f"{len(done) + 1} of {total}" + (f", {left}" if left else "")
        study.say(f"trial {trial.number} ({place}): {title or 'as configured'}")
        _run_and_tell(study, opened, trial, changes)


def _run_and_tell(study: Study, opened: Any, trial: Any, changes: Mapping[str, Any]) -> None:
    from optuna import TrialPruned
    from optuna.trial import TrialState

    value = None
    try:
        value = run_trial(study, trial, changes)
        state = TrialState.FAIL if value is None else TrialState.COMPLETE
    except TrialPruned:
        state = TrialState.PRUNED
    opened.tell(trial, value, state)
    clear(study, trial)
    result = f"{study.metric} {value:.4f}" if value is not None else trial.user_attrs[REASON]
    study.say(f"  trial {trial.number}: {result}")
