"""Adapters of several sites: the one that all begin with, and their mean weighted by rows.

Federated averaging (McMahan et al. 2017, arXiv 1602.05629, algorithm 1): the mean of the weights,
each site with the share of its rows. The mean of the two factors of a low-rank adapter is not the
mean of the updates that they stand for (Sun et al. 2024, arXiv 2403.12313, section 3): close where
sites start alike and learn little in a round.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .adapters import RECORD as ADAPTER_RECORD
from .adapters import SETTINGS, WEIGHTS, Adapter, read_adapter, write_record
from .config import Config
from .errors import Problem, UserError
from .hardware import Plan
from .heads import HEADS
from .low_rank import save_adapter
from .model_wrapper import load_base
from .objectives import OBJECTIVES
from .runs import read_record
from .techniques import TECHNIQUES
from .utils import read_json, write_json

if TYPE_CHECKING:
    from numpy.typing import NDArray

NO_START = "p_tuning"  # its network is dropped after training: nothing goes on from it


def start_adapter(config: Config, plan: Plan, out: Path) -> Path:
    """Write an untrained adapter for all sites to begin with; no data is read.

    Args:
        config: Names base, objective, technique and its settings; the seed decides the weights.
        plan: Of the device; its technique and precision are used.
        out: New folder.

    Raises:
        UserError: the technique leaves no adapter to go on from, or the head has labels, which
            are known from data only.
    """
    from transformers import set_seed

    objective, technique = OBJECTIVES[config.objective], TECHNIQUES[plan.technique]
    problems = []
    if technique.trainable != "adapter" or technique.name == NO_START:
        fits = [r.name for r in TECHNIQUES.values() if r.trainable == "adapter"]
        allowed = ", ".join(name for name in fits if name != NO_START)
        problems.append(Problem("technique", f"`{technique.name}` cannot be averaged", allowed))
    if HEADS[objective.head].labels:
        found = f"the classes of `{objective.name}` are known from the data of one site only"
        problems.append(Problem("objective", found, "an objective without classes"))
    if out.exists():
        problems.append(Problem(str(out), "is there already", fix="name a new folder"))
    if problems:
        raise UserError(problems)
    set_seed(config.train.seed)
    loaded = load_base(config, plan.weights, technique.quantised, head=HEADS[objective.head])
    save_adapter(technique.apply(loaded.model.train(), config, loaded.head), out)
    made: dict[str, Any] = {
        "run": out.name,
        "technique": technique.name,
        "objective": objective.name,
    }
    made |= {"labels": [], "plan": {"weights": plan.weights}, "config": config.as_dict()}
    write_record(out, made | {"model": loaded.source.as_dict()})
    return out


def weighted_mean(
    sites: Sequence[Mapping[str, "NDArray[Any]"]], rows: Sequence[int]
) -> dict[str, "NDArray[Any]"]:
    """Return the mean of the arrays of several sites, each with the share of its rows.

    Added up in 64 bit, returned in the type of the first site.
    """
    import numpy as np

    result = {}
    for name, first in sites[0].items():
        parts = np.stack([site[name].astype("float64") for site in sites])  # (sites, ...)
        result[name] = np.average(parts, axis=0, weights=rows).astype(first.dtype)
    return result


def average(folders: Sequence[Path], out: Path) -> list[tuple[str, int]]:
    """Write the mean of the adapters of several runs, each weighted by the rows it learned from.

    Args:
        folders: Run folders, each with its adapter and training_args.json.
        out: New folder; gets the adapter, with the parts in its record.

    Returns:
        Name and rows of each part.

    Raises:
        UserError: fewer than two, other kinds or bases, other weights, or no rows.
    """
    from safetensors.numpy import load_file, save_file

    if len(folders) < 2:
        raise UserError(Problem("sites", str(len(folders)), "2 or more"))
    if out.exists():
        raise UserError(Problem(str(out), "is there already", fix="name a new folder"))
    adapters = [read_adapter(folder) for folder in folders]
    rows = [read_record(folder)["data"]["train"]["examples"] for folder in folders]
    arrays = [load_file(adapter.folder / WEIGHTS) for adapter in adapters]
    first = adapters[0]
    problems = []
    for adapter, own, count in zip(adapters, arrays, rows, strict=True):
        if why := _why_not(first, adapter, arrays[0], own):
            problems.append(Problem(str(adapter.folder), why))
        if count < 1:
            problems.append(Problem(str(adapter.folder), "learned from no row"))
    if problems:
        raise UserError(problems)
    out.mkdir(parents=True)
    save_file(weighted_mean(arrays, rows), out / WEIGHTS, metadata={"format": "pt"})
    shutil.copyfile(first.folder / SETTINGS, out / SETTINGS)
    parts = [
        {"adapter": adapter.title, "sha256": adapter.sha256, "rows": count}
        for adapter, count in zip(adapters, rows, strict=True)
    ]
    record = read_json(first.folder / ADAPTER_RECORD) | {"run": out.name, "mean_of": parts}
    record.pop("started_from", None)
    write_json(out / ADAPTER_RECORD, record)
    return [(adapter.title, count) for adapter, count in zip(adapters, rows, strict=True)]


def _why_not(
    first: Adapter,
    other: Adapter,
    one: Mapping[str, "NDArray[Any]"],
    two: Mapping[str, "NDArray[Any]"],
) -> str:
    """Return why an adapter cannot be averaged with the first one, or an empty text."""
    if not (first.record and other.record):
        return "was not trained by this project: its base is not known"
    if first.record["base"]["mark"] != other.record["base"]["mark"]:
        return "was trained on another base"
    if first.technique != other.technique:
        return f"is of technique {other.technique}, the first of {first.technique}"
    if {n: a.shape for n, a in one.items()} != {n: a.shape for n, a in two.items()}:
        return "has other weights than the first: rank and places must be the same"
    return ""
