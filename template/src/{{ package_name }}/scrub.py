"""Remove identifiers from text: presidio finds them, a policy replaces them.

Anything that makes the result doubtful raises: `ScrubError` for one text, `UserError` for the
run. No text is ever returned unscrubbed, and no message quotes a text.
"""

import logging
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import regex
from presidio_analyzer import (
    AnalyzerEngine,
    EntityRecognizer,
    RecognizerRegistry,
    RecognizerResult,
)
from presidio_analyzer.context_aware_enhancers import ContextAwareEnhancer
from presidio_analyzer.nlp_engine import NlpArtifacts, NlpEngine

from .errors import Problem, UserError
from .language_model import NO_MODEL, NameRecognizer, find_model, load_engine
from .policies import POLICIES, Mention
from .recognizers import LANGUAGE, RuleRecognizer, load_rules
from .spans import Span, is_kept, mentions, merge, without_placeholders

MAX_CHARACTERS = 100_000  # spaCy's memory grows with the text; its own limit is 1,000,000
BATCH_SIZE = 64
# Control characters, and invisible ones inside a word or number (soft hyphen, zero-width space
# and joiners, word joiner, byte order mark), as exports from PDF and word processors hold them.
INVISIBLE = regex.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"
    r"|(?<=[-A-Za-z0-9@.+()/_])[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f"
    r"\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff]+"
    r"(?=[-A-Za-z0-9@.+()/_])"
)


class ScrubError(Exception):
    """One text cannot be scrubbed; `index` is its position in the texts that were given."""

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(f"text {index}: {reason}")
        self.index = index
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """A text without its identifiers, and where they were."""

    text: str
    spans: tuple[Span, ...]


class _NoContext(ContextAwareEnhancer):
    """Context is the rules' own business (RuleRecognizer): presidio's needs lemmas."""

    def __init__(self) -> None:
        super().__init__(0.0, 0.0, 0, 0)

    def enhance_using_context(
        self,
        text: str,  # noqa: ARG002 - the signature is presidio's
        raw_results: list[RecognizerResult],
        nlp_artifacts: NlpArtifacts,  # noqa: ARG002
        recognizers: list[EntityRecognizer],  # noqa: ARG002
        context: list[str] | None = None,  # noqa: ARG002
    ) -> list[RecognizerResult]:
        """Return the results as they are."""
        return raw_results


class Scrubber:
    """Finds and replaces identifiers with the rules of the packs and one NLP model.

    Args:
        recognizer_files: recognizers.yaml, allow.txt and deny.txt files, general pack first.
        languages: languages of the texts; the rules are written for English.
        policy: row of POLICIES.
        nlp_model: installed spaCy package, folder of one, or `none` for patterns only.
        key: secret of the project, for policies that need one.
        score_threshold: findings below this score (0 to 1) are dropped.

    Raises:
        UserError: a rule, the model, the policy or a language is not usable.
    """

    def __init__(
        self,
        recognizer_files: Sequence[Path],
        languages: Sequence[str],
        policy: str,
        nlp_model: str,
        key: bytes,
        score_threshold: float = 0.35,
    ) -> None:
        _check_settings(languages, policy)
        rules = load_rules(recognizer_files)
        self._key = key
        self._policy = POLICIES[policy]
        self._threshold = score_threshold
        self._keep = frozenset(rule.name for rule in rules if rule.keep)
        model = None if nlp_model == NO_MODEL else find_model(nlp_model)
        self._nlp = load_engine(model)
        self._analyzer = _build_analyzer(self._nlp, [RuleRecognizer(rule) for rule in rules])
        self._types = self._analyzer.get_supported_entities(LANGUAGE)

    def scrub(self, texts: Sequence[str]) -> list[Scrubbed]:
        """Return one scrubbed text for each text, in their order.

        Raises:
            ScrubError: the first text that cannot be trusted, by its position.
        """
        results = self.scrub_each(texts)
        for result in results:
            if isinstance(result, ScrubError):
                raise result
        return [result for result in results if isinstance(result, Scrubbed)]

    def scrub_each(self, texts: Sequence[str]) -> list[Scrubbed | ScrubError]:
        """Return for each text its scrubbed form, or the reason why there is none."""
        faults = {index: fault for index, text in enumerate(texts) if (fault := _fault(text))}
        sound = [text for index, text in enumerate(texts) if index not in faults]
        flat = [flatten(text) for text in sound]
        done = iter(
            [self._one(*row) for row in zip(sound, flat, self._artifacts(flat), strict=True)]
        )
        results: list[Scrubbed | ScrubError] = []
        for index in range(len(texts)):
            result = faults[index] if index in faults else next(done)
            results.append(result if isinstance(result, Scrubbed) else ScrubError(index, result))
        return results

    def _artifacts(self, texts: Sequence[str]) -> list[NlpArtifacts | str]:
        """Run the NLP model over all texts at once; after a failure, one by one to find whose."""
        try:
            batch = self._nlp.process_batch(texts, LANGUAGE, batch_size=BATCH_SIZE)
            return [artifacts for _, artifacts in batch]
        except Exception as error:
            if len(texts) == 1:
                return [_withheld(error)]
            return [self._artifacts([text])[0] for text in texts]

    def _one(self, text: str, flat: str, artifacts: NlpArtifacts | str) -> Scrubbed | str:
        """Return the scrubbed text, or why it cannot be trusted."""
        if isinstance(artifacts, str):
            return artifacts
        try:
            spans = self._spans(flat, artifacts)
            return Scrubbed(self._apply(text, spans), tuple(spans))
        except Exception as error:
            return _withheld(error)

    def _spans(self, text: str, artifacts: NlpArtifacts) -> list[Span]:
        """Return the spans to replace: sorted, disjoint, none of them inside a placeholder."""
        results = self._analyzer.analyze(
            text,
            LANGUAGE,
            entities=self._types,
            nlp_artifacts=artifacts,
            score_threshold=self._threshold,
        )
        spans = [_span(result) for result in results]
        keep = [span for span in spans if span.rule in self._keep]
        found = [span for span in spans if span.rule not in self._keep]
        found = [span for span in found if not is_kept(span, keep)]
        found += [span for span in mentions(text, found) if not is_kept(span, keep)]
        return without_placeholders(text, merge(text, found), self._types)

    def _apply(self, text: str, spans: Sequence[Span]) -> str:
        """Return `text` with each span replaced by the policy."""
        parts, position = [], 0
        for span in spans:
            assert position <= span.start < span.end <= len(text), "spans overlap or leave the text"
            mention = Mention(span.type, text[span.start : span.end], self._key)
            parts += [text[position : span.start], self._policy.replacement(mention)]
            position = span.end
        return "".join(parts) + text[position:]


def _fault(text: object) -> str:
    """Return why a value cannot be scrubbed at all, or an empty string."""
    if not isinstance(text, str):
        return f"expected text, found {type(text).__name__}"
    if len(text) > MAX_CHARACTERS:
        return f"over {MAX_CHARACTERS} characters"
    if INVISIBLE.search(text):
        return "control or invisible characters, which could split an identifier"
    return ""


def _withheld(error: Exception) -> str:
    """Describe an exception by its type only: its message may quote the text."""
    return f"{type(error).__name__} while identifiers were looked for"


def flatten(text: str) -> str:
    """Return `text` with look-alike digits, dashes, quotes and blanks in their ASCII form.

    The length stays, so offsets into the result are offsets into `text`.
    """
    return text if text.isascii() else "".join(map(_flat_character, text))


@lru_cache(maxsize=4096)
def _flat_character(char: str) -> str:
    if char.isascii() or char == "\u2019":
        return char
    category = unicodedata.category(char)
    if category == "Nd":
        return str(unicodedata.digit(char))
    if category in ("Pd", "Zs"):
        return "-" if category == "Pd" else " "
    plain = unicodedata.normalize("NFKC", char)
    return plain if len(plain) == 1 and plain.isascii() else char


def _build_analyzer(engine: NlpEngine, recognizers: Sequence[RuleRecognizer]) -> AnalyzerEngine:
    """Return presidio's analyzer with our rules only: no default recognizer, no network."""
    logging.getLogger("presidio-analyzer").setLevel(logging.ERROR)
    registry = RecognizerRegistry(
        recognizers=[NameRecognizer(), *recognizers], supported_languages=[LANGUAGE]
    )
    return AnalyzerEngine(
        registry=registry,
        nlp_engine=engine,
        supported_languages=[LANGUAGE],
        context_aware_enhancer=_NoContext(),
    )


def _check_settings(languages: Sequence[str], policy: str) -> None:
    problems = []
    if unknown := [str(language) for language in languages if language != LANGUAGE]:
        found = f"no rules for {', '.join(unknown)}"
        problems.append(Problem("scrub.languages", found, allowed=LANGUAGE))
    if not languages:
        problems.append(Problem("scrub.languages", "is empty", allowed=LANGUAGE))
    if policy not in POLICIES:
        problems.append(Problem("scrub.policy", "no such policy", allowed=", ".join(POLICIES)))
    if problems:
        raise UserError(problems)


def _span(result: RecognizerResult) -> Span:
    rule = result.recognition_metadata[RecognizerResult.RECOGNIZER_NAME_KEY]
    return Span(result.start, result.end, result.entity_type, round(result.score, 2), rule)
