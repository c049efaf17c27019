"""Packing: several short examples in one row, so that no time goes into padding.

The examples of a row do not see each other: positions start anew at each of them, from which
transformers derives a mask of blocks where a batch brings no attention mask. Whether a model
does that is tried out on the model itself before anything is trained.
"""

import inspect
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from .config import Config
from .errors import Problem, UserError
from .image_tokens import PATHS
from .model_access import base_model, vocabulary
from .objectives import IGNORED, Objective
from .techniques import Technique
from .training import Tokenised, Training

SETTING = "train.packing"
LENGTHS = "seq_lengths"  # trl's name of the column with the lengths of the examples of a row
# Share of the largest logit by which the scores of an example may differ when it stands alone,
# by bytes of a number: other kernels round in another way.
ALONE = {4: 1e-4, 2: 5e-2}
LEAK = 1e-5  # share by which they may differ when its neighbour changes: nothing but noise


def choose_packing(
    config: Config, objective: Objective, training: Training, technique: Technique, model: Any
) -> tuple[bool, str]:
    """Return whether rows are packed, and why.

    Args:
        config: `train.packing` is auto, true or false.
        objective: auto packs where documents are learned.
        training: of the objective.
        technique: of the plan.
        model: the base model, which is tried out; None: it is taken to keep examples apart.

    Raises:
        UserError: true, and it cannot be done.
    """
    wanted = config.train.packing
    if wanted is False:
        return False, "off, set by the user"
    if wanted == "auto" and objective.assistant_only:
        return False, "off: each conversation is a row"
    reason = _hindrance(objective, training, technique)
    if not reason and model is not None:
        reason = leak(model)
    if reason and wanted is True:
        raise UserError(Problem(SETTING, reason, fix=f"{SETTING}=auto"))
    if reason:
        return False, f"off: {reason}"
    return True, "on, set by the user" if wanted is True else "on: documents fill their rows"


def pack(split: Tokenised, max_length: int) -> Tokenised:
    """Return the same examples in as few rows as best fit decreasing finds; no token is lost.

    Args:
        split: tokenised; no example is longer than `max_length`.
        max_length: tokens of a row.

    Raises:
        UserError: the examples have images.
    """
    from trl import pack_dataset

    if PATHS in split.dataset.column_names:
        raise UserError(Problem(SETTING, "rows with images cannot share a row", fix="false"))
    if not len(split.dataset):
        return split
    # In memory: what map() would write to a temporary folder is somebody's text.
    how = {"keep_in_memory": True, "batch_size": len(split.dataset)}
    packed = pack_dataset(split.dataset, max_length, "bfd", how)
    assert sum(map(sum, packed[LENGTHS])) == split.tokens, "packing keeps every token"
    return replace(split, dataset=packed)


def is_packed(dataset: Any) -> bool:
    """Say whether the rows of a dataset hold several examples; masked blocks have no columns."""
    return LENGTHS in getattr(dataset, "column_names", ())


def packed_collator(tokenizer: Any) -> Any:
    """Return what makes a batch of packed rows: input_ids, position_ids, labels, each (B, L).

    Positions start at 0 at every example, and at every token of padding. There is no attention
    mask: with one, transformers would let the examples see each other.
    """
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    class PackedCollator(DataCollatorForLanguageModeling):
        """TRL's collator, with rows that stay rows: a batch is not one long row."""

        def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
            batch = super().torch_call(examples)
            del batch["attention_mask"]
            # The first token of an example would be predicted from the end of another.
            batch["labels"][batch["position_ids"] == 0] = IGNORED
            return batch

    return PackedCollator(pad_token_id=tokenizer.pad_token_id, return_position_ids=True)


def leak(model: Any) -> str:
    """Return how the examples of a packed row disturb each other; "" if they do not.

    Two rows hold the same second example behind different first ones. Its scores must be the
    same in both, and those that it gets when it stands alone.

    Args:
        model: causal language model in evaluation mode.
    """
    import torch

    if "position_ids" not in inspect.signature(base_model(model).forward).parameters:
        return "this architecture takes no positions, so examples in one row are not kept apart"
    first, second = 9, 6
    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(vocabulary(model), (2, first + second), generator=draw)
    ids[1, first:] = ids[0, first:]
    places = torch.cat([torch.arange(first), torch.arange(second)]).expand(2, -1)
    with torch.inference_mode():
        packed = _scores(model, ids, places)[:, first:]  # (2, second, V)
        alone = _scores(model, ids[:1, first:], torch.arange(second)[None])  # (1, second, V)
    scale = alone.abs().max().item()
    if (packed[0] - packed[1]).abs().max().item() > LEAK * scale:
        return "this architecture lets the examples of a row see each other"
    allowed = ALONE[min(4, next(model.parameters()).element_size() if _plain(model) else 2)]
    if not (packed - alone).abs().max().item() <= allowed * scale:  # NaN is not less
        return "this architecture scores an example in a packed row differently than alone"
    return ""


def shown_row(tokenizer: Any, row: dict[str, Any]) -> list[str]:
    """Return a training row as row_lines() does, with a heading that says what is marked."""
    heading = "First row: a line per token; `learn` marks those that carry loss"
    return [heading, *row_lines(tokenizer, row)]


def row_lines(tokenizer: Any, row: dict[str, Any]) -> Iterator[str]:
    """Yield a training row for people: a line for each token, a heading for each example of it.

    Args:
        tokenizer: of the model.
        row: input_ids and labels; packed rows also have the lengths of their examples.
    """
    ids, labels = row["input_ids"], list(row["labels"])
    lengths = row.get(LENGTHS) or [len(ids)]
    start = 0
    for number, length in enumerate(lengths, start=1):
        end = start + length
        if LENGTHS in row:
            labels[start] = IGNORED  # as packed_collator() does
        learned = sum(label != IGNORED for label in labels[start:end])
        if len(lengths) > 1:
            yield f"--- example {number} of {len(lengths)}: {length} tokens, {learned} learned"
        for token, label in zip(ids[start:end], labels[start:end], strict=True):
            mark = "learn" if label != IGNORED else "     "
            yield f"{mark} {token:7d} {tokenizer.decode([token])!r}"
        start = end


def _hindrance(objective: Objective, training: Training, technique: Technique) -> str:
    if not training.packs:
        return f"objective `{objective.name}` learns row by row"
    if technique.prompts:
        return f"`{technique.name}` puts learned vectors before a row, not before each example"
    return ""


def _plain(model: Any) -> bool:
    return not getattr(model, "is_quantized", False)


def _scores(model: Any, ids: Any, places: Any) -> Any:
    inputs = {"input_ids": ids.to(model.device), "position_ids": places.to(model.device)}
    return model(**inputs, use_cache=False).logits.float()
