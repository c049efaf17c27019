"""The loss of DPO where whole logits fit: the vocabulary is scored at the answers alone.

TRL's loss scores it at every token of prompts and padding as well where there is no GPU, and adds
entropy, accuracy and mean logits over the whole vocabulary to each step. The losses here are those
of TRL under the same names; a test compares them.
"""

from collections.abc import Callable
from typing import Any

from .language_training import READ, labelled_positions
from .objectives import IGNORED


def answer_scores(model: Any, batch: dict[str, Any]) -> tuple[Any, Any]:
    """Return the log-probability of each answer in nats, (rows,), and logits with their labels.

    Args:
        model: Causal language model that takes `logits_to_keep`.
        batch: input_ids, attention_mask and completion_mask, each (rows, length).
    """
    from torch.nn.functional import cross_entropy

    ids = batch["input_ids"]
    kept, labels = labelled_positions(ids.masked_fill(batch["completion_mask"] == 0, IGNORED))
    read = {name: batch[name] for name in READ if name in batch}
    logits = model(**read, logits_to_keep=kept, use_cache=False).logits  # (rows, kept, vocabulary)
    scores = logits.flatten(0, 1)  # (rows * kept, vocabulary)
    each = cross_entropy(scores.float(), labels, ignore_index=IGNORED, reduction="none")
    return -each.view(len(ids), -1).sum(dim=1), (scores, labels)


def pair_loss(
    kind: str, margins: tuple[Any, Any], lengths: Any, beta: float, smoothing: float
) -> Any:
    """Return the loss of each pair, (pairs,).

    Args:
        kind: sigmoid (arXiv 2305.18290, equation 7), hinge (2305.10425), ipo (2310.12036,
            equation 17, per token) or robust (2403.00409, equation 12).
        margins: Log-ratios to the reference of the chosen and the rejected answers, (pairs,) each.
        lengths: Learned tokens of all answers, chosen ones first, (2 * pairs,).
        beta: Strength of the pull to the reference.
        smoothing: Share of pairs that are judged the wrong way round (robust).
    """
    return LOSSES[kind](*margins, lengths, beta, smoothing)


def _sigmoid(chosen: Any, rejected: Any, _lengths: Any, beta: float, _smoothing: float) -> Any:
    from torch.nn.functional import logsigmoid

    return -logsigmoid(beta * (chosen - rejected))


def _hinge(chosen: Any, rejected: Any, _lengths: Any, beta: float, _smoothing: float) -> Any:
    return (1 - beta * (chosen - rejected)).relu()


def _ipo(chosen: Any, rejected: Any, lengths: Any, beta: float, _smoothing: float) -> Any:
    first, second = lengths.clamp(min=1).chunk(2)
    return (chosen / first - rejected / second - 1 / (2 * beta)) ** 2


def _robust(chosen: Any, rejected: Any, lengths: Any, beta: float, smoothing: float) -> Any:
    right = _sigmoid(chosen, rejected, lengths, beta, smoothing)
    wrong = _sigmoid(rejected, chosen, lengths, beta, smoothing)
    return ((1 - smoothing) * right - smoothing * wrong) / (1 - 2 * smoothing)


LOSSES: dict[str, Callable[[Any, Any, Any, float, float], Any]] = {
    "sigmoid": _sigmoid,
    "hinge": _hinge,
    "ipo": _ipo,
    "robust": _robust,
}


def compared_loss(trainer: Any, model: Any, batch: dict[str, Any]) -> Any:
    """Return the mean loss of a batch of pairs, and note what TRL logs of it.

    Args:
        trainer: TRL's trainer of DPO, which knows the reference.
        model: That is trained, as the trainer has wrapped it.
        batch: As pair_collator() makes it: all chosen answers, then all rejected ones.
    """
    import torch

    scores, (logits, labels) = answer_scores(model, batch)
    with torch.no_grad():
        before = _reference_scores(trainer, batch)
    chosen, rejected = (scores - before).chunk(2)
    kind, settings = trainer.loss_types[0], trainer.args
    lengths = batch["completion_mask"].sum(dim=1)
    smoothing = settings.label_smoothing
    loss = pair_loss(kind, (chosen, rejected), lengths, trainer.beta, smoothing).mean()
    noted = _noted(trainer.beta, scores.detach(), chosen.detach(), rejected.detach())
    if not model.training:
        pairs = len(labels) // 2
        learned = labels[:pairs] != IGNORED
        right = (logits[:pairs].argmax(dim=-1) == labels[:pairs]) & learned
        noted["mean_token_accuracy"] = right.sum() / learned.sum().clamp(min=1)
    kept = trainer._metrics["train" if model.training else "eval"]
    values = torch.stack([value.float() for value in noted.values()]).tolist()
    for name, value in zip(noted, values, strict=True):
        kept[name].append(value)
    return loss


def _reference_scores(trainer: Any, batch: dict[str, Any]) -> Any:
    """Return the log-probabilities of the answers under the reference, (rows,)."""
    from trl.trainer.utils import use_adapter

    if trainer.ref_model is not None:
        return answer_scores(trainer.ref_model, batch)[0]
    start = "ref" if "ref" in trainer.model.peft_config else None  # None: the base
    with use_adapter(trainer.accelerator.unwrap_model(trainer.model), start):
        return answer_scores(trainer.model, batch)[0]


def _noted(beta: float, scores: Any, chosen: Any, rejected: Any) -> dict[str, Any]:
    """Return what TRL logs of a batch, under its names."""
    first, second = scores.chunk(2)
    return {
        "rewards/chosen": beta * chosen.mean(),
        "rewards/rejected": beta * rejected.mean(),
        "rewards/accuracies": (chosen > rejected).float().mean(),
        "rewards/margins": beta * (chosen - rejected).mean(),
        "logps/chosen": first.mean(),
        "logps/rejected": second.mean(),
    }
