"""The side of ray_processes that runs on a node: makes one worker, calls it, and says no more.

An exception would travel with its message, and messages of libraries quote values. So what comes
back is data: the result, problems in our own words, or type and place of an error.
"""

import os
import pickle
import traceback
from typing import Any

from .errors import UserError

# Kinds of outcome, the first element of each.
DONE, REFUSED, SYSTEM, ABSENT, BUG = "done", "refused", "system", "absent", "bug"
_worker: Any = None  # of this process


def start(made: bytes) -> tuple[Any, ...]:
    """Make the worker of this process; from now on it prints nothing.

    Args:
        made: Pickled function that makes it.
    """
    global _worker
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):  # Ray keeps both in files
        os.dup2(null, stream)
    try:
        _worker = pickle.loads(made)()
    except Exception as error:
        return _outcome(error)
    return DONE, None


def call(method: str, block: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the outcome of one call of the worker."""
    try:
        return DONE, getattr(_worker, method)(*block)
    except Exception as error:
        return _outcome(error)


def _outcome(error: Exception) -> tuple[Any, ...]:
    if isinstance(error, UserError):
        return REFUSED, error.problems
    if isinstance(error, OSError) and error.errno is not None:
        return SYSTEM, error.errno, error.strerror, error.filename
    if isinstance(error, ModuleNotFoundError):
        import platform

        return ABSENT, platform.node(), str(error.name)
    frames = traceback.extract_tb(error.__traceback__)
    return (
        BUG,
        type(error).__name__,
        [f"{one.filename}:{one.lineno} in {one.name}" for one in frames],
    )
