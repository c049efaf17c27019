"""Configuration + this machine -> plan, kept in `configs/plan.lock.yaml` until either changes."""

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from . import hardware
from .config import Config
from .errors import Problem, UserError
from .hardware import Plan
from .model_wrapper import Device, detect_device, find_installed
from .utils import sha256_json, write_text

LOCK = Path("configs/plan.lock.yaml")
HEAD = "# Written by scripts/plan.py for this machine; do not edit, set the values in the config.\n"
# Sections that decide a plan; a change of any other keeps it.
SECTIONS = ("objective", "technique", "model", "lora", "train", "hardware")


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
    device = device or detect_device()
    rows = training_rows(config)
    key = {"config": _config_hash(config), "device": device.as_dict(), "rows": rows}
    lock = config.path(LOCK)
    then = _read_lock(lock)
    plan = _kept_plan(then, key) if present else None
    if plan is not None:
        note = f"as in {LOCK}"
    else:
        plan = make_plan(config, device, rows)
        note = _why_new(then, key)
        if present and write:
            _write_lock(lock, key, plan)
    if must_fit:
        require_fit(plan, device)
    return plan, device, note


def make_plan(config: Config, device: Device, rows: int | None) -> Plan:
    """Ask the planner; `rows` is the number of training examples, None before preparation.

    Raises:
        UserError: the model's size is unknown.
    """
    train, lora = config.train, config.lora
    targets = lora.lora_target_modules
    on_gpu = device.kind == "cuda"
    try:
        plan = hardware.plan(
            config.model.model_name_or_path,
            config.objective,
            config.technique,
            device.memory_gib if on_gpu else 0,
            min(device.count, 1),  # one process; more GPUs need a launcher
            train.max_length,
            device=device.name if on_gpu else None,
            params=parameter_count(config),
            effective_batch_size=train.effective_batch_size,
            rows=rows,
            epochs=train.num_train_epochs,
            micro_batch=_unless_auto(train.per_device_train_batch_size),
            accumulation=_unless_auto(train.gradient_accumulation_steps),
            checkpointing=_unless_auto(train.gradient_checkpointing),
            precision=_unless_auto(train.precision),
            optim=_unless_auto(train.optim),
            bf16=device.bf16,
            lora_r=lora.lora_r,
            lora_targets=() if isinstance(targets, str) else targets,
            lora_dropout=lora.lora_dropout,
        )
    except ValueError as error:
        fix = "use a model of models.toml, or a local folder with config.json"
        raise UserError(Problem("model.model_name_or_path", str(error), fix=fix)) from None
    if device.count > 1:
        reason = f"1 of the {device.count} GPUs is used: training runs in one process"
        plan.reasons["devices"] = reason
    return plan


def require_fit(plan: Plan, device: Device) -> None:
    """Refuse a plan that needs more memory than there is.

    Raises:
        UserError: with the changes that would help, the cheapest first.
    """
    # Without a GPU the planner states the need, and the machine's memory is compared here.
    if plan.fits and plan.need_gib <= device.memory_gib:
        return
    found = f"{plan.need_gib:.1f} GiB needed, {device.memory_gib:.1f} GiB there ({device.name})"
    # Training runs in one process, so more GPUs of any kind would not help.
    fixes = [fix for fix in plan.fixes if "GPUs" not in fix]
    fixes = fixes or ["a smaller model, a smaller train.max_length, or a larger machine"]
    raise UserError(Problem("plan", found, fix="; or ".join(fixes)))


def training_rows(config: Config) -> int | None:
    """Return the examples in the prepared training split; None before preparation."""
    path = config.path(config.data.prepared) / "train.jsonl"
    if not path.is_file():
        return None
    with path.open("rb") as lines:
        return sum(1 for line in lines if line.strip())


def parameter_count(config: Config) -> float | None:
    """Return the weights of a model on this disk, from its config.json, or as configured.

    None where neither is known. Counts embeddings, attention, a gated feed-forward block and
    norms, which is exact for the Llama family and near for others.
    """
    if config.model.params_billions is not None:
        return config.model.params_billions * 1e9
    source = find_installed(config)
    if source is None:
        return None
    shape = json.loads((source.path / "config.json").read_text(encoding="utf-8"))
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    if any(not isinstance(shape.get(name), int) for name in (*names, "vocab_size")):
        return None
    hidden, inner, layers, heads = (shape[name] for name in names)
    head_dim = shape.get("head_dim") or hidden // heads
    key_values = (shape.get("num_key_value_heads") or heads) * head_dim
    attention = 2 * hidden * heads * head_dim + 2 * hidden * key_values
    block = attention + 3 * hidden * inner + 2 * hidden
    embeddings = shape["vocab_size"] * hidden * (1 if shape.get("tie_word_embeddings") else 2)
    return float(embeddings + layers * block + hidden)


def configured_device(config: Config) -> Device:
    """Return the device that the section `hardware` names, whether it is here or not."""
    section = config.hardware
    if not section.gpu_memory_gb or not section.num_gpus:
        fix = "set hardware.gpu_memory_gb and hardware.num_gpus"
        raise UserError(Problem("hardware", "the configuration names no GPU", fix=fix))
    memory = round(hardware.usable_gib(section.gpu_memory_gb), 1)
    return Device("cuda", f"GPU with {section.gpu_memory_gb:g} GB", memory, section.num_gpus, True)


def _unless_auto(value: Any) -> Any:
    return None if value == "auto" else value


def _config_hash(config: Config) -> str:
    settings = config.as_dict()
    return sha256_json({name: settings[name] for name in SECTIONS})


def _read_lock(path: Path) -> dict[str, Any]:
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
    changed = [name for name in ("device", "config", "rows") if then.get(name) != key[name]]
    words = {"device": "another device", "config": "other settings", "rows": "other data"}
    return f"planned anew: {', '.join(words[name] for name in changed) or 'other planner'}"


def _write_lock(path: Path, key: dict[str, Any], plan: Plan) -> None:
    text = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.width = 200
    # Through JSON: tuples become lists, as they will be when the file is read.
    yaml.dump(json.loads(json.dumps({"key": key, "plan": plan.as_dict()})), text)
    write_text(path, HEAD + text.getvalue())
