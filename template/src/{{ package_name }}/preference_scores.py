"""How often a model prefers the better answer: the test of objectives that learn from judgements.

A reward is what the objective of the run learns: for dpo and kto beta times the log-ratio to the
reference, for orpo beta times the log-probability per token, for a reward model its score.
"""

from collections.abc import Callable, Iterator
from typing import Any

from .objectives import IGNORED
from .training import trainer_scores

TIE = 1e-5  # rewards closer than this are equal: the rounding of two passes over one text


def score_pairs(trainer: Any, dataset: Any) -> dict[str, float]:
    """Return accuracy, margin, ties and loss of DPO."""
    return _pair_scores(trainer, dataset, lambda batch: _halves(_log_ratios(trainer, batch)))


def score_odds(trainer: Any, dataset: Any) -> dict[str, float]:
    """Return accuracy, margin, ties and loss of ORPO."""

    def rewards(batch: dict[str, Any]) -> tuple[Any, Any]:
        chosen, rejected = trainer.concatenated_forward(trainer.model, batch)[:2]
        return trainer.beta * chosen, trainer.beta * rejected

    return _pair_scores(trainer, dataset, rewards)


def score_rewards(trainer: Any, dataset: Any) -> dict[str, float]:
    """Return accuracy, margin, ties and loss of a reward model."""
    return _pair_scores(
        trainer, dataset, lambda batch: _halves(trainer.model(**batch).logits[:, 0])
    )


def score_rated(trainer: Any, dataset: Any) -> dict[str, float]:
    """Return accuracy, margin, ties and loss of KTO.

    The accuracy is that of all pairs of a good and a bad answer (the area under the ROC curve);
    a split that lacks one of both has none.
    """
    import torch

    rewards, labels = [], []
    for batch in _batches(trainer, dataset):
        rewards.append(_log_ratios(trainer, batch).float().cpu())
        labels.append(batch["label"].bool().cpu())
    reward, good = torch.cat(rewards), torch.cat(labels)  # (rows,)
    loss = {"loss": trainer_scores(trainer, dataset)["loss"]}
    if good.all() or not good.any():
        return loss
    bad = reward[~good].sort().values
    below = torch.searchsorted(bad, reward[good] - TIE)
    not_above = torch.searchsorted(bad, reward[good] + TIE, right=True)
    ties = (not_above - below).double().mean().item() / len(bad)
    return {
        "accuracy": below.double().mean().item() / len(bad) + ties / 2,
        "margin": (reward[good].mean() - reward[~good].mean()).item(),
        "ties": ties,
        **loss,
    }


def _pair_scores(
    trainer: Any, dataset: Any, rewards: Callable[[dict[str, Any]], tuple[Any, Any]]
) -> dict[str, float]:
    """Return how often the chosen answer has the higher reward, ties counting half.

    At the start of DPO every margin is 0, so that the accuracy is 0.5 and the ties are 1: the
    model is its own reference then, and prefers nothing.

    Args:
        trainer: holds the model and its arguments.
        dataset: tokenised pairs.
        rewards: batch -> rewards of the chosen and of the rejected answers, (pairs,) each.
    """
    import torch

    found = []
    for batch in _batches(trainer, dataset):
        chosen, rejected = rewards(batch)
        found.append((chosen - rejected).float().cpu())
    margins = torch.cat(found)  # (pairs,)
    ties = (margins.abs() <= TIE).double().mean().item()
    return {
        "accuracy": (margins > TIE).double().mean().item() + ties / 2,
        "margin": margins.mean().item(),
        "ties": ties,
        "loss": trainer_scores(trainer, dataset)["loss"],
    }


def _batches(trainer: Any, dataset: Any) -> Iterator[dict[str, Any]]:
    """Yield the batches of a split on the trainer's device, while the model does not train."""
    import torch

    prepared = trainer._prepare_dataset(dataset, trainer.processing_class, trainer.args, "test")
    trained = trainer.model.training
    trainer.model.eval()
    try:
        with torch.no_grad(), trainer.compute_loss_context_manager():
            for batch in trainer.get_eval_dataloader(prepared):
                yield trainer._prepare_inputs(batch)
    finally:
        trainer.model.train(trained)


def _halves(rewards: Any) -> tuple[Any, Any]:
    chosen, rejected = rewards.chunk(2)
    return chosen, rejected


def _log_ratios(trainer: Any, batch: dict[str, Any]) -> Any:
    """Return beta * (log-probability of each answer - that of the reference), (rows,)."""
    from trl.trainer.utils import use_adapter

    tuned = _log_probabilities(trainer.model, batch)
    if trainer.ref_model is not None:
        before = _log_probabilities(trainer.ref_model, batch)
    else:
        start = "ref" if "ref" in trainer.model.peft_config else None  # None: the base
        with use_adapter(trainer.model, start):
            before = _log_probabilities(trainer.model, batch)
    return trainer.beta * (tuned - before)


def _log_probabilities(model: Any, batch: dict[str, Any]) -> Any:
    """Return the log-probability of each answer, (rows,), by the head that TRL adds."""
    labels = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, IGNORED)
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    outputs = model(**inputs, labels=labels, fused_lm_head=True, use_cache=False)
    # Learned vectors before the input have places too: those of the tokens come last.
    return outputs.log_probs[:, 1 - labels.shape[1] :].sum(dim=1)
