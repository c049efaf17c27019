"""Conversations with images: examples for a language model that sees, and its batches."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .data_loader import check_dropped, check_present, label_conversation, with_system
from .errors import Problem, UserError
from .few_shot import SETTING as FEW_SHOT
from .image_input import image_files
from .image_tokens import PATHS, expand, expansion
from .images import open_image
from .message_parts import words_of
from .objectives import IGNORED
from .records import Record
from .training import Job, Start, Tokenised

PREFIXES = ("pixel_", "image_")  # of what processors make of images


def tokenise_images(records: Sequence[Record], job: Job) -> Tokenised:
    """Turn conversations with or without images into examples with labels.

    The text is rendered as everywhere, with one token for an image, which then becomes as many
    as the processor uses for an image of that size. Images stay files until a batch is made.

    Raises:
        UserError: the model reads no images, images are gone, marks and images differ in number,
            too many examples are too long, or solved examples are asked for.
    """
    from datasets import Dataset

    processor = job.tokenizer
    if words_of(processor) is processor:
        found = "rows have images, and this model or objective reads text only"
        fix = "choose a vision-language model with objective sft or chat, or rows without images"
        raise UserError(Problem("model.model_name_or_path", found, fix=fix))
    if job.examples:
        found = "a model that reads images is not shown solved examples"
        raise UserError(Problem(FEW_SHOT, found, fix=f"{FEW_SHOT}=0"))
    files, limit = image_files(job.config, records), job.config.train.max_length
    examples: list[dict[str, Any]] = []
    dropped = 0
    for row, record in enumerate(records):
        paths = [files[key] for key in record.image_keys]
        ids, labels = _example(processor, record, job.prompt, row, paths)
        if len(ids) > limit:
            dropped += 1
            continue
        examples.append({"input_ids": ids, "labels": labels, PATHS: [str(path) for path in paths]})
    check_dropped(dropped, len(records), limit, job.split)
    check_present(len(examples), job.split)
    tokens = sum(len(one["input_ids"]) for one in examples)
    learned = sum(label != IGNORED for one in examples for label in one["labels"])
    return Tokenised(Dataset.from_list(examples), dropped, tokens, learned)


def _example(
    processor: Any, record: Record, prompt: str, row: int, paths: Sequence[Path]
) -> tuple[list[int], list[int]]:
    ids, labels = label_conversation(processor, with_system(record.messages, prompt), row)
    images = [expansion(processor, path) for path in paths]
    expanded = expand(ids, labels, processor.image_token_id, images)
    if expanded is None:
        found = f"{len(paths)} images, and another number of places for them in the text"
        fix = "take the model's image token out of the texts, or use a template that shows images"
        raise UserError(Problem(f"row {row}", found, fix=fix))
    return expanded


def image_extras(start: Start) -> dict[str, Any]:
    """Return the collator of a model that reads images; nothing for others."""
    if words_of(start.tokenizer) is start.tokenizer:
        return {}
    return {"data_collator": ImageCollator(start.tokenizer)}


class ImageCollator:
    """Pads conversations and opens their images; rows with and without images go together."""

    def __init__(self, processor: Any) -> None:
        self._processor = processor

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Return input_ids, attention_mask, labels (batch, length) and the images of all rows.

        The images stand in one list, in the order of their tokens in the batch.
        """
        import torch
        from torch.nn.utils.rnn import pad_sequence

        def padded(lists: list[list[int]], value: int) -> Any:
            tensors = [torch.tensor(one) for one in lists]
            return pad_sequence(tensors, batch_first=True, padding_value=value)

        ids = [row["input_ids"] for row in rows]
        batch = {
            "input_ids": padded(ids, self._processor.tokenizer.pad_token_id),
            "attention_mask": padded([[1] * len(one) for one in ids], 0),
            "labels": padded([row["labels"] for row in rows], IGNORED),
        }
        images = [open_image(Path(path)) for row in rows for path in row.get(PATHS) or ()]
        if not images:
            return batch
        made = self._processor(
            text=[self._processor.image_token * len(images)],
            images=[images],
            add_special_tokens=False,
            return_tensors="pt",
        )
        return batch | inputs_of_images(made)


def inputs_of_images(inputs: Any) -> dict[str, Any]:
    """Return those of a model's inputs that hold images."""
    return {name: value for name, value in inputs.items() if name.startswith(PREFIXES)}
