"""One training run: prepared data + plan -> run folder with a model that can be loaded."""

import datetime
import gc
import importlib.metadata
import os
import resource
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .arguments import trainer_arguments
from .combinations import why_not
from .config import Config
from .data_loader import check_prepared, label_names, load_split, system_prompt, words_of
from .devices import Device, detect_device
from .errors import Problem, UserError
from .forecasts import append_run
from .hardware import Plan
from .heads import HEADS
from .model_source import resolve_model
from .model_wrapper import LoadedModel, load_base, load_reader
from .objectives import IGNORED, OBJECTIVES
from .quantised import PACKAGE, merged_with_rounded_base, require_quantisation
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
from .training import Job, Start, Tokenised, training_of
from .utils import finite, timed, write_json

ADAPTER = "adapter"
FITTED = ("train", "validation")  # splits that a run looks at while it trains
PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "tokenizers")


def train(config: Config, plan: Plan, say: Callable[[str], None] = print) -> Path:
    """Train as configured and planned; return the run folder.

    Raises:
        UserError: data, model, plan or checkpoint do not allow it; nothing is trained then.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        fix = "start it without torchrun or accelerate launch"
        raise UserError(Problem("launcher", "training runs in one process so far", fix=fix))
    seconds: dict[str, float] = {}
    device, technique = detect_device(), TECHNIQUES[plan.technique]
    objective = OBJECTIVES[config.objective]
    require_quantisation(config, plan, device)
    record = start_record(config, plan, device)
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
        labels = label_names(config)
        loaded = load_base(
            config, plan.weights, technique.quantised, head=HEADS[objective.head], labels=labels
        )
    if reason := why_not(objective, technique, loaded.head):
        raise UserError(Problem("technique", reason))
    record["model"] = loaded.source.as_dict()
    say(f"Base model: {loaded.source.name} from {loaded.source.origin} ({loaded.source.note})")
    with timed(seconds, "tokenise"):
        splits = tokenise_splits(config, loaded.reader(objective.images), labels)
    for name, split in splits.items():
        record["data"][name] = {
            "examples": len(split.dataset),
            "dropped_over_length": split.dropped,
            "tokens": split.tokens,
            "label_tokens": split.label_tokens,
        }
    sizes = [len(splits[name].dataset) for name in ("train", "validation")]
    arguments, reasons = trainer_arguments(config, plan, device, *sizes)
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
    say(f"Run folder: {run_dir}")
    test = _test_split(config, loaded) if objective.tests_itself else None
    if test is not None:
        record["test"] = {"examples": len(test), "before": _scores(config, trainer, test)}
    with timed(seconds, "train"):
        _run(trainer, checkpoint, run_dir, say)
    if test is not None:
        record["test"]["after"] = _scores(config, trainer, test)
    record |= _outcome(trainer, device)  # before the merge, which takes memory of its own
    with timed(seconds, "save"):
        loaded.reader(images=True).save_pretrained(run_dir)
        model = trainer.model
        if technique.trainable == "adapter":
            _save_adapter(model, run_dir)
        if technique.quantised:
            say("The adapter is merged into the base as it was rounded, in RAM")
            del trainer, loaded, model
            gc.collect()  # the trainer and the model refer to each other
            model = merged_with_rounded_base(config, plan.weights, run_dir / ADAPTER)
        elif technique.trainable == "adapter":
            model = model.merge_and_unload()
        _save_weights(model, run_dir)
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
        "data": {key: manifest[key] for key in ("outputs", "config_sha256", "scrubber")},
    }


def preview(config: Config, plan: Plan, device: Device) -> str:
    """Return the arguments and the first training example with its mask; write nothing.

    Raises:
        UserError: what would stop a real run as well.
    """
    source = resolve_model(config, fetch=False)
    lines = [f"Base model: {source.name} from {source.origin} ({source.note})"]
    if not source.path.joinpath("config.json").is_file():
        return "\n".join([*lines, "it is not on this disk yet, so no example can be tokenised"])
    objective = OBJECTIVES[config.objective]
    reader = load_reader(source, config.model, HEADS[objective.head], objective.images)
    splits = tokenise_splits(config, reader, label_names(config))
    sizes = [len(splits[name].dataset) for name in ("train", "validation")]
    arguments, _ = trainer_arguments(config, plan, device, *sizes)
    lines.append("\nArguments of the trainer")
    lines += [f"{name:30} {value}" for name, value in arguments.items()]
    first = splits["train"].dataset[0]
    if "labels" not in first:
        lines.append("\nNo single token carries loss: whole examples are compared")
        return "\n".join(lines)
    lines.append("\nFirst example: a line per token; `learn` marks those that carry loss")
    for token, label in zip(first["input_ids"], first["labels"], strict=True):
        mark = "learn" if label != IGNORED else "     "
        lines.append(f"{mark} {token:7d} {words_of(reader).decode([token])!r}")
    return "\n".join(lines)


def tokenise_splits(
    config: Config, tokenizer: Any, labels: tuple[str, ...] = (), names: Sequence[str] = FITTED
) -> dict[str, Tokenised]:
    """Return splits of the prepared data as the objective learns them.

    Args:
        config: names the data and the objective.
        tokenizer: of the base.
        labels: names of the classes, in the order of the model's outputs.
        names: the splits.
    """
    objective = OBJECTIVES[config.objective]
    training = training_of(objective)
    prompt = system_prompt(config) if objective.assistant_only else ""
    return {
        name: training.tokenise(
            load_split(config, name), Job(config, objective, tokenizer, prompt, labels, name)
        )
        for name in names
    }


def _test_split(config: Config, loaded: LoadedModel) -> Any:
    """Return the examples of the test split, or None where it has none."""
    reader = loaded.reader(OBJECTIVES[config.objective].images)
    found = tokenise_splits(config, reader, loaded.labels, ("test",))["test"].dataset
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
    model = row.apply(loaded.model.train(), config, loaded.head)
    validates = arguments["load_best_model_at_end"]
    callbacks = [make_callback(run_dir / LOG_NAME, say)]
    if validates and config.train.early_stopping_patience is not None:
        callbacks.append(EarlyStoppingCallback(config.train.early_stopping_patience))
    args = arguments_class(output_dir=str(run_dir / CHECKPOINTS), **arguments)
    if args.n_gpu > 1:
        args._n_gpu = 1  # the plan is for one GPU; torch would split batches over all
    trainer = trainer_class(
        model=model,
        args=args,
        train_dataset=splits["train"].dataset,
        eval_dataset=splits["validation"].dataset if validates else None,
        processing_class=loaded.tokenizer,
        callbacks=callbacks,
        **training.extras(Start(config, model, loaded.reader(objective.images), loaded.labels)),
    )
    trainer.whole_loss = not plan.chunked_loss
    trainer.remove_callback(PrinterCallback)  # training_log.jsonl holds the same lines
    if row.quantised:
        # TRL casts adapters on a quantised base to bf16, which loses small updates.
        for parameter in trainer.model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
    return trainer


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


def _save_adapter(model: Any, run_dir: Path) -> None:
    model.save_pretrained(run_dir / ADAPTER)
    (run_dir / ADAPTER / "README.md").unlink(missing_ok=True)  # an empty form by peft


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
