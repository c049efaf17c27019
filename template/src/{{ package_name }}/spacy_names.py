"""Names that a spaCy model finds; only entity recognition and what it builds on is loaded."""

from collections.abc import Sequence

import spacy
from spacy.language import Language
from thinc.api import use_ops
from threadpoolctl import ThreadpoolController

from .greedy_ner import GreedyNer
from .ner_labels import types_of
from .nlp_models import Model

OTHER_PIPES = ("tok2vec", "tagger", "parser", "senter", "attribute_ruler", "lemmatizer")


class SpacyReader:
    """Reads stretches of texts with a spaCy model."""

    whole = False  # the encoder sees a few words to each side, so stretches are enough

    def __init__(self, model: Model) -> None:
        # numpy's BLAS is two to three times as fast as spaCy's own on these matrices.
        with use_ops("numpy", use_blis=False):
            self._nlp: Language = spacy.load(model.folder, exclude=_not_needed(model))
        self.types = types_of(self._nlp.pipe_labels.get("ner", ()))
        self._greedy = GreedyNer(self._nlp) if GreedyNer.suits(self._nlp) else None
        self._threads = ThreadpoolController().select(user_api="blas")

    def read(self, texts: Sequence[str]) -> list[list[tuple[str, int, int]]]:
        """Return label, start and end of each entity of each text."""
        # What the vocabulary learns from these texts is forgotten again: it would only grow.
        # A second thread gains nothing on matrices of this size, and takes another process's core.
        with self._threads.limit(limits=1), self._nlp.memory_zone():
            if self._greedy is None:
                docs = list(self._nlp.pipe(texts, batch_size=len(texts)))
                return [
                    [(one.label_, one.start_char, one.end_char) for one in d.ents] for d in docs
                ]
            docs = [self._nlp.make_doc(text) for text in texts]
            return [
                [
                    (label, doc[start].idx, doc[end - 1].idx + len(doc[end - 1]))
                    for label, start, end in found
                    if label in self.types
                ]
                for doc, found in zip(docs, self._greedy.entities(docs), strict=True)
            ]


def _not_needed(model: Model) -> list[str]:
    """Return the pipes that entity recognition does not build on."""
    config = spacy.util.load_config(model.folder / "config.cfg")
    source = config["components"]["ner"]["model"]["tok2vec"]["@architectures"]
    return [pipe for pipe in OTHER_PIPES if pipe != "tok2vec" or "Listener" not in source]
