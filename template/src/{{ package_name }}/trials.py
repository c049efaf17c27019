"""One trial of a study: a normal run, or one for each fold, whose validations are reported."""

import gc
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from .config import Config
from .errors import Problem, UserError
from .objectives import OBJECTIVES
from .planning import resolve_plan
from .runs import CHECKPOINTS, RECORD, find_checkpoint, read_record
from .search_space import words
from .study import FAILED, PRUNED, REASON, RUNS, SECONDS, STARTS, VALUES, Study
from .trainer import train
from .utils import finite, timed, write_json

MOST_STARTS = 3  # of one trial before its first checkpoint: so often it is no accident


def compared_metric(config: Config) -> tuple[str, bool]:
    """Return the metric that picks the best checkpoint, and whether more of it is better.

    Raises:
        UserError: nothing is validated.
    """
    if config.train.eval_strategy == "no":
        found = "no: trials are compared by their validations"
        raise UserError(Problem("train.eval_strategy", found, "steps or epoch"))
    wanted = config.train.metric_for_best_model
    metric = OBJECTIVES[config.objective].best_metric if wanted == "auto" else wanted
    metric = metric if metric.startswith("eval_") else f"eval_{metric}"
    return metric, not metric.endswith("loss")


def run_trial(study: Study, trial: Any, changes: Mapping[str, Any]) -> float | None:
    """Train with some settings changed, going on after an interruption; return the score.

    Args:
        study: What all trials share.
        trial: Of optuna; gets the validations, the names of the runs, the score of each and, as
            the reason, why there is none.
        changes: Setting -> value.

    Returns:
        The mean of the best validations over the folds; None where no model came of it.

    Raises:
        optuna.TrialPruned: the trial was stopped early; its record says so.
    """
    import optuna

    starts = trial.user_attrs.get(STARTS, 0) + 1
    trial.set_user_attr(STARTS, starts)
    if starts > MOST_STARTS:
        trial.set_user_attr(REASON, f"the process ended in it {MOST_STARTS} times")
        return None
    seconds: dict[str, float] = {SECONDS: trial.user_attrs.get(SECONDS, 0.0)}
    values: list[float] = []
    try:
        with timed(seconds, SECONDS):
            for fold in range(max(len(study.folds), 1)):
                values.append(_run(study, trial, changes, fold))
    except optuna.TrialPruned:
        _note_end(study, trial, changes, PRUNED)
        trial.set_user_attr(REASON, f"{study.metric} behind the median of the trials before it")
        raise
    except UserError as error:
        _note_end(study, trial, changes, FAILED)
        trial.set_user_attr(REASON, "; ".join(f"{p.where}: {p.found}" for p in error.problems))
        return None
    finally:
        trial.set_user_attr(SECONDS, seconds[SECONDS])
    trial.set_user_attr(VALUES, values)
    return fmean(values)


def clear(study: Study, trial: Any) -> None:
    """Delete the checkpoints of a trial that is told, and free its memory.

    Its weights and its record stay.
    """
    import torch

    for name in trial.user_attrs.get(RUNS, []):
        shutil.rmtree(study.runs / name / CHECKPOINTS, ignore_errors=True)
    gc.collect()  # the model and a trainer that an exception ended form a cycle
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _run(study: Study, trial: Any, changes: Mapping[str, Any], fold: int) -> float:
    """Train once; return the best validation.

    Raises:
        UserError: the settings do not go together, or the result is no number.
    """
    own = dict(changes) | {"train.output_dir": str(study.runs)}
    if study.folds:
        own["data.prepared"] = str(study.folds[fold])
    config = _resumed(study, trial, own, fold)
    plan, _, _ = resolve_plan(config, write=False)
    callback = _reports(study, trial, fold)
    run_dir = train(config, plan, _indented(study.say), [callback], alone=False)
    record = read_record(run_dir)
    mark = _mark(study, trial, changes) | ({"fold": fold} if study.folds else {})
    write_json(run_dir / RECORD, record | {"search": mark})
    if record["best_metric"] is None:
        raise UserError(Problem("validation", "nothing was validated"))
    return float(record["best_metric"])


def _resumed(study: Study, trial: Any, own: dict[str, Any], fold: int) -> Config:
    """Return the configuration, which goes on with the run of a trial that was interrupted."""
    begun = trial.user_attrs.get(RUNS, [])
    if fold < len(begun):
        run_dir = study.runs / begun[fold]
        config = study.make(words(own | {"train.resume_from_checkpoint": str(run_dir)}))
        try:
            find_checkpoint(config)
        except UserError:  # it was cut off before its first checkpoint
            shutil.rmtree(run_dir, ignore_errors=True)
        else:
            trial.set_user_attr(STARTS, 0)  # it got on
            return config
    return study.make(words(own | {"train.resume_from_checkpoint": None}))


def _reports(study: Study, trial: Any, fold: int) -> Any:
    """Return the trainer callback that names the run folder and reports each validation.

    The step of a report is the number of the validation, so that runs of different length are
    compared at the same share of their course. Only the first fold can stop a trial.
    """
    import optuna
    from transformers import TrainerCallback

    class Reports(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            del state, control, kwargs
            begun = trial.user_attrs.get(RUNS, [])
            name = Path(args.output_dir).parent.name
            trial.set_user_attr(RUNS, [*begun[:fold], name])

        def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            del args, control
            value = kwargs["metrics"].get(study.metric)
            if value is None:
                return
            if not math.isfinite(value):
                found = f"{study.metric} is no finite number"
                raise UserError(Problem("training", found, fix="a smaller train.learning_rate"))
            if fold:
                return
            trial.report(value, sum(study.metric in row for row in state.log_history))
            if trial.should_prune():
                raise optuna.TrialPruned

    return Reports()


def _note_end(study: Study, trial: Any, changes: Mapping[str, Any], status: str) -> None:
    """Write into the records of runs that did not finish how they ended."""
    for name in trial.user_attrs.get(RUNS, []):
        record = read_record(study.runs / name) | {"search": _mark(study, trial, changes)}
        if record["status"] == "running":
            write_json(study.runs / name / RECORD, finite(record | {"status": status}))


def _mark(study: Study, trial: Any, changes: Mapping[str, Any]) -> dict[str, Any]:
    return {"study": study.folder.name, "trial": trial.number, "changes": dict(changes)}


def _indented(say: Callable[[str], None]) -> Callable[[str], None]:
    return lambda line: say(f"    {line}")


def time_left(seconds: Sequence[float], left: int) -> str:
    """Return in words how long `left` more trials take, by the mean of those before."""
    if not seconds or not left:
        return ""
    minutes = max(fmean(seconds) * left / 60, 1)
    return f"about {minutes:.0f} min left" if minutes < 120 else f"about {minutes / 60:.1f} h left"
