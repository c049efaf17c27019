"""Tables of the documentation, made from the rows of the code: python -m PACKAGE.doc_tables.

Run it in the folder of the project. A page holds `<!-- table: NAME -->` and `<!-- end -->`; what
stands between them is replaced.
"""

import re
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from . import hardware, machines, shapes
from .acceleration import MEANS
from .behaviour import BEHAVIOURS
from .benchmarks import FILE as BENCHMARKS
from .benchmarks import read_rows
from .checksums import CHECKSUMS
from .cleaning import RULES as CLEANING
from .config import Config, leaves
from .diagnosis import ROWS as DIAGNOSES
from .errors import Problem, UserError
from .forgetting import ROWS as REMEDIES
from .formats import FORMATS
from .gates import GATES
from .guidance import GUIDANCE
from .metrics import METRICS
from .packs import FOLDER
from .plan_page import SIZES, host_and_disk, plan_summary, rule_of_thumb, smallest_card
from .policies import POLICIES
from .questions import RULES as PAIR_RULES
from .readers import ROWS as CONTAINERS
from .run_metrics import RUN_METRICS
from .search_space import axes
from .settings_base import Section
from .technique_tables import TABLES as TECHNIQUE_TABLES
from .techniques import TECHNIQUES
from .trackers import TRACKERS
from .usual_ranges import usual_ranges
from .utils import markdown_table

SLOT = re.compile(r"(<!-- table: ([a-z_]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def formats() -> str:
    """One line per row layout."""
    rows = [
        [
            f"`{row.name}`",
            row.kind,
            ", ".join(f"`{name}`" for name in row.required),
            ", ".join(f"`{name}`" for name in row.optional) or "none",
            row.doc,
        ]
        for row in FORMATS.values()
    ]
    return markdown_table(["format", "gives", "required", "optional", "layout"], rows)


def containers() -> str:
    """One line per file type."""
    rows = [[", ".join(f"`{s}`" for s in row.suffixes), row.name, row.doc] for row in CONTAINERS]
    return markdown_table(["suffix", "read as", "a row is"], rows)


def cleaning() -> str:
    """One line per cleaning rule."""
    return markdown_table(
        ["setting", "what it does"], [[f"`{row.name}`", row.doc] for row in CLEANING]
    )


def guidance() -> str:
    """One line per kind of task."""
    rows = [
        [f"`{name}`", row.title, str(row.minimum), _range(*row.recommended)]
        for name, row in GUIDANCE.items()
    ]
    return markdown_table(["task", "meaning", "at least", "recommended training examples"], rows)


def _range(low: int, high: int | None) -> str:
    return f"{low:,} or more" if high is None else f"{low:,} to {high:,}"


def pairs() -> str:
    """One line per way of making a pair from a document."""
    return markdown_table(["kind", "made from"], [[f"`{row.kind}`", row.doc] for row in PAIR_RULES])


def metrics() -> str:
    """One line per metric."""
    rows = [
        [f"`{row.name}`", row.title, row.needs, "up" if row.higher_is_better else "down"]
        for row in METRICS.values()
    ]
    return markdown_table(["metric", "meaning", "computed from", "better"], rows)


def benchmarks(path: Path) -> str:
    """One line per public benchmark of a pack, from its benchmarks.yaml."""
    problems: list[Problem] = []
    header = ["id", "benchmark", "metrics", "licence, limits", "local file", "elsewhere"]
    rows = []
    for row in read_rows(path, problems):
        scores = ", ".join(dict.fromkeys(f"`{map_.metric}`" for map_ in row.maps))
        limits = f"{row.licence}. **{row.restricted}**" if row.restricted else row.licence
        rows.append([f"`{row.id}`", row.title, scores, limits, row.local, row.harness])
    if problems:
        raise UserError(problems)
    return markdown_table(header, rows)


def behaviours() -> str:
    """One line per behaviour."""
    rows = [
        [
            f"`{row.name}`",
            row.title,
            ", ".join(f"`{name}`" for name in sorted(row.types)),
            "pairs" if row.pairs else "items",
            "up" if row.higher_is_better else "down",
        ]
        for row in BEHAVIOURS.values()
    ]
    return markdown_table(["name", "share of", "types", "counted by", "better"], rows)


def gates() -> str:
    """One line per gate."""
    return markdown_table(["gate", "holds"], [[f"`{row.name}`", row.doc] for row in GATES.values()])


def policies() -> str:
    """One line per scrubbing policy."""
    rows = [[f"`{row.name}`", row.doc] for row in POLICIES.values()]
    return markdown_table(["policy", "what stands in the place of an identifier"], rows)


def checksums() -> str:
    """One line per check digit rule."""
    rows = [[f"`{name}`", _first_line(rule)] for name, rule in CHECKSUMS.items()]
    return markdown_table(["name", "rule"], rows)


def settings() -> str:
    """One line per setting of the configuration."""
    config = Config()
    described = dict(_descriptions(config))
    rows = [[f"`{name}`", f"`{value}`", described[name]] for name, value in leaves(config)]
    return markdown_table(["setting", "default", "unit and effect"], rows)


def speed() -> str:
    """One line per way of training faster or with less memory."""
    header = ["means", "setting", "automatic", "gain and price"]
    rows = [
        [row.title, f"`{row.setting}`" if row.setting else "none", row.automatic, row.doc]
        for row in MEANS
    ]
    return markdown_table(header, rows)


def memory() -> str:
    """One line per model of the table: GiB on one card at 2048 tokens, and the technique."""
    cards = (8, 12, 16, 24, 48, 80)
    rows = []
    for model_id, model in shapes.table("models").items():
        if "head" in model:  # the table is of sft, which does not train it
            continue
        cells = [model["title"], f"{model['params'] / 1e9:.2g}B"]
        length = min(2048, model["context"])
        for card in cards:
            plan = hardware.plan(model_id, "sft", "auto", machines.usable_gib(card), 1, length)
            cells.append(f"{plan.technique} {plan.need_gib:.1f}" if plan.fits else "no")
        rows.append(cells)
    return markdown_table(["model", "parameters", *[f"{card} GB" for card in cards]], rows)


def rules() -> str:
    """The usual rule of thumb by memory, beside what the plan says for models of four sizes."""
    models = [f"Qwen/Qwen2.5-{size}B-Instruct" for size in ("0.5", "1.5", "7", "14")]
    titles = [shapes.table("models")[model]["title"] for model in models]
    rows = [
        [f"{card} GB", rule_of_thumb(card)]
        + [
            plan_summary(hardware.plan(model, "sft", "auto", machines.usable_gib(card), 1, 2048))
            for model in models
        ]
        for card in (6, 12, 20, 40, 80)
    ]
    return markdown_table(["card", "rule of thumb", *titles], rows)


# Class -> model that stands for it: the smallest card, the card for full training in 16 bits with
# plain Adam, and a machine of eight cards that holds all of it in 32 bits.
CLASSES = {
    "small (< 300M)": "HuggingFaceTB/SmolLM2-135M-Instruct",
    "medium (300M to 3B)": "Qwen/Qwen2.5-1.5B-Instruct",
    "large (> 3B), 8B": "Qwen/Qwen3-8B",
    "large (> 3B), 70B": "meta-llama/Llama-3.1-70B-Instruct",
}


def size_classes() -> str:
    """Minimum, optimal and distributed hardware of a model of each size class, at 2048 tokens."""
    rows = []
    for title, model in CLASSES.items():
        found = [smallest_card((model, None), size) for size in SIZES.values()]
        rows.append([title, *found, *host_and_disk(shapes.table("models")[model]["params"])])
    return markdown_table(["size", *SIZES, "RAM", "disk, full"], rows)


def diagnoses() -> str:
    """One line per thing that is looked for while a run trains, and after its evaluation."""
    rows = [[row.name, row.sign, row.meaning, row.settings, row.source] for row in DIAGNOSES]
    header = ["finding", "said when", "meaning", "what to change", "threshold from"]
    return markdown_table(header, rows)


def remedies() -> str:
    """One line per remedy against forgetting."""
    rows = []
    for row in REMEDIES:
        able = [f"`{one.name}`" for one in TECHNIQUES.values() if row.fits(one)]
        told = "every technique" if len(able) == len(TECHNIQUES) else ", ".join(able)
        rows.append([row.name, f"`{row.change}`", row.doc, told, row.cost, row.source])
    header = ["remedy", "setting", "what it does", "with technique", "cost", "source"]
    return markdown_table(header, rows)


def trackers() -> str:
    """One line per tracker."""
    rows = [
        [
            f"`{row.name}`",
            row.title,
            row.writes,
            "with `tracker_upload`" if row.uploads else "never",
            f"`{row.shown}`",
        ]
        for row in TRACKERS.values()
    ]
    return markdown_table(["tracker", "what", "writes", "sends", "shown by"], rows)


def run_metrics() -> str:
    """One line per figure of the training log."""
    rows = [[f"`{row.name}`", row.unit, row.how, row.source] for row in RUN_METRICS.values()]
    return markdown_table(["name", "unit", "how it is measured", "read from"], rows)


TABLES: dict[str, Callable[[], str]] = {
    function.__name__: function
    for function in (
        formats,
        containers,
        cleaning,
        guidance,
        pairs,
        metrics,
        behaviours,
        gates,
        policies,
        checksums,
        settings,
        speed,
        memory,
        rules,
        size_classes,
        usual_ranges,
        axes,
        diagnoses,
        remedies,
        trackers,
        run_metrics,
    )
}
TABLES |= TECHNIQUE_TABLES
# A page of a pack shows the benchmarks of that pack alone: `benchmarks_medical`.
TABLES |= {
    f"benchmarks_{path.parent.name}": partial(benchmarks, path)
    for path in sorted(Path(FOLDER).glob(f"*/{BENCHMARKS}"))
}


def renew(text: str) -> str:
    """Return a page with its tables made anew."""
    return SLOT.sub(lambda found: found[1] + TABLES[found[2]]() + found[3], text)


def _first_line(rule: Callable[[str], bool]) -> str:
    assert rule.__doc__, "every rule says what it checks"
    return rule.__doc__.strip().splitlines()[0]


def _descriptions(section: Section, prefix: str = "") -> Iterator[tuple[str, str]]:
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, Section):
            yield from _descriptions(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", (field.description or "").replace("\n", " ")


def main(root: Path = Path()) -> int:
    """Renew every page of a project in place."""
    for page in sorted([*root.glob("docs/*.md"), *root.glob(f"{FOLDER}/*/README.md")]):
        page.write_text(renew(page.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
