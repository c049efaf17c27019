"""An estimate of what the scrubber misses: canaries in the user's own text, and how many survive.

A canary survives if one of its letters or digits lies outside every finding. Its share is bounded
by the one-sided interval of Clopper and Pearson (1934).
"""

import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

import regex

from .audit_sample import SampledText
from .canaries import Canary

if TYPE_CHECKING:
    from .scrub import Scrubbed, Scrubber, ScrubError

CONFIDENCE = 0.95
METHOD = "one-sided 95 % upper bound of Clopper and Pearson (1934); of 0 survivors, about 3 / n"
AROUND = 1000  # characters of the user's text on each side; rules look at less than 100
BATCH = 256  # texts scrubbed at once
BOUNDARY = regex.compile(r"[.!?][\p{Pe}\p{Pf}\"']*\s+|\s*\n\s*")
TELLING = 5  # letters and digits from which an identifier is not met by chance
STEPS = 60  # of halving an interval of 0 to 1: exact to the last digit of a float


@dataclass(slots=True)
class Tally:
    """What became of some canaries; characters are letters and digits."""

    planted: int = 0
    survived: int = 0
    whole: int = 0
    characters: int = 0
    left: int = 0
    other: Counter[str] = field(default_factory=Counter)

    def report(self) -> dict[str, Any]:
        """Return the figures with share and bound."""
        return {
            "planted": self.planted,
            "survived": self.survived,
            "whole": self.whole,
            "share": self.survived / self.planted if self.planted else None,
            "upper_bound": upper_bound(self.survived, self.planted),
            "characters": self.characters,
            "characters_left": self.left,
            "other_type": dict(self.other.most_common()),
        }


@dataclass(slots=True)
class Leak:
    """What became of all canaries: by type, by phrasing, and by (type, form, phrasing)."""

    types: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    phrasings: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    forms: dict[tuple[str, str, str], Tally] = field(default_factory=lambda: defaultdict(Tally))
    pooled: Tally = field(default_factory=Tally)
    refused: int = 0

    def of(self, canary: Canary) -> Iterator[Tally]:
        """Yield the tallies that a canary counts in."""
        form = canary.form
        yield self.types[form.type]
        yield self.phrasings[canary.phrasing]
        yield self.forms[form.type, form.name, canary.phrasing]
        yield self.pooled


@dataclass(frozen=True, slots=True)
class _Planted:
    """A text with a canary in it, from `start` to `end`."""

    canary: Canary
    text: str
    subject: str
    start: int
    end: int


def upper_bound(survived: int, planted: int, confidence: float = CONFIDENCE) -> float:
    """Return the share that is not exceeded, with a confidence (Clopper and Pearson 1934).

    It is the share at which so few survivors or fewer have a probability of 1 - confidence.
    """
    if survived >= planted:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(STEPS):
        share = (low + high) / 2
        if _at_most(survived, planted, share) > 1 - confidence:
            low = share
        else:
            high = share
    return high


def _at_most(survived: int, planted: int, share: float) -> float:
    """Return the probability of `survived` or fewer (binomial distribution)."""
    total = 0.0
    for count in range(survived + 1):
        ways = math.lgamma(planted + 1) - math.lgamma(count + 1) - math.lgamma(planted - count + 1)
        total += math.exp(ways + count * math.log(share) + (planted - count) * math.log1p(-share))
    return total


def measure(
    scrubber: "Scrubber", texts: Sequence[SampledText], canaries: Iterable[Canary], seed: int
) -> Leak:
    """Plant each canary into one of the texts, scrub it and count what is left of it.

    Args:
        scrubber: Of the run, without a vault.
        texts: The user's, as they are scrubbed.
        canaries: What is planted, each alone.
        seed: Decides about text and sentence.
    """
    generator, leak = random.Random(seed), Leak()
    planted = (_plant(canary, generator.choice(texts), generator) for canary in canaries)
    while batch := [*islice(planted, BATCH)]:
        results = scrubber.scrub_each([one.text for one in batch], [one.subject for one in batch])
        for one, result in zip(batch, results, strict=True):
            _count(one, result, leak)
    return leak


def _plant(canary: Canary, carrier: SampledText, generator: random.Random) -> _Planted:
    """Put a canary between two sentences; of a long text, those around it are scrubbed."""
    text = carrier.text
    places = [0, *(found.end() for found in BOUNDARY.finditer(text)), len(text)]
    at = generator.choice(places)
    start = next(place for place in places if place >= at - AROUND)
    end = next(place for place in reversed(places) if place <= at + AROUND)
    blank = " " if at > start and not text[at - 1].isspace() else ""
    head = text[start:at] + blank + canary.before
    whole = head + canary.value + canary.after + text[at:end]
    return _Planted(canary, whole, carrier.subject, len(head), len(head) + len(canary.value))


def _count(planted: _Planted, result: "Scrubbed | ScrubError", leak: Leak) -> None:
    """Enter what became of a canary."""
    if isinstance(result, Exception):
        leak.refused += 1  # such a row is quarantined: nothing of it is left
        return
    canary, covered = planted.canary, Counter[str]()
    signs = [at for at in range(planted.start, planted.end) if planted.text[at].isalnum()]
    for at in signs:
        covered.update(span.type for span in result.spans if span.start <= at < span.end)
    left = len(signs) - covered.total()
    # A finding is of no use if what stands in its place is the identifier itself. A short one may
    # be part of what does: 90 of `90+`.
    there = result.text.count(canary.value) >= planted.text.count(canary.value)
    if there and len(signs) >= TELLING:
        left = len(signs)
    for tally in leak.of(canary):
        tally.planted += 1
        tally.survived += left > 0
        tally.whole += left == len(signs)
        tally.characters += len(signs)
        tally.left += left
        if not left and (kind := covered.most_common(1)[0][0]) != canary.form.type:
            tally.other[kind] += 1


def weighted(types: Mapping[str, Mapping[str, Any]], found: Mapping[str, int]) -> dict[str, Any]:
    """Return the leak if the types are as frequent as in the prepared data.

    Args:
        types: Of each type what Tally.report says.
        found: How often each type was found there.

    Returns:
        `share`, `upper_bound` (the mean of the types' bounds: wider than a bound of 95 % needs
        to be), and `covered`: the share of what was found whose type was planted.
    """
    known = {kind: count for kind, count in found.items() if kind in types and count}
    total = sum(known.values())
    if not total:
        return {"share": None, "upper_bound": None, "covered": 0.0}
    means = {
        name: sum(count * types[kind][name] for kind, count in known.items()) / total
        for name in ("share", "upper_bound")
    }
    return {**means, "covered": total / sum(found.values())}
