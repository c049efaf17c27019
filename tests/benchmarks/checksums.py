"""Identifiers with check digits, and what looks like them, beside stock Presidio, in one run.

    python tests/benchmarks/checksums.py --project ../my-project [--count 500] [--seed N]

The tables are those of the project's own test (tests/test_identifier_tables.py): numbers made by
seeded code. Prints the share that is found (the whole number is covered) alone in a neutral
sentence and after a label, then the share of look-alikes of which anything is covered, alone, in
any of the packs. The last line is one JSON object.
"""

import argparse
import json
import random
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from scrubber import MODEL, Spans, find_package, ours, stock

Find = Callable[[str, Sequence[str]], list[Spans]]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--project", type=Path, required=True, help="a rendered project")
    parser.add_argument("--count", type=int, default=500, help="numbers of each row")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    package = find_package(args.project)
    sys.path.insert(0, str(args.project / "tests"))
    tables = import_module("test_identifier_tables")
    engines = {"ours": finder(ours(package, args.project, MODEL)), "stock": finder(stock())}
    result: dict[str, Any] = {"count": args.count, "seed": args.seed, "rows": {}}
    print(f"{'table':34}" + "".join(f"{name:>10}" for name in engines))
    for name, pack, sentence, make, whole in rows(tables):
        draw = random.Random(args.seed)
        numbers = [make(draw) for _ in range(args.count)]
        shares = {
            engine: round(share(find, pack, sentence, numbers, whole), 4)
            for engine, find in engines.items()
        }
        result["rows"][name] = shares
        print(f"{name:34}" + "".join(f"{one:>10.1%}" for one in shares.values()))
    print(json.dumps(result))


def rows(tables: Any) -> list[tuple[str, str, str, Callable[[random.Random], str], bool]]:
    """Return name, pack, sentence, maker, and whether the whole number has to be covered."""
    alone = [(f"{one.name} alone", one, tables.NEUTRAL) for one in tables.TABLES]
    labelled = [(f"{one.name} labelled", one, one.label) for one in tables.TABLES]
    mistyped = [(f"{one.name} mistyped, labelled", one, one.label) for one in tables.MISTYPED]
    return [
        (name, one.pack, sentence, one.make, True)
        for name, one, sentence in alone + labelled + mistyped
    ] + [
        (f"{name} ({pack})", pack, tables.NEUTRAL, make, False)
        for name, make, packs in tables.LOOK_ALIKES
        for pack in packs
    ]


def finder(find: Callable[[Sequence[dict[str, Any]]], list[Spans]]) -> Find:
    """Return an engine that takes a pack and its texts."""
    return lambda pack, texts: find([{"domain": pack, "text": text} for text in texts])


def share(find: Find, pack: str, sentence: str, numbers: Sequence[str], whole: bool) -> float:
    """Return the share of the numbers that are covered, as a whole or at all."""
    start = sentence.index("{}")
    covered = 0
    for number, spans in zip(numbers, find(pack, list(map(sentence.format, numbers))), strict=True):
        place = {start + at for at, char in enumerate(number) if char.isalnum()}
        found = {at for span in spans for at in range(*span)} & place
        covered += found == place if whole else bool(found)
    return covered / len(numbers)


if __name__ == "__main__":
    main()
