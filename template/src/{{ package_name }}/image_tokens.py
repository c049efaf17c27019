"""How many tokens an image takes in a text: the processor says it, by the size of the image."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from .images import image_size

PATHS = "paths"  # column of examples: files of the images, in the order of their tokens


def expansion(processor: Any, path: Path) -> list[int]:
    """Return the token ids that stand for an image."""
    return list(_of_size(processor, image_size(path)))


@lru_cache(maxsize=4096)
def _of_size(processor: Any, size: tuple[int, int]) -> tuple[int, ...]:
    from PIL import Image

    blank = Image.new("RGB", size)
    made = processor(text=[processor.image_token], images=[[blank]], add_special_tokens=False)
    return tuple(made["input_ids"][0])


def expand(
    ids: Sequence[int], labels: Sequence[int], image_token: int, images: Sequence[Sequence[int]]
) -> tuple[list[int], list[int]] | None:
    """Return ids and labels with the tokens of an image in place of each mark of one.

    None: there are more or fewer marks than images.

    Args:
        ids: of a conversation, with one `image_token` for each image.
        labels: of the same length; those of image tokens do not carry loss.
        image_token: id of the mark.
        images: ids of each image, in order.
    """
    if list(ids).count(image_token) != len(images):
        return None
    rest = iter(images)
    new_ids: list[int] = []
    new_labels: list[int] = []
    for token, label in zip(ids, labels, strict=True):
        inner = next(rest) if token == image_token else [token]
        new_ids += inner
        new_labels += [label] * len(inner)
    return new_ids, new_labels
