"""Plan a fine-tuning run: what fits on the machine, with which settings, and why.

Standard library only; footprint.py (the closed form of memory), models.toml, devices.toml and
prices.toml lie beside this file. Published runs check the plan (tests/benchmarks/memory.py).
"""

import argparse
import functools
import math
import re
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or __package__:  # rendered into a project as hardware.py
    from .footprint import GB, GIB, HALF_RUNG, OBJECTIVE_CLASSES, TECHNIQUES, Run, Shape, peak_gib
else:  # a script, or loaded by path
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    from footprint import GB, GIB, HALF_RUNG, OBJECTIVE_CLASSES, TECHNIQUES, Run, Shape, peak_gib

# Need of a device = factor * peak + context. The factor covers fragmentation (fms-acceleration,
# nvidia-smi over allocated peak with a fused loss: 1.11, at most 1.14); unknown shapes and
# sharded runs, which no published run checks, get more.
KNOWN_FACTOR, WIDE_FACTOR, CONTEXT_GIB = 1.15, 1.3, 1.0
CARD_SHARE = 0.97  # of a card that a plan may need
GPU_TOKENS, CPU_TOKENS = 4096, 1024  # of a micro batch; above, utilisation gains little
SMALL_DATA_TOKENS, SMALL_DATA_ROWS = 1_000_000, 2_000  # rule of thumb, one epoch
SEQUENCE_STEPS = (512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072, 262144)
CARD_STEPS = (8, 12, 16, 24, 32, 48, 80, 141, 192, 288)  # GB
OBJECTIVES = {"sft": "causal_lm", "chat": "causal_lm", "pretrain": "causal_lm"}


def need_gib(run: Run) -> float:
    """Memory that a device must have, GiB: peak with fragmentation and context."""
    known = run.shape.sure and run.sharding != "fsdp"
    return (KNOWN_FACTOR if known else WIDE_FACTOR) * peak_gib(run) + CONTEXT_GIB


def usable_gib(gpu_memory_gb: float) -> float:
    """Size in GiB of a card sold as `gpu_memory_gb` GB: a GB is 10^9 bytes.

    torch reports 14.56 GiB for a T4 (sold as 16), 44.4 L40 (48), 79.2 A100 (80; messages in public
    issues): the largest shortfall is 2.3 %, inside the 3 % that a plan leaves free.
    """
    return gpu_memory_gb * GB / GIB


def device_gib(row: dict[str, Any]) -> float:
    """Memory in GiB that a device of devices.toml gives: as torch reports it, or by its GB."""
    nominal = usable_gib(row.get("memory_gb", 0)) * row.get("memory_share", 1)
    return float(row.get("memory_gib", nominal))


@functools.cache
def table(name: str) -> dict[str, dict[str, Any]]:
    """Rows of `models`, `devices` or `prices`, by id."""
    return tomllib.loads(Path(__file__).with_name(f"{name}.toml").read_text(encoding="utf-8"))


def known_shape(model_id: str) -> Shape:
    """Shape of a row of models.toml."""
    row = table("models")[model_id]
    return Shape(**{k: row[k] for k in Shape._fields if k in row}, sure="experts" not in row)


def typical_shape(params: float) -> Shape:
    """A Llama-like shape of `params` weights with a large vocabulary, rather too hungry."""
    layers, tied = max(36, round(17 * (params / GB) ** 0.37)), params < 4 * GB
    vocab = 262_144 if params > GB / 4 else 49_152  # else all weights would be embeddings
    slope, square = vocab * (1 if tied else 2), 12.75 * layers
    heads = max(1, round((math.sqrt(slope**2 + 4 * square * params) - slope) / (128 * square)))
    sizes = (int(params), 64 * heads, 224 * heads, layers, heads, max(1, heads // 4), 64)
    return Shape(*sizes, vocab, tied, sure=False, family="gemma3")  # keeps the most


def find_shape(model: str, params: float | None = None) -> tuple[Shape, str]:
    """Shape by id, folder name, `params` or a size in the name, and its origin; or ValueError."""
    name = re.split(r"[/\\]", model.rstrip("/\\").lower())[-1]
    for model_id in (known for known in table("models") if name == known.lower().split("/")[-1]):
        return known_shape(model_id), f"architecture of {model_id}"
    written = re.findall(r"(?<![\d.a-z])(\d+(?:\.\d+)?)([bm])(?![a-z\d])", name)
    if params is None and written:
        params = float(written[-1][0]) * (GB if written[-1][1] == "b" else 10**6)
    if not params:
        raise ValueError(f"model {name!r} is not in models.toml: give its number of parameters")
    return typical_shape(params), f"a typical shape of {params / GB:.3g}B, not in models.toml"


def find_device(name: str) -> tuple[str, dict[str, Any]]:
    """Row of devices.toml by id or by the name that a driver reports; empty when unknown."""
    words, rows = set(re.split(r"[^a-z0-9]+", name.lower())), table("devices").items()
    found = (item for item in rows if name.lower() == item[0] or words.issuperset(item[1]["match"]))
    return next(found, ("", {}))


def candidates(
    base: Run, techniques: Sequence[str], precision: str, optim: str | None, eight_bit: bool
) -> list[Run]:
    """Rungs of the ladder, best first; with several devices each replicated, then sharded."""
    runs, choices = [], ("ddp", "fsdp") if base.world > 1 else ("none",)
    rungs = [(name, *rung) for name in techniques for rung in TECHNIQUES[name].rungs]
    for technique, weights, optimiser in rungs:
        if "8bit" in optimiser and not (eight_bit or optim):
            continue
        whole = precision == "fp16" and TECHNIQUES[technique].trains_all  # fp16 cannot be trained
        weights = "fp32" if whole or "fp32" in (precision, weights) else precision
        run = replace(base, technique=technique, weights=weights, optimiser=optim or optimiser)
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
    sharding: str  # "none", "ddp" or "fsdp"
    peak_gib: float  # allocated, of one device
    need_gib: float  # of one device; RAM where there is none
    error_band: str  # of peak_gib
    fits: bool
    hours: list[float] | None  # [low, high]
    cost: list[float] | None  # [low, high], US dollars
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

    lora = least_need_gib(run.shape, ["lora"], run.objective_class, run.seq_length, run.world)
    found = ["technique lora"] if "lora" not in techniques and lora <= limit else []
    if least() <= limit:
        found.append("micro batch 1, gradient checkpointing, precision and optimiser on auto")
    shorter = [n for n in SEQUENCE_STEPS if n < run.seq_length and least(seq=n) <= limit]
    found += [f"sequences of at most {n} tokens" for n in shorter[-1:]]
    rows = [(m, row) for m, row in table("models").items() if "head" not in row]
    free = sorted((row["params"], m) for m, row in rows if not row["gated"])
    smaller = [m for n, m in free if n < run.shape.params and least(known_shape(m)) <= limit]
    found += [f"a smaller model: {m}" for m in smaller[-1:]]
    more = [n for n in (2, 4, 8) if n > run.world and least(world=n) <= limit]
    found += [f"{n} GPUs of this size" for n in more[:1]]
    rents = [(n, gb) for n in (run.world, 8) for gb in CARD_STEPS]
    rents = [(n, gb) for n, gb in rents if CARD_SHARE * usable_gib(gb) >= least(world=n)]
    return found + [f"{n} x a GPU with {gb} GB" for n, gb in rents[:1]]


def _hours(run: Run, device: dict[str, Any], tokens: float) -> list[float]:
    """Range: 6 FLOPs per active weight and token at a share of the peak rate (published runs)."""
    shape, batch = run.shape, run.micro_batch * run.seq_length
    idle = 3 * shape.hidden * shape.intermediate * shape.layers
    active = shape.params - idle * (shape.experts - shape.routed)
    share = (0.40 if TECHNIQUES[run.technique].trains_all else 0.45) * device["speed_factor"]
    share *= min(1, batch / 2048) ** 0.5 * (0.8 if run.world > 1 else 1)
    middle = tokens * 6 * active / (run.world * device["bf16_tflops"] * 1e12 * share) / 3600
    return [round(middle / 1.3, 3), round(middle * 1.6, 3)]


# fmt: off
def plan(
    model: str, objective: str, technique: str, gpu_memory_gib: float | None, num_gpus: int,
    seq_length: int, *, device: str | None = None, num_nodes: int = 1, params: float | None = None,
    effective_batch_size: int = 16, tokens: float | None = None, rows: int | None = None,
    epochs: float = 1, micro_batch: int | None = None, accumulation: int | None = None,
    checkpointing: bool | None = None, precision: str | None = None, optim: str | None = None,
    bf16: bool | None = None, lora_r: int = 16, lora_targets: Sequence[str] = (),
    lora_dropout: float = 0.05,
) -> Plan:
    """Decide what is left open (None; technique `auto`) and predict the need.

    `gpu_memory_gib` as the driver reports it (see `usable_gib`), 0: CPU, None: that of `device`
    (row of devices.toml or driver's name). `tokens` and `rows` of one epoch. `lora_targets` empty:
    all linear layers. Raises ValueError for an unknown name or a model of unknown size.
    """
    device_id, row = find_device(device or "")
    if gpu_memory_gib is None and device and not row:
        raise ValueError(f"device {device!r} is none of {', '.join(table('devices'))}")
    if gpu_memory_gib is None:
        gpu_memory_gib = device_gib(row)
    if technique not in ("auto", *TECHNIQUES) or objective not in OBJECTIVES | OBJECTIVE_CLASSES:
        raise ValueError(f"unknown technique {technique!r} or objective {objective!r}")
    gpu, limit = gpu_memory_gib > 0, CARD_SHARE * gpu_memory_gib
    (shape, origin), world = find_shape(model, params), max(1, num_gpus) * num_nodes
    few = tokens < SMALL_DATA_TOKENS if tokens else rows is not None and rows < SMALL_DATA_ROWS
    half = gpu and row.get("bf16", True) if bf16 is None else bf16
    computes = precision or ("bf16" if half else "fp16" if gpu else "fp32")
    names = [n for n, t in TECHNIQUES.items() if technique in (n, "auto" if t.offered else n)]
    names.sort(key=lambda name: (few or not gpu) and TECHNIQUES[name].trains_all)
    base = Run(
        shape, names[0], OBJECTIVES.get(objective, objective), "bf16", "adamw_torch",
        computes != "fp32", seq_length, micro_batch or 1,
        gpu if checkpointing is None else checkpointing, True, gpu, "none", world,
        lora_r, tuple(lora_targets), lora_dropout,
    )
    options = candidates(base, names, computes, optim, gpu and row.get("eight_bit", True))
    def fits(run: Run) -> bool:
        return not gpu or need_gib(run) <= limit
    run = next(filter(fits, options), min(options, key=need_gib))
    share, most = math.ceil(effective_batch_size / world), GPU_TOKENS if gpu else CPU_TOKENS
    sizes = [n for n in range(1, share + 1) if share % n == 0 and n * seq_length <= most]
    sizes = list(range(1, share // accumulation + 1)) if accumulation else sizes
    tried = [replace(run, micro_batch=micro_batch or n) for n in sizes or [1]]
    run = next(filter(fits, reversed(tried)), tried[0])
    if checkpointing is None and gpu and fits(replace(run, checkpointing=False)):
        run = replace(run, checkpointing=False)
    batch, accumulates = run.micro_batch, accumulation or math.ceil(share / run.micro_batch)
    hours = cost = None
    if row.get("bf16_tflops") and tokens and gpu:
        hours, price = _hours(run, row, tokens * epochs), table("prices").get(device_id)
        rates = (price["low"] * world, price["high"] * world) if price else ()
        cost = [round(h * rate, 2) for h, rate in zip(hours, rates, strict=False)] or None
    room = f"{limit:.1f} GiB, {CARD_SHARE:.0%} of the card" if gpu else "the RAM"
    reasons = {
        "technique": "few training data: an adapter forgets and memorises less" if few
        else f"{'' if fits(run) else 'none fits: '}best of {', '.join(names)} for {room}" if gpu
        else "no GPU: an adapter needs less memory and a third less work",
        "quantisation": f"a property of {run.technique}",
        "precision": f"the {'GPU' if gpu else 'CPU'} has {'' if half else 'no '}bf16 units",
        "weights": "exact sums of small updates" if run.weights == "fp32" else "half the memory",
        "optim": "32-bit states do not fit" if "8bit" in run.optimiser else "the usual choice",
        "per_device_train_batch_size": f"the largest up to {max(sizes, default=1)} that fits",
        "gradient_accumulation_steps": f"batch = {batch} x {accumulates} x {world} device(s)",
        "gradient_checkpointing": "saves memory that is needed" if run.checkpointing
        else "all activations fit" if gpu else "slower, and RAM is larger than a card",
        "sharding": f"{world} device(s), each with {'a part' if run.sharding == 'fsdp' else 'all'}",
        "need_gib": f"{origin}; to fit into {room}",
    }
    fixed = {"precision": precision, "optim": optim, "per_device_train_batch_size": micro_batch}
    fixed |= {"technique": technique != "auto", "gradient_accumulation_steps": accumulation}
    fixed |= {"gradient_checkpointing": checkpointing is not None}
    reasons |= {name: "set by the user" for name, value in fixed.items() if value}
    sure = shape.sure and gpu and world == 1
    band = "about 5 %, by simulation" if sure else "about 25 %, not yet validated"
    if sure and (run.weights, run.optimiser) == HALF_RUNG[0]:
        band = "-5 % to +5 % on published runs"
    return Plan(
        run.technique, "nf4" if TECHNIQUES[run.technique].base_bytes else "none", computes,
        run.weights, run.optimiser, batch, accumulates, run.checkpointing, run.chunked_loss,
        run.sharding, round(peak_gib(run), 2), round(need_gib(run), 2),
        band,
        fits(run), hours, cost, reasons, [] if fits(run) else _fixes(run, names, limit),
    )
# fmt: on


def main() -> None:
    """Print the plan for a model and a machine."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="HuggingFaceTB/SmolLM2-135M-Instruct")
    parser.add_argument("--objective", default="sft", choices=OBJECTIVES)
    parser.add_argument("--technique", default="auto", choices=["auto", *TECHNIQUES])
    parser.add_argument("--gpu-memory-gb", type=float, help="nominal GB of one GPU; 0: CPU")
    parser.add_argument("--num-gpus", type=int, default=1)
    parser.add_argument("--seq-length", type=int, default=2048, help="tokens")
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
