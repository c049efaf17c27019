"""Devices: their memory, and how long a run takes on them, what it costs and draws.

Standard library only; devices.toml and prices.toml lie beside this file.
"""

import math
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or __package__:
    from .footprint import GB, GIB, TECHNIQUES, Run
    from .shapes import table
else:  # loaded by path, beside a script
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    from footprint import GB, GIB, TECHNIQUES, Run
    from shapes import table

CARD_SHARE = 0.97  # of a card that a plan may need
# FLOPs each second and thread that SmolLM2-135M with LoRA reached in fp32 (177 tokens/s on two
# idle threads of an AMD EPYC, 6 FLOPs a weight and token); another CPU may be 3 times off.
CPU_FLOPS = 7.1e10
# In a driver's name: another card than the one of that number, or a part of it
OTHER_CARDS = frozenset(("laptop", "mobile", "ti", "mig"))
# g CO2e/kWh, average of the world's electricity in 2022 (Ember, Global Electricity Review 2023);
# in 2023 France was at 56 and India at 713 (Our World in Data, from the same source)
GRID_G_CO2_PER_KWH = 436


def usable_gib(gpu_memory_gb: float) -> float:
    """Size in GiB of a card sold as `gpu_memory_gb` GB: a GB is 10^9 bytes.

    torch reports 14.56 GiB for a T4 (sold as 16), 44.4 L40 (48), 79.2 A100 (80; messages in public
    issues): the largest shortfall is 2.3 %, inside the 3 % that a plan leaves free.
    """
    return gpu_memory_gb * GB / GIB


def device_gib(row: Mapping[str, Any]) -> float:
    """Memory in GiB that a device of devices.toml gives: as torch reports it, or by its GB."""
    nominal = usable_gib(row.get("memory_gb", 0)) * row.get("memory_share", 1)
    return float(row.get("memory_gib", nominal))


def find_device(name: str) -> tuple[str, dict[str, Any]]:
    """Row of devices.toml by id or by the name that a driver reports; empty when unknown."""
    words, rows = set(re.split(r"[^a-z0-9]+", name.lower())), table("devices").items()
    if words & OTHER_CARDS:
        return "", {}
    found = (item for item in rows if name.lower() == item[0] or words.issuperset(item[1]["match"]))
    return next(found, ("", {}))


@dataclass(frozen=True)
class Machine:
    """What a run is planned for; `row` of devices.toml is empty where the device is unknown."""

    device_id: str
    row: Mapping[str, Any]
    gib: float  # of one GPU as torch reports it; 0: no GPU
    gpus: int
    nodes: int
    bf16: bool
    threads: int | None  # of the CPU
    ram_gib: float | None = None  # for a run without a GPU; None: not compared

    @property
    def gpu(self) -> bool:
        """Whether a GPU computes."""
        return self.gib > 0

    @property
    def limit(self) -> float:
        """GiB that a plan may need of one GPU, or of RAM where there is none."""
        ram = math.inf if self.ram_gib is None else self.ram_gib
        return CARD_SHARE * self.gib if self.gpu else ram

    @property
    def world(self) -> int:
        """Devices that train together."""
        return (max(1, self.gpus) if self.gpu else 1) * self.nodes


def machine_of(
    device: str | None, gib: float | None, gpus: int, nodes: int, bf16: bool | None,
    threads: int | None, ram_gib: float | None = None,
) -> Machine:  # fmt: skip
    """The machine of a plan: `gib` of one GPU as the driver reports it, 0 for a CPU.

    Raises ValueError where neither `gib` nor a known device is given.
    """
    device_id, row = find_device(device or "")
    if gib is None and not row:
        names = ", ".join(table("devices"))
        raise ValueError(f"no gpu_memory_gib, and device {device!r} is none of {names}")
    if gib is None:
        gib = device_gib(row)
    half = gib > 0 and row.get("bf16", True) if bf16 is None else bf16
    return Machine(device_id, row, gib, gpus, nodes, half, threads, ram_gib)


def hours_of(run: Run, machine: Machine, tokens: float) -> list[float] | None:
    """Range: 6 FLOPs per active weight and token at a share of the peak rate (published runs).

    None where the rate of the device, or the threads of the CPU, are not known.
    """
    shape, batch, row = run.shape, run.micro_batch * run.seq_length, machine.row
    idle = 3 * shape.hidden * shape.intermediate * shape.layers
    active = shape.params - idle * (shape.experts - shape.routed)
    active += run.teacher.params / 3 if run.teacher else 0  # it only reads
    work = tokens * 6 * active / 3600
    if not machine.gpu:
        middle = work / (CPU_FLOPS * (machine.threads or 1))
        return [round(middle / 3, 3), round(middle * 3, 3)] if machine.threads else None
    if not row.get("bf16_tflops"):
        return None
    share = TECHNIQUES[run.technique].share * row["speed_factor"]
    share *= min(1, batch / 2048) ** 0.5 * (0.8 if run.world > 1 else 1)
    middle = work / (run.world * row["bf16_tflops"] * 1e12 * share)
    # Between machines the network decides, which no published run here shows: at worst 4 times.
    return [round(middle / 1.3, 3), round(middle * (4 if machine.nodes > 1 else 1.6), 3)]


def expenses_of(
    hours: list[float] | None, machine: Machine, prices: Mapping[str, Any], grid: float | None
) -> dict[str, list[float] | None]:
    """Cost, energy and carbon of a range of hours; None where a figure is not known."""
    found: dict[str, list[float] | None] = dict.fromkeys(("cost", "energy_kwh", "co2_kg"))
    price, watts = prices.get(machine.device_id), machine.row.get("power_w")
    if hours and price:
        rates = (price["low"], price["high"])
        found["cost"] = [round(h * r * machine.world, 2) for h, r in zip(hours, rates, strict=True)]
    if hours and watts:
        kwh = [h * watts * machine.world / 1000 for h in hours]
        found["energy_kwh"] = [round(value, 3) for value in kwh]
        grams = GRID_G_CO2_PER_KWH if grid is None else grid
        found["co2_kg"] = [round(value * grams / 1000, 3) for value in kwh]
    return found
