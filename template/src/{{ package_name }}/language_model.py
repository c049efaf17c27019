"""Names that an NLP model finds, of spaCy, transformers or GLiNER, for presidio.

A spaCy model reads only the stretches of a text that may hold a name, each with the words around
it that the model looks at, so that it finds what it would find in the whole text. The others look
at everything at once and find names without capitals, so they read whole texts.
"""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import regex
from presidio_analyzer import LocalRecognizer, RecognizerResult
from presidio_analyzer.nlp_engine import NlpArtifacts

from .errors import Problem, UserError
from .grammars import GRAMMARS, STOP_WORDS
from .ner_labels import PERSON, counts
from .nlp_models import SPACY, TRANSFORMERS, WHERE, Model
from .recognizers import LANGUAGE
from .spans import NER, NER_SCORE

# Words beside a stretch: spaCy's encoder sees 4 tokens to each side (depth 4, window 1), and a
# token is never longer than a word. One more for the state of the parser.
MARGIN = 5
LONG = 400  # words of a stretch; a longer one is read in parts that overlap by MARGIN
BATCH_CHARACTERS = 20_000  # read at once: memory grows with them, about 20 kB for each word
WORDS = regex.compile(r"\S+")
CAPITALISED = regex.compile(GRAMMARS["CAP"])
# A word that is worth reading for: no initial (what it belongs to is one), no AM or PM, and none
# that begins within another word. Half as much is read, and of 9,478 findings in 2,528 documents 6
# were others, of which none lost a name.
CANDIDATE = regex.compile(
    rf"(?<!\p{{L}})(?!(?:\p{{Lu}}|AM|PM)(?![\p{{L}}\p{{M}}'\u2019\-])){GRAMMARS['CAP']}"
)


@dataclass(frozen=True, slots=True)
class Entity:
    """What the model found, at offsets into the whole text; named as spaCy's Span."""

    label_: str
    start_char: int
    end_char: int


class Reader(Protocol):
    """A library with a model loaded.

    Attributes:
        whole: It wants whole texts, not stretches.
        types: Label -> type, of the labels that name an identifier.
    """

    whole: bool
    types: dict[str, str]

    def read(self, texts: Sequence[str]) -> list[list[tuple[str, int, int]]]:
        """Return label, start and end of each entity of each text."""
        ...


class NameRecognizer(LocalRecognizer):
    """What the NLP model found, less what cannot be an identifier.

    Args:
        types: That the model finds.
        shaped: A name has to look like one: capitalised, no code, no abbreviation, no label word.
            Small models take much else for a name.
    """

    WORD = CAPITALISED
    EDGES = regex.compile(
        rf"^(?:(?:the|{STOP_WORDS})[\s,]+)+|(?:[\s,]+(?:{STOP_WORDS}))+$|(?:['\u2019]s|[\s,.;:]+)$"
    )

    PUNCTUATION = regex.compile(r"^[\s,.;:]+|(?:['\u2019]s|[\s,.;:]+)$")

    def __init__(self, types: set[str], shaped: bool) -> None:
        self._shaped = shaped
        self._edges = self.EDGES if shaped else self.PUNCTUATION
        super().__init__(supported_entities=sorted(types), name=NER)

    def load(self) -> None:
        """Do nothing: the model belongs to the NLP engine."""

    def analyze(
        self, text: str, entities: list[str], nlp_artifacts: NlpArtifacts
    ) -> list[RecognizerResult]:
        """Return one result for each plausible line of each entity of the model."""
        results = []
        for entity in nlp_artifacts.entities:
            if entity.label_ not in entities:
                continue
            for start, end in self._lines(text, entity.start_char, entity.end_char):
                if self._plausible(text[start:end], entity.label_):
                    metadata = {RecognizerResult.RECOGNIZER_NAME_KEY: NER}
                    results.append(
                        RecognizerResult(
                            entity.label_, start, end, NER_SCORE, recognition_metadata=metadata
                        )
                    )
        return results

    def _lines(self, text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Split an entity at line ends and tabs, and trim what is no part of it."""
        for part in regex.finditer(r"[^\n\t|]+", text[start:end]):
            left, right = part.span()
            while edge := self._edges.search(text[start + left : start + right]):
                if edge.end() == edge.start():
                    break
                left, right = (
                    (left + edge.end(), right) if edge.start() == 0 else (left, left + edge.start())
                )
            if right > left:
                yield start + left, start + right

    def _plausible(self, text: str, label: str) -> bool:
        """Return whether an entity is an identifier, and looks like a name if it has to."""
        if not self._shaped:
            return counts(label, text)
        if regex.search(r"[<>*_@=\[\]{}]|\d", text) and label == "PERSON":
            return False
        if not self.WORD.search(text):
            return False
        return not (label == "PERSON" and regex.fullmatch(r"\p{Lu}{1,5}|\p{Ll}.*", text))


class NameModel:
    """A loaded model.

    Raises:
        UserError: the files are damaged, or the model does not know persons.
    """

    def __init__(self, model: Model) -> None:
        with silence():
            try:
                self._reader = _reader(model)
            except Exception as error:  # whatever a damaged file makes of itself
                found = f"cannot be loaded ({type(error).__name__})"
                raise UserError(Problem(WHERE, found, fix="install the model again")) from None
        self._types = self._reader.types
        if PERSON not in self._types.values():
            raise UserError(Problem(WHERE, "the model finds no persons", "labels PERSON or PER"))
        self._recognizer = NameRecognizer(self.kinds, shaped=model.kind == SPACY)

    @property
    def kinds(self) -> set[str]:
        """Types of identifiers that the model finds."""
        return set(self._types.values())

    def names(
        self, texts: Sequence[str], stretches: Sequence[Sequence[tuple[int, int]]]
    ) -> list[list[RecognizerResult]]:
        """Return the names in each text, of which only the stretches are read, or all of it."""
        if self._reader.whole:
            stretches = [[(0, len(text))] if text.strip() else [] for text in texts]
        places = [(index, *one) for index, some in enumerate(stretches) for one in some]
        entities: list[list[Entity]] = [[] for _ in texts]
        for batch in _batches(places):
            parts = [texts[index][start:end] for index, start, end in batch]
            for (index, start, _), found in zip(batch, self._read(parts), strict=True):
                entities[index] += [Entity(kind, start + a, start + b) for kind, a, b in found]
        kinds = sorted(self.kinds)
        return [
            self._recognizer.analyze(text, kinds, _artifacts(found)) if found else []
            for text, found in zip(texts, entities, strict=True)
        ]

    def _read(self, parts: Sequence[str]) -> list[list[tuple[str, int, int]]]:
        """Return type, start and end of each entity of each part."""
        with silence():
            return [
                [(self._types[label], a, b) for label, a, b in found if label in self._types]
                for found in self._reader.read(parts)
            ]


def _reader(model: Model) -> Reader:
    """Load a model with the library that reads it; each is imported only when it is needed."""
    if model.kind == SPACY:
        from .spacy_names import SpacyReader

        return SpacyReader(model)
    if model.kind == TRANSFORMERS:
        from .transformer_names import TransformerReader

        return TransformerReader(model)
    from .gliner_names import GlinerReader

    return GlinerReader(model)


@contextmanager
def silence() -> Iterator[None]:
    """Let nobody log or warn: a library's message may quote the text that it reads."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _artifacts(entities: list[Entity]) -> NlpArtifacts:
    none: list[str] = []
    return NlpArtifacts(entities, none, [], none, None, LANGUAGE)  # type: ignore[arg-type]


def stretches(text: str, decided: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the parts of a text that may hold a name which is not known yet.

    Args:
        text: The text.
        decided: Parts about which a rule has decided.
    """
    free = bytearray(b"\1") * len(text)
    for start, end in decided:
        free[start:end] = bytes(end - start)
    starts = [match.start() for match in CANDIDATE.finditer(text)]
    starts = [start for start in starts if free[start]]
    if not starts:
        return []
    words = [match.span() for match in WORDS.finditer(text)]
    found: list[list[int]] = []
    number = 0
    for start in starts:
        while words[number][1] <= start:
            number += 1
        first, last = max(0, number - MARGIN), min(len(words) - 1, number + MARGIN)
        if found and first <= found[-1][1] + 1:
            found[-1][1] = last
        else:
            found.append([first, last])
    return [
        (words[part][0], words[min(part + LONG, last)][1])
        for first, last in found
        for part in range(first, max(first, last - 2 * MARGIN) + 1, LONG - 2 * MARGIN)
    ]


def _batches(places: Sequence[tuple[int, int, int]]) -> Iterator[list[tuple[int, int, int]]]:
    """Yield the stretches in groups of limited length."""
    batch: list[tuple[int, int, int]] = []
    size = 0
    for place in places:
        if batch and size + place[2] - place[1] > BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
        batch.append(place)
        size += place[2] - place[1]
    if batch:
        yield batch
