"""One training run: prepared data + plan -> run folder with a model that can be loaded."""

import datetime
import gc
import importlib.metadata
import os
import resource
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .adapters import PLACE, check_start, read_adapter, start_settings, write_record
from .arguments import trainer_arguments, trainer_inputs
from .combinations import unread
from .config import Config
from .data_loader import check_prepared, label_names
from .devices import Device, detect_device
from .errors import Problem, UserError
from .forecasts import append_run
from .hardware import Plan
from .heads import HEADS
from .low_rank import save_adapter
from .mixture import mixture_identity, replay_warning
from .model_parts import merged
from .model_source import resolve_model
from .model_wrapper import LoadedModel, load_base, model_settings, open_tokenizer, with_adapter
from .objectives import OBJECTIVES
from .packing import is_packed, packed_collator
from .quantised import (
    PACKAGE,
    as_trained,
    merged_with_rounded_base,
    requantised,
    require_quantisation,
)
from .run_log import CURVE_NAME, LOG_NAME, cut_log, draw_curve, make_callback
from .runs import (
    CHECKPOINTS,
    RECORD,
    check_resume,
    code_state,
    find_checkpoint,
    new_run,
    promote,
    read_record,
    relocate_best,
)
from .techniques import TECHNIQUES
from .training import Start, Tokenised, training_of
from .training_rows import counts, packed_splits, tokenise_splits
from .utils import finite, timed, write_json

PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "tokenizers")


def train(config: Config, plan: Plan, say: Callable[[str], None] = print) -> Path:
    """Train as configured and planned; return the run folder.

    Raises:
        UserError: data, model, plan or checkpoint do not allow it; nothing is trained then.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        fix = "start it without torchrun or accelerate launch"
        raise UserError(Problem("launcher", "training runs in one process so far", fix=fix))
    from transformers import set_seed

    seconds: dict[str, float] = {}
    config, _ = start_settings(config)  # the plan tells the reasons
    device, technique = detect_device(), TECHNIQUES[plan.technique]
    objective = OBJECTIVES[config.objective]
    require_quantisation(config, plan, device)
    record = start_record(config, plan, device)
    training_of(objective).check(config)
    if idle := unread(config, config.source, plan.technique):
        record["reasons"]["settings"] = idle
        say(f"settings: {idle}")
    if warning := replay_warning(config, check_prepared(config)["kind"]):
        say(warning)
    checkpoint = find_checkpoint(config)
    if checkpoint is not None:
        run_dir = checkpoint.parent.parent
        before = read_record(run_dir)
        check_resume(before, record)
        if before["status"] == "finished":
            say(f"This run is finished; nothing was trained: {run_dir}")
            return run_dir
        record["run"], record["created"] = before["run"], before["created"]
    with timed(seconds, "load"):
        set_seed(config.train.seed)  # a head that the weights lack starts at random
        labels = label_names(config)
        loaded = load_base(
            config, plan.weights, technique.quantised, head=HEADS[objective.head], labels=labels
        )
    record["model"] = loaded.source.as_dict()
    if config.model.adapter:
        base = loaded.source
        record["started_from"] = check_start(config, base.name, base.path, labels)
    say(f"Base model: {loaded.source.name} from {loaded.source.origin} ({loaded.source.note})")
    if loaded.template is not None:
        record["chat_template"] = loaded.template.as_dict()
        say(f"Chat template: {loaded.template.name} ({loaded.template.reason})")
    record["labels"] = list(labels)
    if loaded.note:
        record["reasons"]["head"] = loaded.note
        say(f"head: {loaded.note}")
    with timed(seconds, "tokenise"):
        splits = tokenise_splits(config, loaded.tokenizer, labels, say=say)
    for name, split in splits.items():
        record["data"][name] = counts(split)
    if splits["train"].sources:
        record["data"]["mixture"] = [*splits["train"].sources]
    splits, packing = packed_splits(config, plan, splits, loaded.model)
    for name, split in splits.items():
        record["data"][name]["rows"] = len(split.dataset)
    sizes = [len(splits[name].dataset) for name in ("train", "validation")]
    arguments, reasons = trainer_arguments(config, plan, device, *sizes)
    reasons |= packing
    record["reasons"] |= reasons
    record["arguments"] = arguments
    for name, reason in reasons.items():
        say(f"{name}: {reason}")
    if checkpoint is None:
        run_dir = new_run(config, f"{config.objective}-{plan.technique}")
        record["run"] = run_dir.name
    write_json(run_dir / RECORD, record)
    trainer = build_trainer(config, plan, loaded, splits, run_dir, arguments, say)
    record |= _count(trainer.model)
    record["reasons"] |= technique.notes(trainer.model, config)
    for name, note in technique.notes(trainer.model, config).items():
        say(f"{name}: {note}")
    say(f"Run folder: {run_dir}")
    test = _test_split(config, loaded) if objective.tests_itself else None
    if objective.tests_itself and test is None:
        record["reasons"]["test"] = "nothing is tested: the test split is empty"
        say(record["reasons"]["test"])
    if test is not None:
        record["test"] = {"examples": len(test), "before": _scores(config, trainer, test)}
    with timed(seconds, "train"):
        _run(trainer, checkpoint, run_dir, say)
    if test is not None:
        record["test"]["after"] = _scores(config, trainer, test)
    record |= _outcome(trainer, device)  # before the merge, which takes memory of its own
    examples = splits["validation"].dataset if technique.quantised else []
    scored = as_trained(trainer.model, examples)
    with timed(seconds, "save"):
        loaded.tokenizer.save_pretrained(run_dir)
        model = trainer.model
        if technique.trainable == "adapter":
            save_adapter(model, run_dir / PLACE)
            write_record(run_dir / PLACE, record)
        if not technique.mergeable:
            say(f"{technique.title} cannot be merged: the result is the folder {PLACE}")
        elif technique.quantised:
            say("The adapter is merged into the base as it was rounded, in RAM")
            del trainer, loaded, model
            gc.collect()  # the trainer and the model refer to each other
            _save_weights(merged_with_rounded_base(config, plan.weights, run_dir / PLACE), run_dir)
            record["requantised"] = requantised(config, plan, run_dir, labels, scored)
            say(f"Merged and rounded again: {record['requantised']['note']}")
        else:
            is_adapter = technique.trainable == "adapter"
            _save_weights(merged(model) if is_adapter else model, run_dir)
        draw_curve(run_dir / LOG_NAME, run_dir / CURVE_NAME)
    record |= {"status": "finished", "seconds": seconds}
    write_json(run_dir / RECORD, finite(record))  # best_metric, if training diverged
    append_run(config, plan, device, record)
    promote(config, run_dir)
    return run_dir


def start_record(config: Config, plan: Plan, device: Device) -> dict[str, Any]:
    """Return what training_args.json says before the first step."""
    manifest = check_prepared(config)
    batch = plan.per_device_train_batch_size * plan.gradient_accumulation_steps
    return {
        "schema": 1,
        "status": "running",
        "run": "",
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "objective": config.objective,
        "technique": plan.technique,
        "seed": config.train.seed,
        "effective_batch_size": batch,
        "config": config.as_dict(),
        "sources": config.source,
        "plan": plan.as_dict(),
        "reasons": dict(plan.reasons),
        "device": device.as_dict(),
        "versions": _versions(TECHNIQUES[plan.technique].quantised),
        "code": code_state(config.root),
        "data": {key: manifest[key] for key in ("outputs", "config_sha256", "scrubber")}
        | {"mixed": mixture_identity(config)},
    }


def preview(config: Config, plan: Plan, device: Device) -> str:
    """Return the arguments and the first training example with its mask; write nothing.

    Raises:
        UserError: what would stop a real run as well.
    """
    config, _ = start_settings(config)
    source = resolve_model(config, fetch=False)
    lines = [f"Base model: {source.name} from {source.origin} ({source.note})"]
    if not source.path.joinpath("config.json").is_file():
        return "\n".join([*lines, "it is not on this disk yet, so no example can be tokenised"])
    training_of(OBJECTIVES[config.objective]).check(config)
    if idle := unread(config, config.source, plan.technique):
        lines.append(f"settings: {idle}")
    tokenizer, template = open_tokenizer(
        source, model_settings(config), HEADS[OBJECTIVES[config.objective].head].templated
    )
    if template is not None:
        lines.append(f"Chat template: {template.name} ({template.reason})")
    splits = tokenise_splits(config, tokenizer, label_names(config))
    splits, reasons = packed_splits(config, plan, splits, None)
    sizes = [len(splits[name].dataset) for name in ("train", "validation")]
    arguments, _ = trainer_arguments(config, plan, device, *sizes)
    lines += [f"{name}: {reason}" for name, reason in reasons.items()]
    lines.append("\nArguments of the trainer")
    lines += [f"{name:30} {value}" for name, value in arguments.items()]
    show = training_of(OBJECTIVES[config.objective]).show
    return "\n".join([*lines, "", *show(tokenizer, splits["train"].dataset[0])])


def _test_split(config: Config, loaded: LoadedModel) -> Any:
    """Return the examples of the test split, or None where it has none."""
    found = tokenise_splits(config, loaded.tokenizer, loaded.labels, ("test",))["test"].dataset
    return found if len(found) else None


def _scores(config: Config, trainer: Any, dataset: Any) -> dict[str, float]:
    return training_of(OBJECTIVES[config.objective]).score(trainer, dataset)


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
    model = _adapted(loaded.model.train(), config, plan)
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
    start = Start(config, model, loaded.tokenizer, loaded.labels)
    extras = training.extras(start)
    if is_packed(splits["train"].dataset):
        extras["data_collator"] = packed_collator(loaded.tokenizer)
    trainer = trainer_class(**inputs, **extras)
    trainer.whole_loss = not plan.chunked_loss
    trainer.remove_callback(PrinterCallback)  # training_log.jsonl holds the same lines
    if row.quantised:
        # TRL casts adapters on a quantised base to bf16, which loses small updates.
        for parameter in trainer.model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
    return trainer


def _adapted(model: Any, config: Config, plan: Plan) -> Any:
    """Return the base with the technique applied, or with the adapter that the run goes on from."""
    row, head = TECHNIQUES[plan.technique], HEADS[OBJECTIVES[config.objective].head]
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


def _save_weights(model: Any, run_dir: Path) -> None:
    model.config.use_cache = True
    model.save_pretrained(run_dir, max_shard_size="1000GB")  # always one model.safetensors


def _count(model: Any) -> dict[str, int]:
    sizes = [(_weights(p), p.requires_grad) for p in model.parameters()]
    return {
        "parameters": sum(size for size, _ in sizes),
        "trainable_parameters": sum(size for size, trained in sizes if trained),
    }


def _weights(parameter: Any) -> int:
    """Return how many weights a parameter holds: a 4-bit one packs two into a byte."""
    state = getattr(parameter, "quant_state", None)
    return parameter.numel() if state is None else state.shape.numel()


def _outcome(trainer: Any, device: Device) -> dict[str, Any]:
    import torch

    state = trainer.state
    best = state.best_model_checkpoint
    if device.kind == "cuda":
        peak = torch.cuda.max_memory_allocated()
    else:
        # Linux counts in KiB, macOS in bytes.
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        peak *= 1 if sys.platform == "darwin" else 1024
    return {
        "steps": state.global_step,
        "epochs": round(state.epoch or 0.0, 3),
        "tokens_seen": int(state.num_input_tokens_seen),
        "best_step": int(best.rpartition("-")[2]) if best else None,
        "best_metric": state.best_metric,
        "peak_memory_gib": round(peak / 2**30, 2),
    }


def _versions(quantised: bool) -> dict[str, str]:
    names = (*PACKAGES, PACKAGE) if quantised else PACKAGES
    found = {name: importlib.metadata.version(name) for name in names}
    return {"python": sys.version.split()[0], **found}
