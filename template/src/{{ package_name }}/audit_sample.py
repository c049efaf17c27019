"""Rows of the user's data that the audit looks at: drawn, scrubbed in memory, shown hidden.

The rows go the way of a preparation (read, convert, clean, scrub) and are written nowhere.
"""

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import regex

from . import policies
from .cleaning import chosen_rules, clean_record
from .config import Config
from .examination import Examiner
from .fields import RowError
from .grammars import GIVEN_ANY, NOT_LOWER_SURNAMES, STOP_WORDS
from .keys import Keys
from .lengths import pieces_of
from .manifest import image_folder
from .packs import CUSTOM
from .policies import PLACEHOLDER, POLICIES, Mention, Policy
from .readers import RawRow
from .records import Record
from .spans import Span
from .workers import MOST_CHARACTERS

if TYPE_CHECKING:
    from .scrub import Scrubber

CONTEXT = 40  # characters shown on each side of a finding
STRUCTURE = frozenset(" -./,:;()+#@|_")  # what is not hidden of an identifier
RULE_FILE = "recognizers.yaml"
WORD = regex.compile(PLACEHOLDER.pattern + r"|[\p{L}\p{M}\p{N}]+")
# Rule of a policy -> what it does, in one word.
ACTIONS: dict[policies.Rule, str] = {
    policies.replace: "replaced",
    policies.mask: "masked",
    policies.redact: "redacted",
    policies.keep: "kept",
    policies.over_89: "generalised",
    policies.year: "generalised",
    policies.wide_place: "generalised",
    policies.city: "generalised",
    policies.pseudonym: "pseudonymised",
    policies.shifted: "shifted",
}


@dataclass(frozen=True, slots=True)
class SampledText:
    """One text of a drawn row, not scrubbed; no message and no report may show it.

    Attributes:
        file: Where its row stands.
        row: Number in the file.
        field: Of the record, for example `messages.user`.
        text: Cleaned.
        subject: Keyed hash of whose text it is.
    """

    file: str
    row: int
    field: str
    text: str
    subject: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One identifier that was found: where, why, and what became of it.

    Attributes:
        source: The text it stands in.
        span: Its place there.
        action: A value of ACTIONS.
        scrubbed: The whole text after scrubbing.
        start: Where in `scrubbed` the replacement begins.
        end: Where it ends.
    """

    source: SampledText
    span: Span
    action: str
    scrubbed: str
    start: int
    end: int


@dataclass(slots=True)
class Sample:
    """What became of the drawn rows.

    Attributes:
        rows: How many were drawn and are records.
        refused: Rows that the scrubber does not trust.
        texts: Texts of the others.
        findings: What was found in them.
    """

    rows: int
    refused: int
    texts: list[SampledText]
    findings: list[Finding]


def action_of(kind: str, policy: Policy) -> str:
    """Return what a policy does to a type of identifier."""
    return ACTIONS[policy.rules.get(kind, policy.default)]


def drawn(rows: Iterable[RawRow], count: int, seed: int) -> list[RawRow]:
    """Return `count` rows, each with the same chance (Vitter 1985, algorithm R)."""
    generator, kept = random.Random(seed), list[RawRow]()
    for number, row in enumerate(rows):
        place = number if number < count else generator.randrange(number + 1)
        if place < len(kept):
            kept[place] = row
        elif place < count:
            kept.append(row)
    return kept


def texts_of(config: Config, layout: str | None, keys: Keys, row: RawRow) -> list[SampledText]:
    """Return the texts of a row as a preparation would scrub them; none if it is no record."""
    examiner = Examiner(config.data, layout, keys, frozenset(), image_folder(config))
    if not examiner.examine(row).key:
        return []
    try:
        record, _ = examiner.convert(row)
    except RowError:
        return []
    subject = record.group or examiner.key(record).hex()
    clean, _ = clean_record(record, chosen_rules(config.data.cleaning.model_dump()))
    limit = min(config.data.max_characters, MOST_CHARACTERS)
    return [
        SampledText(row.file, row.row, field, piece, subject)
        for field, text in zip(_fields(clean), clean.texts(), strict=True)
        for piece in pieces_of(text, limit)
        if piece.strip()
    ]


def _fields(record: Record) -> Iterator[str]:
    """Yield the field of each of record.texts()."""
    for name in ("messages", "chosen", "rejected"):
        for turn in getattr(record, name):
            yield f"{name}.{turn.role}"
    for name in ("text", "tokens"):
        if getattr(record, name):
            yield name
    if record.reference is not None:
        yield "reference"


def scrub_sample(scrubber: "Scrubber", key: bytes, rows: Sequence[list[SampledText]]) -> Sample:
    """Scrub drawn rows.

    Args:
        scrubber: Of the run, without a vault.
        key: Of the scrubber's pseudonyms.
        rows: The texts of each row.
    """
    from .scrub import Scrubbed

    flat = [text for texts in rows for text in texts]
    results = iter(scrubber.scrub_each([one.text for one in flat], [one.subject for one in flat]))
    sample = Sample(len(rows), 0, [], [])
    policy = POLICIES[scrubber.policy]
    for texts in rows:
        found = [next(results) for _ in texts]
        if not all(isinstance(one, Scrubbed) for one in found):
            sample.refused += 1
            continue
        sample.texts += texts
        for text, result in zip(texts, found, strict=True):
            assert isinstance(result, Scrubbed), "tested above"
            sample.findings += _findings(text, result.text, result.spans, policy, key)
    return sample


def _findings(
    source: SampledText, scrubbed: str, spans: Sequence[Span], policy: Policy, key: bytes
) -> Iterator[Finding]:
    """Yield the findings of a text with their place after scrubbing."""
    shift = 0
    for span in spans:
        mention = Mention(span.type, source.text[span.start : span.end], key, source.subject)
        new = policy.replacement(mention)
        start = span.start + shift
        end = start + len(new)
        assert scrubbed[start:end] == new, "the same mention gives the same text"
        rule = policy.rules.get(span.type, policy.default)
        # What cannot be generalised or invented is replaced by its type.
        action = ACTIONS[policies.replace] if new == policies.replace(mention) else ACTIONS[rule]
        yield Finding(source, span, action, scrubbed, start, end)
        shift += len(new) - (span.end - span.start)


def field_counts(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """Return how often each type was found in each field, by what became of it."""
    counts = Counter((one.source.field, one.span.type, one.action) for one in findings)
    return [
        {"field": field, "type": kind, "action": action, "found": count}
        for (field, kind, action), count in sorted(counts.items(), key=lambda one: (-one[1], one))
    ]


def vocabulary(rule_files: Sequence[Path]) -> frozenset[str]:
    """Return the words that a context may show: those of the packs' own rules, no given name.

    It does not depend on the data: an identifier that the rules missed is not among them.
    """
    files = [path for path in rule_files if path.name == RULE_FILE and path.parent.name != CUSTOM]
    words = {*STOP_WORDS.lower().split("|"), *NOT_LOWER_SURNAMES.split()}
    for path in files:
        words.update(regex.findall(r"\p{Ll}{2,}", path.read_text(encoding="utf-8")))
    return frozenset(words - {name.lower() for name in GIVEN_ANY})


def review(
    findings: Sequence[Finding], count: int, seed: int, words: frozenset[str]
) -> list[dict[str, Any]]:
    """Return drawn findings with what a reviewer needs, and no value.

    The identifier is hidden letter by letter. What stands beside it is taken from the scrubbed
    text, and of that only `words` and types are shown: what was missed stays hidden too.
    """
    some = random.Random(seed).sample(findings, min(count, len(findings)))
    types = frozenset(one.span.type for one in findings)
    return [
        {
            "file": one.source.file,
            "row": one.source.row,
            "field": one.source.field,
            "type": one.span.type,
            "rule": one.span.rule,
            "score": one.span.score,
            "action": one.action,
            "before": _hidden(_before(one), words, types),
            "identifier": _stars(one.source.text[one.span.start : one.span.end]),
            "after": _hidden(_after(one), words, types),
        }
        for one in some
    ]


def _before(finding: Finding) -> str:
    """Return what stands before a finding, without a word that is cut in two."""
    start = max(0, finding.start - CONTEXT)
    text = finding.scrubbed[start : finding.start]
    return regex.sub(r"^\S+", "", text) if start else text


def _after(finding: Finding) -> str:
    end = finding.end + CONTEXT
    text = finding.scrubbed[finding.end : end]
    return regex.sub(r"\S+$", "", text) if end < len(finding.scrubbed) else text


def _hidden(text: str, words: frozenset[str], types: frozenset[str]) -> str:
    """Return a scrubbed text with stars for each word that is not known."""

    def shown(found: "regex.Match[str]") -> str:
        known = found[0] in words or found[0][1:-1] in types or found[0] == policies.REDACTED
        return found[0] if known else _stars(found[0])

    return " ".join(WORD.sub(shown, text).split())


def _stars(text: str) -> str:
    """Return a star for each character but those of STRUCTURE; line breaks become blanks."""
    return "".join(char if char in STRUCTURE else "*" for char in " ".join(text.split()))
