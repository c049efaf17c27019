"""Configuration + plan -> the arguments of the Hugging Face trainers, none left to chance.

The one module that knows the names which transformers and trl give to the arguments of their
trainers; a test compares them with the signatures of the installed versions.
"""

import difflib
import math
import sys
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from .config import Config
from .devices import Device
from .errors import Problem, UserError
from .hardware import Plan
from .objectives import OBJECTIVES
from .planning import planned_shape
from .techniques import TECHNIQUES
from .training import training_of

SMALL_MODEL = 300e6  # weights; the size class "small"


def trainer_arguments(
    config: Config, plan: Plan, device: Device, train_examples: int, validation_examples: int
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the arguments of the Hugging Face trainer, and the reasons for those we chose.

    Everything that its defaults would decide differently is written out: TRL turns bf16 and
    gradient checkpointing on, and bf16 is far slower on a CPU without units for it.
    """
    settings = config.train
    reasons: dict[str, str] = {}
    total = total_steps(config, plan, train_examples)
    share = settings.eval_steps
    every = max(1, math.ceil(total * share)) if share < 1 else int(share)
    validates = settings.eval_strategy != "no" and validation_examples > 0
    if settings.eval_strategy != "no" and not validates:
        reasons["validation"] = "off, the validation split is empty; the last step is kept"
    rhythm = settings.eval_strategy if validates else "no"
    rate, reason = learning_rate(config, plan)
    if settings.learning_rate == "auto":
        reasons["learning rate"] = reason
    micro = plan.per_device_train_batch_size
    arguments: dict[str, Any] = {
        "num_train_epochs": settings.num_train_epochs,
        "max_steps": settings.max_steps,
        "learning_rate": rate,
        "lr_scheduler_type": settings.lr_scheduler_type,
        "warmup_steps": settings.warmup_steps,
        "weight_decay": settings.weight_decay,
        "max_grad_norm": settings.max_grad_norm,
        "optim": plan.optim if settings.optim == "auto" else settings.optim,
        "per_device_train_batch_size": micro,
        "per_device_eval_batch_size": micro,
        "gradient_accumulation_steps": plan.gradient_accumulation_steps,
        "gradient_checkpointing": plan.gradient_checkpointing,
        "bf16": plan.precision == "bf16",
        "fp16": plan.precision == "fp16",
        "eval_strategy": rhythm,
        "eval_steps": every,
        "save_strategy": "epoch" if rhythm == "epoch" else "steps",
        "save_steps": every,
        "save_total_limit": settings.save_total_limit,
        "load_best_model_at_end": validates,
        "logging_steps": settings.logging_steps,
        "seed": settings.seed,
        "data_seed": settings.seed,
        "use_cpu": device.kind == "cpu",
        "dataloader_pin_memory": device.kind == "cuda",
        "report_to": "none" if config.tracker == "none" else [config.tracker],
        "disable_tqdm": not sys.stderr.isatty(),
    }
    objective = OBJECTIVES[config.objective]
    if validates:
        best: str = settings.metric_for_best_model
        best = objective.best_metric if best == "auto" else best
        arguments |= {"metric_for_best_model": best, "greater_is_better": not best.endswith("loss")}
    arguments |= OPTIONS[objective.options](config)
    return _with_extra(config, arguments), reasons


def _language_options(config: Config) -> dict[str, Any]:
    """Arguments of trl.SFTConfig; examples come with their labels."""
    return {
        "max_length": config.train.max_length,
        "include_num_input_tokens_seen": "non_padding",
        "dataset_kwargs": {"skip_prepare_dataset": True},
    }


def _contrastive_options(_config: Config) -> dict[str, Any]:
    """Arguments of transformers.TrainingArguments; a pair is learned against its whole batch."""
    return {
        "remove_unused_columns": False,  # paths of images, which the collator opens
        "label_names": [],
        "dataloader_drop_last": True,
        "include_num_input_tokens_seen": "non_padding",
    }


# Objective.options -> what only its trainer takes
OPTIONS: dict[str, Callable[[Config], dict[str, Any]]] = {
    "sft": _language_options,
    "contrastive": _contrastive_options,
}


def learning_rate(config: Config, plan: Plan) -> tuple[float, str]:
    """Return the peak step size and why it was taken."""
    if config.train.learning_rate != "auto":
        return config.train.learning_rate, "set by the user"
    shape = planned_shape(config)
    row = TECHNIQUES[plan.technique]
    small = shape.params < SMALL_MODEL
    rate = row.small_learning_rate if small else row.learning_rate
    size = f"{'below' if small else 'from'} {SMALL_MODEL / 1e6:.0f}M weights"
    return rate, f"{rate:g}, usual for {plan.technique} with a model {size}"


def total_steps(config: Config, plan: Plan, examples: int) -> int:
    """Return the optimiser steps of the whole run, counted as the trainer does."""
    if config.train.max_steps > 0:
        return config.train.max_steps
    batches = math.ceil(examples / plan.per_device_train_batch_size)
    per_epoch = max(1, math.ceil(batches / plan.gradient_accumulation_steps))
    return math.ceil(config.train.num_train_epochs * per_epoch)


def _with_extra(config: Config, arguments: dict[str, Any]) -> dict[str, Any]:
    """Add `train.extra`, after a check against what the trainer takes."""
    from transformers.training_args import OptimizerNames

    _, arguments_class = training_of(OBJECTIVES[config.objective]).trainer_classes()
    known = {field.name for field in fields(arguments_class) if field.init}
    problems = []
    for name in config.train.extra:
        where = f"train.extra.{name}"
        if name in type(config.train).model_fields:
            problems.append(Problem(where, "this has a setting of its own", fix=f"train.{name}"))
        elif name.startswith(("push_to_hub", "hub_")):
            problems.append(Problem(where, "nothing is uploaded while data is at hand"))
        elif name in arguments and name != "disable_tqdm":
            problems.append(Problem(where, "it is set by the plan, the device or `tracker`"))
        elif name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            problems.append(Problem(where, f"{arguments_class.__name__} takes no such{hint}"))
    optimisers = [item.value for item in OptimizerNames]
    if arguments["optim"] not in optimisers:
        problems.append(Problem("train.optim", "no such optimiser", ", ".join(optimisers)))
    if problems:
        raise UserError(problems)
    return arguments | config.train.extra
