"""Identifiers that were replaced in rows of the training split, read again from the raw data.

The raw rows go the way of a preparation (read, convert, clean, scrub) in memory; nothing of them
is written. A row counts if its scrubbed form stands in the training split.
"""

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .audit_leak import TELLING
from .audit_sample import drawn
from .cleaning import chosen_rules, clean_record
from .config import Config
from .examination import Examiner, open_source, rows_of
from .invented import compact
from .keys import Keys, load_keys
from .lengths import Lengths
from .manifest import image_folder
from .memorisation_probe import Probe, alternatives
from .policies import POLICIES, Mention
from .readers import RawRow
from .records import Record
from .workers import MOST_CHARACTERS, load_scrubber

if TYPE_CHECKING:
    from .scrub import Scrubbed, Scrubber

PROBED = ("messages", "text")  # kinds of record that an objective reads
OTHERS = 63  # values of the same form for each identifier: at most 6 bits of exposure


Cut = tuple[str, str, int]  # type, value, where its replacement begins in the scrubbed text


@dataclass(frozen=True, slots=True)
class _Row:
    """A scrubbed row, the records a preparation makes of it, and the cuts of each of its texts."""

    record: Record
    parts: list[Record]
    cuts: list[list[Cut]]


@dataclass(slots=True)
class Replaced:
    """Identifiers of training rows, ready to be probed.

    Attributes:
        probes: One for each identifier that stands where the model learns.
        rows: Training rows among the raw rows that were drawn.
        visible: Identifiers that are no secret, because the scrubbed text before them holds the
            same value: another mention of it was missed.
    """

    probes: list[Probe]
    rows: int
    visible: int


def replaced_identifiers(
    config: Config, trained: Sequence[Record], rows: int, count: int, seed: int
) -> Replaced:
    """Return identifiers that were replaced in training rows, each with the text before it.

    Args:
        config: The run.
        trained: The training split.
        rows: Raw rows that are drawn.
        count: Identifiers at most.
        seed: Of what is drawn.

    Raises:
        UserError: the raw data cannot be read, or the scrubber not loaded.
    """
    texts = {record.texts() for record in trained}
    found: list[Probe] = []
    matched = 0
    for row in _scrubbed(config, rows, seed):
        if any(part.texts() in texts for part in row.parts):
            matched += 1
            found += _probes(row)
    values: dict[str, set[str]] = defaultdict(set)
    for probe in found:
        values[probe.type].add(probe.value)
    hidden = [probe for probe in found if compact(probe.value) not in compact(_shown(probe))]
    chosen = random.Random(seed).sample(hidden, min(count, len(hidden)))
    with_others = [
        replace(probe, others=alternatives(probe.value, values[probe.type], OTHERS, seed))
        for probe in chosen
    ]
    return Replaced(with_others, matched, len(found) - len(hidden))


def passing_scrubber(config: Config, keys: Keys) -> "Scrubber":
    """Return the scrubber of a run without its vault: what is only looked at is not kept.

    Raises:
        UserError: a rule, the model, the policy or a language is not usable.
    """
    settings = config.scrub.model_copy(update={"vault": None})
    return load_scrubber(config.model_copy(update={"scrub": settings}), keys)


def _scrubbed(config: Config, count: int, seed: int) -> Iterator[_Row]:
    """Yield drawn rows as a preparation would make them, those that it refuses left out."""
    from .scrub import Scrubbed

    keys, _ = load_keys(config, create=False)
    scrubber = passing_scrubber(config, keys)
    source = open_source(config)
    layout = source.format.name if source.format else None
    examiner = Examiner(config.data, layout, keys, frozenset(), image_folder(config))
    lengths = Lengths(config)
    for record in _records(config, examiner, drawn(rows_of(source), count, seed)):
        subject = record.group or examiner.key(record).hex()
        texts = record.texts()
        results = scrubber.scrub_each(texts, [subject] * len(texts))
        sound = [one for one in results if isinstance(one, Scrubbed)]
        if len(sound) < len(results):
            continue
        clean = record.with_texts(tuple(one.text for one in sound))
        cuts = [
            [*_cuts(scrubber, keys.scrubber, subject, text, one)]
            for text, one in zip(texts, sound, strict=True)
        ]
        parts, _ = lengths.fit(clean, "a raw row")
        yield _Row(clean, parts, cuts)


def _records(config: Config, examiner: Examiner, rows: Iterable[RawRow]) -> Iterator[Record]:
    """Yield the cleaned records of raw rows that are conversations or documents."""
    rules = chosen_rules(config.data.cleaning.model_dump())
    limit = min(config.data.max_characters, MOST_CHARACTERS)  # longer texts are scrubbed in parts
    for row in rows:
        if not examiner.examine(row).key:
            continue
        record, _ = clean_record(examiner.convert(row)[0], rules)
        if record.kind in PROBED and max(map(len, record.texts())) <= limit:
            yield record


def _cuts(
    scrubber: "Scrubber", key: bytes, subject: str, text: str, result: "Scrubbed"
) -> Iterator[Cut]:
    policy, shift = POLICIES[scrubber.policy], 0
    for span in result.spans:
        value = text[span.start : span.end]
        new = policy.replacement(Mention(span.type, value, key, subject))
        start = span.start + shift
        assert result.text.startswith(new, start), "the same mention gives the same text"
        shift += len(new) - len(value)
        # One that stays as it is was not replaced, and a short one is met by chance.
        if new != value and len(compact(value)) >= TELLING:
            yield span.type, value, start


def _probes(row: _Row) -> Iterator[Probe]:
    """Yield what was cut out of texts that are learned: answers and documents."""
    record = row.record
    for place, (text, cuts) in enumerate(zip(record.texts(), row.cuts, strict=True)):
        turns = record.messages[:place]
        if record.kind == "messages" and record.messages[place].role != "assistant":
            continue
        for kind, value, start in cuts:
            if turns or text[:start].strip():  # something has to stand before it
                yield Probe(kind, turns, text[:start], value)


def _shown(probe: Probe) -> str:
    return "\n".join([*(turn.content for turn in probe.turns), probe.before])
