"""Configuration + this machine -> plan, kept in `configs/plan.lock.yaml` until either changes."""

import dataclasses
import io
import json
import os
import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from . import hardware, machines, shapes
from .adapters import start_settings
from .combinations import why_not_anew
from .config import Config
from .devices import Device, detect_device
from .errors import Problem, UserError
from .families import ATTENTION
from .footprint import FAMILIES, Shape
from .hardware import Plan
from .launch import Launch, launched, share_of_batch
from .model_source import find_installed, names_lost_folder, teacher_of
from .settings_methods import METHODS
from .techniques import TECHNIQUES
from .utils import read_json, sha256_json, write_text

LOCK = Path("configs/plan.lock.yaml")
PRICES = Path("configs/prices.toml")  # of the project: rows go before those of the package
REPORT = "report.json"  # of the preparation
HEAD = "# Written by scripts/plan.py for this machine; do not edit, set the values in the config.\n"
# Sections that decide a plan; a change of any other keeps it.
SECTIONS = ("objective", "technique", "model", *METHODS, "train", "hardware")


def resolve_plan(
    config: Config, device: Device | None = None, must_fit: bool = True, write: bool = True
) -> tuple[Plan, Device, str]:
    """Return the plan, the device it is for, and how it came about.

    The lock file is used again only for the same settings, device and amount of data.

    Args:
        config: settings that are not `auto` are kept.
        device: None: the one that is present. Another one is planned, but not written down.
        must_fit: raise where the predicted memory is not there.
        write: write a new plan to the lock file.

    Raises:
        UserError: the model's size is unknown, or the plan does not fit.
    """
    present = device is None
    config, decided = start_settings(config)
    device = device or detect_device()
    size = training_size(config)
    key: dict[str, Any] = {
        "config": _config_hash(config),
        "device": device.as_dict(),
        "data": list(size),
    }
    key |= {} if (launch := launched()).alone else {"processes": launch.processes}
    key["prices"] = sha256_json(own_prices(config))
    lock = config.path(LOCK)
    then = read_lock(lock)
    plan = _kept_plan(then, key) if present else None
    if plan is not None:
        note = f"as in {LOCK}"
    else:
        plan = make_plan(config, device, *size)
        plan.reasons.update(decided)
        note = _why_new(then, key)
        if present and write:
            _write_lock(lock, key, plan)
    if must_fit:
        require_fit(plan, device)
    return plan, device, note


def make_plan(
    config: Config, device: Device, rows: int | None, tokens: float | None = None
) -> Plan:
    """Ask the planner; `rows` and `tokens` of the training split, None before preparation.

    Raises:
        UserError: the model's size is unknown, or settings exclude each other.
    """
    planned_shape(config)  # an unknown model is named as such, not as a wrong value
    train, lora, launch = config.train, config.lora, launched()
    on_gpu = device.kind == "cuda"
    share_of_batch(train.effective_batch_size, launch.processes)
    model, params = planned_model(config)
    teacher = planned_teacher(config)
    checkpointing, unfit = _checkpointing(config)
    try:
        plan = hardware.plan(
            model,
            config.objective,
            config.technique,
            device.memory_gib if on_gpu else 0,
            min(device.count, launch.local_processes),  # a process each
            train.max_length,
            device=device.name if on_gpu else None,
            params=params,
            effective_batch_size=train.effective_batch_size,
            rows=rows,
            tokens=tokens,
            epochs=train.num_train_epochs,
            micro_batch=_unless_auto(train.per_device_train_batch_size),
            accumulation=_unless_auto(train.gradient_accumulation_steps),
            checkpointing=checkpointing,
            precision=_unless_auto(train.precision),
            optim=_unless_auto(train.optim),
            bf16=device.bf16,
            lora_r=lora.lora_r,
            lora_targets=planned_targets(config),
            lora_dropout=lora.lora_dropout,
            cpu_threads=os.cpu_count(),
            prices=own_prices(config),
            grid_g_co2_per_kwh=config.hardware.grid_g_co2_per_kwh,
            ram_gib=None if on_gpu else device.memory_gib / launch.local_processes,
            one_process=launch.alone,
            **_spread(config, launch, on_gpu),
            quantised_bytes=quantised_bytes(config),
            teacher=teacher,
            reference=_holds_reference(config),
        )
    except ValueError as error:
        raise UserError(Problem("plan", str(error), fix="change that value, or auto")) from None
    if unfit:
        plan.reasons["gradient_checkpointing"] = f"it would compute without what {unfit} learns"
    if device.count > launch.local_processes:
        reason = (
            f"{launch.local_processes} of the {device.count} GPUs is used: each needs a process, "
            f"torchrun --nproc_per_node {device.count} scripts/train.py"
        )
        plan.reasons["devices"] = reason
    return plan


def _spread(config: Config, launch: Launch, on_gpu: bool) -> dict[str, Any]:
    """Return what the planner is told of the processes; on CPUs each counts as a machine."""
    if launch.alone:
        return {}
    ways = {"auto": None, "ddp": "ddp", "fsdp": "fsdp2"}
    machines = launch.machines if on_gpu else launch.processes
    return {"num_nodes": machines, "sharding": ways[config.train.parallel]}


def _checkpointing(config: Config) -> tuple[bool | None, str]:
    """Return whether activations are computed anew (None: as memory asks), and what forbids it.

    Raises:
        UserError: the user wants it with a technique that it would switch off.
    """
    wanted = _unless_auto(config.train.gradient_checkpointing)
    technique = TECHNIQUES.get(config.technique)  # `auto` takes none that forbids it
    reason = why_not_anew(technique) if technique else ""
    if not reason:
        return wanted, ""
    if wanted:
        raise UserError(Problem("train.gradient_checkpointing", reason))
    return False, config.technique if wanted is None else ""


def require_fit(plan: Plan, device: Device) -> None:
    """Refuse a plan that needs more memory than there is.

    Raises:
        UserError: with the changes that would help, the cheapest first.
    """
    if plan.fits and plan.need_gib <= device.memory_gib:
        return
    found = f"{plan.need_gib:.1f} GiB needed, {device.memory_gib:.1f} GiB there ({device.name})"
    fixes = plan.fixes or ["a smaller model, a smaller train.max_length, or a larger machine"]
    raise UserError(Problem("plan", found, fix="; or ".join(fixes)))


def training_size(config: Config) -> tuple[int | None, float | None]:
    """Return the examples of the prepared training split and their tokens.

    None before preparation. The tokens are the examples times the mean length of all splits, as
    the report of the preparation counted it (estimated where it had no tokenizer).
    """
    folder = config.path(config.data.prepared)
    path, report = folder / "train.jsonl", folder / REPORT
    if not path.is_file():
        return None, None
    with path.open("rb") as lines:
        rows = sum(1 for line in lines if line.strip())
    found = read_json(report).get("tokens") if report.is_file() else None
    if not found or not sum(found["histogram"]["counts"]):
        return rows, None
    edges, counts = found["histogram"]["edges"], found["histogram"]["counts"]
    middles = ((a + b) / 2 for a, b in pairwise(edges))
    total = sum(middle * count for middle, count in zip(middles, counts, strict=True))
    return rows, round(rows * total / sum(counts))


def planned_model(config: Config) -> tuple[str, float | None]:
    """Return the model as the planner is asked for it, and its weights where they are stated.

    A model of models.toml is asked for by its id, any other that lies on this disk by its folder,
    whose config.json says the architecture.
    """
    name, billions = config.model.model_name_or_path, config.model.params_billions
    params = None if billions is None else billions * 1e9
    if name in shapes.table("models"):
        return name, params
    source = find_installed(config)
    return str(source.path) if source else name, params


def planned_teacher(config: Config) -> str | None:
    """Return the frozen model beside the trained one as the planner is asked for it, or None.

    A teacher, or the reward model of objectives that write answers.

    Raises:
        UserError: no teacher is named, it is a folder that is not there, or the size of the model
            is unknown.
    """
    kind, settings = hardware.OBJECTIVES[config.objective], config.reinforcement
    if kind == "distilled":
        teacher = teacher_of(config)
        where, (name, _) = "distill.teacher", planned_model(teacher)
        lost = names_lost_folder(teacher)
    elif kind == "rollouts" and settings.reward_model and "reward_model" in settings.rewards:
        folder = config.path(settings.reward_model)
        where, name, lost = "reinforcement.reward_model", str(folder), not folder.is_dir()
    else:
        return None
    if lost:
        fix = "name a folder that is there; a relative path starts in the project folder"
        raise UserError(Problem(where, "no such folder", fix=fix))
    try:
        shapes.find_shape(name)
    except ValueError as error:
        fix = "use a model of models.toml, or a local folder with config.json"
        raise UserError(Problem(where, str(error), fix=fix)) from None
    return name


def _holds_reference(config: Config) -> bool:
    """Say whether the objective, where it has a reference, holds it: trl drops it at beta 0."""
    rollouts = hardware.OBJECTIVES[config.objective] == "rollouts"
    return not rollouts or config.reinforcement.beta > 0


def planned_shape(config: Config) -> Shape:
    """Return the architecture that the plan counts with.

    Raises:
        UserError: the model's size is unknown.
    """
    try:
        return shapes.find_shape(*planned_model(config))[0]
    except ValueError as error:
        raise _unknown_model(error) from None


def quantised_bytes(config: Config) -> float:
    """Return the bytes of a weight in 8 bit with its row's share of a scale; 0: as planned, 4 bit.

    `auto` plans with 4 bit.
    """
    asked = (config.technique, config.model.quantisation)
    return 1 + 4 / planned_shape(config).hidden if asked == ("qlora", "int8") else 0.0


def planned_targets(config: Config) -> tuple[str, ...]:
    """Return the matrices with an adapter as the memory formula names them; () for all."""
    wanted = config.lora.lora_target_modules
    if isinstance(wanted, str):
        return ()
    known = FAMILIES[planned_shape(config).family].matrices
    short = dict(zip(ATTENTION, ("q", "k", "v", "o"), strict=True))
    names = [short.get(name, name) for name in wanted]
    fused = {"q", "k", "v"} if "qkv" in known else set()
    return tuple(dict.fromkeys("qkv" if name in fused else name for name in names))


def own_prices(config: Config) -> dict[str, Any]:
    """Return the rental prices: prices.toml of the package, with the rows of configs/prices.toml.

    Rows of the project say so in `file`.

    Raises:
        UserError: the project's file is no TOML, or a row lacks `low` or `high`.
    """
    path = config.path(PRICES)
    if not path.is_file():
        return shapes.table("prices")
    fix = "write rows as in src/*/prices.toml: [device], low = 1.0, high = 2.0, as_of, source"
    try:
        rows = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(Problem(str(path), str(error), fix=fix)) from None
    problems = [
        Problem(f"{path}, row {name}", "no prices that make sense", "0 < low <= high, in USD", fix)
        for name, row in rows.items()
        if not (isinstance(row, dict) and _is_range(row.get("low"), row.get("high")))
    ]
    if problems:
        raise UserError(problems)
    return shapes.table("prices") | {
        name: row | {"file": PRICES.as_posix()} for name, row in rows.items()
    }


def _is_range(low: Any, high: Any) -> bool:
    return all(isinstance(x, int | float) for x in (low, high)) and 0 < low <= high


def _unknown_model(error: ValueError) -> UserError:
    fix = "use a model of models.toml, a local folder with config.json, or model.params_billions"
    return UserError(Problem("model.model_name_or_path", str(error), fix=fix))


def configured_device(config: Config) -> Device:
    """Return the device that the section `hardware` names, whether it is here or not."""
    section = config.hardware
    if not section.gpu_memory_gb or not section.num_gpus:
        fix = "set hardware.gpu_memory_gb and hardware.num_gpus"
        raise UserError(Problem("hardware", "the configuration names no GPU", fix=fix))
    memory = round(machines.usable_gib(section.gpu_memory_gb), 1)
    return Device("cuda", f"GPU with {section.gpu_memory_gb:g} GB", memory, section.num_gpus, True)


def _unless_auto(value: Any) -> Any:
    return None if value == "auto" else value


def _config_hash(config: Config) -> str:
    settings = config.as_dict()
    return sha256_json({name: settings[name] for name in SECTIONS})


def read_lock(path: Path) -> dict[str, Any]:
    """Return the last plan with what it was made for; empty where there is none."""
    if not path.is_file():
        return {}
    try:
        lock = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except (YAMLError, UnicodeDecodeError):
        return {}  # half written or edited: it is only a memory of the last plan
    return lock if isinstance(lock, dict) else {}


def _kept_plan(lock: dict[str, Any], key: dict[str, Any]) -> Plan | None:
    names = {field.name for field in dataclasses.fields(Plan)}
    values = lock.get("plan")
    if lock.get("key") != key or not isinstance(values, dict) or set(values) != names:
        return None
    return Plan(**values)


def _why_new(lock: dict[str, Any], key: dict[str, Any]) -> str:
    then = lock.get("key")
    if not isinstance(then, dict):
        return "planned for this machine"
    words = {"device": "another device", "config": "other settings", "data": "other data"}
    words |= {"prices": "other prices", "processes": "another number of processes"}
    changed = [text for name, text in words.items() if then.get(name) != key.get(name)]
    return f"planned anew: {', '.join(changed) or 'other planner'}"


def _write_lock(path: Path, key: dict[str, Any], plan: Plan) -> None:
    text = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.width = 200
    # Through JSON: tuples become lists, as they will be when the file is read.
    yaml.dump(json.loads(json.dumps({"key": key, "plan": plan.as_dict()})), text)
    write_text(path, HEAD + text.getvalue())
