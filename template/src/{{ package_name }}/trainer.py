"""One training run: prepared data + plan -> run folder with a model that can be loaded."""

import gc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .acceleration import set_attention
from .adapters import check_start, start_settings
from .arguments import trainer_arguments
from .batch_order import settle_order
from .checkpoint_files import room_in
from .combinations import unread, why_not
from .config import Config
from .cpu_memory import keep_freed
from .data_loader import check_prepared, label_names
from .devices import detect_device
from .distributed import check_same, finish, first_does, start
from .errors import Problem, UserError
from .forecasts import append_run
from .forgetting import NONE, check_forgetting
from .hardware import Plan
from .heads import HEADS
from .launch import launched
from .mixture import replay_warning
from .model_wrapper import LoadedModel, load_base
from .quantised import as_trained, require_quantisation
from .recovery import train_through
from .resuming import check_examples, fingerprint, fix_threads, take_over, with_recoveries
from .run_log import CURVE_NAME, LOG_NAME, draw_curve
from .run_record import Session, count_weights, outcome, start_record
from .run_tracking import follow
from .runs import (
    RECORD,
    find_checkpoint,
    new_run,
    promote,
)
from .schedules import planned_rates
from .trackers import require_trackers
from .trainer_build import build_trainer
from .training import Tokenised, training_of
from .training_output import store_parts, store_rounded, store_weights
from .training_rows import FITTED, counts, packed_splits, tokenise_splits
from .usual_ranges import unusual
from .utils import finite, timed, write_json
from .watch import make_watch


def train(
    config: Config,
    plan: Plan,
    say: Callable[[str], None] = print,
    callbacks: Sequence[Any] = (),
    alone: bool = True,
) -> Path:
    """Train as configured and planned; return the run folder.

    Args:
        config: The run.
        plan: Of the device.
        say: Shows a line of progress.
        callbacks: More of the trainer; what they raise ends the run.
        alone: False for one of many runs of a process: it does not become `fine_tuned_model`,
            and its peak of memory, which is that of all of them, calibrates no plan.

    Raises:
        UserError: data, model, plan or checkpoint do not allow it; nothing is trained then.
    """
    session = _begin(config, plan, say)
    checkpoint = first_does(lambda: find_checkpoint(session.config, session.say))
    if checkpoint is not None and take_over(session, checkpoint):
        return checkpoint.parent.parent
    fix_threads(session)
    session.record["warnings"] = [*unusual(session.config, plan)]
    for warning in session.record["warnings"]:
        session.say(f"warning: {warning}")
    loaded = _load(session)
    splits = _tokenise(session, loaded)
    arguments = _arguments(session, splits)
    run_dir = first_does(lambda: _open_folder(session, checkpoint))
    trainer = build_trainer(session.config, plan, loaded, splits, run_dir, arguments, say)
    trainer.order = session.record["order"]
    for callback in callbacks:
        trainer.add_callback(callback)
    if launched().first:
        trainer.add_callback(make_watch(session.record, run_dir, say))
    if config.train.forgetting != NONE:
        session.decide("forgetting", trainer.penalty.note())
    _describe(session, trainer.model)
    say(f"Run folder: {run_dir}")
    tracking = follow(session, trainer, loaded.tokenizer, splits, run_dir)
    try:
        _train_and_test(session, trainer, loaded, checkpoint, run_dir)
    finally:
        tracking.close()
    session.record["tracking"] = tracking.cost(trainer.meter)
    quantised, mergeable = session.technique.quantised, session.technique.mergeable
    # Before the merge, which takes memory of its own.
    session.record |= outcome(trainer, session.device) | finish(trainer, plan)
    if config.train.forgetting != NONE:
        session.record["forgetting"] = trainer.penalty.record()
    if not launched().first:
        return run_dir
    planned = planned_rates(arguments, trainer.state.max_steps)
    scored = as_trained(trainer.model, splits["validation"].dataset if quantised else [])
    with timed(session.seconds, "save"), room_in(run_dir, "the result"):
        store_parts(session, loaded, trainer.model, run_dir)
        if quantised and mergeable:
            labels = loaded.labels
            del trainer, loaded
            gc.collect()  # the trainer and the model refer to each other
            store_rounded(session, labels, scored, run_dir)
        elif mergeable:
            store_weights(session, trainer.model, run_dir)
        draw_curve(run_dir / LOG_NAME, run_dir / CURVE_NAME, planned)
    session.record |= {"status": "finished", "seconds": session.seconds}
    write_json(run_dir / RECORD, finite(session.record))  # best_metric, if training diverged
    if alone:
        append_run(session.config, plan, session.device, session.record)
        promote(session.config, run_dir)
    return run_dir


def _begin(config: Config, plan: Plan, say: Callable[[str], None]) -> Session:
    """Check what can be checked before a model is loaded.

    Raises:
        UserError: what does not allow the run.
    """
    config, _ = start_settings(config)  # the plan tells the reasons
    device = detect_device()
    launch = start(config, plan, device)
    if not launch.alone:
        say = say if launch.first else _silent
        say(f"Processes: {launch.processes}, {plan.sharding}")
    require_quantisation(config, plan, device)
    require_trackers(config.tracker, config.tracker_upload)
    session = Session(config, plan, device, say, start_record(config, plan, device))
    training_of(session.objective).check(config)
    check_forgetting(config, plan.technique)
    if idle := unread(config, config.source, plan.technique):
        session.decide("settings", idle)
    if warning := replay_warning(config, check_prepared(config)["kind"]):
        say(warning)
    return session


def _load(session: Session) -> LoadedModel:
    """Load the base; write down which one it is, its template, head and labels.

    Raises:
        UserError: it is missing, or does not fit objective, technique or start adapter.
    """
    from transformers import set_seed

    config, record, say = session.config, session.record, session.say
    if kept := keep_freed(session.plan, session.device):
        session.decide("freed memory", kept)
    with timed(session.seconds, "load"):
        set_seed(config.train.seed)  # a head that the weights lack starts at random
        labels = label_names(config)
        head, quantised = HEADS[session.objective.head], session.technique.quantised
        loaded = load_base(config, session.plan.weights, quantised, head=head, labels=labels)
    if reason := why_not(session.objective, session.technique, loaded.head):
        raise UserError(Problem("technique", reason))
    source = loaded.source
    record |= {"model": source.as_dict(), "labels": list(labels)}
    record["model_files"] = fingerprint(source.path)
    if config.model.adapter:
        record["started_from"] = check_start(config, source.name, source.path, labels)
    say(f"Base model: {source.name} from {source.origin} ({source.note})")
    if loaded.template is not None:
        record["chat_template"] = loaded.template.as_dict()
        say(f"Chat template: {loaded.template.name} ({loaded.template.reason})")
    if loaded.note:
        session.decide("head", loaded.note)
    attention = set_attention(config, session.plan, session.device, loaded.model)
    session.decide("attention", attention)
    return loaded


def _tokenise(session: Session, loaded: LoadedModel) -> dict[str, Tokenised]:
    """Return the rows that are trained and validated on; write down their counts.

    Raises:
        UserError: rows that cannot be learned from.
    """
    config, data = session.config, session.record["data"]
    reader = loaded.reader(session.objective.images)
    with timed(session.seconds, "tokenise"):
        splits = tokenise_splits(config, reader, loaded.labels, say=session.say)
    for name, split in splits.items():
        data[name] = counts(split)
    if splits["train"].sources:
        data["mixture"] = [*splits["train"].sources]
    splits, packing = packed_splits(config, session.plan, splits, loaded.model)
    for name, split in splits.items():
        data[name]["rows"] = len(split.dataset)
    check_same({name: data[name] for name in splits})
    for name, reason in packing.items():
        session.decide(name, reason)
    check_examples(session)
    return splits


def _arguments(session: Session, splits: dict[str, Tokenised]) -> dict[str, Any]:
    """Return the trainer's arguments; the reason of each automatic one is shown."""
    sizes = [len(splits[name].dataset) for name in FITTED]
    arguments, reasons = trainer_arguments(session.config, session.plan, session.device, *sizes)
    micro = arguments["per_device_train_batch_size"]
    session.record["order"], reasons["order"] = settle_order(
        session.config, splits["train"].dataset, micro, session.before.get("order")
    )
    for name, reason in reasons.items():
        session.decide(name, reason)
    session.record["arguments"] = arguments
    return with_recoveries(session, arguments)


def _open_folder(session: Session, checkpoint: Path | None) -> Path:
    """Return the folder of the run, a new one unless a run goes on, with its record."""
    if checkpoint is None:
        run_dir = new_run(session.config, f"{session.objective.name}-{session.technique.name}")
        session.record["run"] = run_dir.name
    else:
        run_dir = checkpoint.parent.parent
    write_json(run_dir / RECORD, session.record)
    return run_dir


def _describe(session: Session, model: Any) -> None:
    session.record |= count_weights(model)
    for name, note in session.technique.notes(model, session.config).items():
        session.decide(name, note)


def _train_and_test(
    session: Session, trainer: Any, loaded: LoadedModel, checkpoint: Path | None, run_dir: Path
) -> None:
    """Train; an objective that tests itself scores the test split before and after."""
    score, test = training_of(session.objective).score, None
    if session.objective.tests_itself:
        reader = loaded.reader(session.objective.images)
        found = tokenise_splits(session.config, reader, loaded.labels, ("test",))
        test = found["test"].dataset
        if not len(test):
            session.decide("test", "nothing is tested: the test split is empty")
            test = None
    if test is not None:
        session.record["test"] = {"examples": len(test), "before": score(trainer, test)}
    with timed(session.seconds, "train"):
        train_through(session, trainer, checkpoint, run_dir)
    if test is not None:
        session.record["test"]["after"] = score(trainer, test)


def _silent(_line: str) -> None:
    """Show nothing: another process says it."""
