"""Techniques that hold the base in 4 bit: what they need, and the way back to plain weights."""

import importlib.util
from pathlib import Path
from typing import Any

from .config import Config
from .devices import Device, machine_memory
from .errors import Problem, UserError
from .footprint import BYTES, GIB
from .footprint import TECHNIQUES as COUNTED
from .hardware import Plan
from .heads import HEADS
from .model_wrapper import load_base
from .objectives import OBJECTIVES
from .planning import planned_shape
from .techniques import TECHNIQUES

PACKAGE = "bitsandbytes"
KINDS = ("cuda", "cpu")  # Apple's GPUs: bitsandbytes has operators, training was not tried
# RAM of a process that merges, beside the weights in both forms: libraries and a few matrices
# (measured: 0.83 GiB in all for weights of 0.50 GiB in fp32, peft 0.21.2)
SPARE_GIB = 1.0


def require_quantisation(config: Config, plan: Plan, device: Device) -> None:
    """Refuse a technique with a quantised base where it cannot be trained or saved.

    Raises:
        UserError: bitsandbytes is missing, the device is not supported, or the RAM does not
            hold the plain weights into which the adapter is merged at the end.
    """
    if not TECHNIQUES[plan.technique].quantised:
        return
    plain = ", ".join(name for name, row in TECHNIQUES.items() if not row.quantised)
    problems = []
    if device.kind not in KINDS:
        found = f"{plan.technique} holds the base in 4 bit, which was not tried on {device.kind}"
        problems.append(Problem("technique", found, plain))
    elif importlib.util.find_spec(PACKAGE) is None:
        found = f"{plan.technique} needs {PACKAGE}, which is not installed"
        problems.append(Problem("technique", found, plain, f"make setup, or pip install {PACKAGE}"))
    need, memory = merge_gib(config, plan), machine_memory() / GIB
    if need > memory:
        found = f"merging the adapter needs {need:.1f} GiB of RAM, {memory:.1f} GiB are there"
        problems.append(Problem("technique", found, fix="a smaller model, or more RAM"))
    if problems:
        raise UserError(problems)


def merge_gib(config: Config, plan: Plan) -> float:
    """Return the RAM in GiB that merging takes: weights in 4 bit and expanded, and the process."""
    each = BYTES[plan.weights] + COUNTED[plan.technique].base_bytes
    return planned_shape(config).params * each / GIB + SPARE_GIB


def merged_with_rounded_base(config: Config, precision: str, adapter: Path) -> Any:
    """Return the model that was trained in plain weights, with its adapter merged, on the CPU.

    The base is rounded to 4 bit once more and expanded: the adapter learned beside these values.
    Merged into the exact weights it would be another model than the one that was validated
    (SmolLM2-135M, 10 steps, loss on 18 rows: trained 0.554, this one 0.554, exact 0.600).

    Args:
        config: names the base.
        precision: number format of the result, one of fp32, bf16, fp16.
        adapter: folder that peft wrote.
    """
    from peft import PeftModel

    head = HEADS[OBJECTIVES[config.objective].head]
    loaded = load_base(config, precision, quantised=True, device="cpu", head=head)
    base = loaded.model.dequantize()
    return PeftModel.from_pretrained(base, adapter).merge_and_unload()
