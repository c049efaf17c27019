"""Trackers of a run: one row each. All get the lines of training_log.jsonl, which is always there.

What a tracker writes lies in the run folder, `trackers/<name>`, and git leaves it out. Nothing is
sent anywhere unless `tracker_upload` says so.
"""

import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import Problem, UserError
from .tracker_files import About, MLflow, Output, TensorBoard, Trackio, Wandb

FOLDER = "trackers"  # in the run folder
NONE = "none"


@dataclass(frozen=True, slots=True)
class Tracker:
    """One tracker.

    Attributes:
        name: In the configuration, and of the extra that installs it.
        title: For people.
        packages: That must be there to import.
        writes: What lies in its folder.
        shown: Command that shows it.
        open: (folder, about) -> the open tracker; None for one that writes nothing.
        uploads: It has a service that it could send a run to.
    """

    name: str
    title: str
    packages: tuple[str, ...]
    writes: str
    shown: str
    open: Callable[[Path, About], Output] | None
    uploads: bool = False


TRACKERS: dict[str, Tracker] = {
    row.name: row
    for row in (
        Tracker(NONE, "training_log.jsonl alone", (), "nothing", "make report", None),
        Tracker(
            "wandb",
            "Weights & Biases, offline",
            ("wandb",),
            "an offline run",
            "wandb sync runs/<run>/trackers/wandb/wandb/offline-run-* (this sends it)",
            Wandb,
            uploads=True,
        ),
        Tracker(
            "tensorboard",
            "TensorBoard",
            ("tensorboard",),
            "an event file",
            "tensorboard --logdir runs",
            TensorBoard,
        ),
        Tracker(
            "trackio",
            "trackio",
            ("trackio",),
            "a SQLite database",
            "TRACKIO_DIR=runs/<run>/trackers/trackio trackio show",
            Trackio,
        ),
        Tracker(
            "mlflow",
            "MLflow",
            ("mlflow", "sqlalchemy", "alembic"),
            "a SQLite store",
            "mlflow server --backend-store-uri sqlite:///runs/<run>/trackers/mlflow/mlflow.db",
            MLflow,
        ),
    )
}


def chosen(value: str | Sequence[str]) -> tuple[str, ...]:
    """Return the trackers that a configuration names, each once; `none` is none."""
    names = [value] if isinstance(value, str) else value
    return tuple(name for name in dict.fromkeys(names) if name != NONE)


def tracker_problems(value: str | Sequence[str], upload: bool) -> Iterator[Problem]:
    """Yield what cannot be done: a package that is missing, `none` beside others, no service."""
    names = chosen(value)
    if names and not isinstance(value, str) and NONE in value:
        yield Problem("tracker", "none stands beside others", fix="leave none out")
    for name in names:
        missing = [one for one in TRACKERS[name].packages if not importlib.util.find_spec(one)]
        if missing:
            found = f"{', '.join(missing)} is not installed, which {name} needs"
            yield Problem("tracker", found, fix=f"make setup EXTRAS=dev,{name}")
    if upload and not any(TRACKERS[name].uploads for name in names):
        able = ", ".join(name for name, row in TRACKERS.items() if row.uploads)
        yield Problem("tracker_upload", "no chosen tracker has a service", able, "set it to false")


def require_trackers(value: str | Sequence[str], upload: bool) -> tuple[str, ...]:
    """Return the names of the trackers that are to be opened.

    Raises:
        UserError: one cannot be.
    """
    if problems := list(tracker_problems(value, upload)):
        raise UserError(problems)
    return chosen(value)


def facts(record: Mapping[str, Any]) -> dict[str, str | float | bool]:
    """Return what a tracker is told of a run: its settings as numbers, and names of tables.

    No text that somebody wrote and no path: of the model its last name alone.
    """
    found: dict[str, str | float | bool] = {
        "objective": record["objective"],
        "technique": record["technique"],
        "model": str(record["model"]["name"]).rstrip("/").rpartition("/")[2],
        "device": record["device"]["kind"],
        "precision": record["plan"]["precision"],
    }
    for name in ("lr_scheduler_type", "optim", "learning_rate"):
        found[name] = record["arguments"][name]
    found |= {f"versions.{name}": value for name, value in record["versions"].items()}
    numbers = {name: record[name] for name in ("config", "plan")}
    numbers["data"] = {name: record["data"][name] for name in ("train", "validation")}
    return found | dict(_numbers(numbers))


def _numbers(value: Any, prefix: str = "") -> Iterator[tuple[str, float | bool]]:
    """Yield the numbers and switches of a JSON value by their dotted names."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _numbers(inner, f"{prefix}.{name}" if prefix else name)
    elif isinstance(value, int | float):
        yield prefix, value
