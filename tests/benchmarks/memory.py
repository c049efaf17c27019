"""Compare the planner's memory with published measurements, and with other estimators.

    python tests/benchmarks/memory.py                              # tests/data/memory_measured.csv
    python tests/benchmarks/memory.py runs.csv --predictions out.csv

Any CSV with the columns of tests/data/memory_measured.csv will do. --predictions writes one line a
row: id, predicted_allocated_gib, predicted_device_gib, fits (empty where the row cannot be told).
The last line printed is one JSON object.
"""

import argparse
import csv
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "hooks"))

import footprint
import ladder
import measured
import planner
from footprint import GIB, Run

Row = dict[str, str]


def accelerate_gib(run: Run) -> float:
    """accelerate estimate-memory: weights times dtype, times 4 for training with Adam.

    huggingface/accelerate, src/accelerate/commands/estimate.py, estimate_training_usage; frozen
    weights are not in it, so an adapter run is shown as its weights alone, which favours it.
    """
    size = run.held_bytes or (4 if run.weights == "fp32" else 2)
    return run.shape.params * size * (4 if run.trains_all else 1) / GIB


def llama_factory_gib(run: Run) -> float:
    """Table in the README of hiyouga/LLaMA-Factory: GB by billions of weights.

    Full 8 a billion in pure bf16, 18 otherwise; LoRA 2; QLoRA 1 in 8 bits, 1/2 in 4.
    """
    if run.trains_all:
        factor = 18.0 if run.weights == "fp32" else 8.0
    else:
        factor = 2.0 if not run.held_bytes else 1.0 if run.held_bytes > 0.9 else 0.5
    return factor * run.shape.params / GIB


def deepspeed_gib(run: Run) -> float:
    """DeepSpeed's estimate_zero3_model_states_mem_needs without offload, on one device.

    microsoft/DeepSpeed, deepspeed/runtime/zero/stage3.py: largest layer 4 bytes a weight, 18 bytes
    a weight, times 1.5 for buffers. It knows no adapters: there the states are of those alone.
    """
    shape = run.shape
    layer = max(shape.vocab * shape.hidden, 3 * shape.hidden * shape.intermediate)
    if run.trains_all:
        return (4 * layer + 1.5 * 18 * shape.params) / GIB
    adapters = shape.layers * run.lora_r * sum(map(sum, run.targets()))
    held = run.held_bytes or 2
    return (4 * layer + 1.5 * (held * shape.params + 18 * adapters)) / GIB


PEERS: dict[str, Callable[[Run], float]] = {
    "this planner": footprint.peak_gib,
    "accelerate estimate-memory": accelerate_gib,
    "LLaMA-Factory table": llama_factory_gib,
    "DeepSpeed estimator": deepspeed_gib,
}


def errors(rows: Iterable[Row], estimate: Callable[[Run], float]) -> dict[str, float]:
    """Relative error of an estimate by row id; rows without a published peak are left out."""
    found = {}
    for row in rows:
        run, peak = measured.run_of(row), measured.measured_gib(row)
        if run is not None and peak:
            found[row["id"]] = estimate(run) / peak - 1
    return found


def summary(values: dict[str, float]) -> dict[str, Any]:
    """Number, median of the absolute errors, and the extremes."""
    if not values:
        return {"n": 0}
    return {
        "n": len(values),
        "median": round(statistics.median(map(abs, values.values())), 4),
        "least": round(min(values.values()), 4),
        "most": round(max(values.values()), 4),
        "under_5_percent": sum(value < -0.05 for value in values.values()),
    }


def verdicts(rows: Iterable[Row]) -> dict[str, Any]:
    """Runs without memory that were said to fit, and Hugging Face runs said not to."""
    oom, said_fits, ran, said_not = [], [], [], []
    for row in rows:
        run = measured.run_of(row)
        if run is None or row["cpu_offload"] == "1" or not row["gpu_mem_gb"]:
            continue
        good = measured.fits(row, run)
        if row["oom"] == "1":
            oom.append(row["id"])
            said_fits += [row["id"]] * good
        elif measured.scorable(row):
            ran.append(row["id"])
            said_not += [row["id"]] * (not good)
    return {"oom": len(oom), "oom_said_fits": said_fits, "ran": len(ran), "ran_said_not": said_not}


def write_predictions(rows: Iterable[Row], target: Path) -> None:
    """Write what the planner says of every row."""
    with target.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(["id", "predicted_allocated_gib", "predicted_device_gib", "fits"])
        for row in rows:
            run = measured.run_of(row)
            if run is None:
                writer.writerow([row["id"], "", "", ""])
                continue
            good = measured.fits(row, run) if row["gpu_mem_gb"] else ""
            figures = (footprint.peak_gib(run), ladder.need_gib(run))
            writer.writerow([row["id"], *(f"{x:.3f}" for x in figures), good])


def milliseconds_per_plan() -> float:
    """CPU time of one plan, the tables read before."""
    asked = ("Qwen/Qwen2.5-7B-Instruct", "sft", "auto", 22.0, 1, 2048)
    planner.plan(*asked)
    start, count = time.process_time(), 100
    for _ in range(count):
        planner.plan(*asked)
    return (time.process_time() - start) / count * 1000


def main() -> int:
    """Print the tables; the last line is JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = measured.DATA / "memory_measured.csv"
    parser.add_argument("csv", nargs="?", type=Path, default=default)
    parser.add_argument("--predictions", type=Path, help="write the prediction of every row there")
    chosen = parser.parse_args()
    rows = measured.read(chosen.csv)
    hf = [row for row in rows if measured.scorable(row)]
    report: dict[str, Any] = {"rows": len(rows), "peers": {}}
    print(f"{chosen.csv.name}: {len(rows)} rows, {len(hf)} of one device and the plain stack\n")
    print(f"{'estimator, Hugging Face rows':32}{'n':>5}{'median':>9}{'least':>9}{'most':>9}")
    for name, estimate in PEERS.items():
        found = report["peers"][name] = summary(errors(hf, estimate))
        print_summary(name, found)
    print(f"\n{'this planner by stack':32}")
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if row["id"] not in measured.EXCLUDED:
            kind = "QLoRA" if row["technique"] == "qlora" else row["technique"]
            groups.setdefault(f"{measured.stack_of(row).name}: {kind}", []).append(row)
    report["stacks"] = {name: summary(errors(g, footprint.peak_gib)) for name, g in groups.items()}
    for name, found in sorted(report["stacks"].items()):
        print_summary(name[:32], found)
    report["verdicts"] = verdicts(rows)
    print(f"\nverdicts: {json.dumps(report['verdicts'])}")
    report["milliseconds_per_plan"] = round(milliseconds_per_plan(), 3)
    if chosen.predictions:
        write_predictions(rows, chosen.predictions)
    print(json.dumps(report))
    return 0


def print_summary(name: str, found: dict[str, Any]) -> None:
    """One line of a table; nothing for an empty group."""
    if found["n"]:
        figures = "".join(f"{found[key]:9.1%}" for key in ("median", "least", "most"))
        print(f"{name:32}{found['n']:5}{figures}")


if __name__ == "__main__":
    raise SystemExit(main())
