"""Where the tokens of padded prompts stand when answers are written, and when they are scored.

trl pads prompts on the left and counts positions from the first column when it scores. The
functions here make a token stand where it stood when it was written.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any


def placed(model: Any) -> Callable[..., Any]:
    """Return the model, called with positions that count from the first token of a prompt.

    Generation counts them in this way; models with learned positions would score others.
    """
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    if "position_ids" not in inspect.signature(inner.forward).parameters:
        scored: Callable[..., Any] = model  # its attention knows distances only
        return scored

    def call(attention_mask: Any, **inputs: Any) -> Any:
        positions = (attention_mask.cumsum(-1) - 1).clamp(min=0)  # (batch, length)
        return model(attention_mask=attention_mask, position_ids=positions, **inputs)

    return call


def write_by_length(write: Callable[[Sequence[Any]], Any], prompts: Sequence[Sequence[int]]) -> Any:
    """Write answers to prompts of one length at a time, so that none is padded.

    Learned vectors stand before the padding, and must be next to the prompt.

    Args:
        write: (prompts) -> answers, or (answers, None), as trl's trainers return them.
        prompts: token ids.
    """
    answers: list[Any] = [None] * len(prompts)
    lengths = [len(prompt) for prompt in prompts]
    found: Any = None
    for length in sorted(set(lengths)):
        rows = [row for row, own in enumerate(lengths) if own == length]
        found = write([prompts[row] for row in rows])
        written = found[0] if isinstance(found, tuple) else found
        for row, answer in zip(rows, written, strict=True):
            answers[row] = answer
    return (answers, None) if isinstance(found, tuple) else answers


def measure_by_length(
    measure: Callable[[Any, Any], Any], ids: Any, mask: Any, kept: int
) -> tuple[Any, Any, Any]:
    """Score answers to prompts of one length at a time, without the padding before them.

    Args:
        measure: (ids, mask) -> log-probabilities and entropies, each of shape (rows, kept) or
            None, and the mean auxiliary loss or None.
        ids: prompts, padded on the left, and answers, shape (batch, length).
        mask: 1 for tokens, the same shape.
        kept: columns of the answers.
    """
    import torch

    lengths = mask[:, :-kept].sum(dim=-1)  # (batch,) tokens of the prompts
    rows: list[Any] = []
    found: list[Any] = []
    for length in lengths.unique().tolist():
        some = (lengths == length).nonzero().flatten()
        start = ids.shape[1] - kept - length
        rows.append(some)
        found.append(measure(ids[some, start:], mask[some, start:]))
    back = torch.cat(rows).argsort()  # of the batch, in the order of the parts
    logps, entropies, losses = zip(*found, strict=True)
    return (
        torch.cat(logps)[back],
        None if entropies[0] is None else torch.cat(entropies)[back],
        None if losses[0] is None else torch.stack(losses).mean(),
    )
