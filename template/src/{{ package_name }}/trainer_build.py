"""The trainer of one run: that of its objective, made to survive, share, and keep its order."""

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .adapters import read_adapter
from .arguments import trainer_inputs
from .batch_order import ordered
from .config import Config
from .devices import detect_device
from .distributed import shared_trainer
from .forgetting import NONE
from .hardware import Plan
from .launch import launched
from .model_wrapper import LoadedModel, with_adapter
from .objectives import OBJECTIVES
from .packing import is_packed, packed_collator
from .run_log import LOG_NAME, make_callback
from .runs import CHECKPOINTS
from .surviving_trainer import surviving
from .techniques import TECHNIQUES
from .training import Start, Tokenised, training_of
from .usage import Meter
from .weight_penalty import held_class, hold


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
    meter = Meter("cpu" if arguments["use_cpu"] else detect_device().kind)
    log = run_dir / LOG_NAME if launched().first else Path(os.devnull)
    callbacks = [make_callback(log, say, meter)]
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
    trainer = _layered(trainer_class, config, plan)(**inputs, **extras)
    trainer.whole_loss = not plan.chunked_loss
    trainer.meter = meter
    meter.watch(trainer)
    trainer.remove_callback(PrinterCallback)  # training_log.jsonl holds the same lines
    if row.quantised:
        # TRL casts adapters on a quantised base to bf16, which loses small updates.
        for parameter in trainer.model.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
    if config.train.forgetting != NONE:
        hold(trainer, config, loaded.head, start.tokenizer)
    return trainer


def _layered(trainer_class: Any, config: Config, plan: Plan) -> Any:
    """Return the class of the objective's trainer with what every run has around it."""
    made = surviving(shared_trainer(ordered(trainer_class), plan, detect_device()))
    return held_class(made) if config.train.forgetting != NONE else made


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
