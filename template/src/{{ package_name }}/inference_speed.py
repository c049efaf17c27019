"""How long one answer takes, and how much memory the model needs for it."""

import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .devices import detect_device
from .generation import generate
from .model_wrapper import LoadedModel

PROMPTS = 3  # answers that are timed, after one that is not


def inference_speed(
    loaded: LoadedModel, prompts: Sequence[Sequence[int]], max_new_tokens: int
) -> dict[str, Any]:
    """Answer prompts one at a time, as a person who waits for an answer sees it.

    Args:
        loaded: a model that generates.
        prompts: token ids; the first one is answered twice, to warm up.
        max_new_tokens: longest answer.

    Returns:
        `tokens_per_second` (new tokens), `latency_s` (median seconds of an answer),
        `peak_memory_gib` and what it measures (`memory`), `device` (its kind), `device_name`,
        `new_tokens` (median of an answer), `n` (answers).
    """
    model, tokenizer = loaded.model, loaded.tokenizer
    device = model.device.type
    generate(model, tokenizer, prompts[:1], 2, 1)
    start_of_peak(device)
    runs = [generate(model, tokenizer, [prompt], max_new_tokens, 1) for prompt in prompts]
    seconds = sum(run.seconds for run in runs)
    memory = peak_memory_gib(device)
    return {
        "tokens_per_second": round(sum(run.new_tokens for run in runs) / seconds, 2),
        "latency_s": round(statistics.median(run.seconds for run in runs), 3),
        "new_tokens": statistics.median(run.new_tokens for run in runs),
        "peak_memory_gib": None if memory is None else round(memory, 3),
        "memory": "GPU memory of tensors" if device == "cuda" else "memory of the process",
        "device": device,
        "device_name": detect_device().name,
        "n": len(runs),
    }


def start_of_peak(device: str) -> None:
    """Forget the highest memory so far."""
    if device == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats()
    elif sys.platform == "linux":
        # 5 resets VmHWM to the present size (man 5 proc_pid_clear_refs, Linux 4.0).
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory_gib(device: str) -> float | None:
    """Return the highest memory since `start_of_peak` in GiB; None where it is not told.

    CUDA: tensors of this process. Linux: resident memory of the process, libraries and mapped
    weights included.
    """
    if device == "cuda":
        import torch

        return torch.cuda.max_memory_allocated() / 2**30
    if sys.platform != "linux":
        return None
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 2**20  # kB
