"""What computes: the device of this machine and its memory."""

import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Device:
    """What computes: kind cuda, mps or cpu; memory in GiB of one GPU, or of the machine."""

    kind: str
    name: str
    memory_gib: float
    count: int
    bf16: bool

    def as_dict(self) -> dict[str, Any]:
        """Return the device as JSON values."""
        return asdict(self)


def detect_device() -> Device:
    """Measure the device that training would use."""
    import torch

    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        memory = round(properties.total_memory / 2**30, 1)
        count = torch.cuda.device_count()
        # a T4 has no such units; torch imitates them, which is slower than fp16
        half = torch.cuda.is_bf16_supported(including_emulation=False)
        return Device("cuda", properties.name, memory, count, half)
    memory = round(machine_memory() / 2**30, 1)
    if torch.backends.mps.is_available():
        return Device("mps", platform.processor() or "Apple GPU", memory, 1, False)
    return Device("cpu", f"CPU with {os.cpu_count()} threads", memory, 0, _cpu_has_bf16())


def _cpu_has_bf16() -> bool:
    """Say whether the CPU multiplies bfloat16 in hardware (x86: AVX512-BF16 or AMX).

    SmolLM2-135M with LoRA, 2 cores: 1.3 to 1.4 times the speed of fp32 with AVX512-BF16 (AMD
    EPYC), and a nineteenth of it on a CPU with AVX2 only. Arm is not measured: it counts as
    without.
    """
    import torch

    # A torch that is too old to tell counts as running on a CPU without.
    found: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))


def machine_memory() -> int:
    """Return the memory that this process may use, in bytes (a container's limit counts)."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text(encoding="ascii").strip() if limit.is_file() else "max"
    return total if text == "max" else min(total, int(text))
