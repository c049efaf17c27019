"""One training run: prepared data + plan -> run folder with a model that can be loaded."""

import gc
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .acceleration import set_attention
from .adapters import check_start, read_adapter, start_settings
from .arguments import trainer_arguments, trainer_inputs
from .batch_order import BY_LENGTH, choose_order, ordered
from .combinations import unread, why_not
from .config import Config
from .cpu_memory import keep_freed
from .data_loader import check_prepared, label_names
from .devices import detect_device
from .errors import Problem, UserError
from .forecasts import append_run
from .hardware import Plan
from .heads import HEADS
from .mixture import replay_warning
from .model_wrapper import LoadedModel, load_base, with_adapter
from .objectives import OBJECTIVES
from .packing import is_packed, packed_collator
from .quantised import as_trained, require_quantisation
from .run_log import CURVE_NAME, LOG_NAME, cut_log, draw_curve, make_callback
from .run_record import Session, count_weights, outcome, start_record
from .runs import (
    CHECKPOINTS,
    RECORD,
    check_resume,
    find_checkpoint,
    new_run,
    promote,
    read_record,
    relocate_best,
)
from .schedules import planned_rates
from .techniques import TECHNIQUES
from .training import Start, Tokenised, training_of
from .training_output import store_parts, store_rounded, store_weights
from .training_rows import FITTED, counts, packed_splits, tokenise_splits
from .utils import finite, timed, write_json


def train(config: Config, plan: Plan, say: Callable[[str], None] = print) -> Path:
    """Train as configured and planned; return the run folder.

    Raises:
        UserError: data, model, plan or checkpoint do not allow it; nothing is trained then.
    """
    session = _begin(config, plan, say)
    checkpoint = find_checkpoint(session.config)
    if checkpoint is not None and _is_finished(session, checkpoint):
        return checkpoint.parent.parent
    loaded = _load(session)
    splits = _tokenise(session, loaded)
    arguments = _arguments(session, splits)
    run_dir = _open_folder(session, checkpoint)
    trainer = build_trainer(session.config, plan, loaded, splits, run_dir, arguments, say)
    _describe(session, trainer.model)
    say(f"Run folder: {run_dir}")
    _train_and_test(session, trainer, loaded, checkpoint, run_dir)
    quantised, mergeable = session.technique.quantised, session.technique.mergeable
    # Before the merge, which takes memory of its own.
    session.record |= outcome(trainer, session.device)
    planned = planned_rates(arguments, trainer.state.max_steps)
    scored = as_trained(trainer.model, splits["validation"].dataset if quantised else [])
    with timed(session.seconds, "save"):
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
    append_run(session.config, plan, session.device, session.record)
    promote(session.config, run_dir)
    return run_dir


def _begin(config: Config, plan: Plan, say: Callable[[str], None]) -> Session:
    """Check what can be checked before a model is loaded.

    Raises:
        UserError: what does not allow the run.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        fix = "start it without torchrun or accelerate launch"
        raise UserError(Problem("launcher", "training runs in one process so far", fix=fix))
    config, _ = start_settings(config)  # the plan tells the reasons
    device = detect_device()
    require_quantisation(config, plan, device)
    session = Session(config, plan, device, say, start_record(config, plan, device))
    training_of(session.objective).check(config)
    if idle := unread(config, config.source, plan.technique):
        session.decide("settings", idle)
    if warning := replay_warning(config, check_prepared(config)["kind"]):
        say(warning)
    return session


def _is_finished(session: Session, checkpoint: Path) -> bool:
    """Take name and date of the run that goes on; return whether nothing of it is left to do.

    Raises:
        UserError: it was begun with other settings, data or model.
    """
    run_dir = checkpoint.parent.parent
    before = read_record(run_dir)
    check_resume(before, session.record)
    session.record |= {"run": before["run"], "created": before["created"]}
    if before["status"] == "finished":
        session.say(f"This run is finished; nothing was trained: {run_dir}")
    return bool(before["status"] == "finished")


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
    for name, reason in packing.items():
        session.decide(name, reason)
    return splits


def _arguments(session: Session, splits: dict[str, Tokenised]) -> dict[str, Any]:
    """Return the trainer's arguments; the reason of each automatic one is shown."""
    sizes = [len(splits[name].dataset) for name in FITTED]
    arguments, reasons = trainer_arguments(session.config, session.plan, session.device, *sizes)
    micro = arguments["per_device_train_batch_size"]
    _, reasons["order"] = choose_order(session.config, splits["train"].dataset, micro)
    for name, reason in reasons.items():
        session.decide(name, reason)
    session.record["arguments"] = arguments
    return arguments


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
        _run(trainer, checkpoint, run_dir, session.say)
    if test is not None:
        session.record["test"]["after"] = score(trainer, test)


def build_trainer(
    config: Config,
    plan: Plan,
    loaded: LoadedModel,
    splits: dict[str, Tokenised],
    run_dir: Path,
    arguments: dict[str, Any],
    say: Callable[[str], None],
) -> Any:
    """Return the trainer of the objective for the model with the technique applied to it.

    Args:
        config: The run.
        plan: Of the device.
        loaded: The base model; its weights are trained or frozen in place.
        splits: `train` and `validation`, tokenised.
        run_dir: Gets the training log and the checkpoints.
        arguments: Of trainer_arguments().
        say: Shows a line of progress.
    """
    from transformers import EarlyStoppingCallback, PrinterCallback, set_seed

    objective = OBJECTIVES[config.objective]
    training = training_of(objective)
    trainer_class, arguments_class = training.trainer_classes()
    # A renaming inside transformers that no user can act on.
    warnings.filterwarnings("ignore", message=".*activation_checkpointing", category=FutureWarning)
    set_seed(config.train.seed)  # before the adapter: its start is random
    row = TECHNIQUES[plan.technique]
    model = _adapted(loaded, config, plan)
    validates = arguments["load_best_model_at_end"]
    callbacks = [make_callback(run_dir / LOG_NAME, say)]
    if validates and config.train.early_stopping_patience is not None:
        callbacks.append(EarlyStoppingCallback(config.train.early_stopping_patience))
    args = arguments_class(output_dir=str(run_dir / CHECKPOINTS), **arguments)
    if args.n_gpu > 1:
        args._n_gpu = 1  # the plan is for one GPU; torch would split batches over all
    validation = splits["validation"].dataset if validates else None
    inputs = trainer_inputs(
        model, args, splits["train"].dataset, validation, loaded.tokenizer, callbacks
    )
    start = Start(config, model, loaded.reader(objective.images), loaded.labels)
    extras = training.extras(start)
    if is_packed(splits["train"].dataset):
        extras["data_collator"] = packed_collator(loaded.tokenizer)
    order, _ = choose_order(config, inputs["train_dataset"], args.per_device_train_batch_size)
    made = ordered(trainer_class) if order == BY_LENGTH else trainer_class
    trainer = made(**inputs, **extras)
    trainer.whole_loss = not plan.chunked_loss
    trainer.remove_callback(PrinterCallback)  # training_log.jsonl holds the same lines
    if row.quantised:
        # TRL casts adapters on a quantised base to bf16, which loses small updates.
        for parameter in trainer.model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
    return trainer


def _adapted(loaded: LoadedModel, config: Config, plan: Plan) -> Any:
    """Return the base with the technique applied, or with the adapter that the run goes on from."""
    row, head, model = TECHNIQUES[plan.technique], loaded.head, loaded.model.train()
    if not config.model.adapter:
        return row.apply(model, config, head)
    start = read_adapter(config.path(config.model.adapter))
    if not row.prompts:
        return with_adapter(model, start, trainable=True)
    filled = row.apply(model, config, head)  # peft trains new prompts only, but fills them
    filled.load_adapter(start.folder, "default", is_trainable=True)
    return filled


def _run(trainer: Any, checkpoint: Path | None, run_dir: Path, say: Callable[[str], None]) -> None:
    import torch

    if checkpoint is not None:
        state = relocate_best(checkpoint)
        cut_log(run_dir / LOG_NAME, state["global_step"])
        if state["global_step"] >= state["max_steps"]:
            # The trainer would add a step of its own to a run that is already complete.
            _load_finished(trainer, checkpoint, state)
            say(f"All {state['max_steps']} steps were done before; only the result is saved")
            return
        say(f"Going on after step {state['global_step']} of {state['max_steps']}")
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except torch.OutOfMemoryError:
        fix = (
            "train.per_device_train_batch_size=1, train.gradient_checkpointing=true, "
            "or a smaller train.max_length"
        )
        raise UserError(Problem("memory of the GPU", "not enough", fix=fix)) from None


def _load_finished(trainer: Any, checkpoint: Path, state: dict[str, Any]) -> None:
    from transformers import TrainerState

    best = Path(state.get("best_model_checkpoint") or checkpoint)
    trainer._load_from_checkpoint(str(best if best.is_dir() else checkpoint))
    trainer.state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
