"""Plan a fine-tuning run: what fits on the machine, with which settings, and why.

Standard library only. Beside this file lie footprint.py (the closed form of memory), ladder.py
(which runs are tried), shapes.py (architectures), machines.py (devices, time and money) and their
tables. Published runs check the plan (tests/benchmarks/memory.py).
"""

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or __package__:  # rendered into a project as hardware.py
    from . import footprint, ladder, machines, shapes, small_techniques
else:  # a script, or loaded by path
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    import footprint
    import ladder
    import machines
    import shapes
    import small_techniques

Run = footprint.Run
Machine = machines.Machine
GPU_TOKENS, CPU_TOKENS = 4096, 1024  # of a micro batch; above, utilisation gains little
# Logits that the whole loss may hold at once on a CPU: 0.25 GiB in fp32, 0.9 GiB with what the
# backward pass keeps.
MOST_LOGITS = 2**26
NO_CHECKPOINTS = "a layer that is run again would lack what {} learns"
SMALL_DATA_TOKENS, SMALL_DATA_ROWS = 1_000_000, 2_000  # rule of thumb, one epoch
OBJECTIVES = {"sft": "causal_lm", "chat": "causal_lm", "pretrain": "causal_lm"}
OBJECTIVES |= {"dpo": "preference", "orpo": "pairs", "kto": "unpaired", "reward": "reward"}
OBJECTIVES |= {"grpo": "rollouts", "rloo": "rollouts", "mlm": "masked_lm", "seq2seq": "causal_lm"}
OBJECTIVES |= dict.fromkeys(("classify", "multilabel", "token_classify", "contrastive"), "scores")
OBJECTIVES |= {"distill": "distilled"}
# Arguments of `plan`: what is allowed, and from and to which number (whole where both are)
CHOICES: dict[str, Sequence[str | None]] = {
    "technique": ("auto", *footprint.TECHNIQUES),
    "objective": (*OBJECTIVES, *footprint.OBJECTIVE_CLASSES),
    "sharding": (None, "none", "ddp", "fsdp2", "zero3"), "precision": (None, *footprint.BYTES),
}  # fmt: skip
MANY = 10**9
LIMITS: dict[str, tuple[float, float]] = {}
LIMITS |= dict.fromkeys(("seq_length", "num_nodes", "effective_batch_size", "lora_r"), (1, MANY))
LIMITS |= dict.fromkeys(("micro_batch", "accumulation", "cpu_threads"), (1, MANY))
LIMITS |= {"num_gpus": (0, MANY), "rows": (0, 10**12), "lora_dropout": (0.0, 1.0)}
LIMITS |= dict.fromkeys(("gpu_memory_gib", "ram_gib", "grid_g_co2_per_kwh"), (0.0, 1e6))
LIMITS |= {"quantised_bytes": (0.0, 2.0)}
LIMITS |= {"params": (1.0, 1e15), "tokens": (0.0, 1e18), "epochs": (1e-9, 1e6)}


@dataclass(frozen=True)
class Plan:
    """Settings of a run (Hugging Face names), its predicted need, and a reason for each choice."""

    technique: str
    quantisation: str  # "none", "nf4" or "int8"
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


def _batches(
    run: Run, machine: Machine, share: int, micro_batch: int | None, accumulation: int | None
) -> tuple[Run, int]:
    """The run at the largest micro batch that is useful and fits, and that largest useful one."""
    most = GPU_TOKENS if machine.gpu else CPU_TOKENS
    least = ladder.least_batch(run)
    sizes = [n for n in range(least, share + 1) if share % n == 0 and n * run.seq_length <= most]
    sizes = list(range(least, share // accumulation + 1)) if accumulation else sizes
    tried = [replace(run, micro_batch=micro_batch or n) for n in sizes or [least]]
    largest = next((one for one in reversed(tried) if ladder.fits(one, machine)), tried[0])
    return largest, max(sizes, default=least)


def _if_fits(machine: Machine, run: Run, **changes: Any) -> Run:
    """The run with the changes where that fits, else as it is."""
    changed = replace(run, **changes)
    return changed if ladder.fits(changed, machine) else run


def _check(asked: Mapping[str, Any]) -> None:
    """Raise ValueError for arguments of `plan` that no run can have."""
    for name, allowed in CHOICES.items():
        if asked[name] not in allowed:
            words = ", ".join(word for word in allowed if word)
            raise ValueError(f"unknown {name} {asked[name]!r}: {words}")
    for name, (least, most) in LIMITS.items():
        value, kinds = asked[name], int if isinstance(least, int) else (int, float)
        if value is not None and not (isinstance(value, kinds) and least <= value <= most):
            whole = "whole " if kinds is int else ""
            raise ValueError(f"{name} {value!r}: a {whole}number from {least:g} to {most:g}")


def _why_technique(run: Run, names: Sequence[str], few: bool, machine: Machine) -> str:
    """Reason of the technique that was chosen among `names`, best first."""
    none = "" if ladder.fits(run, machine) else "none fits: "
    if few:
        lighter = "" if run.technique == names[0] else f"; {names[0]} does not fit"
        return f"{none}few training data: an adapter forgets and memorises less{lighter}"
    if not machine.gpu:
        return f"{none}no GPU: an adapter needs less memory and a third less work"
    room = f"{machine.limit:.1f} GiB, {machines.CARD_SHARE:.0%} of the card"
    return f"{none}best of {', '.join(names)} for {room}"


def _whole_loss(run: Run, machine: Machine) -> bool:
    """Whether the logits of a micro batch are kept whole: on a CPU, where that is faster.

    Many are not, unless tiles, which a CPU copies, would need more (vocabulary of SmolLM2).
    """
    few = run.micro_batch * run.seq_length * run.shape.vocab <= MOST_LOGITS
    whole, tiles = (ladder.need_gib(replace(run, chunked_loss=tiled)) for tiled in (False, True))
    return not machine.gpu and (few or whole <= tiles)


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
    ram_gib: float | None = None, one_process: bool = False, quantised_bytes: float = 0.0,
    teacher: str | None = None, reference: bool = True,
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
        one_process: no fix may need a launcher (more devices, offload).
        quantised_bytes: of a weight where `technique` quantises the base; 0: those of its row.
        teacher: id or folder of a frozen model that is held beside the trained one: a teacher,
            or the reward model of rollouts.
        reference: whether the reference that the objective's class has is held at all.
        ram_gib: that a run without a GPU may take; None: its need is stated, and not compared.

    Raises:
        ValueError: an unknown name, a number out of its range, settings that exclude each other,
            or a model of unknown size.
    """
    _check(locals())
    machine = machines.machine_of(
        device, gpu_memory_gib, num_gpus, num_nodes, bf16, cpu_threads, ram_gib
    )
    if checkpointing and technique != "auto" and not small_techniques.checkpointed(technique):
        raise ValueError(f"checkpointing True: {NO_CHECKPOINTS.format(technique)}")
    (shape, origin), world, gpu = shapes.find_shape(model, params), machine.world, machine.gpu
    if sharding and (sharding == "none") != (world == 1):
        raise ValueError(f"sharding {sharding!r} with {world} device(s): none is for one of them")
    if precision == "fp16" and not gpu:
        raise ValueError("precision 'fp16' needs a GPU: fp32 or bf16")
    few = tokens < SMALL_DATA_TOKENS if tokens else rows is not None and rows < SMALL_DATA_ROWS
    usual = "bf16" if machine.bf16 else "fp16" if gpu else "fp32"
    computes = precision or usual
    four_bit = machine.row.get("eight_bit", True)  # the same library
    names = [
        n for n, t in footprint.TECHNIQUES.items()
        if technique == n
        or (technique == "auto" and t.auto and (four_bit or not t.base_bytes))
    ]
    names.sort(key=lambda name: (few or not gpu) and footprint.TECHNIQUES[name].trains_all)
    base = Run(
        shape, names[0], OBJECTIVES.get(objective, objective), "bf16", "adamw_torch",
        computes != "fp32", seq_length, micro_batch or 1, checkpointing is not False,
        chunked_loss is not False, gpu, sharding or "none", world, lora_r, tuple(lora_targets),
        lora_dropout, held_bytes=quantised_bytes * (shape.experts == 1),  # experts stay as they are
        teacher=shapes.find_shape(teacher)[0] if teacher else None, reference=reference,
    )
    base = replace(base, micro_batch=micro_batch or ladder.least_batch(base))
    wish = ladder.Wish(base, names, computes, optim, gpu and four_bit)
    run = wish.best(machine.limit)
    share = math.ceil(effective_batch_size / world)
    if checkpointing is None and not gpu:  # a larger batch gains less than it there
        run = _if_fits(machine, run, checkpointing=False)
    run, useful = _batches(run, machine, share, micro_batch, accumulation)
    if checkpointing is None:
        run = _if_fits(machine, run, checkpointing=False)
    if chunked_loss is None and _whole_loss(run, machine):
        run = _if_fits(machine, run, chunked_loss=False)
    batch, accumulates = run.micro_batch, accumulation or math.ceil(share / run.micro_batch)
    hours = machines.hours_of(run, machine, tokens * epochs) if tokens else None
    prices = shapes.table("prices") if prices is None else prices
    expenses = machines.expenses_of(hours, machine, prices, grid_g_co2_per_kwh)
    room = f"{machine.limit:.1f} GiB, {machines.CARD_SHARE:.0%} of the card" if gpu else "the RAM"
    total = batch * accumulates * world
    differs = "" if total == effective_batch_size else f"; {effective_batch_size} were asked for"
    four_bit_base = footprint.TECHNIQUES[run.technique].base_bytes > 0
    rounding = ("int8" if quantised_bytes else "nf4") if four_bit_base else "none"
    divided = run.sharding in footprint.SHARED
    good = ladder.fits(run, machine)
    need = ladder.need_gib(run)
    whole = ladder.need_gib(replace(run, chunked_loss=False)) if run.chunked_loss else 0.0
    reasons = {
        "technique": _why_technique(run, names, few, machine),
        "quantisation": f"a property of {run.technique}",
        "precision": f"the {'GPU' if gpu else 'CPU'} has {'' if machine.bf16 else 'no '}bf16 units",
        "weights": "half the memory" if run.weights != "fp32" else "as precision"
        if computes == "fp32" else "exact sums of small updates",
        "optim": "32-bit states do not fit" if "8bit" in run.optimiser else "the usual choice",
        "per_device_train_batch_size": f"the largest up to {useful} that fits" if good
        else "the smallest, which does not fit",
        "gradient_accumulation_steps":
        f"batch = {batch} x {accumulates} x {world} device(s){differs}",
        "gradient_checkpointing": "saves memory that is needed" if run.checkpointing
        else "all activations fit" if gpu else "slower, and RAM is larger than a card",
        "chunked_loss": f"whole logits need {whole - need:.1f} GiB more" if run.chunked_loss
        else "whole logits are faster on a CPU, and small or less than its tiles",
        "sharding": f"{world} device(s), each with {'a part' if divided else 'all'}",
        "need_gib": f"{origin}; to fit into {room}",
    }
    if run.teacher:
        frozen = footprint.teacher_bytes(run) / footprint.GIB
        held = f"teacher in {computes}" if run.objective_class == "distilled" else "reward model"
        reasons["need_gib"] += f"; with {frozen:.2f} GiB of the frozen {held}"
    if expenses["energy_kwh"]:
        reasons["energy_kwh"] = f"{machine.row['power_w']} W a device: its largest draw, no cooling"
        stated = grid_g_co2_per_kwh is not None
        grid = grid_g_co2_per_kwh if stated else machines.GRID_G_CO2_PER_KWH
        reasons["co2_kg"] = f"g CO2e/kWh: {grid:g}" + ("" if stated else ", the world's average")
    fixed = {"precision": precision, "optim": optim, "per_device_train_batch_size": micro_batch}
    fixed |= {"technique": technique != "auto", "gradient_accumulation_steps": accumulation}
    fixed |= {"gradient_checkpointing": checkpointing is not None, "sharding": sharding}
    fixed |= {"chunked_loss": chunked_loss is not None}
    reasons |= {name: "set by the user" for name, value in fixed.items() if value}
    if not small_techniques.checkpointed(run.technique) and checkpointing is None:
        reasons["gradient_checkpointing"] = NO_CHECKPOINTS.format(run.technique)
    if run.optimiser == "deepspeed":
        reasons["optim"] = "DeepSpeed's own Adam, with 32-bit states"
    elif optim and optim not in footprint.OPTIMISERS:
        reasons["optim"] += "; its memory is counted as that of adamw_torch"
    if four_bit_base and not four_bit:
        reasons["technique"] += f"; 4-bit weights were not tried on {machine.row['title']}"
    least = ladder.least_batch(base)
    auto = wish._replace(
        base=replace(base, micro_batch=least, checkpointing=True, sharding="none"),
        optim=None,
        precision=usual,
    )
    auto = auto._replace(base=replace(auto.base, autocast=usual != "fp32"))
    lighter = [n for n in ("lora", "qlora") if n not in names]
    lighter = [n for n in lighter if four_bit or not footprint.TECHNIQUES[n].base_bytes]
    return Plan(
        run.technique, rounding, computes,
        run.weights, "adamw_torch" if run.optimiser == "deepspeed" else run.optimiser, batch,
        accumulates, run.checkpointing, run.chunked_loss, run.sharding,
        round(footprint.peak_gib(run), 2), round(need, 2), _band(run, machine), good,
        hours, **expenses, reasons=reasons,
        fixes=[] if good else ladder.fixes_of(wish, auto, lighter, machine, one_process),
    )
# fmt: on


def _band(run: Run, machine: Machine) -> str:
    """How far the predicted peak may be off, and how that is known."""
    if not (run.shape.sure and machine.gpu and run.world == 1):
        return "about 25 %, not yet validated"
    published = (run.weights, run.optimiser) == footprint.HALF_RUNG[0]
    return "-5 % to +5 % on published runs" if published else "about 5 %, by simulation"


def main() -> None:
    """Print the plan for a model and a machine."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="HuggingFaceTB/SmolLM2-135M-Instruct")
    parser.add_argument("--objective", default="sft", choices=OBJECTIVES)
    parser.add_argument("--technique", default="auto", choices=["auto", *footprint.TECHNIQUES])
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
    gb = 0 if gb is None and not asked["device"] else gb
    try:
        print(plan(gpu_memory_gib=gb and machines.usable_gib(gb), **asked).table())
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
