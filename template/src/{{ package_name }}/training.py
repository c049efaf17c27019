"""What an objective brings to a run: the contract between the trainer and the objectives.

The table of objectives (objectives.py) names, for each row, a function of a module that returns
a `Training`. So the table loads no library, and an objective is one row and one module.
"""

import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .config import Config
from .objectives import IGNORED, Objective
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
        examples: Records that solved examples are drawn from (few_shot.py); () without any.
    """

    config: Config
    objective: Objective
    tokenizer: Any
    prompt: str = ""
    labels: tuple[str, ...] = ()
    split: str = "train"
    examples: Sequence[Record] = ()


@dataclass(frozen=True, slots=True)
class Tokenised:
    """Examples as `datasets.Dataset`, held in memory only, and their counts.

    Attributes:
        dataset: One row for each example, or for several once they are packed.
        dropped: Examples that are over the length.
        tokens: In all.
        label_tokens: Of these, learned.
        missing_shots: Solved examples for which there was no room or no row.
        sources: Counts of each folder of `data.mixture`.
    """

    dataset: Any
    dropped: int
    tokens: int
    label_tokens: int
    missing_shots: int = 0
    sources: tuple[dict[str, Any], ...] = ()


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
    timed = ("runtime", "per_second", "epoch", "preparation_time", "tokens_seen")
    return {
        name.removeprefix("test_"): float(value)
        for name, value in found.items()
        if isinstance(value, int | float) and not name.endswith(timed)
    }


def shown_tokens(tokenizer: Any, example: dict[str, Any]) -> list[str]:
    """Return an example as lines: its tokens, and which of them carry loss."""
    if "prompt" in example:
        lines = ["First prompt: a line per token; the model writes the answers itself"]
        return lines + [f"{token:7d} {tokenizer.decode([token])!r}" for token in example["prompt"]]
    lines = ["First example: a line per token; `learn` marks those that carry loss"]
    for column, tokens in _marked(example):
        lines += [f"{column}:"] if column else []
        lines += [f"{mark:5} {token:7d} {tokenizer.decode([token])!r}" for token, mark in tokens]
    return lines


def _marked(example: dict[str, Any]) -> Iterator[tuple[str, list[tuple[int, str]]]]:
    """Yield the columns of an example that hold tokens, each token with what it is for.

    Columns end in `_ids`; what carries loss says a column `labels`, or one that ends in `_mask`.
    Where neither is there, as for a reward model, the score is read at the last token.
    """
    if "labels" in example:
        marks = ["learn" if label != IGNORED else "" for label in example["labels"]]
        yield "", list(zip(example["input_ids"], marks, strict=True))
        return
    columns = {name.removesuffix("_ids"): name for name in example if name.endswith("_ids")}
    scored = not any(f"{column}_mask" in example for column in columns)
    for column, name in columns.items():
        ids = example[name]
        mask = example.get(f"{column}_mask", [0] * len(ids))
        marks = ["learn" if learned else "" for learned in mask]
        if scored:
            marks[-1] = "score"
        yield column, list(zip(ids, marks, strict=True))


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
        check: (config) -> None; raises UserError for settings of the objective, and data where they
            are prepared, that cannot work, before a model is loaded.
        show: (tokenizer, example) -> lines in which a person sees what is learned.
        packs: rows may hold several examples (packing.py).
        shots: solved examples may stand before a question (few_shot.py); Job.examples are read.
    """

    tokenise: Callable[[Sequence[Record], Job], Tokenised]
    trainer_classes: Callable[[], tuple[Any, Any]]
    extras: Callable[[Start], dict[str, Any]] = _nothing
    score: Callable[[Any, Any], dict[str, float]] = trainer_scores
    check: Callable[[Config], None] = _fine
    show: Callable[[Any, dict[str, Any]], list[str]] = shown_tokens
    packs: bool = False
    shots: bool = False


def training_of(objective: Objective) -> Training:
    """Return how an objective is trained; this loads the libraries that it needs."""
    module, function = objective.module.split(":")
    made: Training = getattr(importlib.import_module(f".{module}", __package__), function)()
    return made
