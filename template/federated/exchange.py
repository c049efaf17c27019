"""Adapters as files and as arrays: all that passes between a site and the server.

Runs in the environment of Flower (requirements.txt beside this file), which has neither torch nor
the packages of the project.
"""

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

WEIGHTS = "adapter_model.safetensors"
SETTINGS = ("adapter_config.json", "adapter_record.json")
RECORD = "training_args.json"  # of a run
LOG = "train.log"
Arrays = dict[str, np.ndarray]


def read_arrays(folder: Path) -> Arrays:
    """Return the weights of an adapter folder by their names, sorted."""
    return dict(sorted(load_file(folder / WEIGHTS).items()))


def write_adapter(start: Path, arrays: Mapping[str, np.ndarray], out: Path) -> Path:
    """Write weights with the settings of the start adapter; return the folder.

    Raises:
        ValueError: the weights are not those of such an adapter: other names, shapes or types.
    """
    wanted = {name: (array.shape, array.dtype) for name, array in read_arrays(start).items()}
    given = {name: (array.shape, array.dtype) for name, array in arrays.items()}
    if given != wanted:
        names = sorted(name for name in {*given, *wanted} if given.get(name) != wanted.get(name))
        raise ValueError(f"{len(names)} weights differ from the start adapter, first: {names[0]}")
    out.mkdir(parents=True, exist_ok=True)
    for name in SETTINGS:
        shutil.copyfile(start / name, out / name)
    save_file({name: np.ascontiguousarray(a) for name, a in arrays.items()}, out / WEIGHTS)
    return out


def train_site(
    project: Path, python: str, adapter: Path, out: Path, settings: Sequence[str]
) -> tuple[Arrays, int]:
    """Train on the data of this site; return the weights and how many rows they learned from.

    Args:
        project: The rendered project of the site, with its prepared data.
        python: That has the packages of the project.
        adapter: That the round starts from.
        out: Folder of the round; gets the run and what the training printed.
        settings: Further `key=value` settings of the run.

    Raises:
        RuntimeError: training failed; says where the reason is written, and no more: the message
            of an error leaves the site.
    """
    out.mkdir(parents=True, exist_ok=True)
    command = [python, "scripts/train.py", *settings]
    command += [f"model.adapter={adapter}", f"train.output_dir={out / 'runs'}"]
    with (out / LOG).open("w", encoding="utf-8") as log:
        done = subprocess.run(command, cwd=project, stdout=log, stderr=subprocess.STDOUT)
    if done.returncode:
        raise RuntimeError(f"training ended with exit code {done.returncode}; see {LOG} there")
    (run,) = (out / "runs").glob(f"*/{RECORD}")
    rows = json.loads(run.read_text(encoding="utf-8"))["data"]["train"]["examples"]
    return read_arrays(run.parent / "adapter"), int(rows)
