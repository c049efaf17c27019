"""The ladder of techniques on a machine: which runs are tried, which fits, and what would help.

Standard library only. `planner.py` decides the rest of a plan.
"""

import math
import sys
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING or __package__:
    from .footprint import SHARED, TECHNIQUES, Run, Shape, host_gib, peak_gib
    from .machines import CARD_SHARE, Machine, usable_gib
    from .shapes import known_shape, table
else:  # loaded by path, beside a script
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    from footprint import SHARED, TECHNIQUES, Run, Shape, host_gib, peak_gib
    from machines import CARD_SHARE, Machine, usable_gib
    from shapes import known_shape, table

# Need of a device = factor * peak + context. The factor covers fragmentation (fms-acceleration,
# nvidia-smi over allocated peak with a fused loss: 1.11, at most 1.14); unknown shapes and
# sharded runs, which no published run checks, get more.
KNOWN_FACTOR, WIDE_FACTOR, CONTEXT_GIB = 1.15, 1.3, 1.0
SEQUENCE_STEPS = (512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072, 262144)
CARD_STEPS = (8, 12, 16, 24, 32, 48, 80, 141, 192, 288)  # GB
AUTO = "batch, checkpointing, precision, optimiser and sharding on auto"


def need_gib(run: Run) -> float:
    """Memory that a device must have, GiB: peak with fragmentation and context."""
    known = run.shape.sure and run.sharding not in SHARED
    return (KNOWN_FACTOR if known else WIDE_FACTOR) * peak_gib(run) + CONTEXT_GIB


def fits(run: Run, machine: Machine) -> bool:
    """Whether a run fits one GPU, or the RAM where there is none and its size is known."""
    return need_gib(run) <= machine.limit


def candidates(
    base: Run, techniques: Sequence[str], precision: str, optim: str | None, eight_bit: bool
) -> list[Run]:
    """Rungs of the ladder, best first; with several devices each replicated, then sharded.

    A base that is sharded already stays so.
    """
    choices = ("ddp", "fsdp2") if base.world > 1 else ("none",)
    if base.sharding != "none":
        choices = (base.sharding,)
    runs = []
    rungs = [(name, *rung) for name in techniques for rung in TECHNIQUES[name].rungs]
    for technique, weights, optimiser in rungs:
        if "8bit" in optimiser and not (eight_bit or optim):
            continue
        whole = precision == "fp16" and TECHNIQUES[technique].trains_all  # fp16 cannot be trained
        weights = "fp32" if whole or "fp32" in (precision, weights) else precision
        run = replace(base, technique=technique, weights=weights, optimiser=optim or optimiser)
        if base.sharding == "zero3" and run.trains_all:  # DeepSpeed keeps 32-bit states itself
            run = replace(run, optimiser="deepspeed")
        runs += [replace(run, sharding=name) for name in choices]
    return list(dict.fromkeys(runs))


def least_need_gib(
    shape: Shape, techniques: Sequence[str], objective_class: str, seq_length: int, world: int = 1
) -> float:
    """Smallest need of the techniques at micro batch 1 with checkpointing, GiB of each GPU."""
    base = Run(shape, "full", objective_class, "bf16", "adamw_torch", True, seq_length, world=world)
    return min(map(need_gib, candidates(base, techniques, "bf16", None, True)))


class Wish(NamedTuple):
    """Arguments of `candidates`: what was asked for, with all that is open at its smallest."""

    base: Run
    techniques: Sequence[str]
    precision: str
    optim: str | None
    eight_bit: bool

    def best(self, limit: float) -> Run:
        """The first candidate that fits `limit` GiB, else the one that needs least."""
        runs = candidates(*self)
        first = next((one for one in runs if need_gib(one) <= limit), None)
        return first or min(runs, key=need_gib)

    def fits(self, limit: float, **changes: Any) -> bool:
        """Whether it would fit with these fields of the run changed."""
        wish = self._replace(base=replace(self.base, **changes))
        return any(need_gib(run) <= limit for run in candidates(*wish))


def fixes_of(wish: Wish, auto: Wish, lighter: Sequence[str], machine: Machine) -> list[str]:
    """Changes after which `wish` fits the machine, the cheapest first."""
    relaxed = auto.fits(machine.limit)
    found = [AUTO] * relaxed + _single_fixes(wish, lighter, machine, rents=not relaxed)
    if found and found[0] == AUTO and any("in chunks" in fix for fix in found):
        found.sort(key=lambda fix: "in chunks" not in fix)
    if found:
        return found
    return [f"{AUTO}, and {fix}" for fix in _single_fixes(auto, lighter, machine, rents=True)]


def _single_fixes(wish: Wish, lighter: Sequence[str], machine: Machine, rents: bool) -> list[str]:
    """Single changes after which a wish fits, without those that loosen what the user set."""
    base, limit, found = wish.base, machine.limit, []
    if not base.chunked_loss and wish.fits(limit, chunked_loss=True):
        whole = wish.best(limit)
        saved = need_gib(whole) - need_gib(replace(whole, chunked_loss=True))
        found.append(f"a loss in chunks ({saved:.1f} GiB less)")
    easier = (name for name in lighter if wish._replace(techniques=[name]).fits(limit))
    found += [f"technique {name}" for name in list(easier)[:1]]
    lengths = (n for n in reversed(SEQUENCE_STEPS) if n < base.seq_length)
    shorter = next((n for n in lengths if wish.fits(limit, seq_length=n)), None)
    found += [f"sequences of at most {shorter} tokens"] * (shorter is not None)
    free = [
        (row["params"], name)
        for name, row in table("models").items()
        if "head" not in row and not row["gated"] and row["context"] >= base.seq_length
    ]
    sizes = [name for params, name in sorted(free) if params < base.shape.params]
    # Larger models need more: the last one before those that do not fit.
    end = bisect_left(sizes, True, key=lambda m: not wish.fits(limit, shape=known_shape(m)))
    smaller = sizes[end - 1] if end else None
    found += [f"a smaller model: {smaller}"] * (smaller is not None)
    if not machine.gpu:
        return found
    more = (n for n in (2, 4, 8) if n > base.world)
    number = next((n for n in more if wish.fits(limit, world=n)), None)
    found += [f"{number} GPUs of this size"] * (number is not None)
    away = replace(wish.best(limit), sharding="offload", micro_batch=1, checkpointing=True)
    away = replace(away, chunked_loss=True)
    if need_gib(away) <= limit:
        ram = math.ceil(host_gib(away))
        found.append(f"offload of weights and optimiser to RAM ({ram} GiB, by FSDP2 or ZeRO-3)")
    card = _card(wish) if rents else None
    return found + ([f"{card[0]} x a GPU with {card[1]} GB"] if card else [])


def _card(wish: Wish) -> tuple[int, int] | None:
    """Number and GB of the smallest cards on which a wish fits: as many as asked for, else 8."""
    for number in (wish.base.world, 8):
        steps = range(len(CARD_STEPS))
        sizes = [CARD_SHARE * usable_gib(gb) for gb in CARD_STEPS]
        at = bisect_left(steps, True, key=lambda k: wish.fits(sizes[k], world=number))
        if at < len(CARD_STEPS):
            return number, CARD_STEPS[at]
    return None
