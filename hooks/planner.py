"""Plan a fine-tuning run: what fits on the machine, with which settings, and why.

Standard library only. Beside this file lie footprint.py (the closed form of memory), shapes.py
(architectures), machines.py (devices, time and money) and their tables. Published runs check the
plan (tests/benchmarks/memory.py).
"""

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or __package__:  # rendered into a project as hardware.py
    from .footprint import (
        HALF_RUNG,
        OBJECTIVE_CLASSES,
        SHARED,
        TECHNIQUES,
        Run,
        Shape,
        host_gib,
        peak_gib,
    )
    from .machines import (
        CARD_SHARE,
        GRID_G_CO2_PER_KWH,
        Machine,
        expenses_of,
        hours_of,
        machine_of,
        usable_gib,
    )
    from .shapes import find_shape, known_shape, table
else:  # a script, or loaded by path
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    from footprint import (
        HALF_RUNG,
        OBJECTIVE_CLASSES,
        SHARED,
        TECHNIQUES,
        Run,
        Shape,
        host_gib,
        peak_gib,
    )
    from machines import (
        CARD_SHARE,
        GRID_G_CO2_PER_KWH,
        Machine,
        expenses_of,
        hours_of,
        machine_of,
        usable_gib,
    )
    from shapes import find_shape, known_shape, table

# Need of a device = factor * peak + context. The factor covers fragmentation (fms-acceleration,
# nvidia-smi over allocated peak with a fused loss: 1.11, at most 1.14); unknown shapes and
# sharded runs, which no published run checks, get more.
KNOWN_FACTOR, WIDE_FACTOR, CONTEXT_GIB = 1.15, 1.3, 1.0
GPU_TOKENS, CPU_TOKENS = 4096, 1024  # of a micro batch; above, utilisation gains little
# Logits that the whole loss may hold at once on a CPU: 0.25 GiB in fp32, 0.9 GiB with what the
# backward pass keeps.
MOST_LOGITS = 2**26
SMALL_DATA_TOKENS, SMALL_DATA_ROWS = 1_000_000, 2_000  # rule of thumb, one epoch
SEQUENCE_STEPS = (512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072, 262144)
CARD_STEPS = (8, 12, 16, 24, 32, 48, 80, 141, 192, 288)  # GB
OBJECTIVES = {"sft": "causal_lm", "chat": "causal_lm", "pretrain": "causal_lm"}
OBJECTIVES |= {"dpo": "preference", "orpo": "pairs", "kto": "unpaired", "reward": "reward"}
OBJECTIVES |= {"grpo": "rollouts", "rloo": "rollouts"}


def need_gib(run: Run) -> float:
    """Memory that a device must have, GiB: peak with fragmentation and context."""
    known = run.shape.sure and run.sharding not in SHARED
    return (KNOWN_FACTOR if known else WIDE_FACTOR) * peak_gib(run) + CONTEXT_GIB


def fits(run: Run, machine: Machine) -> bool:
    """Whether a run fits one GPU; always true without one: RAM is compared by the caller."""
    return not machine.gpu or need_gib(run) <= machine.limit


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


@dataclass(frozen=True)
class Plan:
    """Settings of a run (Hugging Face names), its predicted need, and a reason for each choice."""

    technique: str
    quantisation: str  # "none" or "nf4"
    precision: str  # of the computation: "fp32", "bf16" or "fp16"
    weights: str  # dtype in which the base weights are loaded
    optim: str
    per_device_train_batch_size: int
    gradient_accumulation_steps: int
    gradient_checkpointing: bool
    chunked_loss: bool
    sharding: str  # "none", "ddp", "fsdp2" or "zero3"
    peak_gib: float  # allocated, of one device
    need_gib: float  # of one device; RAM where there is none
    error_band: str  # of peak_gib
    fits: bool
    hours: list[float] | None  # [low, high]
    cost: list[float] | None  # [low, high], US dollars
    energy_kwh: list[float] | None  # [low, high], of the devices at their largest draw
    co2_kg: list[float] | None  # [low, high]
    reasons: dict[str, str]
    fixes: list[str]  # what would make it fit, cheapest first

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON or YAML."""
        return asdict(self)

    def table(self) -> str:
        """Readable text, one line a setting."""
        rows = list(self.as_dict().items())[:-2]
        lines = [f"{k:28} {v!s:18} {self.reasons.get(k, '')}".rstrip() for k, v in rows]
        return "\n".join(lines + [f"would fit with: {fix}" for fix in self.fixes])


def _fixes(run: Run, techniques: Sequence[str], limit: float) -> list[str]:
    """Single changes after which the run fits `limit` GiB, the cheapest first."""

    def least(shape: Shape = run.shape, seq: int = run.seq_length, world: int = run.world) -> float:
        return least_need_gib(shape, techniques, run.objective_class, seq, world)

    tiled, found = replace(run, chunked_loss=True), []
    if not run.chunked_loss and need_gib(tiled) <= limit:
        found.append(f"a loss in chunks ({need_gib(run) - need_gib(tiled):.1f} GiB less)")
    if least() <= limit:
        found.append("batch, checkpointing, precision, optimiser and sharding on auto")
    else:
        about = (run.objective_class, run.seq_length, run.world)
        lighter = [name for name in ("lora", "qlora") if name not in techniques]
        lighter = [n for n in lighter if least_need_gib(run.shape, [n], *about) <= limit]
        found += [f"technique {name}" for name in lighter[:1]]
    shorter = [n for n in SEQUENCE_STEPS if n < run.seq_length and least(seq=n) <= limit]
    found += [f"sequences of at most {n} tokens" for n in shorter[-1:]]
    rows = [(m, row) for m, row in table("models").items() if "head" not in row]
    free = sorted((row["params"], m) for m, row in rows if not row["gated"])
    smaller = [m for n, m in free if n < run.shape.params and least(known_shape(m)) <= limit]
    found += [f"a smaller model: {m}" for m in smaller[-1:]]
    more = [n for n in (2, 4, 8) if n > run.world and least(world=n) <= limit]
    found += [f"{n} GPUs of this size" for n in more[:1]]
    away = replace(run, sharding="offload", micro_batch=1, checkpointing=True, chunked_loss=True)
    if need_gib(away) <= limit:
        ram = math.ceil(host_gib(run))
        found.append(f"offload of weights and optimiser to RAM ({ram} GiB, by FSDP2 or ZeRO-3)")
    cards = CARD_STEPS if least() > limit else ()
    rents = [(n, gb) for n in (run.world, 8) for gb in cards]
    rents = [(n, gb) for n, gb in rents if CARD_SHARE * usable_gib(gb) >= least(world=n)]
    return found + [f"{n} x a GPU with {gb} GB" for n, gb in rents[:1]]


def _batches(
    run: Run, machine: Machine, share: int, micro_batch: int | None, accumulation: int | None
) -> tuple[Run, int]:
    """The run at the largest micro batch that is useful and fits, and that largest useful one."""
    most = GPU_TOKENS if machine.gpu else CPU_TOKENS
    sizes = [n for n in range(1, share + 1) if share % n == 0 and n * run.seq_length <= most]
    sizes = list(range(1, share // accumulation + 1)) if accumulation else sizes
    tried = [replace(run, micro_batch=micro_batch or n) for n in sizes or [1]]
    largest = next((one for one in reversed(tried) if fits(one, machine)), tried[0])
    return largest, max(sizes, default=1)


def _whole_loss(run: Run, machine: Machine) -> bool:
    """Whether the logits of a micro batch are kept whole: on a CPU, where that is faster."""
    return not machine.gpu and run.micro_batch * run.seq_length * run.shape.vocab <= MOST_LOGITS


# fmt: off
def plan(
    model: str, objective: str, technique: str, gpu_memory_gib: float | None, num_gpus: int,
    seq_length: int, *, device: str | None = None, num_nodes: int = 1, params: float | None = None,
    effective_batch_size: int = 16, tokens: float | None = None, rows: int | None = None,
    epochs: float = 1, micro_batch: int | None = None, accumulation: int | None = None,
    checkpointing: bool | None = None, chunked_loss: bool | None = None,
    precision: str | None = None, optim: str | None = None, sharding: str | None = None,
    bf16: bool | None = None, lora_r: int = 16, lora_targets: Sequence[str] = (),
    lora_dropout: float = 0.05, cpu_threads: int | None = None,
    prices: Mapping[str, Any] | None = None, grid_g_co2_per_kwh: float | None = None,
) -> Plan:
    """Decide what is left open (None; technique `auto`) and predict the need.

    Args:
        model: id, folder with a config.json, or any name together with `params`.
        objective: row of OBJECTIVES, or of footprint.OBJECTIVE_CLASSES.
        technique: row of footprint.TECHNIQUES, or auto.
        gpu_memory_gib: as the driver reports it (see `usable_gib`); 0: CPU; None: that of `device`.
        num_gpus: of one machine.
        seq_length: tokens of the longest example.
        device: row of devices.toml or the driver's name: for memory, time and money.
        num_nodes: machines.
        params: number of weights, of a model without a known architecture.
        tokens, rows: of one epoch; without `tokens` there are no hours.
        lora_targets: matrices with an adapter; empty: all linear layers.
        cpu_threads: for the hours of a run without a GPU.
        prices: rows as in prices.toml; None: that table.
        grid_g_co2_per_kwh: carbon intensity; None: the world's average.

    Raises:
        ValueError: an unknown name, or a model of unknown size.
    """
    if technique not in ("auto", *TECHNIQUES) or objective not in OBJECTIVES | OBJECTIVE_CLASSES:
        raise ValueError(f"unknown technique {technique!r} or objective {objective!r}")
    if sharding not in (None, "none", "ddp", "fsdp2", "zero3"):
        raise ValueError(f"unknown sharding {sharding!r}: none, ddp, fsdp2 or zero3")
    machine = machine_of(device, gpu_memory_gib, num_gpus, num_nodes, bf16, cpu_threads)
    (shape, origin), world, gpu = find_shape(model, params), machine.world, machine.gpu
    few = tokens < SMALL_DATA_TOKENS if tokens else rows is not None and rows < SMALL_DATA_ROWS
    computes = precision or ("bf16" if machine.bf16 else "fp16" if gpu else "fp32")
    four_bit = machine.row.get("eight_bit", True)  # the same library
    names = [
        n for n, t in TECHNIQUES.items()
        if technique == n
        or (technique == "auto" and t.offered and (four_bit or not t.base_bytes))
    ]
    names.sort(key=lambda name: (few or not gpu) and TECHNIQUES[name].trains_all)
    base = Run(
        shape, names[0], OBJECTIVES.get(objective, objective), "bf16", "adamw_torch",
        computes != "fp32", seq_length, micro_batch or 1,
        gpu if checkpointing is None else checkpointing, chunked_loss is not False, gpu,
        sharding or "none", world, lora_r, tuple(lora_targets), lora_dropout,
    )
    options = candidates(base, names, computes, optim, gpu and machine.row.get("eight_bit", True))
    run = next((one for one in options if fits(one, machine)), None) or min(options, key=need_gib)
    share = math.ceil(effective_batch_size / world)
    run, useful = _batches(run, machine, share, micro_batch, accumulation)
    if checkpointing is None and gpu and fits(replace(run, checkpointing=False), machine):
        run = replace(run, checkpointing=False)
    if chunked_loss is None and _whole_loss(run, machine):
        run = replace(run, chunked_loss=False)
    batch, accumulates = run.micro_batch, accumulation or math.ceil(share / run.micro_batch)
    hours = hours_of(run, machine, tokens * epochs) if tokens else None
    prices = table("prices") if prices is None else prices
    expenses = expenses_of(hours, machine, prices, grid_g_co2_per_kwh)
    room = f"{machine.limit:.1f} GiB, {CARD_SHARE:.0%} of the card" if gpu else "the RAM"
    good = fits(run, machine)
    need = need_gib(run)
    whole = need_gib(replace(run, chunked_loss=False)) if run.chunked_loss else 0.0
    reasons = {
        "technique": "few training data: an adapter forgets and memorises less" if few
        else f"{'' if good else 'none fits: '}best of {', '.join(names)} for {room}" if gpu
        else "no GPU: an adapter needs less memory and a third less work",
        "quantisation": f"a property of {run.technique}",
        "precision": f"the {'GPU' if gpu else 'CPU'} has {'' if machine.bf16 else 'no '}bf16 units",
        "weights": "exact sums of small updates" if run.weights == "fp32" else "half the memory",
        "optim": "32-bit states do not fit" if "8bit" in run.optimiser else "the usual choice",
        "per_device_train_batch_size": f"the largest up to {useful} that fits",
        "gradient_accumulation_steps": f"batch = {batch} x {accumulates} x {world} device(s)",
        "gradient_checkpointing": "saves memory that is needed" if run.checkpointing
        else "all activations fit" if gpu else "slower, and RAM is larger than a card",
        "chunked_loss": f"whole logits need {whole - need:.1f} GiB more" if run.chunked_loss
        else "whole logits are faster on a CPU, and small here",
        "sharding": f"{world} device(s), each with {'a part' if run.sharding in SHARED else 'all'}",
        "need_gib": f"{origin}; to fit into {room}",
    }
    if expenses["energy_kwh"]:
        reasons["energy_kwh"] = f"{machine.row['power_w']} W a device: its largest draw, no cooling"
        stated = grid_g_co2_per_kwh is not None
        grid = f"{grid_g_co2_per_kwh:g}" if stated else f"{GRID_G_CO2_PER_KWH}, the world's average"
        reasons["co2_kg"] = f"g CO2e/kWh: {grid}"
    fixed = {"precision": precision, "optim": optim, "per_device_train_batch_size": micro_batch}
    fixed |= {"technique": technique != "auto", "gradient_accumulation_steps": accumulation}
    fixed |= {"gradient_checkpointing": checkpointing is not None, "sharding": sharding}
    fixed |= {"chunked_loss": chunked_loss is not None}
    reasons |= {name: "set by the user" for name, value in fixed.items() if value}
    return Plan(
        run.technique, "nf4" if TECHNIQUES[run.technique].base_bytes else "none", computes,
        run.weights, "adamw_torch" if run.optimiser == "deepspeed" else run.optimiser, batch,
        accumulates, run.checkpointing, run.chunked_loss, run.sharding, round(peak_gib(run), 2),
        round(need, 2), _band(run, machine), good, hours, **expenses, reasons=reasons,
        fixes=[] if good else _fixes(run, names, machine.limit),
    )
# fmt: on


def _band(run: Run, machine: Machine) -> str:
    """How far the predicted peak may be off, and how that is known."""
    if not (run.shape.sure and machine.gpu and run.world == 1):
        return "about 25 %, not yet validated"
    published = (run.weights, run.optimiser) == HALF_RUNG[0]
    return "-5 % to +5 % on published runs" if published else "about 5 %, by simulation"


def main() -> None:
    """Print the plan for a model and a machine."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="HuggingFaceTB/SmolLM2-135M-Instruct")
    parser.add_argument("--objective", default="sft", choices=OBJECTIVES)
    parser.add_argument("--technique", default="auto", choices=["auto", *TECHNIQUES])
    parser.add_argument("--gpu-memory-gb", type=float, help="nominal GB of one GPU; 0: CPU")
    parser.add_argument("--num-gpus", type=int, default=1)
    parser.add_argument("--num-nodes", type=int, default=1)
    parser.add_argument("--seq-length", type=int, default=2048, help="tokens")
    parser.add_argument("--tokens", type=float, help="of one epoch: for hours and cost")
    parser.add_argument("--epochs", type=float, default=1)
    parser.add_argument("--device", help="a row of devices.toml")
    parser.add_argument("--params", type=float, help="number of weights of a model of your own")
    asked = vars(parser.parse_args())
    gb = asked.pop("gpu_memory_gb")
    try:
        print(plan(gpu_memory_gib=gb and usable_gib(gb), **asked).table())
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
