"""Tables of docs/techniques.md that are computed, measured or read from examples.

They are made from the rows of techniques, objectives, presets and rewards, from the planner, from
technique_gain.toml and from configs/examples; doc_tables.py puts them into the page.
"""

import re
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from . import footprint, hardware, machines, shapes, small_techniques
from .adapter_sets import METHODS
from .combinations import illegal
from .families import ATTENTION
from .formats import FORMATS
from .lora_presets import PRESETS
from .objectives import OBJECTIVES
from .plan_page import smallest_card
from .rewards import REWARDS
from .techniques import TECHNIQUES
from .utils import markdown_table

EXAMPLES = Path("configs/examples")
SMALL, LARGE = "Qwen/Qwen2.5-1.5B-Instruct", "meta-llama/Llama-3.1-8B-Instruct"
LENGTH = 2048  # tokens of an example for which memory is given
ROOMY_GB = 288  # a card on which every technique takes its most faithful settings
# Title -> pattern of model ids, the first that matches counts; experts are recognised by the row
KINDS = {
    "Llama, SmolLM": r"llama|smollm\d?-",
    "vision-language": r"vlm|llava|-vl-|paligemma",
    "CLIP": r"clip",
    "Qwen": r"qwen",
    "Mistral": r"mistral",
    "Gemma": r"gemma",
    "Phi": r"phi-",
    "OLMo": r"olmo",
    "GPT-2, GPT-NeoX": r"gpt2|gpt-neox|pythia",
    "StarCoder": r"starcoder",
    "BERT, RoBERTa, ModernBERT": r"bert",
    "T5, FLAN-T5, CodeT5": r"t5",
}
EXPERTS = "mixture of experts"


def techniques() -> str:
    """One line per technique: which one to take."""
    header = ["technique", "trains", "merges", "choose it when"]
    rows = [
        [f"`{row.name}`", row.trainable, "yes" if row.mergeable else "no", row.guide.when]
        for row in TECHNIQUES.values()
    ]
    return markdown_table(header, rows)


def technique_costs() -> str:
    """One line per technique: trained weights, memory and card of two models, step size."""
    titles = [shapes.table("models")[model]["title"] for model in (SMALL, LARGE)]
    header = ["technique", f"trained of {titles[0]}"]
    header += [*(f"GiB, {title}" for title in titles), f"smallest card, {titles[1]}"]
    header += ["learning rate", "below 300M"]
    rows = []
    for row in TECHNIQUES.values():
        trained, share = trained_share(row.name, SMALL)
        needs = [f"{_need_gib(row.name, model):.1f}" for model in (SMALL, LARGE)]
        card = smallest_card((LARGE, None), (row.name, None, 1), LENGTH)
        rates = [f"{rate:.0e}".replace("e-0", "e-") for rate in _rates(row.name)]
        rows.append(
            [f"`{row.name}`", f"{_percent(share)} ({_count(trained)})", *needs, card, *rates]
        )
    return markdown_table(header, rows)


def trained_share(technique: str, model: str) -> tuple[float, float]:
    """Return how many weights a technique trains at its usual settings, and their share.

    Added weights count as weights of the model, as in training_args.json.
    """
    shape = shapes.known_shape(model)
    run = footprint.Run(shape, technique, "causal_lm", "bf16", "adamw_torch", True, LENGTH)
    trained = footprint.trained_weights(run)
    return trained, trained / (shape.params + (0 if run.trains_all else trained))


def _need_gib(technique: str, model: str) -> float:
    return hardware.plan(
        model, "sft", technique, machines.usable_gib(ROOMY_GB), 1, LENGTH,
        precision="bf16", micro_batch=1, checkpointing=small_techniques.checkpointed(technique),
    ).need_gib  # fmt: skip


def _rates(name: str) -> tuple[float, float]:
    row = TECHNIQUES[name]
    return row.learning_rate, row.small_learning_rate


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.995 else "100 %"


def _count(number: float) -> str:
    for unit, size in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.0f}"


def technique_notes() -> str:
    """A section per technique, from its row."""
    return "\n".join(
        f"#### {row.title}: `{row.name}`\n\n{row.doc}\n\n"
        f"- **For it:** {row.guide.pros}.\n- **Against it:** {row.guide.cons}.\n"
        f"- **Memory:** {row.guide.memory}. **Speed:** {row.guide.speed}.\n"
        f"- **Quality:** {row.guide.quality}. **Complexity:** {row.guide.complexity}.\n"
        for row in TECHNIQUES.values()
    )


@cache
def gain() -> dict[str, Any]:
    """Return technique_gain.toml: command, machine, model, and a row per technique and task."""
    text = Path(__file__).with_name("technique_gain.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def _by_technique() -> dict[str, list[dict[str, Any]]]:
    """Return the measured rows by technique, in the order of the table of techniques."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in gain()["rows"]:
        found[row["technique"]].append(row)
    return {name: found[name] for name in TECHNIQUES if name in found}


def technique_gain() -> str:
    """One line per technique that was measured: score with interval on each task."""
    measured = _by_technique()
    tasks = next(iter(measured.values()))
    header = ["technique", *(f"{row['task']} (n = {row['n']})" for row in tasks)]
    lines = [["base", *(f"{row['base']:.2f}" for row in tasks)]]
    lines += [["most frequent answer", *(f"{row['majority']:.2f}" for row in tasks)]]
    lines += [[f"`{name}`", *map(_score, rows)] for name, rows in measured.items()]
    return markdown_table(header, lines)


def _score(row: Mapping[str, Any]) -> str:
    low, high = row["interval"]
    verdict = "" if row["verdict"] == "better" else f", {row['verdict']}"
    return f"{row['tuned']:.2f} [{low:.2f}, {high:.2f}]{verdict}"


def technique_effort() -> str:
    """One line per technique that was measured: what its training cost."""
    header = ["technique", "CPU minutes", "peak RAM, GiB", "trained", "file, MB", "learning rate"]
    lines = []
    for name, rows in _by_technique().items():
        minutes = sorted(row["cpu_minutes"] for row in rows)
        peak = max(row["peak_rss_gib"] for row in rows)
        share, size = rows[0]["trained_share"], rows[0]["megabytes"]
        spread = " to ".join(dict.fromkeys(f"{each:.1f}" for each in (minutes[0], minutes[-1])))
        rate = f"{rows[0]['learning_rate']:.0e}".replace("e-0", "e-")
        lines.append([f"`{name}`", spread, f"{peak:.1f}", _percent(share), f"{size:.3g}", rate])
    return markdown_table(header, lines)


def gain_command() -> str:
    """What was run, on which machine."""
    found = gain()
    run = f"{found['steps']} steps of {found['batch']} examples"
    return f"    {found['command']}\n\n{found['model']}, {run}, on {found['machine']}.\n"


def objectives() -> str:
    """One line per objective: what it learns, which records it reads, where an example is."""
    examples = defaultdict(list)
    for path, example in _examples():
        examples[example["objective"]].append(f"`{path.stem}`")
    rows = []
    for row in OBJECTIVES.values():
        reads = ", ".join(sorted(row.reads))
        setting = f"`objective={row.name} data.format={_format(row.reads)}`"
        rows.append([f"`{row.name}`", row.doc, reads, ", ".join(examples[row.name]) or setting])
    return markdown_table(["objective", "what it learns", "reads", "example"], rows)


def _format(kinds: frozenset[str]) -> str:
    return next(name for name, row in FORMATS.items() if row.kind in kinds)


def record_kinds() -> str:
    """One line per kind of record: the formats that give it."""
    names = defaultdict(list)
    for name, row in FORMATS.items():
        names[row.kind].append(f"`{name}`")
    return markdown_table(["records", "formats"], [[k, ", ".join(v)] for k, v in names.items()])


def _examples() -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in sorted(EXAMPLES.glob("*.yaml")):
        yield path, YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))


def use_cases() -> str:
    """One line per example configuration, from its own comments."""
    rows = []
    for path, example in _examples():
        text = path.read_text(encoding="utf-8")
        title, hint = (re.search(rf"^# {each}(.*)$", text, re.MULTILINE) for each in ("", "Hint: "))
        assert title and hint, f"{path} says what it is for, and gives a hint"
        layout = example["data"]["format"]
        method = f"`{example['objective']}`, `{example['technique']}`"
        use = title[1].partition(": ")[2].rstrip(".")
        rows.append([f"`{path.stem}`", use, method, f"`{layout}`", hint[1].rstrip(".")])
    return markdown_table(["example", "use case", "method", "format", "hint"], rows)


def lora_presets() -> str:
    """One line per preset."""
    rows = []
    for row in PRESETS.values():
        places = row.lora_target_modules
        where = places if isinstance(places, str) else ", ".join(places)
        where = "the whole attention" if places == ATTENTION else where
        sizes = [row.lora_r, row.lora_alpha, f"{row.lora_dropout:g}"]
        rows.append([f"`{row.name}`", *sizes, where, row.doc])
    return markdown_table(["lora.preset", "r", "alpha", "dropout", "layers", "when"], rows)


def rewards() -> str:
    """One line per reward."""
    rows = []
    for row in REWARDS.values():
        answer = "a number as the right answer" if row.number else "a right answer"
        setting = f"`reinforcement.{row.setting}`" if row.setting else ""
        rows.append([f"`{row.name}`", row.doc, answer if row.reference else setting or "nothing"])
    return markdown_table(["reward", "points", "needs"], rows)


def adapter_methods() -> str:
    """One line per way of combining adapters."""
    rows = [
        [f"`{row.name}`", row.doc, "equal" if row.same_rank else "may differ"]
        for row in METHODS.values()
    ]
    return markdown_table(["--method", "result", "ranks"], rows)


def illegal_combinations() -> str:
    """A line per combination that is refused."""
    return "".join(f"- {sentence}\n" for _, _, sentence in illegal())


def families() -> str:
    """One line per family: the models that are known by name."""
    found: dict[str, list[str]] = {title: [] for title in (*KINDS, EXPERTS)}
    for model, row in shapes.table("models").items():
        found[family_of(model, row)].append(f"`{model}`")
    rows = [[title, ", ".join(models)] for title, models in found.items() if models]
    return markdown_table(["family", "known by name"], rows)


def family_of(model: str, row: Mapping[str, Any]) -> str:
    """Return the title of a model's family.

    Raises:
        StopIteration: it belongs to none.
    """
    if row.get("experts", 1) > 1:
        return EXPERTS
    return next(title for title, pattern in KINDS.items() if re.search(pattern, model.lower()))


TABLES: dict[str, Callable[[], str]] = {
    function.__name__: function
    for function in (
        techniques,
        technique_costs,
        technique_notes,
        technique_gain,
        technique_effort,
        gain_command,
        objectives,
        record_kinds,
        use_cases,
        lora_presets,
        rewards,
        adapter_methods,
        illegal_combinations,
        families,
    )
}
