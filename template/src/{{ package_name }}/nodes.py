"""What has to be the same on each machine that prepares rows together, and a worker that checks.

The project's key does not travel: each machine reads it from the shared disk or its environment.
"""

import hashlib
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .config import Config
from .errors import Problem, UserError
from .images import SUFFIXES
from .keys import KEY_BYTES, KEY_FILE, KEY_VARIABLE, Keys, load_keys
from .manifest import image_folder, preparation_identity, shown_name
from .utils import sha256_json
from .workers import Task, Worker

BLOCKS, BLOCK = 64, 1 << 16  # of each raw file, in bytes: what its mark is made of
ABSENT = "absent"
SHARE = (
    "put project, environment and models on a disk that all nodes share, under the same paths, or "
    f"install them alike on each; share {KEY_FILE}, or set {KEY_VARIABLE} on each"
)
# Part of preparation_identity() -> how people call it.
PARTS = {
    "config": "the configuration",
    "length": "the base model, whose tokenizer measures lengths",
    "recognizers": "the scrubbing rules",
    "code": "the code of this project",
    "libraries": "the libraries of the scrubber",
    "nlp_model": "the model that finds names",
    "key": "the project's key",
}


@dataclass(frozen=True)
class Distant:
    """How a worker on another machine is made; it can be pickled, and holds neither key nor text.

    Attributes:
        task: Without the key.
        marks: What must be the same there, by its name.
    """

    task: Task
    marks: Mapping[str, str]

    def __call__(self) -> Worker:
        """Return the worker.

        Raises:
            UserError: this machine is not like the one that divides up the work.
        """
        keys, _ = load_keys(self.task.config, create=False)
        now = marks(self.task, keys)
        other = [name for name, mark in self.marks.items() if now.get(name) != mark]
        other += sorted(now.keys() - self.marks.keys())
        if other:
            lacks = [name for name in other if now.get(name, ABSENT) == ABSENT]
            differs = [name for name in other if name not in lacks]
            parts = [f"lacks {', '.join(lacks)}"] if lacks else []
            parts += [f"has another state of {', '.join(differs)}"] if differs else []
            raise UserError(Problem(f"node {platform.node()}", "; ".join(parts), fix=SHARE))
        return Worker(replace(self.task, keys=keys))


def distant(task: Task) -> Distant:
    """Return how workers of a task are made on other machines."""
    return Distant(replace(task, keys=Keys(bytes(KEY_BYTES))), marks(task, task.keys))


def marks(task: Task, keys: Keys) -> dict[str, str]:
    """Return what decides how a row is prepared, by its name: raw files, code, models, key."""
    config = task.config
    found = {shown_name(config, file.path): file_mark(file.path) for file in task.files}
    found["the images"] = sha256_json(list(_images(image_folder(config))))
    if task.shards is not None:
        folder = task.shards.folder
        found[shown_name(config, folder)] = "there" if folder.is_dir() else ABSENT
    try:
        identity = preparation_identity(config, {}, keys.identity)
    except FileNotFoundError:  # a rule file of a pack
        identity = {}
    parts = {PARTS[name]: sha256_json(identity[name]) for name in PARTS if name in identity}
    return found | {title: parts.get(title, ABSENT) for title in PARTS.values()}


def file_mark(path: Path) -> str:
    """Return a hash over size and BLOCKS evenly spread blocks of a file, or ABSENT.

    A file of 100 GB is not read by every worker; the one that divides up the work reads it all.
    """
    try:
        size = path.stat().st_size
        digest = hashlib.sha256(str(size).encode())
        with path.open("rb") as handle:
            for number in range(BLOCKS):
                handle.seek(max(size - BLOCK, 0) * number // (BLOCKS - 1))
                digest.update(handle.read(BLOCK))
    except FileNotFoundError:
        return ABSENT
    return digest.hexdigest()


def _images(folder: Path) -> Iterator[tuple[str, int]]:
    """Yield path and size of each image below a folder, sorted."""
    paths: Sequence[str] = sorted(
        os.path.join(place, name)
        for place, _, names in os.walk(folder)
        for name in names
        if Path(name).suffix.lower() in SUFFIXES
    )
    for path in paths:
        yield os.path.relpath(path, folder), os.path.getsize(path)


def unlike_local(config: Config) -> list[Problem]:
    """Return what a run asks for that workers on other machines cannot do."""
    if config.scrub.vault is None:
        return []
    fix = "data.engine=local, or scrub.vault=null"
    return [Problem("scrub.vault", "the vault is written from one machine only", fix=fix)]
