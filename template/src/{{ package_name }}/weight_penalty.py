"""A penalty that holds trained weights near those that the model started from.

    penalty = strength / 2 * sum_i f_i * (w_i - start_i)^2

With f = 1 it is L2-SP (Li, Grandvalet and Davoine 2018, arXiv 1802.01483, equation 2). With f the
diagonal of the Fisher information it is elastic weight consolidation (Kirkpatrick et al. 2017,
arXiv 1612.00796, equation 3). f is divided by its mean, so that a strength means about as much
for both; lambda of the paper is strength / mean. Where a layer is W + scale * B A (LoRA), w - start
is scale * (B A - B0 A0), whose norm needs matrices of the size of the rank only (held_parts.py).

Its gradient, strength * f_i * (w_i - start_i), is added to that of the loss once per optimiser
step, before clipping. That equals a term in the loss, keeps no graph, and leaves the loss in the
log comparable to that of validation.
"""

import math
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .config import Config
from .errors import Problem, UserError
from .forgetting import EWC, SETTING
from .heads import Head
from .held_parts import HeldProduct, HeldWeight, products
from .language_training import labelled_positions
from .mixture import SETTING as MIXTURE
from .model_parts import inside, new_parts
from .training_rows import replayed_examples

FISHER_ROWS = 128  # each costs a forward and a backward


@dataclass(slots=True)
class Penalty:
    """The penalty of one run.

    Attributes:
        method: row of forgetting.REMEDIES.
        strength: `train.forgetting_strength`.
        parts: what is held, on the device of the training.
        facts: what is written down about it.
    """

    method: str
    strength: float
    parts: Sequence[HeldWeight | HeldProduct]
    facts: dict[str, Any] = field(default_factory=dict)

    def value(self) -> float:
        """Return the penalty in nats, as it would stand in the loss."""
        return self.strength / 2 * sum(part.square(weighed=True) for part in self.parts)

    def distance(self) -> float:
        """Return the Euclidean distance of the held weights from their start."""
        return math.sqrt(sum(part.square() for part in self.parts))

    def add_gradient(self, scale: float = 1.0) -> None:
        """Add the gradient of the penalty to that of the loss; call it once per optimiser step.

        Args:
            scale: that the gradients are multiplied by meanwhile (16-bit floats).
        """
        for part in self.parts:
            part.add_gradient(self.strength * scale)

    def note(self) -> str:
        """Return what is held, and the memory of the copies, which the plan does not count."""
        copies = [one for part in self.parts for one in part.copies()]
        size = sum(one.numel() * one.element_size() for one in copies) / 2**30
        return (
            f"{self.method}, strength {self.strength:g}; copies take {size:.2g} GiB beside the plan"
        )

    def record(self) -> dict[str, Any]:
        """Return what training_args.json says about it."""
        outcome = {"penalty": self.value(), "distance": self.distance()}
        return {"method": self.method, "strength": self.strength, **self.facts, **outcome}


def held_class(trainer_class: Any) -> Any:
    """Return the trainer with a penalty, which hold() fills in; its objective knows nothing."""

    class HeldTrainer(trainer_class):  # type: ignore[misc]
        """Adds the gradient of a penalty to that of the loss."""

        penalty: Penalty

        def training_step(self, *args: Any, **kwargs: Any) -> Any:
            loss = super().training_step(*args, **kwargs)
            if self.accelerator.sync_gradients:  # the last micro batch of an optimiser step
                scaler = self.accelerator.scaler
                self.penalty.add_gradient(scaler.get_scale() if scaler is not None else 1.0)
            return loss

    return HeldTrainer


def hold(trainer: Any, config: Config, head: Head, tokenizer: Any) -> None:
    """Give the trainer of held_class() its penalty; the model lies on its device now.

    Args:
        trainer: whose model has not learned yet.
        config: of the run.
        head: of the model; what it adds to the base starts at random and is left free.
        tokenizer: of the model, for the rows of `data.mixture`.

    Raises:
        UserError: weights are split over devices, or no row tells what must stay.
    """
    if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
        told = "FSDP and DeepSpeed split the weights, whose copies would no longer fit them"
        raise UserError(Problem(SETTING, told, fix=f"{SETTING}=none, or one device"))
    settings = config.train
    layers = products(trainer.model)
    inner = {id(weight) for layer in layers for weight in (layer.down, layer.up)}
    weights = [one for one in trained_weights(trainer.model, head) if id(one) not in inner]
    held = [HeldWeight(one, one.detach().clone()) for one in weights]
    penalty = Penalty(settings.forgetting, settings.forgetting_strength, [*layers, *held])
    if settings.forgetting == EWC:
        examples = replayed(config, tokenizer)
        found, mean = relative_fisher(trainer.model, weights, examples, settings.seed)
        for part, importance in zip(held, found, strict=True):
            part.importance = importance
        penalty.facts = {"fisher_rows": len(examples), "fisher_mean": mean}
    trainer.penalty = penalty


def trained_weights(model: Any, head: Head) -> list[Any]:
    """Return the parameters that are trained and were in the base."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    new = [*new_parts(base, head)]
    pattern = re.compile(inside(map(re.escape, new))) if new else None
    return [
        weight
        for name, weight in model.named_parameters()
        if weight.requires_grad and not (pattern and pattern.fullmatch(name))
    ]


def replayed(config: Config, tokenizer: Any) -> list[dict[str, Any]]:
    """Return FISHER_ROWS examples of `data.mixture`, or all, the same for the same seed."""
    rows = replayed_examples(config, tokenizer)
    drawn = random.Random(config.train.seed).sample(rows, min(FISHER_ROWS, len(rows)))
    if not drawn:
        found = "it holds no example of text that ewc could weigh the weights by"
        raise UserError(Problem(MIXTURE, found, fix=f"other rows, or {SETTING}=l2"))
    return drawn


def relative_fisher(
    model: Any, weights: Sequence[Any], examples: Sequence[dict[str, Any]], seed: int
) -> tuple[list[Any], float]:
    """Return the diagonal of the Fisher information divided by its mean, and that mean.

    The information is the mean over examples of the squared gradient of log p(y | x), with y
    drawn from the model at each learned position: the labels of the data would give another
    quantity (Kunstner, Balles and Hennig 2019, arXiv 1905.12558).

    Args:
        model: causal language model as it starts; dropout is off meanwhile.
        weights: parameters of the model, whose gradients are empty before and after.
        examples: rows with input_ids and labels.
        seed: of the draw of y.

    Returns:
        One tensor for each weight, of its shape and type.
    """
    import torch
    from torch.nn.functional import cross_entropy

    sums = [torch.zeros_like(one, dtype=torch.float32) for one in weights]
    generator = torch.Generator().manual_seed(seed)
    trained = model.training
    model.eval()
    for example in examples:
        kept, _ = labelled_positions(torch.tensor([example["labels"]]))
        ids = torch.tensor([example["input_ids"]], device=model.device)  # (1, length)
        options = {"logits_to_keep": kept.to(model.device), "use_cache": False}
        logits = model(input_ids=ids, **options).logits[0].float()  # (kept, vocabulary)
        chances = logits.detach().softmax(dim=-1).cpu()
        drawn = torch.multinomial(chances, 1, generator=generator)[:, 0]  # (kept)
        cross_entropy(logits, drawn.to(logits.device), reduction="sum").backward()
        for total, weight in zip(sums, weights, strict=True):
            if weight.grad is not None:
                total += weight.grad.float() ** 2
        model.zero_grad(set_to_none=True)
    model.train(trained)
    count = sum(one.numel() for one in weights)
    mean = sum(float(total.sum()) for total in sums) / count
    relative = [(one / mean).to(w.dtype) for one, w in zip(sums, weights, strict=True)]
    return relative, mean / len(examples)
