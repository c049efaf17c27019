"""Remove identifiers from text: presidio finds them, a policy replaces them.

Anything that makes the result doubtful raises: `ScrubError` for one text, `UserError` for the
run. No text is ever returned unscrubbed, and no message quotes a text.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import regex
from presidio_analyzer import RecognizerResult

from .detection import Detector, flatten
from .errors import Problem, UserError
from .language_model import NameModel
from .languages import applies, language_notices, language_problems
from .nlp_models import NO_MODEL, Model, find_model
from .policies import POLICIES, Mention
from .recognizers import Rule, load_rules
from .spans import Span
from .utils import sha256_json
from .vault import Replaced, Vault

__all__ = ["MAX_CHARACTERS", "ScrubError", "Scrubbed", "Scrubber", "flatten"]

MAX_CHARACTERS = 100_000  # spaCy's memory grows with the text; its own limit is 1,000,000
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
    """A text without its identifiers, and where they were.

    `replaced` is filled for the vault only; no message may show it.
    """

    text: str
    spans: tuple[Span, ...]
    replaced: tuple[Replaced, ...] = field(default=(), repr=False)


class Scrubber:
    """Finds and replaces identifiers with the rules of the packs and one NLP model.

    Args:
        recognizer_files: recognizers.yaml, allow.txt and deny.txt files, general pack first.
        languages: languages of the texts, codes of ISO 639-1.
        policy: row of POLICIES.
        nlp_model: installed spaCy package, folder of one, or `none` for patterns only.
        key: secret of the project, for policies that need one.
        score_threshold: findings below this score (0 to 1) are dropped.
        vault: keeps what is replaced, so that it can be restored.

    Attributes:
        fingerprint: hash of all that decides what is found and what takes its place.
        policy: its name.
        notices: what a user has to know: languages without rules, unknown weights.

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
        vault: Vault | None = None,
    ) -> None:
        _check_settings(languages, policy)
        self._key = key
        self.policy = policy
        self._policy = POLICIES[policy]
        self._vault = vault
        rules = load_rules(recognizer_files)
        model = None if nlp_model == NO_MODEL else find_model(nlp_model)
        self.notices = tuple(notices(rules, languages, model))
        rules = [
            replace(rule, keep=False) if rule.type in self._policy.also else rule
            for rule in rules
            if applies(rule.languages, languages)
        ]
        names = NameModel(model) if model and model.reads(languages) else None
        self._detector = Detector(rules, names, score_threshold, self._policy.keeps)
        self.fingerprint = sha256_json(
            {
                "rules": [repr(rule) for rule in rules],
                "languages": sorted(languages),
                "policy": policy,
                "threshold": score_threshold,
                "model": model.identity if model else NO_MODEL,
            }
        )

    def scrub(self, texts: Sequence[str], subjects: Sequence[str] | None = None) -> list[Scrubbed]:
        """Return one scrubbed text for each text, in their order; `subjects` as in scrub_each.

        Raises:
            ScrubError: the first text that cannot be trusted, by its position.
            UserError: the vault cannot be written.
        """
        results = self.scrub_each(texts, subjects)
        for result in results:
            if isinstance(result, ScrubError):
                raise result
        return [result for result in results if isinstance(result, Scrubbed)]

    def scrub_each(
        self, texts: Sequence[str], subjects: Sequence[str] | None = None
    ) -> list[Scrubbed | ScrubError]:
        """Return for each text its scrubbed form, or the reason why there is none.

        Args:
            texts: What is scrubbed.
            subjects: Whose text each is, as a keyed hash: dates of one subject move together.
                None: each text is a subject of its own.

        Raises:
            UserError: the vault cannot be written.
        """
        whose = texts if subjects is None else subjects
        faults = [_fault(text) for text in texts]
        sound = [text for text, fault in zip(texts, faults, strict=True) if not fault]
        found = iter(self._detector.detect(sound))
        results: list[Scrubbed | ScrubError] = []
        for index, fault in enumerate(faults):
            spans = fault or next(found)
            result = self._applied(texts[index], whose[index], spans)
            results.append(result if isinstance(result, Scrubbed) else ScrubError(index, result))
        if self._vault:
            whole = [result for result in results if isinstance(result, Scrubbed)]
            self._vault.add([(result.text, result.replaced) for result in whole])
        return results

    def explain(self, text: str) -> list[tuple[Span, list[RecognizerResult]]]:
        """Return each span of a text with what the rules and the model found there.

        Raises:
            ScrubError: the text cannot be trusted.
        """
        if fault := _fault(text):
            raise ScrubError(0, fault)
        try:
            return self._detector.explain(text)
        except Exception as error:
            raise ScrubError(0, f"{type(error).__name__} while it was explained") from None

    def _applied(self, text: str, subject: str, spans: Sequence[Span] | str) -> Scrubbed | str:
        """Return the text with each span replaced, or why it cannot be trusted."""
        if isinstance(spans, str):
            return spans
        try:
            return self._apply(text, subject, spans)
        except Exception as error:
            return f"{type(error).__name__} while identifiers were replaced"

    def _apply(self, text: str, subject: str, spans: Sequence[Span]) -> Scrubbed:
        parts: list[str] = []
        replaced: list[Replaced] = []
        position = length = 0
        for span in spans:
            assert position <= span.start < span.end <= len(text), "spans overlap or leave the text"
            mention = Mention(span.type, text[span.start : span.end], self._key, subject)
            new = self._policy.replacement(mention)
            parts += [text[position : span.start], new]
            length += span.start - position + len(new)
            replaced.append(Replaced(length - len(new), length, mention.text))
            position = span.end
        result = "".join(parts) + text[position:]
        return Scrubbed(result, tuple(spans), tuple(replaced) if self._vault else ())


def _fault(text: object) -> str:
    """Return why a value cannot be scrubbed at all, or an empty string."""
    if not isinstance(text, str):
        return f"expected text, found {type(text).__name__}"
    if len(text) > MAX_CHARACTERS:
        return f"over {MAX_CHARACTERS} characters"
    if INVISIBLE.search(text):
        return "control or invisible characters, which could split an identifier"
    return ""


def notices(rules: Sequence[Rule], languages: Sequence[str], model: Model | None) -> Iterator[str]:
    """Yield what a user has to know: languages without rules, unknown weights."""
    own = {code for rule in rules for code in rule.languages}
    if model:
        yield from model.notices
    if model and not model.language:  # one that reads all: only the rules may be lacking
        for code in languages:
            yield from language_notices([code], own, model.name, code)
        return
    name, reads = (model.name, model.language) if model else ("", None)
    yield from language_notices(languages, own, name, reads)


def _check_settings(languages: Sequence[str], policy: str) -> None:
    problems = list(language_problems(languages))
    if policy not in POLICIES:
        problems.append(Problem("scrub.policy", "no such policy", allowed=", ".join(POLICIES)))
    if problems:
        raise UserError(problems)
