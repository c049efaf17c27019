"""Contrastive learning of images and texts: two encoders, one space.

Every image of a batch is compared with every text of it, and the loss is the cross entropy of the
pairs in both directions under a learned temperature (CLIP, arXiv 2103.00020, figure 3 and section
2.3). The other pairs of the micro batch are the only negatives: accumulation adds none.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .data_loader import check_dropped
from .errors import Problem, UserError
from .image_input import image_files
from .images import open_image
from .plain_tokens import tokenise_plain
from .records import Record
from .training import Job, Start, Tokenised, Training

LARGEST_SCALE = math.log(100)  # of the logits, as in the paper
RANKS = (1, 5)
ROWS = 256  # of the table of similarities at a time


def pairs() -> Training:
    """Learn which text fits which image (objective contrastive)."""
    return Training(_tokenised, _classes, _extras, recalls, show=_shown)


def _tokenised(records: Sequence[Record], job: Job) -> Tokenised:
    from datasets import Dataset

    tokenizer = job.tokenizer.tokenizer
    limit = min(job.config.train.max_length, int(tokenizer.model_max_length))
    files = image_files(job.config, records)
    rows, dropped = [], 0
    for record in records:
        ids = tokenise_plain(tokenizer, record.text)["input_ids"]
        if len(ids) > limit:
            dropped += 1
            continue
        key = record.image_keys[0]
        rows.append({"input_ids": ids, "path": str(files[key]), "key": key})
    check_dropped(dropped, len(records), limit, job.split)
    if job.split == "train" and len(rows) < 2:
        raise UserError(Problem("train split", f"{len(rows)} pairs", "at least 2 pairs"))
    tokens = sum(len(row["input_ids"]) for row in rows)
    return Tokenised(Dataset.from_list(rows), dropped, tokens, tokens)


def _shown(tokenizer: Any, example: dict[str, Any]) -> list[str]:
    heading = "First text, beside its image; no token carries loss: whole examples are compared"
    return [heading, *(f"{id_:7d} {tokenizer.decode([id_])!r}" for id_ in example["input_ids"])]


def _classes() -> tuple[Any, Any]:
    import torch
    from transformers import Trainer, TrainingArguments

    class ContrastiveTrainer(Trainer):
        """Takes the loss that the model itself computes for a batch of pairs."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.can_return_loss = True  # without labels, in validation as well
            pairs: Any = self.train_dataset
            check_batch(self.args.per_device_train_batch_size, len(pairs))

        def compute_loss(
            self,
            model: Any,
            inputs: dict[str, Any],
            return_outputs: bool = False,
            num_items_in_batch: Any = None,  # noqa: ARG002 - of labels, which pairs lack
        ) -> Any:
            scale = self.accelerator.unwrap_model(model).logit_scale
            with torch.no_grad():
                scale.clamp_(max=LARGEST_SCALE)
            outputs = model(**inputs, return_loss=True)
            return (outputs.loss, outputs) if return_outputs else outputs.loss

        def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
            # Only training leaves a last batch out that is too small; every pair is validated.
            self.args.dataloader_drop_last = False
            try:
                return super().get_eval_dataloader(eval_dataset)
            finally:
                self.args.dataloader_drop_last = True

    return ContrastiveTrainer, TrainingArguments


def check_batch(micro: int, examples: int) -> None:
    """Refuse batches in which a pair has nothing to be told apart from.

    Raises:
        UserError: a micro batch has one pair, or the training split does not fill one.
    """
    where = "train.per_device_train_batch_size"
    if micro < 2:
        found = "1 pair at a time: its loss is zero, because there is no other text or image"
        raise UserError(Problem(where, found, "at least 2", "set it, with more memory if needed"))
    if examples < micro:
        found = f"{micro} pairs at a time, and the training split has {examples}"
        raise UserError(Problem(where, found, f"at most {examples}", "set it, or add pairs"))


def _extras(start: Start) -> dict[str, Any]:
    return {"data_collator": PairCollator(start.tokenizer)}


class PairCollator:
    """Opens the images of a batch and pads its texts; nothing is kept on the disk."""

    def __init__(self, processor: Any) -> None:
        self._processor = processor

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Return input_ids and attention_mask (batch, length), pixel_values (batch, 3, h, w)."""
        texts = self._processor.tokenizer.pad(
            {"input_ids": [row["input_ids"] for row in rows]}, return_tensors="pt"
        )
        images = [open_image(Path(row["path"])) for row in rows]
        pixels = self._processor.image_processor(images, return_tensors="pt")["pixel_values"]
        return {**texts, "pixel_values": pixels}


def recalls(trainer: Any, dataset: Any) -> dict[str, float]:
    """Return how often the partner of an image or a text is among the first 1 or 5 of a split.

    An image with several texts is one image, and each of its texts is right.

    Returns:
        image_to_text_recall@k and text_to_image_recall@k as fractions, and `loss`, the mean
        over batches of the size of training.
    """
    import torch

    images, texts, losses, sizes = [], [], [], []
    model = trainer.model
    training, _ = model.training, model.eval()
    with torch.no_grad():
        for batch in _batches(dataset, trainer.args.per_device_eval_batch_size):
            inputs = trainer.data_collator(batch)
            inputs = {name: value.to(model.device) for name, value in inputs.items()}
            found = model(**inputs, return_loss=True)
            images.append(found.image_embeds)  # (batch, width), of length 1
            texts.append(found.text_embeds)  # (batch, width), of length 1
            losses.append(found.loss.item())
            sizes.append(len(batch))
    model.train(training)
    loss = sum(a * b for a, b in zip(losses, sizes, strict=True)) / sum(sizes)
    keys = list(dataset["key"])
    return {"loss": loss, **ranked(torch.cat(images), torch.cat(texts), keys)}


def ranked(images: Any, texts: Any, keys: Sequence[str]) -> dict[str, float]:
    """Return recall@k both ways of vectors of length 1.

    Args:
        images: (pairs, width); equal for pairs with one key.
        texts: (pairs, width).
        keys: of the image of each pair.
    """
    import torch

    names = list(dict.fromkeys(keys))
    first = [keys.index(name) for name in names]
    owner = torch.tensor([names.index(key) for key in keys])  # (pairs,) -> image
    table = (images[first] @ texts.T).cpu()  # (images, pairs)
    right = owner[None] == torch.arange(len(names))[:, None]  # (images, pairs)
    result = {}
    for k in RANKS:
        near = _among_first(table, right, k)
        result[f"image_to_text_recall@{k}"] = near
        result[f"text_to_image_recall@{k}"] = _among_first(table.T, right.T, k)
    return result


def _among_first(table: Any, right: Any, k: int) -> float:
    """Return the share of rows with a right column among their k best."""
    hits = 0
    for start in range(0, len(table), ROWS):
        part = table[start : start + ROWS]
        best = part.topk(min(k, part.shape[1]), dim=1).indices  # (rows, k)
        hits += int(right[start : start + ROWS].gather(1, best).any(dim=1).sum())
    return hits / len(table)


def _batches(dataset: Any, size: int) -> Iterator[list[dict[str, Any]]]:
    rows = list(dataset)
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
