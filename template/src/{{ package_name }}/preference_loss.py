"""The loss of DPO where whole logits fit: no token is computed that the loss does not need.

TRL's loss scores the vocabulary at every token of prompts and padding as well where there is no
GPU, adds entropy, accuracy and mean logits over the whole vocabulary to each step, and computes a
prompt once for each of its two answers. Here the vocabulary is scored at the answers alone, and a
prompt is computed once: its answers stand behind it in one row, and do not see each other. That
this architecture scores them then as in rows of their own is tried out on the first batch.

The losses are those of TRL under the same names; tests compare them with the papers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .causal_scoring import takes_trees
from .language_training import READ, labelled_positions
from .model_access import base_model
from .objectives import IGNORED

WORTH = 0.1  # share of the tokens of a batch that one prompt for two answers must save
SAME = {4: 1e-3, 2: 0.25}  # nats per token that both ways may differ, by bytes of a weight


@dataclass(frozen=True, slots=True)
class Scored:
    """Answers as a model scores them.

    Attributes:
        sums: Log-probability of each answer in nats, chosen ones first, (2 * pairs,).
        right: Whether the model ranks a token first, for each learned one of chosen answers;
            None while it trains.
    """

    sums: Any
    right: Any = None


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of tokens with answers in them.

    Attributes:
        read: What the model takes: input_ids, (rows, length), and others.
        learned: 1 where a token belongs to an answer, (rows, length).
        chosen: True where it does not belong to a rejected one, (rows, length).
        shared: A row holds both answers of a pair; else the rejected ones stand in later rows.
    """

    read: dict[str, Any]
    learned: Any
    chosen: Any
    shared: bool


def single_rows(batch: dict[str, Any]) -> Rows:
    """Return a batch of pair_collator() as it is: a row for each answer, chosen ones first."""
    import torch

    ids = batch["input_ids"]
    chosen = torch.zeros_like(ids, dtype=torch.bool)
    chosen[: len(ids) // 2] = True
    read = {name: batch[name] for name in READ if name in batch}
    return Rows(read, batch["completion_mask"], chosen, shared=False)


def shared_rows(batch: dict[str, Any]) -> Rows | None:
    """Return a row for each pair: prompt, chosen answer, rejected answer; None where it is no gain.

    The last token of the prompt stands before both answers, so that a token is always predicted
    at the place before it. The second answer has the positions that it would have alone, and its
    tokens do not attend to the first.
    """
    import torch
    from torch.nn.utils.rnn import pad_sequence

    sizes = batch["attention_mask"].sum(dim=1).tolist()
    ids, learned = (
        [row[:size] for row, size in zip(batch[name].tolist(), sizes, strict=True)]
        for name in ("input_ids", "completion_mask")
    )
    pairs = len(ids) // 2
    rows: dict[str, list[Any]] = {"ids": [], "learned": [], "places": []}
    starts, ends = [], []
    for one, other in zip(range(pairs), range(pairs, 2 * pairs), strict=True):
        start = _fork((ids[one], learned[one]), (ids[other], learned[other]))
        if not start:
            return None
        starts.append(start - 1)
        ends.append(len(ids[one]))
        rows["ids"].append(ids[one] + ids[other][start - 1 :])
        rows["learned"].append(learned[one] + learned[other][start - 1 :])
        rows["places"].append([*range(len(ids[one])), *range(start - 1, len(ids[other]))])
    length = max(map(len, rows["ids"]))
    if pairs * length > (1 - WORTH) * batch["input_ids"].numel():
        return None
    tensors = {
        name: pad_sequence([torch.tensor(row) for row in some], batch_first=True)
        for name, some in rows.items()
    }  # (pairs, length) each
    at = torch.arange(length)
    begins, stops = (torch.tensor(values)[:, None] for values in (starts, ends))  # (pairs, 1)
    second, first = at >= stops, (at >= begins) & (at < stops)  # (pairs, length)
    seen = (at[:, None] >= at) & ~(second[:, :, None] & first[:, None, :])
    device = batch["input_ids"].device
    read = {
        "input_ids": tensors["ids"].to(device),
        "attention_mask": seen[:, None].to(device),  # (pairs, 1, length, length)
        "position_ids": tensors["places"].to(device),
    }
    return Rows(read, tensors["learned"].to(device), ~second.to(device), shared=True)


def _fork(one: tuple[list[int], list[int]], other: tuple[list[int], list[int]]) -> int:
    """Return how many tokens two rows begin with alike before the first learned one of either."""
    rows = zip(*one, *other, strict=False)
    count = 0
    for first, first_learned, second, second_learned in rows:
        if first != second or first_learned or second_learned:
            break
        count += 1
    return count


def score(model: Any, rows: Rows) -> Scored:
    """Return how a causal language model that takes `logits_to_keep` scores answers."""
    import torch
    from torch.nn.functional import cross_entropy

    ids = rows.read["input_ids"]
    kept, labels = labelled_positions(ids.masked_fill(rows.learned == 0, IGNORED))
    logits = model(**rows.read, logits_to_keep=kept, use_cache=False).logits
    scores = logits.flatten(0, 1)  # (rows * kept, vocabulary)
    each = -cross_entropy(scores.float(), labels, ignore_index=IGNORED, reduction="none")
    each = each.view(len(ids), -1)  # (rows, kept)
    chosen = rows.chosen[:, kept + ids.shape[1] + 1]  # of the tokens that are predicted there
    if rows.shared:
        sums = torch.cat([(each * side).sum(dim=1) for side in (chosen, ~chosen)])
    else:
        sums = each.sum(dim=1)
    if model.training:
        return Scored(sums)
    asked = chosen.flatten() & (labels != IGNORED)
    return Scored(sums, (scores.argmax(dim=-1) == labels)[asked])


def rows_for(trainer: Any, model: Any, batch: dict[str, Any]) -> Rows:
    """Return the rows in which the answers of a batch are scored.

    Both ways are compared on the first batch that could share prompts; a trainer remembers the
    outcome as `shares_prompts`.
    """
    import torch

    single = single_rows(batch)
    inner = base_model(trainer.model)
    longest = 2 * batch["input_ids"].shape[1]
    if trainer.shares_prompts is False or not takes_trees(trainer.model, longest):
        return single
    shared = shared_rows(batch) if inner.config._attn_implementation == "sdpa" else None
    if shared is None:
        return single
    if trainer.shares_prompts is None:
        with torch.no_grad():
            gap = (score(model, shared).sums - score(model, single).sums).abs()
        allowed = SAME.get(inner.dtype.itemsize, SAME[2]) * batch["completion_mask"].sum(dim=1)
        trainer.shares_prompts = bool((gap <= allowed).all())
    return shared if trainer.shares_prompts else single


def compared_loss(trainer: Any, model: Any, batch: dict[str, Any]) -> Any:
    """Return the mean loss of a batch of pairs, and note what TRL logs of it.

    Args:
        trainer: TRL's trainer of DPO, which knows the reference.
        model: That is trained, as the trainer has wrapped it.
        batch: As pair_collator() makes it: all chosen answers, then all rejected ones.
    """
    import torch

    rows = rows_for(trainer, model, batch)
    found = score(model, rows)
    with torch.no_grad():
        before = _reference(trainer, rows)
    chosen, rejected = (found.sums - before.sums).chunk(2)
    lengths = batch["completion_mask"].sum(dim=1)
    kind, smoothing = trainer.loss_types[0], trainer.args.label_smoothing
    loss = pair_loss(kind, (chosen, rejected), lengths, trainer.beta, smoothing).mean()
    noted = _noted(trainer.beta, found.sums.detach(), chosen.detach(), rejected.detach())
    if found.right is not None:
        noted["mean_token_accuracy"] = found.right.float().mean()
    kept = trainer._metrics["train" if model.training else "eval"]
    values = torch.stack([value.float() for value in noted.values()]).tolist()
    for name, value in zip(noted, values, strict=True):
        kept[name].append(value)
    return loss


def _reference(trainer: Any, rows: Rows) -> Scored:
    """Score answers by the model as it was before training."""
    from trl.trainer.utils import use_adapter

    if trainer.ref_model is not None:
        return score(trainer.ref_model, rows)
    start = "ref" if "ref" in trainer.model.peft_config else None  # None: the base
    with use_adapter(trainer.accelerator.unwrap_model(trainer.model), start):
        return score(trainer.model, rows)


def _noted(beta: float, sums: Any, chosen: Any, rejected: Any) -> dict[str, Any]:
    """Return what TRL logs of a batch, under its names."""
    first, second = sums.chunk(2)
    return {
        "rewards/chosen": beta * chosen.mean(),
        "rewards/rejected": beta * rejected.mean(),
        "rewards/accuracies": (chosen > rejected).float().mean(),
        "rewards/margins": beta * (chosen - rejected).mean(),
        "logps/chosen": first.mean(),
        "logps/rejected": second.mean(),
    }


def pair_loss(
    kind: str, margins: tuple[Any, Any], lengths: Any, beta: float, smoothing: float
) -> Any:
    """Return the loss of each pair, (pairs,).

    Args:
        kind: sigmoid (arXiv 2305.18290, equation 7), hinge (2305.10425), ipo (2310.12036,
            equation 17, per token) or robust (2403.00409).
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
