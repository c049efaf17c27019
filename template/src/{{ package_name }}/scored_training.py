"""Losses and scores that are read off the logits of a batch: classes, labels, tokens.

transformers' own losses of these models disagree on gradient accumulation: some take the mean of
each micro batch, so that rows count less in a batch of long ones. Here a loss is a sum over what is
labelled, divided by the number of labels in the whole optimiser step, for every model.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .batches import right_pad
from .objectives import IGNORED
from .training import Start

if TYPE_CHECKING:
    import numpy as np
    import torch

    Flags = np.ndarray[Any, np.dtype[np.bool_]]

LossSum = Callable[["torch.Tensor", "torch.Tensor", float], "torch.Tensor"]


def plain_classes() -> tuple[Any, Any]:
    """Return the plain trainer of transformers and its arguments."""
    from transformers import Trainer, TrainingArguments

    return Trainer, TrainingArguments


def cross_entropy_sum(logits: Any, labels: Any, smoothing: float = 0.0) -> Any:
    """Return the sum of -log p(label) in nats over all labels that are not IGNORED.

    Args:
        logits: shape (..., classes).
        labels: numbers of classes, shape (...).
        smoothing: share of the target that is spread over all classes.
    """
    from torch.nn.functional import cross_entropy

    return cross_entropy(
        logits.flatten(0, -2).float(),  # (positions, classes)
        labels.flatten(),
        ignore_index=IGNORED,
        reduction="sum",
        label_smoothing=smoothing,
    )


def binary_sum(logits: Any, labels: Any, smoothing: float = 0.0) -> Any:
    """Return the sum of the binary cross entropies in nats of every label of every row.

    Args:
        logits: shape (rows, labels).
        labels: 1.0 where the label holds, else 0.0, shape (rows, labels).
        smoothing: share of the target that is moved to one half.
    """
    from torch.nn.functional import binary_cross_entropy_with_logits

    targets = labels * (1 - smoothing) + smoothing / 2
    return binary_cross_entropy_with_logits(logits.float(), targets, reduction="sum")


def loss_function(loss_sum: LossSum, start: Start) -> Callable[..., Any]:
    """Return the loss as transformers' trainer calls it: per label of the optimiser step."""
    smoothing = float(start.config.train.extra.get("label_smoothing_factor", 0.0))

    def loss(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Any:
        count = (labels != IGNORED).sum() if num_items_in_batch is None else num_items_in_batch
        logits = aligned(outputs["logits"], labels)
        return loss_sum(logits, labels, smoothing) / max(count, 1)

    return loss


def collator(tokenizer: Any, per_token: bool = False) -> Callable[[Sequence[Any]], dict[str, Any]]:
    """Return a function that pads examples on the right into a batch.

    Args:
        tokenizer: names the padding token.
        per_token: labels are rows of numbers that are padded as well; else one number, or a list
            of equal length, for each example.
    """
    import torch

    def collate(examples: Sequence[Any]) -> dict[str, Any]:
        ids, mask = right_pad([one["input_ids"] for one in examples], tokenizer.pad_token_id)
        given = [one["labels"] for one in examples]
        labels = right_pad(given, IGNORED)[0] if per_token else torch.tensor(given)
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}

    return collate


def aligned(logits: Any, labels: Any) -> Any:
    """Return logits without positions that have no label: learned vectors before the input.

    Args:
        logits: shape (rows, vectors + length, classes), or (rows, classes).
        labels: shape (rows, length), else (rows,) or (rows, classes).
    """
    return logits[:, -labels.shape[1] :] if logits.dim() == 3 else logits


def first_logits(outputs: Any) -> Any:
    """Return the logits among what a model gave out beside its loss."""
    return outputs[0] if isinstance(outputs, tuple) else outputs


def token_hits(outputs: Any, labels: Any) -> tuple[Any, Any]:
    """Reduce logits to what the scores need: (right, -log p of the label), both (rows, length).

    The logits of a validation split would not fit into memory.
    """
    from torch.nn.functional import cross_entropy

    logits = aligned(first_logits(outputs), labels).float()  # (rows, length, vocabulary)
    nats = cross_entropy(logits.transpose(1, 2), labels, ignore_index=IGNORED, reduction="none")
    return (logits.argmax(dim=-1) == labels).long(), nats


def token_scores(found: Any) -> dict[str, float]:
    """Return accuracy and perplexity over all labelled tokens of a split, from token_hits()."""
    import numpy as np

    right, nats = found.predictions
    labelled = found.label_ids != IGNORED
    mean = float(nats[labelled].astype(np.float64).mean())
    return {"accuracy": float(right[labelled].mean()), "perplexity": float(np.exp(mean))}


def f1_scores(gold: "Flags", predicted: "Flags") -> tuple[float, float]:
    """Return (macro, micro) F1; macro is the plain mean over labels that occur on either side.

    Args:
        gold: whether a label holds, shape (rows, labels).
        predicted: the same as predicted.
    """
    hits = (gold & predicted).sum(axis=0)
    both = gold.sum(axis=0) + predicted.sum(axis=0)
    if not both.any():
        return 0.0, 0.0
    occurs = both > 0
    return float((2 * hits[occurs] / both[occurs]).mean()), float(2 * hits.sum() / both.sum())
