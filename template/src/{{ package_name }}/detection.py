"""Where identifiers stand in a text: the rules, then the NLP model for what is still open."""

import unicodedata
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from hashlib import blake2b
from typing import ParamSpec, TypeVar

from presidio_analyzer import AnalysisExplanation, RecognizerResult

from .language_model import NameModel, stretches
from .prefilter import Prefilter
from .recognizers import Rule, RuleRecognizer
from .spans import NER_SCORE, Span, is_kept, mentions, merge, without_placeholders
from .table_cells import table_cells
from .unfolding import unfold

P = ParamSpec("P")
T = TypeVar("T")
TABLE = "table column"  # rule name of what the heading of a column tells
TABLE_SCORE = 0.65  # below rules that keep companies (0.66), above the NLP model
CACHED_TEXTS = 4096  # whose spans are remembered: a few MB


class Detector:
    """Finds identifiers with rules and, if there is one, an NLP model.

    Args:
        rules: Rules of the packs.
        names: The NLP model.
        threshold: Findings below this score (0 to 1) are dropped.
        unwanted: Types that are not looked for.
    """

    def __init__(
        self,
        rules: Sequence[Rule],
        names: NameModel | None,
        threshold: float,
        unwanted: frozenset[str] = frozenset(),
    ) -> None:
        recognizers = [RuleRecognizer(rule) for rule in rules]
        self._patterns = [
            (recognizer, number)
            for rule, recognizer in zip(rules, recognizers, strict=True)
            for number in range(len(rule.patterns))
        ]
        self._prefilter = Prefilter([text for rule in rules for _, text, _ in rule.patterns])
        self._names = names
        self._threshold = threshold
        self._unwanted = unwanted
        self._keep = frozenset(rule.name for rule in rules if rule.keep)
        known = names.kinds if names else set()
        self._types = sorted({rule.type for rule in rules} | {"PERSON", "LOCATION"} | known)
        self._cache: OrderedDict[bytes, list[Span]] = OrderedDict()

    def detect(self, texts: Sequence[str]) -> list[list[Span] | str]:
        """Return for each text the spans to replace, or why they cannot be trusted.

        The spans are sorted and disjoint, and none lies inside a placeholder.
        """
        views = [unfold(text) for text in texts]
        flat = [flatten(view) for view, _ in views]
        digests = [blake2b(text.encode("utf-8", "surrogatepass")).digest() for text in flat]
        new = {
            digest: text
            for digest, text in zip(digests, flat, strict=True)
            if digest not in self._cache
        }
        found = dict(zip(new, self._detect(list(new.values())), strict=True))
        results: list[list[Span] | str] = []
        for digest in digests:
            if digest in self._cache:
                self._cache.move_to_end(digest)
                results.append(self._cache[digest])
            else:
                results.append(found[digest])
        self._remember(found)
        return [
            spans if isinstance(spans, str) else _in_text(spans, origins)
            for spans, (_, origins) in zip(results, views, strict=True)
        ]

    def _remember(self, found: dict[bytes, list[Span] | str]) -> None:
        for digest, spans in found.items():
            if not isinstance(spans, str):
                self._cache[digest] = spans
        while len(self._cache) > CACHED_TEXTS:
            self._cache.popitem(last=False)

    def _detect(self, texts: Sequence[str]) -> list[list[Span] | str]:
        by_rules = [_guarded(self._by_rules, text) for text in texts]
        names = self._by_model(texts, by_rules)
        return [
            rules
            if isinstance(rules, str)
            else more
            if isinstance(more, str)
            else _guarded(self._spans, text, [*rules, *more])
            for text, rules, more in zip(texts, by_rules, names, strict=True)
        ]

    def explain(self, text: str) -> list[tuple[Span, list[RecognizerResult]]]:
        """Return each span with the results that lie in it, the strongest first.

        Raises:
            Exception: whatever a recognizer raises; its message may quote the text.
        """
        view, origins = unfold(text)
        flat = flatten(view)
        results = self._by_rules(flat)
        if self._names:
            results += self._names.names([flat], [self._open(flat, results)])[0]
        results.sort(key=lambda one: (-one.score, one.start))
        spans = self._spans(flat, results)
        return [
            (shown, [one for one in results if one.start < span.end and span.start < one.end])
            for shown, span in zip(_in_text(spans, origins), spans, strict=True)
        ]

    def _by_rules(self, text: str) -> list[RecognizerResult]:
        """Return what the rules find above the threshold."""
        found = []
        for place in self._prefilter.possible(text):
            recognizer, number = self._patterns[place]
            found += recognizer.matches(text, number)
        found += _in_tables(text)
        return [one for one in found if one.score >= self._threshold]

    def _by_model(
        self, texts: Sequence[str], by_rules: Sequence[list[RecognizerResult] | str]
    ) -> list[list[RecognizerResult] | str]:
        """Return what the model finds beside the rules, or why it cannot be trusted."""
        if self._names is None:
            return [[] for _ in texts]
        places = [
            [] if isinstance(found, str) else self._open(text, found)
            for text, found in zip(texts, by_rules, strict=True)
        ]
        together = _guarded(self._names.names, texts, places)
        if not isinstance(together, str):
            return list(together)
        # One by one, to find whose fault it was.
        alone = [_guarded(self._names.names, [t], [p]) for t, p in zip(texts, places, strict=True)]
        return [one if isinstance(one, str) else one[0] for one in alone]

    def _open(self, text: str, found: Sequence[RecognizerResult]) -> list[tuple[int, int]]:
        """Return the parts of a text in which the model may find what the rules did not."""
        decided = [
            (one.start, one.end)
            for one in found
            if one.score > NER_SCORE and one.entity_type not in self._unwanted
        ]
        return stretches(text, decided)

    def _spans(self, text: str, results: Sequence[RecognizerResult]) -> list[Span]:
        """Return the spans to replace."""
        spans = [_span(one) for one in results]
        keep = [span for span in spans if span.rule in self._keep]
        found = [
            span
            for span in spans
            if span.rule not in self._keep
            and span.type not in self._unwanted
            and not is_kept(span, keep)
        ]
        found += [span for span in mentions(text, found) if not is_kept(span, keep)]
        return without_placeholders(text, merge(text, found), self._types)


def _guarded(work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T | str:
    """Return what `work` returns, or a description of its exception.

    Only the type is named: the message may quote the text.
    """
    try:
        return work(*arguments, **named)
    except Exception as error:
        return f"{type(error).__name__} while identifiers were looked for"


def _in_tables(text: str) -> list[RecognizerResult]:
    """Return what the headings of tables tell."""
    explanation = AnalysisExplanation(TABLE, TABLE_SCORE, TABLE)
    metadata = {RecognizerResult.RECOGNIZER_NAME_KEY: TABLE}
    return [
        RecognizerResult(kind, start, end, TABLE_SCORE, explanation, metadata)
        for kind, start, end in table_cells(text)
    ]


def _in_text(spans: Sequence[Span], origins: Sequence[int]) -> list[Span]:
    """Return spans of a view as spans of the text itself (see unfold)."""
    return [replace(span, start=origins[span.start], end=origins[span.end]) for span in spans]


def _span(result: RecognizerResult) -> Span:
    rule = result.recognition_metadata[RecognizerResult.RECOGNIZER_NAME_KEY]
    return Span(result.start, result.end, result.entity_type, round(result.score, 2), rule)


def flatten(text: str) -> str:
    """Return `text` with look-alike digits, dashes, quotes and blanks in their ASCII form.

    The length stays, so offsets into the result are offsets into `text`.
    """
    return text if text.isascii() else "".join(map(_flat_character, text))


@lru_cache(maxsize=4096)
def _flat_character(char: str) -> str:
    if char.isascii() or char == "\u2019":
        return char
    # The minus sign is no dash for Unicode, and stands for one in numbers.
    category = "Pd" if char == "\u2212" else unicodedata.category(char)
    if category == "Nd":
        return str(unicodedata.digit(char))
    if category in ("Pd", "Zs"):
        return "-" if category == "Pd" else " "
    plain = unicodedata.normalize("NFKC", char)
    return plain if len(plain) == 1 and plain.isascii() else char
