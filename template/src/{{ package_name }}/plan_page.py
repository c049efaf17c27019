"""docs/hardware_plan.md: the plan of this project for people, made from configs/plan.lock.yaml."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from . import forecasts, hardware, machines, shapes
from .config import Config
from .planning import planned_model
from .utils import markdown_table, write_text

PAGE = Path("docs/hardware_plan.md")
CARDS = (8, 12, 16, 24, 32, 40, 48, 80, 141, 192, 288)  # GB
# Up to that many GB of a card -> what is usually recommended for it
RULE_OF_THUMB = ((8, "QLoRA"), (16, "QLoRA"), (24, "LoRA or QLoRA"), (48, "LoRA or DoRA"))
ABOVE = "full"
Size = tuple[str, str | None, int]
# Title -> technique, optimiser (None: the plan's choice), cards of one machine
SIZES: dict[str, Size] = {
    "minimum": ("auto", None, 1),
    "optimal: full in 16 bits": ("full", "adamw_torch", 1),
    "distributed: full, 8 cards of": ("full", "adamw_torch", 8),
}
WHY = """The rule goes by the card alone. The plan also knows the model, the length, the vocabulary
and the objective: small models train in full on small cards, large ones need adapters on large
cards, and few training data speak for an adapter whatever fits."""


def write_page(config: Config, lock: Mapping[str, Any]) -> Path:
    """Write the page and return its path.

    Args:
        config: the run that was planned.
        lock: content of plan.lock.yaml: `key` with the device, `plan`.
    """
    path = config.path(PAGE)
    write_text(path, page(config, lock))
    return path


def page(config: Config, lock: Mapping[str, Any]) -> str:
    """Return the page as Markdown."""
    device, plan = lock["key"]["device"], lock["plan"]
    names = [field.name for field in fields(hardware.Plan)][:-2]  # not reasons and fixes
    rows = [[f"`{name}`", plan[name], plan["reasons"].get(name, "")] for name in names]
    memory = f"{device['memory_gib']:.1f} GiB"
    parts = [
        "# Hardware of this project",
        "Written by `make plan` from `configs/plan.lock.yaml`; not under version control.",
        f"{config.model.model_name_or_path}, objective {config.objective}, "
        f"{config.train.max_length} tokens; device: {device['name']}, {memory}.",
        "## The plan for this machine",
        markdown_table(["setting", "value", "why"], rows),
        "The predicted peak (`peak_gib`) is of allocated memory; `need_gib` adds fragmentation and "
        f"the driver. Error of the peak: {plan['error_band']}.",
        "## This model on other machines",
        _machines(config),
        "GiB that one card needs at micro batch 1 with checkpointing; `no`: does not fit.",
        f"    {forecasts.grid(config)}".replace("\n", "\n    "),
        "## The rule of thumb, and the plan",
        _rules(config),
        WHY,
    ]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def smallest_card(asked: tuple[str, float | None], size: Size, length: int = 2048) -> str:
    """Return the smallest card, in GB, that trains a model in 16 bits, or `none`.

    Where the technique is left open, the one that fits is named.

    Args:
        asked: id or folder of the model, and its weights where they have to be stated.
        size: technique, optimiser (None: the plan chooses) and cards of one machine.
        length: tokens of an example.
    """
    (model, params), (technique, optim, cards) = asked, size
    for card in CARDS:
        plan = hardware.plan(
            model, "sft", technique, machines.usable_gib(card), cards, length,
            params=params, optim=optim, precision="bf16",
        )  # fmt: skip
        if plan.fits:
            return f"{card} GB" + (f" ({plan.technique})" if technique == "auto" else "")
    return "none"


def _machines(config: Config) -> str:
    model, length = planned_model(config), config.train.max_length
    found = [smallest_card(model, size, length) for size in SIZES.values()]
    params = shapes.find_shape(*model)[0].params
    return markdown_table([*SIZES, "RAM", "disk, full"], [[*found, *host_and_disk(params)]])


def host_and_disk(params: float) -> list[str]:
    """Return RAM and disk of a run with three checkpoints of full training.

    RAM: the checkpoint in 16 bits twice while it is loaded, and 4 GB for the rest. Disk: the base,
    three checkpoints of 16-bit weights with two states, and 10 GB of libraries.
    """
    return [f"{2 * 2 * params / 1e9 + 4:.0f} GB", f"{(2 + 3 * 6) * params / 1e9 + 10:.0f} GB"]


def _rules(config: Config) -> str:
    rows: list[Sequence[object]] = []
    model, params = planned_model(config)
    for card in (6, 12, 20, 40, 80):
        plan = hardware.plan(
            model, config.objective, "auto", machines.usable_gib(card), 1, config.train.max_length,
            params=params,
        )  # fmt: skip
        rows.append([f"{card} GB", rule_of_thumb(card), plan_summary(plan)])
    return markdown_table(["card", "rule of thumb", "the plan"], rows)


def rule_of_thumb(card_gb: float) -> str:
    """Return what is usually recommended for a card, whatever the model is."""
    return next((rule for most, rule in RULE_OF_THUMB if card_gb <= most), ABOVE)


def plan_summary(plan: hardware.Plan) -> str:
    """Return technique, dtype and optimiser of a plan in a few words."""
    adam = ", 8-bit Adam" if "8bit" in plan.optim else ""
    return f"{plan.technique} {plan.weights}{adam}" if plan.fits else "nothing"
