"""Plans for several devices, the loss, what would make a run fit, and time, money and energy."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest

HOOKS = Path(__file__).resolve().parent.parent / "hooks"
sys.path.insert(0, str(HOOKS))

import machines  # noqa: E402
from planner import plan  # noqa: E402

SMOL = "HuggingFaceTB/SmolLM2-135M-Instruct"
QWEN_7B = "Qwen/Qwen2.5-7B-Instruct"
LLAMA_70B = "meta-llama/Llama-3.1-70B-Instruct"


def test_several_devices_and_machines() -> None:
    """Replicas need all of it on each device; shards less; 32-bit states of DeepSpeed more."""
    needs = {
        name: plan(QWEN_7B, "sft", "full", 79, 8, 2048, sharding=name, optim="adamw_torch").need_gib
        for name in ("ddp", "fsdp2", "zero3")
    }
    assert needs["fsdp2"] < needs["zero3"] < needs["ddp"]
    wide = plan(LLAMA_70B, "sft", "full", 79, 8, 2048, num_nodes=2, sharding="zero3")
    narrow = plan(LLAMA_70B, "sft", "full", 79, 8, 2048, sharding="zero3")
    assert wide.need_gib < narrow.need_gib
    assert (wide.sharding, wide.optim) == ("zero3", "adamw_torch")
    assert wide.reasons["sharding"] == "set by the user"
    near = plan(QWEN_7B, "sft", "lora", None, 8, 2048, device="h100", tokens=1e8)
    far = plan(QWEN_7B, "sft", "lora", None, 8, 2048, device="h100", tokens=1e8, num_nodes=2)
    assert near.hours and far.hours
    assert far.hours[0] < near.hours[0]
    assert far.hours[1] / far.hours[0] > near.hours[1] / near.hours[0]  # the network is unknown
    with pytest.raises(ValueError, match="unknown sharding"):
        plan(SMOL, "sft", "full", 24, 2, 512, sharding="fsdp3")


def test_the_loss_is_whole_where_speed_decides_and_in_chunks_where_memory_does() -> None:
    assert plan(SMOL, "sft", "lora", 0, 0, 512).chunked_loss is False
    assert plan(SMOL, "sft", "lora", 0, 0, 4096).chunked_loss is False  # tiles need more
    large = plan("google/gemma-3-270m-it", "sft", "lora", 0, 0, 4096)
    assert large.chunked_loss is True
    assert "whole logits need" in large.reasons["chunked_loss"]
    tiled = plan(QWEN_7B, "sft", "lora", 24, 1, 2048)
    assert tiled.chunked_loss is True
    whole = plan(QWEN_7B, "sft", "lora", 24, 1, 4096, micro_batch=1, chunked_loss=False)
    assert whole.peak_gib > tiled.peak_gib
    assert not whole.fits
    assert whole.fixes[0].startswith("a loss in chunks (")


def test_offload_is_the_last_fix_before_another_card() -> None:
    result = plan(LLAMA_70B, "sft", "lora", machines.usable_gib(24), 1, 1024)
    assert not result.fits
    offload = next(fix for fix in result.fixes if "offload" in fix)
    assert result.fixes[-2:] == [offload, result.fixes[-1]]
    ram = int(re.search(r"\((\d+) GiB", offload).group(1))  # type: ignore[union-attr]
    assert 130 < ram < 160  # 70.6 billion frozen weights in 16 bits, and adapters


def test_hours_energy_and_carbon() -> None:
    asked: dict[str, Any] = {"device": "h100", "tokens": 1e7}
    gpu = plan(QWEN_7B, "sft", "lora", None, 1, 2048, **asked)
    assert gpu.hours and gpu.energy_kwh and gpu.co2_kg
    assert gpu.energy_kwh == pytest.approx([h * 0.7 for h in gpu.hours], abs=1e-3)
    assert gpu.co2_kg == pytest.approx([kwh * 0.436 for kwh in gpu.energy_kwh], abs=2e-3)
    clean = plan(QWEN_7B, "sft", "lora", None, 1, 2048, grid_g_co2_per_kwh=0, **asked)
    assert clean.co2_kg == [0, 0]
    assert clean.reasons["co2_kg"] == "g CO2e/kWh: 0"
    own = plan(
        QWEN_7B, "sft", "lora", None, 1, 2048, prices={"h100": {"low": 1, "high": 1}}, **asked
    )
    assert own.cost == pytest.approx(gpu.hours, abs=0.01)
    # Measured: 783 rows of PhraseBank (76 tokens), 2 epochs, on two threads: 0.23 hours of a core
    cpu = plan(SMOL, "sft", "lora", 0, 0, 160, tokens=6e4, epochs=2, cpu_threads=2)
    assert cpu.hours is not None
    assert cpu.hours[0] < 0.2 < cpu.hours[1]
    assert cpu.energy_kwh is cpu.cost is None
    assert plan(SMOL, "sft", "lora", 0, 0, 160, tokens=6e4).hours is None


@pytest.mark.parametrize("objective", ["dpo", "orpo", "kto", "reward", "grpo"])
def test_every_objective_can_be_planned(objective: str) -> None:
    small = plan("meta-llama/Llama-3.2-1B-Instruct", "sft", "lora", 24, 1, 1024, micro_batch=2)
    other = plan("meta-llama/Llama-3.2-1B-Instruct", objective, "lora", 24, 1, 1024, micro_batch=2)
    assert other.peak_gib >= small.peak_gib
