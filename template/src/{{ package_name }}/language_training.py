"""Training of causal language models on the next token: conversations and documents."""

from collections.abc import Sequence
from typing import Any

from .data_loader import tokenise, words_of
from .objectives import IGNORED
from .records import Record
from .training import Job, Tokenised, Training
from .vision_training import PATHS, image_extras, inputs_of_images, tokenise_images


def conversations() -> Training:
    """Learn the answers of conversations (objectives sft and chat)."""
    return Training(_tokenised, language_classes, image_extras)


def documents() -> Training:
    """Learn every token of documents (objective pretrain)."""
    return Training(_tokenised, language_classes, image_extras)


def _tokenised(records: Sequence[Record], job: Job) -> Tokenised:
    if words_of(job.tokenizer) is not job.tokenizer or any(one.image_keys for one in records):
        return tokenise_images(records, job)
    length = job.config.train.max_length
    return tokenise(records, job.tokenizer, job.objective, length, job.prompt, job.split)


def language_classes() -> tuple[Any, Any]:
    """Return TRL's trainer of language models and its arguments."""
    from trl import SFTConfig, SFTTrainer

    class LanguageModelTrainer(SFTTrainer):
        """TRL's trainer with a loss that is faster where its logits need not be kept small."""

        whole_loss = False  # set from the plan

        def compute_loss(
            self,
            model: Any,
            inputs: dict[str, Any],
            return_outputs: bool = False,
            num_items_in_batch: Any = None,
        ) -> Any:
            # TRL's loss in tiles saves memory, and skips tokens without a label. It costs entropy
            # and accuracy over the whole vocabulary, which a CPU feels.
            options: Any = self.args
            plain = options.loss_type == "nll" and self.label_smoother is None
            alone = self.accelerator.num_processes == 1 and not self.aux_loss_enabled
            if self.whole_loss and plain and alone and not return_outputs:
                loss, accuracy = labelled_loss(model, inputs, num_items_in_batch)
                if not model.training:
                    # Under the name that TRL's own loss logs it with.
                    self._metrics["eval"]["mean_token_accuracy"].append(accuracy)
                return loss
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)

        def _set_signature_columns_if_needed(self) -> None:
            super()._set_signature_columns_if_needed()
            columns: Any = self._signature_columns
            columns.append(PATHS)  # of images, which the collator opens

        def create_model_card(self, *args: Any, **kwargs: Any) -> None:
            """Write nothing: the model card comes from what was measured, at the end."""

    return LanguageModelTrainer, SFTConfig


def labelled_loss(
    model: Any, inputs: dict[str, Any], count: Any = None
) -> tuple[Any, float | None]:
    """Return the negative log-likelihood per labelled token, and the share of them got right.

    The share is that of labelled tokens which the model ranks first; None while it trains,
    because it costs a pass over the vocabulary.

    The vocabulary is scored only at positions where some row of the batch has a label.

    Args:
        model: causal language model that takes `logits_to_keep`.
        inputs: input_ids, attention_mask, labels, each of shape (batch, length), and what the
            processor made of images.
        count: labelled tokens of the whole optimiser step; None: those of this batch.
    """
    from torch.nn.functional import cross_entropy

    labels = inputs["labels"][:, 1:]  # the token at position i is predicted at i - 1
    kept = (labels != IGNORED).any(dim=0).nonzero().flatten()
    logits = model(
        input_ids=inputs["input_ids"],
        attention_mask=inputs["attention_mask"],
        logits_to_keep=kept,
        use_cache=False,
        **inputs_of_images(inputs),
    ).logits  # (batch, kept, vocabulary)
    targets = labels[:, kept].flatten()
    scores = logits.flatten(0, 1)  # (batch * kept, vocabulary)
    total = cross_entropy(scores.float(), targets, ignore_index=IGNORED, reduction="sum")
    labelled = (targets != IGNORED).sum().clamp(min=1)
    loss = total / (count if count is not None else labelled)
    if model.training:
        return loss, None
    return loss, ((scores.argmax(dim=-1) == targets).sum() / labelled).item()
