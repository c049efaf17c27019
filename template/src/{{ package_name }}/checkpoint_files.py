"""Checkpoints on disk: written beside their place, sealed, verified before use, cleaned with care.

A folder `checkpoint-N` appears by a rename, after its files and their checksums have reached the
disk. So one that was cut off half-way never has that name, and one that a disk or a copy damaged
later is found by its checksums.
"""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import Problem, UserError
from .utils import read_json, sha256_file, write_json

SEAL = "checksums.json"
STATE = "trainer_state.json"
UNFINISHED = ".unfinished"  # folder beside the checkpoints in which one is written
REPLACED = ".replaced"
# EFBIG: the limit of a file's size, by the file system or by ulimit.
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# Writers in C++ and Rust raise errors of their own: torch.save says no more than that it failed.
NO_ROOM_TEXTS = (
    *(os.strerror(number) for number in sorted(NO_ROOM)),
    "PytorchStreamWriter failed writing",
    "unexpected pos",
)


def step_of(checkpoint: Path) -> int:
    """Return the optimiser step after which a checkpoint was written."""
    return int(checkpoint.name.rpartition("-")[2])


def checkpoints(folder: Path) -> list[Path]:
    """Return the folders `checkpoint-N` of a folder, oldest first, whole or not."""
    found = [path for path in folder.glob("checkpoint-*") if path.name[11:].isdigit()]
    return sorted((path for path in found if path.is_dir()), key=step_of)


def publish(unfinished: Path, target: Path) -> None:
    """Seal a checkpoint that is written and give it its place in one go.

    Args:
        unfinished: on the same file system as `target`.
        target: `checkpoint-N`; what is there already is replaced.
    """
    _seal(unfinished)
    stale = target.with_name(REPLACED)
    shutil.rmtree(stale, ignore_errors=True)
    if target.exists():
        target.rename(stale)
    unfinished.rename(target)
    _flush(target.parent)
    shutil.rmtree(stale, ignore_errors=True)


def damage(checkpoint: Path, thorough: bool = True) -> str:
    """Return what is wrong with a checkpoint; "" if it is whole.

    Args:
        checkpoint: its folder.
        thorough: compare the content of its files, not their sizes alone.
    """
    if not (checkpoint / SEAL).is_file():
        return f"it holds no {SEAL}"
    try:
        files: dict[str, dict[str, Any]] = read_json(checkpoint / SEAL)
    except ValueError:
        return f"{SEAL} cannot be read"
    for name, wanted in files.items():
        path = checkpoint / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != wanted["bytes"]:
            return f"{name} has {path.stat().st_size} bytes instead of {wanted['bytes']}"
        if thorough and sha256_file(path) != wanted["sha256"]:
            return f"the content of {name} changed"
    return "" if STATE in files else f"it holds no {STATE}"


def newest_whole(found: list[Path], say: Callable[[str], None]) -> Path | None:
    """Return the last checkpoint that is whole; each that is not is skipped, with a sentence.

    Args:
        found: oldest first.
        say: shows a line of progress.
    """
    for checkpoint in reversed(found):
        reason = damage(checkpoint)
        if not reason:
            return checkpoint
        say(f"{checkpoint.name} is skipped for the one before: {reason}")
    return None


def clean(folder: Path, keep: int, best: str | None) -> None:
    """Remove old checkpoints; the newest `keep` that are whole stay, and the best one.

    One that is damaged counts for nothing, and goes once a whole one is there.

    Args:
        folder: of the checkpoints.
        keep: at least 1.
        best: path of the best one.
    """
    found = checkpoints(folder)
    whole = [checkpoint for checkpoint in found if not damage(checkpoint, thorough=False)]
    if not whole:
        return
    stay = {whole[-1], *(one for one in whole if best and one.name == Path(best).name)}
    spare = [checkpoint for checkpoint in whole if checkpoint not in stay]
    stay |= {*spare[len(spare) - max(keep - len(stay), 0) :]}
    for checkpoint in found:
        if checkpoint not in stay:
            shutil.rmtree(checkpoint, ignore_errors=True)


def is_full(error: BaseException) -> bool:
    """Say whether an error means that there is no room on the disk."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in NO_ROOM
    return any(text in str(error) for text in NO_ROOM_TEXTS)


@contextmanager
def room_in(folder: Path, what: str, needed: int = 0) -> Iterator[None]:
    """Turn an error for want of disk space into one that says how much is wanted.

    Args:
        folder: that is written to.
        what: is written, for the message.
        needed: bytes; 0: not known.

    Raises:
        UserError: the disk is full.
    """
    try:
        yield
    except Exception as error:
        if not is_full(error):
            raise
        free = shutil.disk_usage(folder).free
        wants = f"{_size(needed)} needed, " if needed else ""
        found = f"no room for {what}: {wants}{_size(free)} free"
        fix = (
            "make room (or raise the limit of file sizes), then `make resume`: it goes on from "
            "the last whole checkpoint; train.save_total_limit=1 needs least"
        )
        problem = Problem(str(folder), found, fix=fix)
    else:
        return
    raise UserError(problem)


def _size(count: int) -> str:
    return f"{count / 2**30:.2f} GiB" if count >= 2**27 else f"{count / 2**20:.2f} MiB"


def _seal(folder: Path) -> None:
    """Force all files of a folder to the disk, and write their checksums beside them."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    seal = {}
    for path in files:
        _flush(path)
        name = path.relative_to(folder).as_posix()
        seal[name] = {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
    write_json(folder / SEAL, seal)
    _flush(folder / SEAL)
    for inner in folder.rglob("*"):
        if inner.is_dir():
            _flush(inner)
    _flush(folder)


def _flush(path: Path) -> None:
    """Wait until a file, or the entries of a folder, are on the disk."""
    if os.name != "posix" and path.is_dir():
        return  # Windows opens no folders
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
