"""What a run takes of its machine, measured between two lines of the training log.

Counters (time, CPU time, waiting, energy) are read where a line is written, and where validation
and saving begin and end: what those take is taken out again. No thread, no sampling.
"""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

POWERCAP = Path("/sys/class/powercap")
GIB = 2**30
Reader = Callable[[], float]


class Rapl:
    """Joules that the CPU packages took, from the kernel's powercap files (Intel and AMD).

    docs.kernel.org/power/powercap: `energy_uj` counts microjoules and starts again from 0 after
    `max_energy_range_uj`; since Linux 5.10 only root may read it. A counter that starts again
    twice between two readings (about half an hour at full power) is counted once.
    """

    def __init__(self, root: Path = POWERCAP) -> None:
        # intel-rapl:0 is a package; intel-rapl:0:0 is a part of it; psys holds the packages.
        folders = sorted(root.glob("intel-rapl:[0-9]*"))
        self.packages = [
            folder
            for folder in folders
            if folder.name.count(":") == 1 and _text(folder / "name").startswith("package")
        ]
        if not self.packages:
            raise OSError("no RAPL packages")
        self.ranges = [int(_text(folder / "max_energy_range_uj")) for folder in self.packages]
        self.last = self._read()
        self.total = 0

    def _read(self) -> list[int]:
        return [int(_text(folder / "energy_uj")) for folder in self.packages]

    def __call__(self) -> float:
        now = self._read()
        for new, old, limit in zip(now, self.last, self.ranges, strict=True):
            self.total += new - old if new >= old else new - old + limit
        self.last = now
        return self.total / 1e6


def _text(path: Path) -> str:
    return path.read_text(encoding="ascii").strip()


class Meter:
    """Reads what a run takes of its machine.

    Attributes:
        waited: Seconds that the trainer waited for batches so far.
        left_out: Name of a figure -> why it cannot be read here.
        seconds: That measuring took itself.
    """

    def __init__(self, kind: str, powercap: Path = POWERCAP) -> None:
        """Find out what can be read.

        Args:
            kind: of the device: cuda, mps or cpu.
            powercap: folder of the kernel's energy counters.
        """
        self.waited = 0.0
        self.seconds = 0.0
        self.left_out: dict[str, str] = {}
        self.cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
        self.cores = self.cores or os.cpu_count() or 1
        self.counters: dict[str, Reader] = {
            "wall": time.perf_counter,
            "cpu": time.process_time,
            "waited": lambda: self.waited,
        }
        self.gauges: dict[str, Reader] = {"memory_gib": _memory(kind)}
        if kind == "cuda":
            self._find_nvml()
        else:
            self._find_rapl(powercap)
        self.begin()

    def _find_rapl(self, powercap: Path) -> None:
        try:
            self.counters["joules"] = Rapl(powercap)
        except (OSError, ValueError):
            reason = "the CPU's energy counters (RAPL) are missing or for root alone"
            self.left_out["power_watts"] = reason

    def _find_nvml(self) -> None:
        names = ("gpu_percent", "power_watts")
        try:
            import pynvml
        except ImportError:
            reason = "nvidia-ml-py is not installed (make setup EXTRAS=gpu)"
            self.left_out |= dict.fromkeys(names, reason)
            return
        readers = (_gpu_percent, _gpu_joules)
        for name, make in zip(names, readers, strict=True):
            try:
                reader = make(pynvml)
                reader()
            except pynvml.NVMLError as error:
                self.left_out[name] = f"NVML: {error}"
                continue
            if name == "power_watts":
                self.counters["joules"] = reader
            else:
                self.gauges[name] = reader

    def begin(self) -> None:
        """Start counting from here."""
        self.base = self._count()
        self.paused = dict(self.base)

    def pause(self) -> None:
        """Note that training stops here: validation or saving follow."""
        self.paused = self._count()

    def resume(self) -> None:
        """Leave out what was taken since the pause; the pause goes on until the next step."""
        now = self._count()
        for name, value in now.items():
            self.base[name] += value - self.paused[name]
        self.paused = now

    def take(self, tokens: int) -> dict[str, float]:
        """Return the figures since the last call, and start anew.

        Args:
            tokens: that were trained on since the last call.
        """
        now = self._count()
        spent = {name: value - self.base[name] for name, value in now.items()}
        self.base, self.paused = dict(now), now
        wall = spent["wall"]
        found = {
            "tokens_per_second": round(tokens / wall, 1),
            "loader_wait_seconds": round(spent["waited"], 4),
            "cpu_percent": round(100 * spent["cpu"] / wall / self.cores, 1),
        }
        found |= {name: round(read(), 3) for name, read in self.gauges.items()}
        if "joules" in spent:
            found["power_watts"] = round(spent["joules"] / wall, 2)
        self.seconds += time.perf_counter() - now["wall"]
        return found

    def _count(self) -> dict[str, float]:
        begun = time.perf_counter()
        now = {name: read() for name, read in self.counters.items()}
        self.seconds += time.perf_counter() - begun
        return now

    def watch(self, trainer: Any) -> None:
        """Time how long a trainer waits for its batches, as it takes them from the loader."""
        fetch = trainer.get_batch_samples

        def timed(batches: Iterator[Any], *rest: Any, **named: Any) -> Any:
            return fetch(self._timed(batches), *rest, **named)

        trainer.get_batch_samples = timed

    def _timed(self, batches: Iterator[Any]) -> Iterator[Any]:
        while True:
            begun = time.perf_counter()
            try:
                batch = next(batches)
            except StopIteration:
                return
            finally:
                self.waited += time.perf_counter() - begun
            yield batch


def _memory(kind: str) -> Reader:
    """Return what reads the memory that the run holds, in GiB."""
    if kind == "cuda":
        import torch

        return lambda: torch.cuda.memory_reserved() / GIB
    import psutil

    process = psutil.Process()
    return lambda: process.memory_info().rss / GIB


def _nvml_handle(pynvml: Any) -> Any:
    """Return the GPU that torch uses, which CUDA_VISIBLE_DEVICES may have chosen."""
    import torch

    pynvml.nvmlInit()
    uuid = str(torch.cuda.get_device_properties(0).uuid).removeprefix("GPU-")
    return pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")


def _gpu_percent(pynvml: Any) -> Reader:
    handle = _nvml_handle(pynvml)
    return lambda: float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)


def _gpu_joules(pynvml: Any) -> Reader:
    """Return what reads the energy that the GPU took, in J (Volta and newer)."""
    handle = _nvml_handle(pynvml)
    return lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3
