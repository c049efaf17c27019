"""What an objective brings to a run: the contract between the trainer and the objectives.

The table of objectives (objectives.py) names, for each row, a function of a module that returns
a `Training`. So the table loads no library, and an objective is one row and one module.
"""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .config import Config
from .objectives import Objective
from .records import Record


@dataclass(frozen=True, slots=True)
class Job:
    """What tokenising one split needs to know.

    Attributes:
        config: The run.
        objective: Row of the table.
        tokenizer: Of the base, complete (or the processor of a model that sees images).
        prompt: System prompt of conversations that have none; "" where none is wanted.
        labels: Names of the classes, in the order of the model's outputs; () without classes.
        split: train, validation or test, for messages.
    """

    config: Config
    objective: Objective
    tokenizer: Any
    prompt: str = ""
    labels: tuple[str, ...] = ()
    split: str = "train"


@dataclass(frozen=True, slots=True)
class Tokenised:
    """Examples as `datasets.Dataset`, held in memory only, and their counts."""

    dataset: Any
    dropped: int
    tokens: int
    label_tokens: int


@dataclass(frozen=True, slots=True)
class Start:
    """What an objective may look at when it completes its trainer.

    Attributes:
        config: The run.
        model: The model with the technique applied.
        tokenizer: As in Job.
        labels: As in Job.
    """

    config: Config
    model: Any
    tokenizer: Any
    labels: tuple[str, ...]


def trainer_scores(trainer: Any, dataset: Any) -> dict[str, float]:
    """Return loss and metrics of a split as the trainer computes them; nothing is logged."""
    handler = trainer.callback_handler
    callbacks, handler.callbacks = handler.callbacks, []
    try:
        found = trainer.evaluate(dataset, metric_key_prefix="test")
    finally:
        handler.callbacks = callbacks
    timed = ("runtime", "per_second", "epoch")
    return {
        name.removeprefix("test_"): float(value)
        for name, value in found.items()
        if isinstance(value, int | float) and not name.endswith(timed)
    }


def _fine(_config: Config) -> None:
    """Find nothing to refuse."""


def _nothing(_start: Start) -> dict[str, Any]:
    return {}


@dataclass(frozen=True, slots=True)
class Training:
    """How one objective is trained.

    Attributes:
        tokenise: (records of a split, job) -> examples. Raises UserError for rows that cannot
            be learned from.
        trainer_classes: () -> (trainer class, class of its arguments).
        extras: (start) -> further keyword arguments of the trainer: data collator, metrics,
            reward functions, teacher, reference.
        score: (trainer, dataset) -> scores of a split, for objectives that test themselves.
        check: (config) -> None; raises UserError for settings of the objective and prepared data
            that cannot work, before a model is loaded.
    """

    tokenise: Callable[[Sequence[Record], Job], Tokenised]
    trainer_classes: Callable[[], tuple[Any, Any]]
    extras: Callable[[Start], dict[str, Any]] = _nothing
    score: Callable[[Any, Any], dict[str, float]] = trainer_scores
    check: Callable[[Config], None] = _fine


def training_of(objective: Objective) -> Training:
    """Return how an objective is trained; this loads the libraries that it needs."""
    module, function = objective.module.split(":")
    made: Training = getattr(importlib.import_module(f".{module}", __package__), function)()
    return made
