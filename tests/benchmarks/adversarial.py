"""Leak and precision on documents that try a scrubber, beside stock Presidio, in one run.

    python tests/benchmarks/adversarial.py --project ../my-project [--seed N] [--each N] [--show]

The documents are made by adversarial_documents.py. Prints a line for each kind and engine; the last
line is one JSON object. --show prints what the project's scrubber left «so» or covered in vain
{so}: everything in these documents is invented.
"""

import argparse
import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adversarial_documents import documents
from scrubber import CONTEXT, MODEL, Spans, blocks, find_package, ours, print_scores, stock


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--project", type=Path, required=True, help="a rendered project")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--each", type=int, default=16, help="documents of each kind")
    parser.add_argument("--show", action="store_true", help="what was missed, and what was wrong")
    args = parser.parse_args()
    package = find_package(args.project)
    rows = documents(args.seed, args.each, listed_names(args.project / "src" / package))
    finders = {"ours": ours(package, args.project, MODEL)}
    if not args.show:
        finders["stock"] = stock()
    spans: dict[str, dict[int, Spans]] = {name: {} for name in finders}
    for block in blocks(rows):
        for name, finder in finders.items():
            found = finder([rows[index] for index in block])
            spans[name] |= dict(zip(block, found, strict=True))
    if args.show:
        show(rows, spans["ours"])
        return
    scores = print_scores(rows, spans)
    scores |= print_scores([row | {"group": "all"} for row in rows], spans)
    print(json.dumps({"seed": args.seed, "documents": len(rows), "scores": scores}))


def listed_names(package: Path) -> frozenset[str]:
    """Return the given names that the project knows."""
    lists = tomllib.loads((package / "names.toml").read_text(encoding="utf-8"))
    return frozenset(" ".join(lists.values()).split())


def show(rows: Sequence[dict[str, Any]], found: dict[int, Spans]) -> None:
    """Print each document that is not perfect."""
    for number, row in enumerate(rows):
        text = row["text"]
        marked = [(span["type"], range(span["start"], span["end"])) for span in row["spans"]]
        private = {at for kind, place in marked if kind not in CONTEXT for at in place}
        context = {at for kind, place in marked if kind in CONTEXT for at in place}
        covered = {at for start, end in found[number] for at in range(start, end)}
        letters = {at for at, char in enumerate(text) if char.isalnum()}
        leaked, wrong = (private - covered) & letters, (covered - private - context) & letters
        if leaked | wrong:
            signs = {at: f"«{text[at]}»" for at in leaked} | {at: f"{{{text[at]}}}" for at in wrong}
            shown = "".join(signs.get(at, char) for at, char in enumerate(text))
            shown = shown.replace("»«", "").replace("}{", "")
            print(f"{row['group']} ({row['domain']}): {shown!r}")


if __name__ == "__main__":
    main()
