"""Order of the training rows: at random, or in batches of rows of about the same length.

Rows of one batch are padded to the longest of them. Sorting them by length saves that work; the
batches themselves come in random order, so that a step sees no trend. The order depends on the
seed and the epoch alone: a run that goes on after an interruption finds its place again.
"""

import random
from collections.abc import Iterator, Sequence
from typing import Any

from .config import Config
from .errors import Problem, UserError
from .objectives import OBJECTIVES
from .packing import is_packed

SETTING = "train.train_sampling_strategy"
RANDOM, BY_LENGTH = "random", "group_by_length"
WINDOW = 50  # micro batches that are sorted together, as in transformers
JITTER = 0.1  # by which a length may change before it is sorted: other rows meet in each pass
WORTH = 0.1  # share of padding in random batches from which `auto` sorts
# Objective.options whose rows may meet in any order. Others compare the rows of a batch with each
# other (contrastive), lend them answers (kto), or write the answers themselves.
SORTABLE = ("sft", "dpo", "orpo", "reward", "plain")


def choose_order(config: Config, dataset: Any, micro: int) -> tuple[str, str]:
    """Return the order of the training rows, and why.

    Args:
        config: `train.train_sampling_strategy` is auto, random or group_by_length.
        dataset: The tokenised rows of the training split.
        micro: Rows of a forward pass.

    Raises:
        UserError: group_by_length, with an objective whose batches have an order of their own.
    """
    wanted, objective = config.train.train_sampling_strategy, OBJECTIVES[config.objective]
    lengths, hindrance = row_lengths(dataset), ""
    if objective.options not in SORTABLE:
        hindrance = f"`{objective.name}` composes its batches"
    elif not lengths:
        hindrance = f"rows of `{objective.name}` are made anew in each pass"
    if wanted == BY_LENGTH and hindrance:
        raise UserError(Problem(SETTING, hindrance, fix=f"{SETTING}=auto"))
    if wanted != "auto":
        return wanted, f"{wanted}, set by the user"
    if hindrance:
        return RANDOM, f"random: {hindrance}"
    if is_packed(dataset):
        return RANDOM, "random: packed rows are about equally long"
    if micro == 1:
        return RANDOM, "random: a batch is one row"
    before = padding(lengths, random_order(len(lengths), config.train.seed), micro)
    after = padding(lengths, by_length(lengths, micro, config.train.seed), micro)
    if before < WORTH or after >= before:
        return RANDOM, f"random: {before:.0%} of it is padding"
    return BY_LENGTH, f"by length: {after:.0%} padding; in random order it would be {before:.0%}"


def settle_order(
    config: Config, dataset: Any, micro: int, before: dict[str, Any] | None
) -> tuple[dict[str, Any], str]:
    """Return the order of a run's rows, and why; a run that goes on keeps the one it began with.

    Batches that became smaller since, for want of memory or on another machine, must neither
    repeat nor skip a row: the order stays that of the batches at the beginning.

    Args:
        config: `train.train_sampling_strategy` is auto, random or group_by_length.
        dataset: The tokenised rows of the training split.
        micro: Rows of a forward pass.
        before: `order` of the record of a run that goes on.

    Returns:
        `by`: random or group_by_length; `rows`: of a batch of about one length.

    Raises:
        UserError: as of choose_order().
    """
    by, reason = choose_order(config, dataset, micro)
    if before and config.train.train_sampling_strategy in ("auto", before["by"]):
        return before, f"{before['by']}, as when the run began"
    return {"by": by, "rows": micro}, reason


def row_lengths(dataset: Any) -> list[int]:
    """Return the tokens of each row of a data set; [] where its columns do not tell.

    A pair counts as its prompt and the longer one of its answers.
    """
    import pyarrow.compute as compute
    from datasets import Dataset

    if not isinstance(dataset, Dataset):
        return []  # rows that are masked anew in each pass
    table = dataset.with_format("arrow")[:]
    names = [name for name in table.column_names if name.endswith("_ids")]
    counts = {name: compute.list_value_length(table[name]).to_pylist() for name in names}
    if "input_ids" in counts:
        return list(counts["input_ids"])
    prompts = counts.pop("prompt_ids", [0] * len(table))
    if not counts:
        return []
    answers = zip(*counts.values(), strict=True)
    return [first + max(rest) for first, rest in zip(prompts, answers, strict=True)]


def padding(lengths: Sequence[int], order: Sequence[int], size: int) -> float:
    """Return the share of padding among the tokens of all batches of `size` rows in this order."""
    batches = [[lengths[i] for i in order[at : at + size]] for at in range(0, len(order), size)]
    return 1 - sum(lengths) / sum(len(batch) * max(batch) for batch in batches)


def random_order(count: int, seed: int) -> list[int]:
    """Return the rows in random order."""
    order = list(range(count))
    random.Random(seed).shuffle(order)
    return order


def by_length(lengths: Sequence[int], size: int, seed: int) -> list[int]:
    """Return the rows in an order whose batches of `size` hold rows of about one length.

    Rows are drawn at random into windows, sorted within each by about their lengths, and cut into
    batches, which are drawn at random again. The batch with the longest row comes first, so that
    memory that is too small is found at once; an incomplete batch comes last.
    """
    rows, window, draw = random_order(len(lengths), seed), size * WINDOW, random.Random(seed)
    about = [length * (1 + draw.uniform(-JITTER, JITTER)) for length in lengths]
    full: list[list[int]] = []
    rest: list[int] = []
    for start in range(0, len(rows), window):
        some = sorted(rows[start : start + window], key=lambda row: about[row], reverse=True)
        parts = [some[at : at + size] for at in range(0, len(some), size)]
        full += [part for part in parts if len(part) == size]
        rest += [row for part in parts if len(part) < size for row in part]
    random.Random(f"{seed} batches").shuffle(full)
    longest = max(range(len(full)), key=lambda at: max(lengths[row] for row in full[at]), default=0)
    full = full[longest:] + full[:longest]
    return [row for batch in full for row in batch] + rest


def ordered(trainer_class: Any) -> Any:
    """Return a trainer class that reads its rows in the order of settle_order()."""

    class ByLength(trainer_class):  # type: ignore[misc]
        """The same trainer; `order` says whether its batches hold rows of about one length."""

        order: dict[str, Any] | None = None

        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            if self.order is None or self.order["by"] != BY_LENGTH:
                return super()._get_train_sampler(train_dataset)
            rows = self.train_dataset if train_dataset is None else train_dataset
            return _sampler(row_lengths(rows), self.order["rows"], self.args.data_seed)

    ByLength.__name__ = trainer_class.__name__
    return ByLength


def _sampler(lengths: Sequence[int], size: int, seed: int) -> Any:
    """Return a sampler of torch whose order depends on the seed and the epoch."""
    from torch.utils.data import Sampler

    class LengthSampler(Sampler[int]):
        """accelerate calls set_epoch() before each pass, also where a run goes on within one."""

        def __init__(self) -> None:
            self.epoch = 0

        def set_epoch(self, epoch: int) -> None:
            self.epoch = epoch

        def __len__(self) -> int:
            return len(lengths)

        def __iter__(self) -> Iterator[int]:
            return iter(by_length(lengths, size, seed + self.epoch))

    return LengthSampler()
