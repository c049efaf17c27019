"""Pre-training of encoders: some tokens of a text are hidden, the model finds them.

Every token has a chance of 15 % to be learned; of these 80 % are hidden, 10 % are another token
and 10 % stay as they are (Devlin et al. 2019, section 3.1).
"""

from collections.abc import Sequence
from typing import Any

from .errors import Problem, UserError
from .objectives import IGNORED
from .plain_tokens import tokenise_plain
from .records import Record
from .scored_training import (
    collator,
    cross_entropy_sum,
    loss_function,
    token_hits,
    token_scores,
)
from .training import Job, Start, Tokenised, Training

SHARE = 0.15  # of the tokens that are learned
STRIDE = 1_000_003  # between the seeds of two passes; more examples than this share a seed


def documents() -> Training:
    """Learn to find hidden tokens (objective mlm)."""
    return Training(_tokenised, masked_classes, _extras)


def masked_classes() -> tuple[Any, Any]:
    """Return the trainer, which takes other masks in each pass, and its arguments."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    class NewMasks(TrainerCallback):
        def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            del args, control
            kwargs["train_dataloader"].dataset.epoch = int(state.epoch + 1e-6)

    class MaskedTrainer(Trainer):
        """transformers' trainer over MaskedBlocks."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.add_callback(NewMasks())

    return MaskedTrainer, TrainingArguments


class MaskedBlocks:
    """Blocks of tokens that are masked when they are read: anew in each pass over them.

    The mask of a block depends on the seed, the pass and its place alone. So a resumed run sees
    the masks that it would have seen, and validation always asks for the same tokens.
    """

    def __init__(self, tokenizer: Any, blocks: Sequence[list[int]], seed: int) -> None:
        """Keep the blocks, which hold their special tokens."""
        from transformers import DataCollatorForLanguageModeling

        self._tokenizer = tokenizer
        self._masker = DataCollatorForLanguageModeling(tokenizer, mlm_probability=SHARE)
        self._blocks = blocks
        self._seed = seed
        self.epoch = 0  # the pass; validation stays at the first

    def __len__(self) -> int:
        """Return the number of blocks."""
        return len(self._blocks)

    def joined(self, others: Sequence["MaskedBlocks"]) -> "MaskedBlocks":
        """Return these blocks and those of others behind them, under the seed of these."""
        blocks = [*self._blocks, *(block for other in others for block in other._blocks)]
        return MaskedBlocks(self._tokenizer, blocks, self._seed)

    def __getitem__(self, index: int) -> dict[str, list[int]]:
        """Return a block as the model reads it, and as labels the tokens that it must find."""
        import torch

        seed = self._seed + self.epoch * STRIDE + index
        self._masker.generator = torch.Generator().manual_seed(seed)
        while True:
            ids = torch.tensor([self._blocks[index]])  # (1, length)
            ids, labels = self._masker.torch_mask_tokens(ids)
            if (labels != IGNORED).any():  # a short block is drawn again until it asks something
                return {"input_ids": ids[0].tolist(), "labels": labels[0].tolist()}


def _tokenised(records: Sequence[Record], job: Job) -> Tokenised:
    """Cut texts into blocks of the length, each with the tokenizer's own special tokens.

    Turns of a conversation are one text, with blank lines between them and without roles.
    """
    _require_mask(job.tokenizer)
    limit = min(job.config.train.max_length, job.tokenizer.model_max_length)
    special = {*job.tokenizer.all_special_ids}
    blocks: list[list[int]] = []
    for row, record in enumerate(records):
        cut = tokenise_plain(
            job.tokenizer,
            "\n\n".join(record.texts()),
            truncation=True,
            max_length=limit,
            return_overflowing_tokens=True,  # nothing is lost: the rest follows as more blocks
        ).input_ids
        found = [ids for ids in cut if not special.issuperset(ids)]
        if not found:
            fix = "remove the row, or choose a model that knows its characters"
            raise UserError(Problem(f"row {row}", "no token is left to learn from", fix=fix))
        blocks += found
    if not blocks and job.split == "train":
        fix = "look at data/prepared/report.json for what became of the rows"
        raise UserError(Problem("train split", "it holds no example", fix=fix))
    dataset = MaskedBlocks(job.tokenizer, blocks, job.config.train.seed)
    tokens = sum(map(len, blocks))
    return Tokenised(dataset, 0, tokens, round(SHARE * tokens))


def _require_mask(tokenizer: Any) -> None:
    if tokenizer.mask_token is not None and tokenizer.is_fast:
        return
    fix = "an encoder such as BERT, with a tokenizer.json; objective=pretrain for causal models"
    found = "a tokenizer without a token that hides others"
    raise UserError(Problem("model.model_name_or_path", found, fix=fix))


def _extras(start: Start) -> dict[str, Any]:
    return {
        "data_collator": collator(start.tokenizer, per_token=True),
        "compute_loss_func": loss_function(cross_entropy_sum, start),
        "compute_metrics": token_scores,
        "preprocess_logits_for_metrics": token_hits,
    }
