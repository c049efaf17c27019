"""Configuration + plan -> the arguments of the Hugging Face trainers, none left to chance.

The one module that knows the names which transformers and trl give to the arguments of their
trainers; a test compares them with the signatures of the installed versions.
"""

import difflib
import math
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

from .acceleration import speed_arguments
from .config import Config
from .devices import Device
from .errors import Problem, UserError
from .hardware import Plan
from .launch import launched
from .low_rank import values_note
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
    plan, grouped = _rollout_plan(config, plan, train_examples)
    if grouped:
        reasons["batch"] = grouped
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
    if TECHNIQUES[plan.technique].low_rank:
        reasons |= values_note(config)
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
        "report_to": "none",  # trackers.py writes them
        "disable_tqdm": not sys.stderr.isatty(),
    }
    objective = OBJECTIVES[config.objective]
    if validates:
        best: str = settings.metric_for_best_model
        best = objective.best_metric if best == "auto" else best
        arguments |= {"metric_for_best_model": best, "greater_is_better": not best.endswith("loss")}
    if micro < objective.smallest_batch:
        fix = "set it, with a smaller train.max_length if memory is short"
        where = "train.per_device_train_batch_size"
        found = f"{micro}; {objective.name} compares the answers of a batch"
        raise UserError(Problem(where, found, f"at least {objective.smallest_batch}", fix))
    faster, why = speed_arguments(config, device)
    arguments |= faster | OPTIONS[objective.options](config)
    reasons |= why
    if objective.planner_class == "rollouts":
        reasons["dropout"] = "off: answers are drawn and scored by the same weights"
        if against := _negative_rewards(config):
            reasons["reinforcement.rewards"] = against
    elif arguments.get("disable_dropout"):
        reasons["dropout"] = "off: model and reference must differ by what was learned alone"
    return _with_extra(config, arguments), reasons


def _language_options(config: Config) -> dict[str, Any]:
    """Arguments of trl.SFTConfig; examples come with their labels."""
    return {
        "max_length": config.train.max_length,
        "include_num_input_tokens_seen": "non_padding",
        "dataset_kwargs": {"skip_prepare_dataset": True},
    }


def _plain_options(_config: Config) -> dict[str, Any]:
    """Arguments of transformers.TrainingArguments; the collators return what models read."""
    return {
        "include_num_input_tokens_seen": "non_padding",
        "label_names": ["labels"],
        "remove_unused_columns": False,
    }


def _dpo_options(config: Config) -> dict[str, Any]:
    """Arguments of trl.DPOConfig."""
    settings = _preferences(config, "beta", "loss_type", "label_smoothing")
    robust, smoothed = settings["loss_type"] == "robust", settings["label_smoothing"] > 0
    if robust != smoothed:
        found = f"{settings['label_smoothing']} with loss_type {settings['loss_type']}"
        allowed = "above 0 with robust, 0 with the others"
        raise UserError(Problem("preference.label_smoothing", found, allowed))
    return settings | {"loss_type": [settings["loss_type"]]} | _compared_options(config)


def _kto_options(config: Config) -> dict[str, Any]:
    """Arguments of trl.KTOConfig."""
    settings = _preferences(config, "beta", "desirable_weight", "undesirable_weight")
    order = {"loss_type": "kto", "train_sampling_strategy": "sequential"}
    return settings | order | _compared_options(config)


def _compared_options(config: Config) -> dict[str, Any]:
    """Arguments of trainers with a reference; examples hold tokens, and none is too long."""
    return {
        "max_length": None,
        "disable_dropout": True,
        "precompute_ref_log_probs": False,
        "remove_unused_columns": False,
        "include_num_input_tokens_seen": "non_padding",
        "trust_remote_code": config.model.trust_remote_code,
    }


def _orpo_options(config: Config) -> dict[str, Any]:
    """Arguments of trl's ORPOConfig; without a length it would warn and never use its own."""
    return {
        **_preferences(config, "beta"),
        "max_length": config.train.max_length,
        "disable_dropout": False,
        "remove_unused_columns": False,
        "include_num_input_tokens_seen": "non_padding",
    }


def _reward_options(config: Config) -> dict[str, Any]:
    """Arguments of trl.RewardConfig."""
    return {
        **_preferences(config),
        "max_length": None,
        "disable_dropout": False,
        "include_num_input_tokens_seen": "non_padding",
    }


def _preferences(config: Config, *names: str) -> dict[str, Any]:
    """Return values of the section `preference`; refuse others that were changed in vain."""
    section = config.preference
    problems = [
        Problem(f"preference.{name}", f"objective {config.objective} does not read it")
        for name, field in type(section).model_fields.items()
        if name not in names and getattr(section, name) != field.default
    ]
    if problems:
        raise UserError(problems)
    return {name: getattr(section, name) for name in names}


def _rollout_options(config: Config) -> dict[str, Any]:
    """Arguments that trl.GRPOConfig and trl.RLOOConfig share."""
    settings = config.reinforcement
    return {
        "num_generations": settings.num_generations,
        "num_generations_eval": 1,  # greedy, so that a second one would be the same
        "max_completion_length": settings.max_completion_length,
        "temperature": settings.temperature,
        "top_p": 1.0,
        "top_k": 0,
        "beta": settings.beta,
        "reward_weights": list(settings.rewards.values()),
        "disable_dropout": True,
        "log_completions": False,  # texts of people
        "remove_unused_columns": False,  # rewards read them
        "trust_remote_code": config.model.trust_remote_code,  # of the reference, if one is loaded
    }


def _grpo_options(config: Config) -> dict[str, Any]:
    """Arguments of trl.GRPOConfig: every token of a batch weighs the same."""
    return _rollout_options(config) | {"loss_type": "dapo", "scale_rewards": "group"}


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
    "dpo": _dpo_options,
    "orpo": _orpo_options,
    "kto": _kto_options,
    "reward": _reward_options,
    "plain": _plain_options,
    "grpo": _grpo_options,
    "rloo": _rollout_options,
    "contrastive": _contrastive_options,
}


def trainer_inputs(
    model: Any, args: Any, train: Any, validation: Any, tokenizer: Any, callbacks: list[Any]
) -> dict[str, Any]:
    """Return what every trainer of transformers and trl is made of, under their names."""
    return {
        "model": model,
        "args": args,
        "train_dataset": train,
        "eval_dataset": validation,
        "processing_class": tokenizer,
        "callbacks": callbacks,
    }


def _rollout_plan(config: Config, plan: Plan, prompts: int) -> tuple[Plan, str]:
    """Return the plan with batches of whole groups of answers, and why they differ."""
    if OBJECTIVES[config.objective].planner_class != "rollouts":
        return plan, ""
    size, steps, reason = rollout_batch(
        plan.per_device_train_batch_size,
        plan.gradient_accumulation_steps,
        config.reinforcement.num_generations,
        prompts,
    )
    grouped = replace(plan, per_device_train_batch_size=size, gradient_accumulation_steps=steps)
    return grouped, reason


def _negative_rewards(config: Config) -> str:
    """Return what to say about rewards that are taken off; more of any of them is better."""
    weights = config.reinforcement.rewards.items()
    against = [(name, weight) for name, weight in weights if weight < 0]
    return "; ".join(f"{name} counts against an answer ({weight:g})" for name, weight in against)


def rollout_batch(
    micro: int, accumulation: int, generations: int, prompts: int
) -> tuple[int, int, str]:
    """Return micro batch and accumulation that hold whole groups of answers, and why.

    Args:
        micro: answers that the device holds, as planned; never exceeded.
        accumulation: micro batches behind one step, as planned.
        generations: answers to each prompt.
        prompts: that there are; a step takes no more, because trl leaves out an incomplete one.
    """
    groups = min(math.ceil(micro * accumulation / generations), prompts)
    answers = groups * generations
    size = max(size for size in range(1, min(micro, answers) + 1) if answers % size == 0)
    steps = answers // size
    if (size, steps) == (micro, accumulation):
        return size, steps, ""
    reason = (
        f"{steps} x {size} answers behind a step ({accumulation} x {micro} planned): "
        f"{groups} prompts with {generations} answers each"
    )
    return size, steps, reason


def learning_rate(config: Config, plan: Plan) -> tuple[float, str]:
    """Return the peak step size and why it was taken."""
    if config.train.learning_rate != "auto":
        return config.train.learning_rate, "set by the user"
    shape = planned_shape(config)
    row = TECHNIQUES[plan.technique]
    small = shape.params < SMALL_MODEL
    rate = row.small_learning_rate if small else row.learning_rate
    size = f"{'below' if small else 'from'} {SMALL_MODEL / 1e6:.0f}M weights"
    usual = f"usual for {plan.technique} with a model {size}"
    share = OBJECTIVES[config.objective].rate_share
    if share == 1:
        return rate, f"{rate:g}, {usual}"
    return rate * share, f"{rate * share:g}: {share:g} of {rate:g}, {usual}, for {config.objective}"


def total_steps(config: Config, plan: Plan, examples: int) -> int:
    """Return the optimiser steps of the whole run, counted as the trainer does."""
    if config.train.max_steps > 0:
        return config.train.max_steps
    if OBJECTIVES[config.objective].planner_class == "rollouts":
        answers = plan.per_device_train_batch_size * plan.gradient_accumulation_steps
        groups = answers // config.reinforcement.num_generations
        return math.ceil(config.train.num_train_epochs * (examples // groups))
    batches = math.ceil(examples / (plan.per_device_train_batch_size * launched().processes))
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


def set_batch(trainer: Any, micro: int, accumulation: int) -> None:
    """Let a trainer that is between two steps go on with other batches of the same sum."""
    args = trainer.args
    args.per_device_train_batch_size = trainer._train_batch_size = micro
    args.gradient_accumulation_steps = accumulation
    if hasattr(args, "steps_per_generation"):  # answers to all prompts of a step at once
        args.steps_per_generation = accumulation
