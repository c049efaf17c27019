"""What was found in a text: which findings count, where a name stands again, how they join."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import regex

from .grammars import STOP_WORDS
from .policies import PLACEHOLDER

NER = "ner"  # rule name of what the NLP model found
NER_SCORE = 0.6  # below rules with a label (0.9) and keep rules (0.62 up), above the threshold
WORD = regex.compile(r"\p{L}[\p{L}\p{M}]+")
MAIL_NAME = regex.compile(r"(?<![\w.])(\p{L}{2,20})[._](\p{L}{2,20})\d{0,4}@")
UNCASED = regex.compile(r"[\p{Lo}\p{Lm}\p{M}\u00b7 ]+")
STOPPED = frozenset(STOP_WORDS.lower().split("|"))


@dataclass(frozen=True, slots=True)
class Span:
    """One identifier: offsets into the original text, type, score and the rule that found it."""

    start: int
    end: int
    type: str
    score: float
    rule: str


def is_kept(span: Span, keep: Sequence[Span]) -> bool:
    """Return whether a stronger keep rule covers a finding, or touches one of the NLP model."""
    return any(
        row.score > span.score
        and row.start < span.end
        and span.start < row.end
        and (span.rule == NER or (row.start <= span.start and span.end <= row.end))
        for row in keep
    )


def mentions(text: str, found: Sequence[Span]) -> Iterator[Span]:
    """Yield every mention of a word of the persons found, as it was or in capitals.

    One word that only the NLP model calls a person is too weak to be looked for elsewhere.
    """
    words: set[str] = set()
    for span in found:
        if span.type == "PERSON":
            parts = WORD.findall(text[span.start : span.end])
            if span.rule != NER or len(parts) > 1:
                words.update(parts)
    yield from _uncased(text, found)
    lowered = text.lower()
    for match in MAIL_NAME.finditer(text):
        if f"{match[1]} {match[2]}".lower() in lowered:
            words.update((match[1].capitalize(), match[2].capitalize()))
    names = {word for word in words if len(word) > 2 and word.lower() not in STOPPED}
    names |= {word.upper() for word in names}
    for match in WORD.finditer(text) if names else ():
        if match[0] in names and match[0][0].isupper():
            yield Span(match.start(), match.end(), "PERSON", NER_SCORE, "mention")


def _uncased(text: str, found: Sequence[Span]) -> Iterator[Span]:
    """Yield every other place of a name in a script without capitals and without blanks."""
    names = {text[span.start : span.end] for span in found if span.type == "PERSON"}
    for name in sorted(name for name in names if len(name) > 1 and UNCASED.fullmatch(name)):
        at = text.find(name)
        while at >= 0:
            yield Span(at, at + len(name), "PERSON", NER_SCORE, "mention")
            at = text.find(name, at + len(name))


def merge(text: str, found: Sequence[Span]) -> list[Span]:
    """Join overlapping findings; the strongest (then the longest) gives type, score and rule."""
    merged: list[Span] = []
    for span in sorted(found, key=lambda span: (span.start, -span.end)):
        last = merged[-1] if merged else None
        if last and (span.start < last.end or _same_name(text, last, span)):
            best = max(last, span, key=lambda one: (one.score, one.end - one.start))
            end = max(last.end, span.end)
            merged[-1] = Span(last.start, end, best.type, best.score, best.rule)
        else:
            merged.append(span)
    return merged


def _same_name(text: str, left: Span, right: Span) -> bool:
    """Return whether two findings of one type have nothing but blanks between them."""
    gap = text[left.end : right.start]
    return left.type == right.type == "PERSON" and len(gap) <= 2 and not gap.strip(" .")


def without_placeholders(text: str, spans: Sequence[Span], types: Sequence[str]) -> list[Span]:
    """Cut existing placeholders out of the spans, so that a second scrub leaves them alone.

    Only the types that the loaded rules write count: `<GONZALEZ>` is text like any other.
    """
    found = PLACEHOLDER.finditer(text)
    fixed = [match.span() for match in found if match[0][1:-1] in types]
    result = []
    for span in spans:
        edges = [span.start]
        for start, end in fixed:
            if start < span.end and span.start < end:
                edges += [max(start, span.start), min(end, span.end)]
        edges.append(span.end)
        for start, end in zip(edges[::2], edges[1::2], strict=True):
            if any(char.isalnum() for char in text[start:end]):
                result.append(Span(start, end, span.type, span.score, span.rule))
    return result
