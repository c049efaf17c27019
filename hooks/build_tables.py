"""Write plan_table.json: everything that copier.yml looks up. Needs pydantic, as copier does.

python hooks/build_tables.py            write it
python hooks/build_tables.py --check    exit 1 when it is stale
"""

import argparse
import importlib.util
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

HOOKS = Path(__file__).resolve().parent
PACKAGE = HOOKS.parent / "template" / "src" / ("{" * 2 + " package_name " + "}" * 2)
TARGET = HOOKS / "plan_table.json"
sys.path.insert(0, str(HOOKS))

import footprint  # noqa: E402
import ladder  # noqa: E402
import machines  # noqa: E402
import planner  # noqa: E402
import shapes  # noqa: E402
import small_techniques  # noqa: E402

GPUS = (1, 2, 4, 8)
CUSTOM_BILLIONS = (0.135, 0.5, 1, 1.5, 3, 4, 7, 8, 14, 32, 70, 140, 405, 1000, 2000)
NOMINAL_GB = (4, 6, 8, 10, 11, 12, 16, 20, 24, 32, 40, 48, 64, 80, 94, 96, 128, 141, 180, 192, 288)
CPU_SEQUENCE = 512  # tokens; the default length where there is no GPU
PERMISSIVE = ("apache-2.0", "mit")
# A frozen copy in 16 bit, with the margin of shapes that no published run checks
_REFERENCE = ladder.WIDE_FACTOR * footprint.BYTES["bf16"] * shapes.GB / footprint.GIB
REFERENCE_GIB = math.ceil(1000 * _REFERENCE) / 1000  # never below the need
# Class of objectives whose loss holds more logits than learning the next token in tiles: (bytes of
# each logit of an example, bytes beside them); see footprint._loss_bytes with 16-bit weights
LOGITS = {
    "masked_lm": (footprint.LOSSES["whole"], 0),
    "distilled": (8, footprint.DISTILLED_TILED * footprint.DISTILLED_TILE),
}
OFFERED = {name: row for name, row in footprint.TECHNIQUES.items() if row.offered}


def size_class(params: float) -> str:
    """small (< 300M weights), medium (300M to 3B) or large (> 3B)."""
    billions = params / shapes.GB
    return "small" if billions < 0.3 else "medium" if billions <= 3 else "large"


def project_rows(name: str) -> ModuleType:
    """Import a module of rows from the package that projects get; it loads pydantic at most."""
    alias = "rendered_project"
    if alias not in sys.modules:
        spec = importlib.util.spec_from_file_location(
            alias, PACKAGE / "__init__.py", submodule_search_locations=[str(PACKAGE)]
        )
        assert spec
        sys.modules[alias] = importlib.util.module_from_spec(spec)
    return importlib.import_module(f"{alias}.{name}")


def objective_class(name: str) -> dict[str, float]:
    """What a class of objectives needs beyond learning the next token; see `needs`.

    `logits_gib` is for a billion logits, `tile_gib` once; both with the margin of unknown shapes.
    """
    sequences, references = footprint.OBJECTIVE_CLASSES[name]
    each, once = (ladder.WIDE_FACTOR * size / footprint.GIB for size in LOGITS.get(name, (0, 0)))
    found = {"sequences": sequences, "references": references}
    found["sequences"] *= ladder.SMALLEST_BATCH.get(name, 1)
    return found | {"logits_gib": round(each * shapes.GB, 3), "tile_gib": round(once, 3)}


def need_row(technique: str) -> str:
    """Row of a model's needs in the table: techniques that train little share one."""
    alike = technique in small_techniques.SMALL and small_techniques.checkpointed(technique)
    return "small" if alike else technique


def needs(shape: shapes.Shape) -> dict[str, list[list[float]]]:
    """Need in GiB of each GPU to learn the next token: row -> sequence step -> GPU count.

    Other objectives are derived in macros.jinja: `sequences` in a batch for each example count as
    a longer one, a reference is a copy of the weights where all of them are trained, and a loss
    that holds logits takes the bytes of them all.
    """
    groups: dict[str, list[str]] = {}
    for technique in OFFERED:
        groups.setdefault(need_row(technique), []).append(technique)

    def need(names: Sequence[str], length: int, gpus: int) -> float:
        return max(
            ladder.least_need_gib(shape, [name], "causal_lm", length, gpus) for name in names
        )

    return {
        row: [
            [rounded_up(need(names, length, gpus)) for gpus in GPUS]
            for length in ladder.SEQUENCE_STEPS
        ]
        for row, names in groups.items()
    }


def model_rows() -> list[dict[str, Any]]:
    """Models for the questionnaire: free ones first, recommended ones first, then by size."""

    def rank(item: tuple[str, dict[str, Any]]) -> tuple[bool, bool, bool, int]:
        row = item[1]
        return row["gated"], row["licence"] not in PERMISSIVE, not row["use"], row["params"]

    fields = ("title", "params", "context", "gated", "licence", "use")
    return [
        {"id": model_id, "class": size_class(row["params"]), "head": head_of(row)}
        | {name: row[name] for name in fields}
        for model_id, row in sorted(shapes.table("models").items(), key=rank)
    ]


def head_of(row: dict[str, Any]) -> str:
    """What a model of models.toml was trained to give."""
    return str(row.get("head", "causal_lm"))


def objective_rows() -> dict[str, dict[str, Any]]:
    """Objectives for the questionnaire.

    Each with the records that it `reads`, the `models` it can start from (the usual kind first,
    each kind in the order of `model_rows`), what its model `gives`, whether the trained one
    `writes` text, and why techniques are `refused`.
    """
    heads = project_rows("heads").HEADS
    refused: dict[str, dict[str, str]] = {}
    for objective, technique, reason in project_rows("combinations").illegal():
        refused.setdefault(objective, {})[technique] = reason
    rows, ordered = {}, model_rows()
    lacking = {model_id: row.get("lacks", []) for model_id, row in shapes.table("models").items()}
    for name, row in project_rows("objectives").OBJECTIVES.items():
        bases = heads[row.head].bases or (row.head,)
        models = [
            model["id"]
            for base in bases
            for model in ordered
            if model["head"] == base and row.head not in lacking[model["id"]]
        ]
        rows[name] = {
            "title": row.title,
            "reads": sorted(row.reads),
            "models": models,
            "gives": " or ".join(heads[base].doc for base in bases),
            "writes": heads[row.head].generates,
            "refused": refused.get(name, {}),
        }
    return rows


def rounded_up(gib: float) -> float:
    """Round up to 0.1 GiB: what is said to fit must fit."""
    return math.ceil(gib * 10 - 1e-9) / 10


def cpu_needs(model: str, params: float | None = None, head: str = "") -> dict[str, float]:
    """RAM in GiB of a run without a GPU at CPU_SEQUENCE tokens, by technique.

    Of the usual objective of the model's `head`.
    """
    kind = head if head in footprint.OBJECTIVE_CLASSES else "causal_lm"
    runs = {
        name: planner.plan(model, kind, name, 0, 0, CPU_SEQUENCE, bf16=False, params=params)
        for name in OFFERED
    }
    return {name: rounded_up(run.need_gib) for name, run in runs.items()}


def build() -> dict[str, Any]:
    """Return the whole table."""
    models = model_rows()
    objectives = objective_rows()
    formats = project_rows("formats").FORMATS
    classes = sorted({planner.OBJECTIVES[name] for name in objectives})
    factor = machines.CARD_SHARE * machines.usable_gib(1)
    return {
        "schema": 1,
        "models": models,
        "seq": list(ladder.SEQUENCE_STEPS),
        "gpus": list(GPUS),
        "techniques": {
            name: {"title": row.title, "need": need_row(name), "whole": row.trains_all}
            for name, row in OFFERED.items()
        },
        "objectives": objectives,
        "formats": {name: {"title": row.doc, "kind": row.kind} for name, row in formats.items()},
        "objective_class": {name: planner.OBJECTIVES[name] for name in objectives},
        "classes": {name: objective_class(name) for name in classes},
        "reference_gib": REFERENCE_GIB,  # of a billion weights
        "need": {row["id"]: needs(shapes.known_shape(row["id"])) for row in models},
        "custom": {
            f"{size:g}": needs(shapes.typical_shape(size * shapes.GB)) for size in CUSTOM_BILLIONS
        },
        "vocab": {row["id"]: shapes.known_shape(row["id"]).vocab for row in models}
        | {f"{n:g}": shapes.typical_shape(n * shapes.GB).vocab for n in CUSTOM_BILLIONS},
        "cpu": {row["id"]: cpu_needs(row["id"], head=row["head"]) for row in models},
        "cpu_custom": {
            f"{size:g}": cpu_needs("custom", size * shapes.GB) for size in CUSTOM_BILLIONS
        },
        "cpu_seq": CPU_SEQUENCE,
        # what a need is compared with: the card's GiB less what a plan leaves free
        "usable": {str(size): round(factor * size, 1) for size in NOMINAL_GB},
        "usable_factor": round(factor, 4),
    }


def main() -> int:
    """Write or check the table; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 when stale")
    check = parser.parse_args().check
    lines = [f"{json.dumps(k)}:{json.dumps(v, separators=(',', ':'))}" for k, v in build().items()]
    text = "{" + ",\n".join(lines) + "}\n"
    if not check:
        TARGET.write_text(text, encoding="utf-8", newline="\n")
        print(f"{TARGET.name}: {len(text):,} characters")
        return 0
    fresh = TARGET.is_file() and TARGET.read_text(encoding="utf-8") == text
    print(f"{TARGET.name} is {'fresh' if fresh else 'stale: run python hooks/build_tables.py'}")
    return 0 if fresh else 1


if __name__ == "__main__":
    raise SystemExit(main())
