"""Names that a GLiNER model finds, read from a local folder; the package gliner is optional."""

from collections.abc import Iterator, Sequence
from multiprocessing import parent_process
from typing import Any

from .ner_labels import GLINER_LABELS
from .nlp_models import Model

OVERLAP = 4  # a window begins a quarter before the end of the one before
THRESHOLD = 0.5  # gliner's own default
WINDOWS = 8  # read together: gliner's own default
MARGIN = 4  # tokens that a tokenizer adds at the ends of a text, positions that are not used
MANY = 1_000_000  # tokens: an encoder that counts none

Found = tuple[str, int, int]


class GlinerReader:
    """Reads whole texts, in windows that overlap: gliner drops what is beyond its longest text."""

    whole = True

    def __init__(self, model: Model) -> None:
        import torch
        from gliner import GLiNER

        if parent_process() is not None:
            torch.set_num_threads(1)  # one of several processes, each of which has a core
        self._model: Any = GLiNER.from_pretrained(
            str(model.folder), local_files_only=True, strict=True, map_location="cpu"
        )
        processor, config = self._model.data_processor, self._model.config
        self._split, self._tokenizer = processor.words_splitter, processor.transformer_tokenizer
        self._words = int(config.max_len)
        positions = getattr(config.encoder_config, "max_position_embeddings", None) or MANY
        # The labels stand before the text, each with a mark; what is left is for the text.
        asked = [piece for label in GLINER_LABELS for piece in (config.ent_token, *label.split())]
        room = min(self._tokenizer.model_max_length, positions) - MARGIN
        self._tokens = room - self._length([*asked, config.sep_token])
        self.types = dict(GLINER_LABELS)

    def read(self, texts: Sequence[str]) -> list[list[Found]]:
        """Return label, start and end of each entity of each text."""
        windows = [
            (number, start, end)
            for number, text in enumerate(texts)
            for start, end in self._windows(text)
        ]
        found: list[set[Found]] = [set() for _ in texts]
        if not windows:
            return [[] for _ in texts]
        parts = [texts[number][start:end] for number, start, end in windows]
        results = self._model.inference(
            parts, list(GLINER_LABELS), threshold=THRESHOLD, batch_size=WINDOWS
        )
        for (number, start, _), entities in zip(windows, results, strict=True):
            for one in entities:
                found[number].add((one["label"], start + one["start"], start + one["end"]))
        return [sorted(some, key=lambda one: one[1:]) for some in found]

    def _windows(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield the parts of a text, each short enough, that together hold every word."""
        words = [(start, end) for _, start, end in self._split(text)]
        step = max(1, self._words - self._words // OVERLAP)
        for first in range(0, len(words), step):
            yield from self._fitting(text, words[first : first + self._words])
            if first + self._words >= len(words):
                return

    def _fitting(self, text: str, words: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        """Yield a window, or its parts if it has too many tokens.

        Raises:
            ValueError: one word alone has too many.
        """
        start, end = words[0][0], words[-1][1]
        pieces = [piece for piece, _, _ in self._split(text[start:end])]
        if len(pieces) <= self._words and self._length(pieces) <= self._tokens:
            yield start, end
            return
        if len(words) < 2:
            raise ValueError("a word is too long for the model")
        middle, shared = len(words) // 2, len(words) // (2 * OVERLAP)
        yield from self._fitting(text, words[: middle + shared])
        yield from self._fitting(text, words[middle - shared :])

    def _length(self, words: Sequence[str]) -> int:
        """Return how many tokens the encoder makes of words."""
        encoded = self._tokenizer(
            list(words), is_split_into_words=True, add_special_tokens=False, truncation=False
        )
        return len(encoded["input_ids"])
