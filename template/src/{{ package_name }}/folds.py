"""Cross-validation: the prepared training rows as k folds, each a prepared folder of its own.

Validation and test rows of the preparation stay aside. Rows that share a group, a prompt or their
whole text stay in one fold: a fold is validated on what no row of its training part gives away.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from .config import Config
from .data_loader import check_prepared
from .errors import Problem, UserError
from .manifest import OUTPUTS, write_manifest
from .records import Record
from .splits import normalised
from .utils import write_text

FEWEST = 2


def write_folds(config: Config, folds: int, target: Path) -> list[Path]:
    """Write the folds below `target` and return their folders; the same rows for the same data.

    Raises:
        UserError: the prepared data cannot be trusted, or its training split has too few groups.
    """
    if folds < FEWEST:
        raise UserError(Problem("--folds", str(folds), f"at least {FEWEST}, or leave it out"))
    manifest = check_prepared(config)
    source = config.path(config.data.prepared)
    text = (source / "train.jsonl").read_text(encoding="utf-8")
    rows = [line for line in text.split("\n") if line.strip()]
    places = fold_of_rows([Record.from_json(json.loads(row)) for row in rows], folds)
    texts = {name: (source / name).read_text(encoding="utf-8") for name in OUTPUTS}
    folders = []
    for number in range(folds):
        folder = target / f"{number + 1}-of-{folds}"
        placed = [*zip(rows, places, strict=True)]
        trained = [row for row, place in placed if place != number]
        # Copies that data.resample made of a rare class are validated on once.
        held = dict.fromkeys(row for row, place in placed if place == number)
        parts = {"train.jsonl": trained, "validation.jsonl": [*held]}
        texts |= {name: "".join(f"{row}\n" for row in part) for name, part in parts.items()}
        for name, content in texts.items():
            write_text(folder / name, content)
        data = config.data.model_copy(update={"prepared": str(folder)})
        write_manifest(
            config.model_copy(update={"data": data}),
            manifest["inputs"],
            [folder / name for name in OUTPUTS],
            manifest["key"],
            manifest["kind"],
            manifest["over_max_length"],
        )
        folders.append(folder)
    return folders


def fold_of_rows(records: Sequence[Record], folds: int) -> list[int]:
    """Return the fold of each row, from 0.

    Sets of rows that belong together are dealt out from the largest to the smallest, each to the
    fold with the fewest rows, so that folds differ by no more than the largest set.

    Raises:
        UserError: fewer such sets than folds.
    """
    leaders = _leaders(records)
    sizes: dict[int, int] = {}
    for leader in leaders:
        sizes[leader] = sizes.get(leader, 0) + 1
    if len(sizes) < folds:
        found = f"the training split holds {len(sizes)} groups of rows"
        raise UserError(Problem("--folds", found, f"at most {len(sizes)} folds"))
    filled, chosen = [0] * folds, {}
    for leader, size in sorted(sizes.items(), key=lambda pair: (-pair[1], pair[0])):
        chosen[leader] = filled.index(min(filled))
        filled[chosen[leader]] += size
    return [chosen[leader] for leader in leaders]


def _leaders(records: Sequence[Record]) -> list[int]:
    """Return for each row the first row that it belongs together with, over any number of links."""
    parents = [*range(len(records))]

    def root(row: int) -> int:
        while parents[row] != row:
            parents[row] = parents[parents[row]]
            row = parents[row]
        return row

    seen: dict[tuple[str, str], int] = {}
    for row, record in enumerate(records):
        for mark in _marks(record):
            first, second = sorted((root(seen.setdefault(mark, row)), root(row)))
            parents[second] = first
    return [root(row) for row in range(len(records))]


def _marks(record: Record) -> list[tuple[str, str]]:
    """Return what would give a row away: its group, its prompt, all of its text."""
    parts = {
        "group": record.group or "",
        "prompt": normalised("\n".join(record.prompt())),
        "text": normalised("\n".join(record.texts())),
    }
    return [(kind, text) for kind, text in parts.items() if text]
