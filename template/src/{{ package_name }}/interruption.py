"""SIGTERM: what a scheduler sends some time before it takes the machine back."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class SigTerm:
    """Whether the signal came; the trainer looks at it after each step."""

    came = False


@contextmanager
def heard(sigterm: SigTerm) -> Iterator[None]:
    """Note the signal instead of dying from it, as long as the block runs.

    A thread other than the main one cannot do that (Python's rule): there it stays as it is.

    Args:
        sigterm: is set; nothing is printed, because the signal may come in the midst of a line.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def note(_number: int, _frame: FrameType | None) -> None:
        sigterm.came = True

    before = signal.signal(signal.SIGTERM, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
