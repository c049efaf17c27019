"""Entities in sequences of tags, and the F1 between right and predicted ones."""

from collections.abc import Iterable, Iterator, Sequence

OUTSIDE = "O"
STARTS, ENDS = "BSU", "ESL"  # prefixes of BIO, BIOES and BILOU


def is_span_scheme(labels: Iterable[str]) -> bool:
    """Say whether tags mark where entities begin and go on (B-PER), not only what words are."""
    return any(label[:2] == "B-" for label in labels)


def spans(tags: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """Yield (first, after the last, type) of each entity.

    As the scorer of CoNLL-2000 reads tags: an entity begins with a starting prefix, with another
    type, or with any tag after O, so that an I- without its B- still counts as one.
    """
    begin, kind, ended = 0, "", True
    for position, tag in enumerate([*tags, OUTSIDE]):
        prefix, _, name = tag.partition("-") if tag[1:2] == "-" else ("I", "", tag)
        outside = tag == OUTSIDE
        if not ended and (outside or prefix in STARTS or name != kind):
            yield begin, position, kind
            ended = True
        if outside:
            continue
        if ended:
            begin, kind, ended = position, name, False
        if prefix in ENDS:
            yield begin, position + 1, kind
            ended = True


def span_f1(gold: Iterable[Sequence[str]], predicted: Iterable[Sequence[str]]) -> float:
    """Return the micro F1 of entities: right are those with the same place and the same type."""
    hits = total = 0
    for right, found in zip(gold, predicted, strict=True):
        one, other = set(spans(right)), set(spans(found))
        hits += len(one & other)
        total += len(one) + len(other)
    return 2 * hits / total if total else 0.0
