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
    from .small_techniques import checkpointed
else:  # loaded by path, beside a script
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    from footprint import SHARED, TECHNIQUES, Run, Shape, host_gib, peak_gib
    from machines import CARD_SHARE, Machine, usable_gib
    from shapes import known_shape, table
    from small_techniques import checkpointed

# Need of a device = factor * peak + context. The factor covers fragmentation (fms-acceleration,
# nvidia-smi over allocated peak with a fused loss: 1.11, at most 1.14); unknown shapes and
# sharded runs, which no published run checks, get more.
KNOWN_FACTOR, WIDE_FACTOR, CONTEXT_GIB = 1.15, 1.3, 1.0
SEQUENCE_STEPS = (512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072, 262144)
CARD_STEPS = (8, 12, 16, 24, 32, 48, 80, 141, 192, 288)  # GB
SMALLEST_BATCH = {"unpaired": 2}  # class -> examples that a forward pass needs at least, if not 1
AUTO = "batch, checkpointing, precision, optimiser and sharding on auto"


def least_batch(run: Run) -> int:
    """Examples that a forward pass of its objective needs at least."""
    return SMALLEST_BATCH.get(run.objective_class, 1)


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
        again = base.checkpointing and checkpointed(technique)
        run = replace(base, technique=technique, weights=weights, optimiser=optim or optimiser)
        run = replace(run, checkpointing=again)
        if base.sharding == "zero3" and run.trains_all:  # DeepSpeed keeps 32-bit states itself
            run = replace(run, optimiser="deepspeed")
        runs += [replace(run, sharding=name) for name in choices]
    return list(dict.fromkeys(runs))


def least_need_gib(
    shape: Shape, techniques: Sequence[str], objective_class: str, seq_length: int, world: int = 1
) -> float:
    """Smallest need of the techniques at the least batch with checkpointing, GiB of each GPU."""
    base = Run(shape, "full", objective_class, "bf16", "adamw_torch", True, seq_length, world=world)
    base = replace(base, micro_batch=least_batch(base))
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


def fixes_of(
    wish: Wish, auto: Wish, lighter: Sequence[str], machine: Machine, one_process: bool = False
) -> list[str]:
    """Changes after which `wish` fits the machine, the cheapest first.

    With `one_process` none that needs a launcher: more devices, or an offload.
    """
    relaxed = auto.fits(machine.limit)
    found = _in_chunks(wish, machine.limit) + [AUTO] * relaxed
    found += _less(wish, lighter, machine.limit)
    found += _more(wish, machine, not one_process, rents=not relaxed)
    if found:
        return found
    both = _less(auto, lighter, machine.limit) + _more(auto, machine, not one_process, rents=True)
    return [f"{AUTO}, and {fix}" for fix in both]


def _in_chunks(wish: Wish, limit: float) -> list[str]:
    """The loss in chunks, where it was asked for whole and that decides."""
    if wish.base.chunked_loss or not wish.fits(limit, chunked_loss=True):
        return []
    whole = wish.best(limit)
    saved = need_gib(whole) - need_gib(replace(whole, chunked_loss=True))
    return [f"a loss in chunks ({saved:.1f} GiB less)"]


def _less(wish: Wish, lighter: Sequence[str], limit: float) -> list[str]:
    """A lighter technique, shorter sequences, a smaller model: each alone makes it fit."""
    base = wish.base
    easier = (name for name in lighter if wish._replace(techniques=[name]).fits(limit))
    found = [f"technique {name}" for name in list(easier)[:1]]
    lengths = [n for n in SEQUENCE_STEPS if n < base.seq_length]
    rows = table("models")
    heads = {row.get("family", "llama"): row.get("head") for row in rows.values()}
    free = [
        (row["params"], name)
        for name, row in rows.items()
        if row.get("head") == heads.get(base.shape.family)
        and not row["gated"]
        and row["context"] >= base.seq_length
    ]
    sizes = [name for params, name in sorted(free) if params < base.shape.params]
    # Longer sequences and larger models need more: the last one before those that do not fit.
    end = bisect_left(lengths, True, key=lambda n: not wish.fits(limit, seq_length=n))
    found += [f"sequences of at most {n} tokens" for n in lengths[:end][-1:]]
    end = bisect_left(sizes, True, key=lambda m: not wish.fits(limit, shape=known_shape(m)))
    return found + [f"a smaller model: {name}" for name in sizes[:end][-1:]]


def _more(wish: Wish, machine: Machine, launched: bool, rents: bool) -> list[str]:
    """More GPUs, an offload, larger GPUs: each alone makes it fit."""
    if not machine.gpu:
        return []
    base, limit = wish.base, machine.limit
    found: list[str] = []
    if launched:
        more = (n for n in (2, 4, 8) if n > base.world)
        number = next((n for n in more if wish.fits(limit, world=n)), None)
        found += [f"{number} GPUs of this size"] * (number is not None)
        away = replace(wish.best(limit), sharding="offload", micro_batch=least_batch(base))
        away = replace(away, checkpointing=checkpointed(away.technique), chunked_loss=True)
        if need_gib(away) <= limit:
            ram = math.ceil(host_gib(away))
            found.append(f"offload of weights and optimiser to RAM ({ram} GiB, by FSDP2 or ZeRO-3)")
    for number in (base.world, 8) if launched else (base.world,):
        card = _card(wish, number) if rents else None
        if card:
            return [*found, f"{number} x a GPU with {card} GB"]
    return found


def _card(wish: Wish, number: int) -> int | None:
    """GB of the smallest card of which `number` hold a wish."""
    sizes = [CARD_SHARE * usable_gib(gb) for gb in CARD_STEPS]
    at = bisect_left(sizes, True, key=lambda gib: wish.fits(gib, world=number))
    return CARD_STEPS[at] if at < len(sizes) else None
