"""Sizes and places of low-rank adapters that go together: one row per preset. Layer 0."""

from dataclasses import dataclass
from typing import Literal

from .families import ATTENTION

ALL: Literal["all-linear"] = "all-linear"


@dataclass(frozen=True, slots=True)
class Preset:
    """One choice of the four values.

    Attributes:
        name: value of the setting `lora.preset`.
        lora_r: rank.
        lora_alpha: scale times rank.
        lora_dropout: share of the adapter's inputs that are dropped.
        lora_target_modules: roles of matrices (families.ATTENTION), or every linear layer.
        doc: when to take it.
    """

    name: str
    lora_r: int
    lora_alpha: int
    lora_dropout: float
    lora_target_modules: Literal["all-linear"] | tuple[str, ...]
    doc: str


ROWS = (
    Preset("default", 16, 32, 0.05, ALL, "most tasks; the learning rates here were measured on it"),
    Preset(
        "conservative", 8, 8, 0.1, ("query", "value"), "few examples, or a base to change little"
    ),
    # alpha: twice the rank, so that the scale of the update is that of the default
    Preset("balanced", 16, 32, 0.05, ATTENTION, "a third of the default's size, near its quality"),
    Preset("aggressive", 64, 128, 0.0, ALL, "much data, or a task far from what the base knows"),
)
PRESETS: dict[str, Preset] = {row.name: row for row in ROWS}
