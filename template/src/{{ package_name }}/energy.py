"""Energy of a run, estimated: measured seconds times the power of the device, nothing metered."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .machines import find_device

JOULES_PER_KWH = 3.6e6
# codecarbon/core/cpu.py (DEFAULT_POWER_PER_CORE): what CodeCarbon takes for a CPU it does not know.
WATTS_PER_THREAD = 4.0
LEFT_OUT = "memory, other parts, cooling and losses are left out"


@dataclass(frozen=True, slots=True)
class Power:
    """Draw of everything that computed, in W, and where the figure comes from."""

    watts: float
    source: str


@dataclass(frozen=True, slots=True)
class Energy:
    """Estimated energy in kWh, and grams of CO2e where the intensity of the grid is known."""

    kwh: float
    grams_co2: float | None
    power: Power


def device_power(device: Mapping[str, Any], stated_w: float | None) -> Power | None:
    """Return the power of a device; None where nothing is known about it.

    Args:
        device: kind, name and count, as in training_args.json.
        stated_w: setting `hardware.power_w`, of one GPU or of the CPU.
    """
    # One process trains on one device; the count of a CPU is 0.
    if stated_w is not None:
        return Power(stated_w, "hardware.power_w, stated by the project")
    if device["kind"] == "cpu":
        threads = re.search(r"(\d+) threads", str(device["name"]))
        if threads is None:
            return None
        source = f"assumed: {WATTS_PER_THREAD:g} W a thread, the value that CodeCarbon takes for"
        return Power(WATTS_PER_THREAD * int(threads[1]), f"{source} a CPU it does not know")
    name, row = find_device(str(device["name"]))
    if not row.get("power_w"):
        return None
    return Power(row["power_w"], f"largest draw of the board, devices.toml, row {name}")


def estimate(seconds: float, power: Power, grid_g_co2_per_kwh: float | None) -> Energy:
    """Return the energy of `seconds` at full power: an upper bound for the device itself.

    Args:
        seconds: measured wall time.
        power: of the device.
        grid_g_co2_per_kwh: carbon intensity of the electricity; None: emissions stay unknown.
    """
    kwh = seconds * power.watts / JOULES_PER_KWH
    grams = None if grid_g_co2_per_kwh is None else kwh * grid_g_co2_per_kwh
    return Energy(kwh, grams, power)
