"""Names that a token-classification model of transformers finds, read from a local folder."""

from collections.abc import Iterator, Sequence
from multiprocessing import parent_process
from typing import Any

import regex

from .ner_labels import TAG, types_of
from .nlp_models import Model

WINDOW = 512  # tokens read at once, or fewer if the model was made for fewer
RESERVED = 2  # positions: RoBERTa and its kin count from 2, and so have two fewer than they state
OVERLAP = 4  # a window begins a quarter before the end of the one before
WINDOWS = 16  # read together: 16 windows of 512 tokens take about 1 GB of a base model
# Two characters of one word; some scripts have no blanks between words, and no parts of words.
INSIDE = regex.compile(
    r"(?V1)[[\p{L}\p{M}\p{N}]--[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]]{2}"
)

Found = tuple[str, int, int]


class TransformerReader:
    """Reads whole texts, in windows that overlap, so that nothing is cut off.

    Raises:
        ValueError: its tokenizer does not say where a token stands.
    """

    whole = True

    def __init__(self, model: Model) -> None:
        import torch
        from transformers import AutoModelForTokenClassification, AutoTokenizer
        from transformers.utils import logging as progress

        if parent_process() is not None:
            torch.set_num_threads(1)  # one of several processes, each of which has a core
        bars = progress.is_progress_bar_enabled()
        progress.disable_progress_bar()
        try:
            local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
            self._tokenizer = AutoTokenizer.from_pretrained(model.folder, use_fast=True, **local)
            loaded, loading = AutoModelForTokenClassification.from_pretrained(
                model.folder,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
                **local,
            )
        finally:
            if bars:
                progress.enable_progress_bar()
        if not self._tokenizer.is_fast:
            raise ValueError("the tokenizer has no offsets")
        if loading["missing_keys"] or loading["mismatched_keys"]:
            raise ValueError("the weights are not complete")
        self._model = loaded.eval()
        self._labels = {int(number): label for number, label in loaded.config.id2label.items()}
        self.types = types_of(self._labels.values())
        positions = getattr(loaded.config, "max_position_embeddings", None) or WINDOW + RESERVED
        self._window = min(WINDOW, self._tokenizer.model_max_length, positions - RESERVED)

    def read(self, texts: Sequence[str]) -> list[list[Found]]:
        """Return label, start and end of each entity of each text."""
        encoded = self._tokenizer(
            list(texts),
            truncation=True,
            max_length=self._window,
            stride=self._window // OVERLAP,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            return_special_tokens_mask=True,
            padding=False,
        )
        owners = encoded.pop("overflow_to_sample_mapping")
        offsets = encoded.pop("offset_mapping")
        special = encoded.pop("special_tokens_mask")
        found: list[set[Found]] = [set() for _ in texts]
        for first in range(0, len(owners), WINDOWS):
            part = slice(first, first + WINDOWS)
            numbers = self._classes({name: rows[part] for name, rows in encoded.items()})
            for owner, places, marks, row in zip(
                owners[part], offsets[part], special[part], numbers, strict=True
            ):
                tokens = [
                    (self._labels[number], start, end)
                    for number, (start, end), mark in zip(
                        row[: len(places)], places, marks, strict=True
                    )
                    if not mark and end > start
                ]
                found[owner].update(self._entities(texts[owner], tokens))
        return [sorted(some, key=lambda one: one[1:]) for some in found]

    def _classes(self, windows: dict[str, Any]) -> list[list[int]]:
        """Return the number of the best label of each token; what stands for padding comes last.

        Raises:
            ValueError: the weights overflow on this text.
        """
        import torch

        self._tokenizer.padding_side = "right"
        batch = self._tokenizer.pad(windows, return_tensors="pt")
        with torch.inference_mode():
            scores = self._model(**batch).logits
        if not bool(torch.isfinite(scores).all()):
            raise ValueError("the model's scores are no numbers")
        best: list[list[int]] = scores.argmax(dim=-1).tolist()
        return best

    def _entities(self, text: str, tokens: Sequence[Found]) -> Iterator[Found]:
        """Join tokens of one type into entities, each up to the ends of its words."""
        current: Found | None = None
        for label, start, end in tokens:
            if label not in self.types:
                if current:
                    yield _whole_words(text, current)
                current = None
            elif current and self._continues(text, current, label, start):
                current = (current[0], current[1], end)
            else:
                if current:
                    yield _whole_words(text, current)
                current = (label, start, end)
        if current:
            yield _whole_words(text, current)

    def _continues(self, text: str, current: Found, label: str, start: int) -> bool:
        """Return whether a token goes on with an entity; the rest of a word always does."""
        if self.types[label] != self.types[current[0]]:
            return False
        gap = text[current[2] : start]
        begins = TAG.match(label) is not None and label[0] in "BSU"
        return not gap or (not gap.strip() and not begins)


def _whole_words(text: str, entity: Found) -> Found:
    """Return an entity without blanks at its ends, with all of its first and last word."""
    label, start, end = entity
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    while start > 0 and INSIDE.fullmatch(text[start - 1 : start + 1]):
        start -= 1
    while end < len(text) and INSIDE.fullmatch(text[end - 1 : end + 1]):
        end += 1
    return label, start, end
