"""Training on judged answers: DPO, ORPO, KTO and reward models, on our own tokens."""

import copy
import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .objectives import IGNORED
from .preference_data import (
    lend_answers,
    pair_collator,
    rated_collator,
    tokenise_pairs,
    tokenise_rated,
    tokenise_whole_pairs,
)
from .preference_loss import compared_loss
from .preference_scores import score_odds, score_pairs, score_rated, score_rewards
from .training import Start, Training

REFERENCE = "ref"  # TRL's name of an adapter that stays as it was at the start


def dpo() -> Training:
    """Prefer one answer to another, measured against the base (arXiv 2305.18290)."""
    return Training(tokenise_pairs, dpo_classes, _compared_pairs, score_pairs)


def orpo() -> Training:
    """Learn the better answer and move away from the other one, without a reference."""
    return Training(tokenise_pairs, orpo_classes, _pairs, score_odds)


def kto() -> Training:
    """Learn from single answers that are good or bad (arXiv 2402.01306)."""
    return Training(tokenise_rated, kto_classes, _compared_rated, score_rated)


def reward() -> Training:
    """Score answers, so that the better one of each pair scores higher (Bradley-Terry)."""
    return Training(tokenise_whole_pairs, reward_classes, score=score_rewards)


def _pairs(start: Start) -> dict[str, Any]:
    return {"data_collator": pair_collator(start.tokenizer.pad_token_id)}


def _compared_pairs(start: Start) -> dict[str, Any]:
    return _pairs(start) | _reference(start)


def _compared_rated(start: Start) -> dict[str, Any]:
    return {"data_collator": rated_collator(start.tokenizer.pad_token_id)} | _reference(start)


def _reference(start: Start) -> dict[str, Any]:
    """Return what the reference is: the model as it is before the first step.

    For a new adapter that is the base with the adapter off, which costs nothing. An adapter
    that goes on from another one, or that changes the base when it is made (PiSSA), is kept in
    a second copy; so is a model without an adapter.
    """
    if not hasattr(start.model, "peft_config"):
        return {"ref_model": copy.deepcopy(start.model).requires_grad_(False).eval()}
    made = getattr(start.model.peft_config["default"], "init_lora_weights", True)
    return {"keep_start": bool(start.config.model.adapter) or made is not True}


class OwnTokens:
    """Keeps a trainer of TRL from tokenising, cutting or describing anything itself."""

    def _prepare_dataset(self, dataset: Any, *_args: Any) -> Any:
        return dataset

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Write nothing: the model card comes from what was measured, at the end."""


class Compared(OwnTokens):
    """A trainer that compares with a reference.

    TRL takes every adapter for one that was trained before and holds a copy of it beside the
    model. Where the reference is the base, that copy is taken away again.
    """

    def __init__(self, model: Any, keep_start: bool = False, **kwargs: Any) -> None:
        with _copied_plainly(model):
            super().__init__(model=model, **kwargs)  # type: ignore[call-arg]
        if hasattr(model, "peft_config"):
            _settle_reference(model, keep_start)


@contextmanager
def _copied_plainly(model: Any) -> Iterator[None]:
    """Keep a second adapter from being made by PiSSA, which would change the base once more."""
    adapter = getattr(model, "peft_config", {}).get("default")
    made = getattr(adapter, "init_lora_weights", True)
    if adapter is None or made is True:
        yield
        return
    adapter.init_lora_weights = True
    yield
    adapter.init_lora_weights = made


def _settle_reference(model: Any, keep: bool) -> None:
    if not keep:
        model.delete_adapter(REFERENCE)
        return
    # Once more after TRL, which rounds the trained adapter on a quantised base to bf16.
    for name, parameter in model.named_parameters():
        if ".default." in name:
            other = model.get_parameter(name.replace(".default.", f".{REFERENCE}."))
            other.data.copy_(parameter.data)
    # A saved folder holds the trained adapter alone.
    model.save_pretrained = functools.partial(model.save_pretrained, selected_adapters=["default"])


def dpo_classes() -> tuple[Any, Any]:
    """Return TRL's trainer of DPO on our tokens, and its arguments."""
    from trl import DPOConfig, DPOTrainer

    class PairTrainer(Compared, DPOTrainer):
        """DPO on pairs that are tokens already."""

        whole_loss = False  # set from the plan
        shares_prompts: bool | None = None  # None: not tried out yet (preference_loss.py)

        def compute_loss(
            self,
            model: Any,
            inputs: dict[str, Any],
            return_outputs: bool = False,
            num_items_in_batch: Any = None,
        ) -> Any:
            alone = self.accelerator.num_processes == 1 and not self.aux_loss_enabled
            if self.whole_loss and alone and not return_outputs:
                return compared_loss(self, model, inputs)
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)

    return PairTrainer, DPOConfig


def kto_classes() -> tuple[Any, Any]:
    """Return TRL's trainer of KTO on our tokens, and its arguments."""
    from trl import KTOConfig, KTOTrainer

    class RatedTrainer(Compared, KTOTrainer):
        """KTO on rated answers that are tokens already."""

        def _prepare_dataset(
            self, dataset: Any, processing_class: Any, args: Any, dataset_name: str
        ) -> Any:
            del processing_class, dataset_name
            if "KL_completion_ids" in dataset.column_names:
                return dataset
            return lend_answers(dataset, args.per_device_train_batch_size)

    return RatedTrainer, KTOConfig


def reward_classes() -> tuple[Any, Any]:
    """Return TRL's trainer of reward models on our tokens, and its arguments."""
    from trl import RewardConfig, RewardTrainer

    class ScoreTrainer(OwnTokens, RewardTrainer):
        """A reward model on pairs that are tokens already."""

    return ScoreTrainer, RewardConfig


def orpo_classes() -> tuple[Any, Any]:
    """Return TRL's trainer of ORPO on our tokens, and its arguments."""
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")  # ORPO lives there; versions are pinned
    from torch.nn.functional import cross_entropy
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer

    class OddsTrainer(OwnTokens, ORPOTrainer):
        """ORPO on pairs that are tokens already; only answers carry loss."""

        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self.use_dpo_data_collator = True  # else every validation batch logs a warning

        def tokenize_row(self, feature: dict[str, Any], model: Any = None) -> dict[str, Any]:
            """Return the row as it is: it holds tokens."""
            del model
            return feature

        def concatenated_forward(self, model: Any, batch: dict[str, Any]) -> tuple[Any, ...]:
            """Return log-probability per token of both answers, logits, and the loss of the first.

            The likelihood is that of the answer given the prompt (ORPO, arXiv 2403.07691,
            equations 2 and 6); TRL's own adds the tokens of the prompt to it.
            """
            ids, mask = batch["input_ids"], batch["completion_mask"]  # (2 * pairs, length)
            asked = {"output_router_logits": True} if self.aux_loss_enabled else {}
            outputs = model(
                input_ids=ids, attention_mask=batch["attention_mask"], use_cache=False, **asked
            )
            # Learned vectors before the input have logits too: those of the tokens come last.
            logits = outputs.logits[:, -ids.shape[1] :]  # (2 * pairs, length, vocabulary)
            labels = ids.masked_fill(mask == 0, IGNORED)
            each = self.get_batch_logps(logits, labels, average_log_prob=True)  # (2 * pairs,)
            pairs = len(ids) // 2
            scores = logits[:pairs, :-1].flatten(0, 1).float()
            loss = cross_entropy(scores, labels[:pairs, 1:].flatten(), ignore_index=IGNORED)
            found = (*each.split(pairs), logits[:pairs, :-1], logits[pairs:, :-1], loss)
            return (*found, outputs.aux_loss) if self.aux_loss_enabled else found

    return OddsTrainer, ORPOConfig
