"""What the plan would be elsewhere, and how well it held: grid, other values, own runs."""

import csv
import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import footprint, hardware, shapes, small_techniques
from .config import Config, load_config
from .devices import Device
from .errors import Problem, UserError
from .footprint import OPTIMISERS, Run
from .hardware import Plan
from .planning import (
    configured_device,
    make_plan,
    planned_model,
    planned_shape,
    planned_targets,
    training_size,
)

RUNS = Path("runs/memory.csv")
COLUMNS = (
    "run", "device", "kind", "model", "technique", "sequence_length", "micro_batch",
    "predicted_peak_gib", "predicted_need_gib", "measured_peak_gib",
)  # fmt: skip
# Short names for --what-if; any key of the configuration works as well.
SHORT = {
    "seq": "train.max_length",
    "batch": "train.per_device_train_batch_size",
    "model": "model.model_name_or_path",
    "checkpointing": "train.gradient_checkpointing",
    "gpu": "hardware.gpu_memory_gb",
    "gpus": "hardware.num_gpus",
}


def planned_run(config: Config, plan: Plan, device: Device) -> Run:
    """Return the run of a plan as the closed form and the simulation see it."""
    return Run(
        planned_shape(config),
        plan.technique,
        hardware.OBJECTIVES[config.objective],
        plan.weights,
        plan.optim,
        plan.precision != "fp32",
        config.train.max_length,
        plan.per_device_train_batch_size,
        plan.gradient_checkpointing,
        plan.chunked_loss,
        device.kind != "cpu",
        lora_r=config.lora.lora_r,
        lora_targets=planned_targets(config),
        lora_dropout=config.lora.lora_dropout,
    )


def simulated(run: Run) -> str:
    """Return lines that set the simulated peak beside the closed form.

    Raises:
        UserError: the base weights are quantised, which fake tensors cannot hold, or the optimiser
            or the model's class is not known.
    """
    from .simulation import CLASSES, simulated_peak_gib

    shape, problems = run.shape, []
    if run.objective_class == "distilled":
        fix = "simulate objective=sft and add the teacher of the plan"
        problems.append(Problem("--simulate", "a run with a teacher", fix=fix))
    if footprint.TECHNIQUES[run.technique].base_bytes:
        fix = "simulate technique=lora; a 4-bit weight takes 0.516 bytes instead of 2"
        problems.append(Problem("--simulate", f"technique {run.technique}", fix=fix))
    if run.optimiser not in OPTIMISERS:
        known = ", ".join(OPTIMISERS.keys() - {"deepspeed"})
        problems.append(Problem("--simulate", f"train.optim {run.optimiser}", known))
    # experts make a shape unsure as well, but their classes are known
    guessed = not shape.sure and (shape.experts == 1 or shape.family not in ("llama", "qwen3"))
    if guessed or shape.family not in CLASSES:
        fix = "a model of models.toml, or a folder whose config.json is of a kind that is there"
        found = f"a model without a class to simulate ({shape.family}-like at most)"
        problems.append(Problem("--simulate", found, fix=fix))
    if problems:
        raise UserError(problems)

    # What the simulation cannot see is left out of the closed form as well.
    bare = replace(run, on_gpu=True, lora_dropout=0.0, attention="flash", chunked_loss=False)
    lines = ["step without padding and dropout      simulated   closed form"]
    for name, tiled in (("loss on whole logits", False), ("loss in tiles", True)):
        one = replace(bare, chunked_loss=tiled)
        form = footprint.peak_gib(one)
        lines.append(f"{name:34} {simulated_peak_gib(one):9.2f} GiB {form:9.2f} GiB")
    return "\n".join(lines)


def grid(config: Config) -> str:
    """Return GiB needed by each technique on each device of devices.toml; `no`: does not fit."""
    rows, (model, params) = [], planned_model(config)
    planned_shape(config)  # an unknown model is named as such
    for name, device in shapes.table("devices").items():
        cells = [f"{name:9} {device['memory_gb']:4.0f} GB"]
        for technique in footprint.TECHNIQUES:
            plan = hardware.plan(
                model, config.objective, technique, None, 1, config.train.max_length,
                device=name, params=params, micro_batch=1,
                checkpointing=small_techniques.checkpointed(technique), lora_r=config.lora.lora_r,
                lora_dropout=config.lora.lora_dropout, lora_targets=planned_targets(config),
            )  # fmt: skip
            cells.append((f"{plan.need_gib:.1f}" if plan.fits else "no").rjust(len(technique) + 2))
        rows.append("".join(cells))
    head = " " * 17 + "".join(f"  {name}" for name in footprint.TECHNIQUES)
    return "\n".join(
        [f"GiB at {config.train.max_length} tokens, micro batch 1, one card", head, *rows]
    )


def other_values(
    path: Path, overrides: Sequence[str], changes: Sequence[str], device: Device
) -> str:
    """Return the plan of now and with other values, side by side.

    Another `hardware.gpu_memory_gb` or `hardware.num_gpus` stands for another device.

    Raises:
        UserError: a change is not written as key=value, or its key is unknown.
    """
    for change in changes:
        if "=" not in change:
            raise UserError(Problem("--what-if", repr(change), "key=value, for example seq=8192"))
    pairs = [change.split("=", 1) for change in changes]
    given = [f"{SHORT.get(key, key)}={value}" for key, value in pairs]
    now, then = load_config(path, list(overrides)), load_config(path, [*overrides, *given])
    moved = now.hardware.gpu_memory_gb, now.hardware.num_gpus
    moves = moved != (then.hardware.gpu_memory_gb, then.hardware.num_gpus)
    other = configured_device(then) if moves else device
    before = make_plan(now, device, *training_size(now)).as_dict()
    after = make_plan(then, other, *training_size(then)).as_dict()
    names = [name for name in before if name not in ("reasons", "fixes")]
    lines = [f"{'':28} {'now':>14} {' '.join(changes):>18}"]
    for name in names:
        mark = "  <-" if before[name] != after[name] else ""
        lines.append(f"{name:28} {before[name]!s:>14} {after[name]!s:>18}{mark}")
    return "\n".join([*lines, *(f"would fit with: {fix}" for fix in after["fixes"])])


def append_run(config: Config, plan: Plan, device: Device, record: dict[str, Any]) -> None:
    """Write the measured peak of a finished run beside what was predicted."""
    path = config.path(RUNS)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = not path.exists()
    with path.open("a", encoding="utf-8", newline="") as lines:
        writer = csv.writer(lines, lineterminator="\n")
        if fresh:
            writer.writerow(COLUMNS)
        writer.writerow([
            record["run"], device.name, device.kind, config.model.model_name_or_path,
            plan.technique, config.train.max_length, plan.per_device_train_batch_size,
            plan.peak_gib, plan.need_gib, record["peak_memory_gib"],
        ])  # fmt: skip


def calibration(path: Path) -> str:
    """Return the error of the prediction on this project's own runs.

    On a GPU the allocated peak is compared; without one the process's memory with the need.

    Raises:
        UserError: no run has been measured yet, or no row of the file has its figures.
    """
    fix = "run `make train` first"
    if not path.is_file():
        raise UserError(Problem(str(path), "no finished run yet", fix=fix))
    with path.open(encoding="utf-8", errors="replace", newline="") as lines:
        rows = list(csv.DictReader(lines))
    errors, skipped = [], 0
    text = [f"{'run':34}{'predicted':>10}{'measured':>10}{'error':>8}"]
    for row in rows:
        column = "predicted_peak_gib" if row.get("kind") == "cuda" else "predicted_need_gib"
        predicted, measured = _positive(row.get(column)), _positive(row.get("measured_peak_gib"))
        if not (predicted and measured):
            skipped += 1
            continue
        errors.append(predicted / measured - 1)
        name = str(row.get("run"))[:33]
        text.append(f"{name:34}{predicted:10.2f}{measured:10.2f}{errors[-1]:8.1%}")
    if not errors:
        raise UserError(Problem(str(path), f"no row of {len(rows)} has both figures", fix=fix))
    if skipped:
        text.append(f"{skipped} rows without both figures were left out")
    middle = statistics.median(map(abs, errors))
    text.append(
        f"{len(errors)} runs, median error {middle:.1%}, "
        f"from {min(errors):.1%} to {max(errors):.1%}; below 0: more was used than predicted"
    )
    return "\n".join(text)


def _positive(text: str | None) -> float | None:
    """Return a number above 0 that a cell holds, else None."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 < value < math.inf else None
