"""Training of causal language models on the next token: conversations and documents."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from .data_loader import tokenise
from .few_shot import fitting, shown_records
from .image_tokens import PATHS
from .message_parts import words_of
from .objectives import IGNORED
from .packing import shown_row
from .records import Record
from .training import Job, Tokenised, Training
from .vision_training import image_extras, inputs_of_images, tokenise_images

READ = ("input_ids", "attention_mask", "position_ids")  # what the model takes of a batch


def conversations() -> Training:
    """Learn the answers of conversations (objectives sft and chat)."""
    return Training(
        tokenised, language_classes, image_extras, show=shown_row, packs=True, shots=True
    )


def documents() -> Training:
    """Learn every token of documents (objective pretrain)."""
    return Training(tokenised, language_classes, image_extras, show=shown_row, packs=True)


def tokenised(records: Sequence[Record], job: Job) -> Tokenised:
    """Return the examples of a split, as long as the settings allow (data_loader.tokenise).

    With `few_shot_k`, solved examples stand before each.
    """
    if words_of(job.tokenizer) is not job.tokenizer or any(one.image_keys for one in records):
        return tokenise_images(records, job)
    length, k = job.config.train.max_length, job.config.few_shot_k
    starts: list[int] = []
    missing = 0
    if k and job.examples:
        fits = fitting(job.tokenizer, length)
        seed = f"{job.config.train.seed} {job.split}"
        records, starts, missing = shown_records(records, job.examples, k, seed, job.prompt, fits)
        if missing:
            wanted = k * len(records)
            print(
                f"{job.split}: {missing} of {wanted} solved examples are missing: no room or rows"
            )
    found = tokenise(records, job.tokenizer, job.objective, length, job.prompt, job.split, starts)
    return replace(found, missing_shots=missing)


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
            processes = self.accelerator.num_processes
            if self.whole_loss and plain and not self.aux_loss_enabled and not return_outputs:
                loss, accuracy = labelled_loss(model, inputs, num_items_in_batch)
                if accuracy is not None:
                    if processes > 1:
                        shares = self.accelerator.gather(loss.new_tensor([accuracy]))
                        accuracy = shares.mean().item()
                    # Under the name that TRL's own loss logs it with.
                    self._metrics["eval"]["mean_token_accuracy"].append(accuracy)
                # Tokens of all processes are counted, and their gradients averaged.
                return loss if num_items_in_batch is None else loss * processes
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
        inputs: input_ids, labels, and attention_mask or (packed rows) position_ids, each of shape
            (batch, length), and what the processor made of images.
        count: labelled tokens of the whole optimiser step; None: those of this batch.
    """
    from torch.nn.functional import cross_entropy

    kept, targets = labelled_positions(inputs["labels"])
    read = {name: value for name, value in inputs.items() if name in READ}
    read |= inputs_of_images(inputs)
    logits = model(**read, logits_to_keep=kept, use_cache=False).logits  # (batch, kept, vocabulary)
    scores = logits.flatten(0, 1)  # (batch * kept, vocabulary)
    total = cross_entropy(scores.float(), targets, ignore_index=IGNORED, reduction="sum")
    labelled = (targets != IGNORED).sum().clamp(min=1)
    loss = total / (count if count is not None else labelled)
    if model.training:
        return loss, None
    return loss, ((scores.argmax(dim=-1) == targets).sum() / labelled).item()


def labelled_positions(labels: Any) -> tuple[Any, Any]:
    """Return where some row of a batch has a label, and the labels of all rows there.

    Args:
        labels: shape (batch, length); IGNORED where a token carries no loss.

    Returns:
        The kept positions as `logits_to_keep` takes them, counted from the end (shape (kept)):
        learned vectors before the input move them from the start. The labels, flattened, of
        shape (batch * kept).
    """
    shifted = labels[:, 1:]  # the token at position i is predicted at i - 1
    kept = (shifted != IGNORED).any(dim=0).nonzero().flatten()
    return kept - labels.shape[1], shifted[:, kept].flatten()
