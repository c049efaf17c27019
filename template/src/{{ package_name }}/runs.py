"""Run folders: a new one, one to go on with, and the mirror in `fine_tuned_model/`."""

import datetime
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from .checkpoint_files import STATE, checkpoints, newest_whole, step_of
from .config import Config
from .errors import Problem, UserError
from .model_source import resolve_model
from .settings_methods import METHODS
from .trackers import FOLDER as TRACKERS
from .utils import read_json, sha256_file

RECORD = "training_args.json"
CHECKPOINTS = "checkpoints"
PROMOTED = "fine_tuned_model"
LOCK = "requirements.lock"
LINK_FROM_BYTES = 1 << 20  # larger files are linked, not copied

# Settings that may differ between a run and its continuation: they change neither the data
# nor any step. The effective batch is compared instead of its two factors.
FREE = {
    "model.licence",
    "train.output_dir",
    "train.resume_from_checkpoint",
    "train.save_total_limit",
    "train.logging_steps",
    "train.per_device_train_batch_size",
    "train.gradient_accumulation_steps",
    "train.gradient_checkpointing",
    "train.parallel",
    "train.allow_changed",
    "train.on_divergence",
}
# Sections and settings that a checkpoint cannot be loaded with if they changed.
FIXED = (
    "objective",
    "technique",
    "lora.lora_r",
    "lora.lora_target_modules",
    "lora.init_lora_weights",
    "freeze",
    "prompts",
    "bottleneck",
    "train.optim",
)
COMPARED = ("objective", "technique", "domains", "model", "few_shot_k", *METHODS, "train")


def new_run(config: Config, label: str) -> Path:
    """Make and return an empty run folder, `<time>-<label>`."""
    parent = config.path(config.train.output_dir)
    parent.mkdir(parents=True, exist_ok=True)
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    for number in range(1, 1000):
        folder = parent / (f"{stamp}-{label}" if number == 1 else f"{stamp}-{label}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise AssertionError("a thousand runs in one second")


def code_state(root: Path) -> dict[str, Any]:
    """Return commit, whether tracked files differ from it, and the hash of requirements.lock.

    commit and changed are null where the project is no git repository, or git is missing.
    """
    commit, changes = _git(root, "rev-parse", "HEAD"), _git(root, "status", "--porcelain", "-uno")
    lock = root / LOCK
    return {
        "commit": commit,
        "changed": None if commit is None or changes is None else bool(changes),
        "lock_sha256": sha256_file(lock) if lock.is_file() else None,
    }


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def find_checkpoint(config: Config, say: Callable[[str], None] = print) -> Path | None:
    """Return the checkpoint that `train.resume_from_checkpoint` names; None: a new run.

    One that is damaged is skipped for the one before it in the same run.

    Args:
        config: The run.
        say: Shows a line for each that is skipped.

    Raises:
        UserError: there is none.
    """
    wanted = config.train.resume_from_checkpoint
    if wanted is None:
        return None
    folder = _latest_run(config) if wanted == "latest" else config.path(wanted)
    found = checkpoints(folder / CHECKPOINTS)
    if folder in checkpoints(folder.parent):
        found = [one for one in checkpoints(folder.parent) if step_of(one) <= step_of(folder)]
    whole = newest_whole(found, say)
    if whole is None:
        where = "train.resume_from_checkpoint"
        fix = "name a folder like runs/<run>/checkpoints/checkpoint-100, or null for a new run"
        raise UserError(Problem(where, f"no complete checkpoint in {folder}", fix=fix))
    return whole


def _latest_run(config: Config) -> Path:
    """Return the run that was started or resumed last, or the folder of all runs.

    Not the newest checkpoint of any run: that of an older one must not stand in for a run that
    was cut off before its first.
    """
    runs = config.path(config.train.output_dir)
    records = sorted(runs.glob(f"*/{RECORD}"), key=lambda record: record.stat().st_mtime_ns)
    return records[-1].parent if records else runs


def read_record(run_dir: Path) -> dict[str, Any]:
    """Return training_args.json of a run.

    Raises:
        UserError: the folder is no run.
    """
    path = run_dir / RECORD
    if not path.is_file():
        fix = "name a folder below runs/, or fine_tuned_model"
        raise UserError(Problem(str(run_dir), f"holds no {RECORD}", fix=fix))
    return read_json(path)


def check_resume(
    then: dict[str, Any], now: dict[str, Any], allow_changed: bool = False
) -> list[str]:
    """Refuse to go on with a run on other data, with another model or with other settings.

    Args:
        then: training_args.json of the run.
        now: the same fields, as this call would write them.
        allow_changed: go on all the same, where the checkpoint can be loaded.

    Returns:
        What changed, a sentence each; [] unless `allow_changed`.

    Raises:
        UserError: lists everything that differs.
    """
    changes = [*_changes(then, now)]
    fix = (
        "set it back, start a new run with train.resume_from_checkpoint=null, or go on all the "
        "same with train.allow_changed=true"
    )
    bound = "set it back, or start a new run: its checkpoints fit nothing else"
    problems = [
        Problem(name, found, fix=bound if _is_fixed(name) else fix)
        for name, found in changes
        if not allow_changed or _is_fixed(name)
    ]
    if problems:
        raise UserError(problems)
    return [f"{name}: {found}" for name, found in changes]


def _changes(then: dict[str, Any], now: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what differs between the beginning of a run and this call, and how."""
    old, new = dict(_flat(then["config"])), dict(_flat(now["config"]))
    for name in sorted({*old, *new}):
        is_compared = name.split(".")[0] in COMPARED and name not in FREE
        is_newer = name not in old and _is_default(name, new[name])  # the project was updated
        if is_compared and not is_newer and old.get(name) != new.get(name):
            yield name, f"changed since the run began, from {old.get(name)} to {new.get(name)}"
    if _rows(then) != _rows(now):
        names = sorted({*_rows(then)} ^ {*_rows(now)})
        names += [name for name, digest in _rows(then).items() if _rows(now).get(name) != digest]
        files = ", ".join(dict.fromkeys(names))
        yield "prepared data", f"not the data that the run began with: {files}"
    if then["data"].get("mixed", []) != now["data"].get("mixed", []):
        yield "data.mixture", "changed since the run began"
    both_known = "model_files" in then and "model_files" in now  # of a finished run it is not asked
    if both_known and then["model_files"] != now["model_files"]:
        yield "files of the base model", "not those that the run began with"
    if then["plan"]["technique"] != now["plan"]["technique"]:
        yield "technique", "another one is planned on this device"
    if then["effective_batch_size"] != now["effective_batch_size"]:
        sizes = f"from {then['effective_batch_size']} to {now['effective_batch_size']}"
        yield "plan", f"the effective batch would change {sizes}"


def _is_default(name: str, value: Any) -> bool:
    """Say whether a setting has the value that it has where nobody set it."""
    section: Any = Config
    default: Any = None
    for part in name.split("."):
        field = getattr(section, "model_fields", {}).get(part)
        if field is None:
            return False
        section, default = field.annotation, field.default
    return bool(value == default)


def _is_fixed(name: str) -> bool:
    return any(name == fixed or name.startswith(f"{fixed}.") for fixed in FIXED)


def _rows(record: dict[str, Any]) -> dict[str, str]:
    """Return the hashes of the prepared rows; the report beside them holds timings."""
    outputs = record["data"]["outputs"]
    return {name: digest for name, digest in outputs.items() if name.endswith(".jsonl")}


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _flat(inner, f"{prefix}.{name}" if prefix else name)
    else:
        yield prefix, value


def relocated_state(checkpoint: Path) -> dict[str, Any]:
    """Return the trainer state; its path to the best checkpoint is mended if the run was moved."""
    state: dict[str, Any] = read_json(checkpoint / STATE)
    if best := state.get("best_model_checkpoint"):
        state["best_model_checkpoint"] = str(checkpoint.parent / Path(best).name)
    return state


def promote(config: Config, run_dir: Path) -> Path:
    """Mirror a run into `fine_tuned_model/` and return that folder.

    Large files are hard links (no disk space); the old folder is replaced in one go.
    """
    target = config.root / PROMOTED
    if run_dir.resolve() == target.resolve():  # its run folder is gone; this is all there is
        return target
    fresh = target.with_name(f".{PROMOTED}.{os.getpid()}.new")
    stale = target.with_name(f".{PROMOTED}.{os.getpid()}.old")
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(
        run_dir,
        fresh,
        copy_function=_link_or_copy,
        # A sheet that people fill in, and what trackers wrote, lies in one place only.
        ignore=shutil.ignore_patterns(CHECKPOINTS, TRACKERS, "manual_review*.csv"),
    )
    if target.exists():
        target.rename(stale)
    fresh.rename(target)
    shutil.rmtree(stale, ignore_errors=True)
    return target


def _link_or_copy(source: str, target: str) -> str:
    if os.path.getsize(source) >= LINK_FROM_BYTES:
        with suppress(OSError):  # another file system, or one without links: a copy does as well
            os.link(source, target)
            return target
    return shutil.copy2(source, target)


def require_same_base(config: Config, run_dir: Path) -> None:
    """Refuse to compare a run with another model than the one it started from.

    Raises:
        UserError: names the setting and what the run has in its place.
    """
    if not (run_dir / RECORD).is_file():
        return  # bare weights: where they come from is not known
    then = read_record(run_dir).get("model")
    if then is None:
        return
    now = resolve_model(config).as_dict()
    if then["name"] != now["name"]:
        found = "another base model than the one this run started from"
        fix = f"evaluate with model.model_name_or_path={then['name']}"
        raise UserError(Problem("model.model_name_or_path", found, then["name"], fix))
