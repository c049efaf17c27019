"""What the planner refuses, what it says would help, and that it does."""

import math
import random
import re
import sys
from pathlib import Path
from typing import Any

import pytest

HOOKS = Path(__file__).resolve().parent.parent / "hooks"
sys.path.insert(0, str(HOOKS))

import footprint  # noqa: E402
import ladder  # noqa: E402
import machines  # noqa: E402
import planner  # noqa: E402
import shapes  # noqa: E402
import small_techniques  # noqa: E402
from planner import plan  # noqa: E402

SMOL = "HuggingFaceTB/SmolLM2-135M-Instruct"
QWEN_7B = "Qwen/Qwen2.5-7B-Instruct"
LLAMA_70B = "meta-llama/Llama-3.1-70B-Instruct"
BASE: dict[str, Any] = {"model": SMOL, "objective": "sft", "technique": "auto"}
BASE |= {"gpu_memory_gib": 24, "num_gpus": 1, "seq_length": 512}
OPEN = ("micro_batch", "accumulation", "checkpointing", "precision", "optim", "sharding")


def situation(chance: random.Random) -> dict[str, Any]:
    """Arguments of a plan: anything that a user may ask for, half of it left open."""
    pick = chance.choice
    asked = {
        "model": pick(list(shapes.table("models"))),
        "objective": pick(list(planner.OBJECTIVES)),
        "technique": pick(["auto", *footprint.TECHNIQUES]),
        "gpu_memory_gib": machines.usable_gib(pick([4, 8, 11, 12, 16, 24, 40])),
        "num_gpus": pick([1, 1, 2, 3, 8]),
        "seq_length": pick([64, 512, 2000, 4096, 16384, 100_000]),
        "device": pick([None, "t4", "4090", "mi300x", "apple-m"]),
    }
    optional = {
        "micro_batch": [1, 3, 32], "checkpointing": [True, False], "chunked_loss": [False],
        "precision": ["fp32", "bf16", "fp16"], "optim": ["adamw_torch", "sgd", "adafactor"],
        "lora_r": [4, 256], "rows": [10, 10**6], "accumulation": [1, 5],
    }  # fmt: skip
    asked |= {key: pick(values) for key, values in optional.items() if chance.random() < 0.25}
    if not small_techniques.checkpointed(asked["technique"]):  # asked for, it is refused
        asked.pop("checkpointing", None)
    if asked["num_gpus"] > 1 and chance.random() < 0.3:
        asked["sharding"] = pick(["ddp", "fsdp2", "zero3"])
    if chance.random() < 0.15:
        asked |= {"gpu_memory_gib": 0, "num_gpus": 0, "device": None}
        asked |= {"precision": None, "sharding": None, "ram_gib": pick([2.0, 8.0, 30.0])}
    return asked


def applied(asked: dict[str, Any], fix: str) -> dict[str, Any]:
    """The arguments after a fix, read as a user reads it."""
    changed, rest = dict(asked), fix
    if rest.startswith(ladder.AUTO):
        changed |= dict.fromkeys(OPEN)
        rest = rest.removeprefix(ladder.AUTO).removeprefix(", and ")
    if rest.startswith("a loss in chunks"):
        changed["chunked_loss"] = None
    elif rest.startswith("technique "):
        changed["technique"] = rest.split()[1]
    elif found := re.fullmatch(r"sequences of at most (\d+) tokens", rest):
        changed["seq_length"] = int(found[1])
    elif rest.startswith("a smaller model: "):
        changed["model"] = rest.split(": ")[1]
        assert shapes.table("models")[changed["model"]]["context"] >= asked["seq_length"]
    elif found := re.fullmatch(r"(\d+) GPUs of this size", rest):
        changed["num_gpus"] = int(found[1])
    elif found := re.fullmatch(r"(\d+) x a GPU with (\d+) GB", rest):
        memory = machines.usable_gib(float(found[2]))
        changed |= {"num_gpus": int(found[1]), "gpu_memory_gib": memory}
    else:
        assert not rest, fix
    return changed


def test_every_fix_makes_it_fit() -> None:
    chance, seen = random.Random(6), 0
    for _ in range(400):
        asked = situation(chance)
        result = plan(**asked)
        if result.fits:
            assert result.fixes == []
            continue
        assert "none fits" in result.reasons["technique"] or asked["technique"] != "auto"
        for fix in result.fixes:
            if "offload" in fix:  # no argument of plan: its need is that of the closed form
                continue
            assert plan(**applied(asked, fix)).fits, (asked, fix)
            seen += 1
    assert seen > 200


def test_more_of_anything_never_needs_less() -> None:
    chance = random.Random(7)
    for _ in range(200):
        asked = situation(chance) | {"checkpointing": True, "micro_batch": 2}
        names = [name for name in footprint.TECHNIQUES if small_techniques.checkpointed(name)]
        asked |= {"technique": chance.choice(names), "optim": "adamw_torch"}
        asked |= {"precision": "bf16", "chunked_loss": True}
        asked["sharding"] = "fsdp2" if asked["num_gpus"] > 1 else None
        now = plan(**asked)
        changes = [("seq_length", asked["seq_length"] + 100), ("micro_batch", 3)]
        for key, value in changes:
            more = plan(**(asked | {key: value}))
            # a lower rung of the ladder is another thing
            assert more.need_gib >= now.need_gib or more.weights != now.weights, (asked, key)
        if asked["num_gpus"] > 1:
            wider = plan(**(asked | {"num_gpus": 2 * asked["num_gpus"]}))
            assert wider.need_gib <= now.need_gib or wider.weights != now.weights, asked


def test_the_plan_is_whole_and_in_its_range() -> None:
    chance = random.Random(8)
    for _ in range(300):
        asked = situation(chance)
        result = plan(**asked)
        batch, steps = result.per_device_train_batch_size, result.gradient_accumulation_steps
        least = ladder.SMALLEST_BATCH.get(planner.OBJECTIVES[asked["objective"]], 1)
        assert batch >= asked.get("micro_batch", least)
        if not small_techniques.checkpointed(result.technique):
            assert not result.gradient_checkpointing
        assert batch >= 1 and steps >= 1
        assert math.isfinite(result.need_gib) and result.need_gib > result.peak_gib > 0
        gpu = asked["gpu_memory_gib"]
        limit = machines.CARD_SHARE * gpu if gpu else asked["ram_gib"]
        assert result.fits == (result.need_gib <= limit) or abs(result.need_gib - limit) < 0.01
        world = asked["num_gpus"] or 1
        differs = "were asked for" in result.reasons["gradient_accumulation_steps"]
        if "accumulation" not in asked:
            assert differs == (batch * steps * world != 16), asked


@pytest.mark.parametrize(
    "change",
    [
        {"gpu_memory_gib": -5}, {"gpu_memory_gib": math.nan}, {"gpu_memory_gib": "24"},
        {"gpu_memory_gib": None}, {"num_gpus": -1}, {"num_nodes": 0}, {"seq_length": 0},
        {"seq_length": 1.5}, {"effective_batch_size": 0}, {"micro_batch": -1},
        {"accumulation": -3}, {"tokens": -5}, {"epochs": 0}, {"rows": -1}, {"params": -5e9},
        {"params": math.inf}, {"precision": "int8"}, {"precision": ""}, {"lora_r": 0},
        {"lora_dropout": 2}, {"cpu_threads": -2}, {"grid_g_co2_per_kwh": -5},
        {"precision": "fp16", "gpu_memory_gib": 0}, {"sharding": "fsdp2"},
        {"sharding": "none", "num_gpus": 8}, {"objective": None}, {"technique": None},
        {"device": "NVIDIA GeForce RTX 4090 Laptop GPU", "gpu_memory_gib": None},
    ],
)  # fmt: skip
def test_nonsense_is_refused_with_what_is_allowed(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"from|: |none of") as error:
        plan(**BASE | change)
    assert next(iter(change)) in str(error.value) or "precision" in change or "device" in change


def test_what_an_objective_holds_beside_the_model_is_counted() -> None:
    asked: dict[str, Any] = {"gpu_memory_gib": 24, "num_gpus": 1, "seq_length": 512}
    scored = plan(SMOL, "grpo", "full", **asked, micro_batch=1, teacher=SMOL, reference=False)
    with_both = plan(SMOL, "grpo", "full", **asked, micro_batch=1, teacher=SMOL)
    alone = plan(SMOL, "grpo", "full", **asked, micro_batch=1, reference=False)
    params = shapes.known_shape(SMOL).params / footprint.GIB
    assert scored.peak_gib - alone.peak_gib == pytest.approx(4 * params, abs=0.02)
    assert with_both.peak_gib - scored.peak_gib == pytest.approx(4 * params, abs=0.02)
    assert "GiB of the frozen reward model" in scored.reasons["need_gib"]


def test_kto_never_gets_a_batch_of_one() -> None:
    """Its divergence is estimated from the other examples of a batch."""
    for total, gpus in ((1, 1), (8, 8), (16, 1)):
        found = plan(QWEN_7B, "kto", "qlora", 24, gpus, 4096, effective_batch_size=total)
        assert found.per_device_train_batch_size >= 2


def test_prefix_tuning_is_planned_without_checkpointing() -> None:
    for memory in (0, 8, 24):
        found = plan(SMOL, "sft", "prefix_tuning", memory, int(memory > 0), 4096)
        assert not found.gradient_checkpointing
        assert "lack what prefix_tuning learns" in found.reasons["gradient_checkpointing"]
    with pytest.raises(ValueError, match="checkpointing True: a layer that is run again"):
        plan(SMOL, "sft", "prefix_tuning", 24, 1, 512, checkpointing=True)


def test_ram_is_compared_where_it_is_known() -> None:
    asked: dict[str, Any] = {"gpu_memory_gib": 0, "num_gpus": 0, "seq_length": 4096}
    free = plan(SMOL, "sft", "auto", **asked)
    small = plan(SMOL, "sft", "auto", **asked, ram_gib=16)
    assert not free.gradient_checkpointing and small.gradient_checkpointing
    assert small.fits and small.need_gib <= 16 < free.need_gib
    none = plan(LLAMA_70B, "sft", "full", **asked, ram_gib=32)
    assert not none.fits
    assert none.fixes and not any("GPU" in fix or "offload" in fix for fix in none.fixes)
    assert plan(SMOL, "sft", "lora", 0, 8, 512).sharding == "none"  # no GPU to share it


def test_reasons_say_what_was_decided() -> None:
    few = plan(QWEN_7B, "sft", "auto", machines.usable_gib(12), 1, 2048, rows=100)
    assert few.technique == "qlora"
    assert few.reasons["technique"].endswith("; lora does not fit")
    none = plan(LLAMA_70B, "sft", "auto", 8, 1, 2048, rows=100)
    assert none.reasons["technique"].startswith("none fits: few training data")
    assert "does not fit" in none.reasons["per_device_train_batch_size"]
    large = plan(SMOL, "sft", "lora", 24, 1, 512, micro_batch=64)
    assert large.reasons["gradient_accumulation_steps"].endswith("; 16 were asked for")
    other = plan(SMOL, "sft", "full", 24, 1, 512, optim="adafactor")
    assert other.reasons["optim"].endswith("counted as that of adamw_torch")
    shared = plan(SMOL, "sft", "full", 24, 2, 512, optim="sgd", sharding="zero3")
    assert (shared.optim, shared.reasons["optim"]) == (
        "adamw_torch", "DeepSpeed's own Adam, with 32-bit states",
    )  # fmt: skip
    apple = plan(SMOL, "sft", "qlora", None, 1, 512, device="apple-m")
    assert "not tried on Apple" in apple.reasons["technique"]
    cpu = plan(SMOL, "sft", "lora", 0, 0, 512)
    assert cpu.reasons["weights"] == "as precision"
