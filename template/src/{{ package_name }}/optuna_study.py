"""The study of optuna: a journal in a folder, which trial is next, and what it holds.

The journal has a line for each thing that happened. A trial that was cut off is still open in it,
and is the first to go on. The sampler is seeded by the number of the trial, so that an interruption
changes no choice.
"""

import json
import warnings
from typing import Any

from .config import Config, leaves
from .data_loader import check_prepared
from .errors import Problem, UserError
from .runs import COMPARED, FREE
from .search_space import Range, flow
from .study import (
    FAILED,
    FINISHED,
    NAMES,
    PRUNED,
    REASON,
    RUNS,
    SEARCH,
    SECONDS,
    TWIN,
    VALUES,
    Comparison,
    Job,
    Study,
    Trial,
)
from .utils import sha256_json

JOURNAL, IDENTITY = "journal.log", "identity"
MOST_REPEATS = 10  # trials for each new one; the sampler repeats combinations that it likes
# Trials that count as good ones: with fewer, the share of a setting follows a single trial.
GOOD_TRIALS, LEAST_GOOD = 4, 0.1


def require_optuna() -> None:
    """Quiet optuna, which names every value on the terminal.

    Raises:
        UserError: it is not installed.
    """
    try:
        import optuna
    except ImportError:
        found = "the package optuna is not installed"
        raise UserError(Problem("search", found, fix="make setup EXTRAS=dev,search")) from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # A validation that is repeated after an interruption was reported before.
    warnings.filterwarnings("ignore", message="The reported value is ignored")


def open_study(job: Job, base: Config, study: Study, larger: bool) -> Any:
    """Return the study of optuna, a new one or that which was begun with the same things.

    Raises:
        UserError: it was begun with other ones.
    """
    import optuna
    from optuna.storages.journal import JournalFileBackend, JournalStorage

    stops = job.method == SEARCH  # a sweep compares runs that are complete
    median = optuna.pruners.MedianPruner(n_startup_trials=job.space.startup_trials)
    opened = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(study.folder / JOURNAL))),
        study_name=study.folder.name,
        direction="maximize" if larger else "minimize",
        pruner=median if stops else optuna.pruners.NopPruner(),
        load_if_exists=True,
    )
    now = _identity(job, base, study.metric)
    then = opened.user_attrs.get(IDENTITY, now)
    fix = "set it back, or give the search file another name for a new study"
    problems = [
        Problem(name, "changed since the study began", fix=fix)
        for name in sorted({*now, *then})
        if now.get(name) != then.get(name)
    ]
    if problems:
        raise UserError(problems)
    opened.set_user_attr(IDENTITY, now)
    return opened


def _identity(job: Job, base: Config, metric: str) -> dict[str, str]:
    """Return all that trials have in common, which a study cannot change; not their number."""
    outputs = check_prepared(base)["outputs"]
    rows = {name: digest for name, digest in outputs.items() if name.endswith(".jsonl")}
    settings = {
        name: json.dumps(value, default=str)
        for name, value in leaves(base)
        if name.split(".")[0] in COMPARED and name not in FREE and name not in job.axes
    }
    own = {"startup_trials": str(job.space.startup_trials), "metric": metric}
    axes = sha256_json([[name, str(row)] for name, row in job.axes.items()])
    return settings | own | {"search file": axes, "prepared data": sha256_json(rows)}


def next_trial(job: Job, opened: Any, wanted: list[dict[str, Any]] | None) -> Any:
    """Return the trial that was cut off, or a new one; None where there are enough."""
    import optuna
    from optuna.trial import TrialState

    trials = opened.get_trials(deepcopy=False)
    open_ones = [one for one in trials if one.state == TrialState.RUNNING]
    waiting = [one for one in trials if one.state == TrialState.WAITING]
    number = open_ones[0].number if open_ones else len(trials) - len(waiting)
    seed = int(opened.user_attrs[IDENTITY]["train.seed"]) + number
    opened.sampler = optuna.samplers.TPESampler(seed=seed % 2**32)
    if open_ones:
        return optuna.Trial(opened, open_ones[0]._trial_id)
    if wanted is None:
        own = len([one for one in trials if TWIN not in one.user_attrs])
        most = job.space.trials
        return opened.ask() if own < most and number < MOST_REPEATS * most else None
    if not waiting:  # else the process ended between the next lines
        tried = [one.params for one in trials]
        texts = [{name: flow(value) for name, value in one.items()} for one in wanted]
        missing = [one for one in texts if one not in tried]
        if not missing:
            return None
        opened.enqueue_trial(missing[0], user_attrs={NAMES: [*missing[0]]})
    return opened.ask()


def changes_of(trial: Any, job: Job) -> dict[str, Any]:
    """Return the settings of a trial, which the sampler chooses unless they are given."""
    changes: dict[str, Any] = {}
    for name in trial.user_attrs.get(NAMES, job.axes):
        row = job.axes[name]
        if isinstance(row, Range):
            draw = trial.suggest_int if row.whole else trial.suggest_float
            changes[name] = draw(name, row.low, row.high, log=row.log)
        else:
            texts = [flow(value) for value in row]
            changes[name] = row[texts.index(trial.suggest_categorical(name, texts))]
    return changes


def is_repeated(opened: Any, trial: Any) -> bool:
    """Give a trial the result of an earlier one with the same settings, if there is one.

    It would be the same to the last bit: trials share their seed.
    """
    from optuna.trial import TrialState

    for one in opened.get_trials(deepcopy=False):
        if one.number < trial.number and one.state.is_finished() and one.params == trial.params:
            trial.set_user_attr(TWIN, one.number)
            value = one.value if one.state == TrialState.COMPLETE else None
            opened.tell(trial, value, one.state)
            return True
    return False


def read_trials(opened: Any, job: Job) -> list[Trial]:
    """Return the trials of a study of optuna, in order."""
    from optuna.trial import TrialState

    states = {
        TrialState.COMPLETE: FINISHED,
        TrialState.PRUNED: PRUNED,
        TrialState.FAIL: FAILED,
    }
    texts = {
        name: {flow(value): value for value in row}
        for name, row in job.axes.items()
        if not isinstance(row, Range)
    }
    trials = []
    for one in opened.get_trials(deepcopy=False):
        own = one.user_attrs
        finished = one.state == TrialState.COMPLETE
        trials.append(
            Trial(
                number=one.number,
                changes={n: texts[n][v] if n in texts else v for n, v in one.params.items()},
                state=states.get(one.state, ""),
                value=one.value if finished else None,
                values=own.get(VALUES, []) if finished else [],
                course=dict(one.intermediate_values),
                runs=own.get(RUNS, []),
                seconds=own.get(SECONDS, 0.0),
                reason=own.get(REASON, ""),
                twin=own.get(TWIN),
            )
        )
    return trials


def comparison(job: Job, study: Study, opened: Any, larger: bool) -> Comparison:
    """Return the trials side by side, with the share of each setting in what makes a good one."""
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    trials, shares = read_trials(opened, job), {}
    values = [trial.value for trial in trials if trial.value is not None]
    # It says nothing about a few trials, and about changes one at a time.
    if len(values) >= 2 * GOOD_TRIALS and len(set(values)) > 1 and job.method != "ablation":
        good = max(GOOD_TRIALS / len(values), LEAST_GOOD)
        evaluator = PedAnovaImportanceEvaluator(target_quantile=good)
        shares = get_param_importances(opened, evaluator=evaluator)
    return Comparison(study.folder, study.runs, study.metric, larger, [*job.axes], trials, shares)
