"""Work in several processes that each own what they need; results come in order."""

import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import Any

from .errors import Problem, UserError


class ProcessKilled(UserError):
    """A process was killed, most often because the machine has no memory left, or did not start.

    It says nothing about the data: finished blocks are kept.
    """


@contextmanager
def opened(_workers: int | str) -> Iterator[None]:
    """Yield nothing, and start nothing: there is no more room than this machine has."""
    yield


def run_blocks(
    make: Callable[[], Any],
    method: str,
    blocks: Iterable[tuple[Any, ...]],
    processes: int,
    killed: Problem,
) -> Generator[Any, None, None]:
    """Yield `make().<method>(*block)` for each block, in order.

    No more than two blocks for each process wait at a time, so memory does not grow. Other
    processes are spawned, not forked: forked threads of the libraries would hang.

    Args:
        make: Makes what works on the blocks, once in each process; it can be pickled.
        method: Its method that is called.
        blocks: Arguments of the calls.
        processes: How many work; 1 is this one.
        killed: What is said if a process is killed.

    Raises:
        ProcessKilled: results that were yielded are right.
    """
    if processes == 1:
        worker = make()
        for block in blocks:
            yield getattr(worker, method)(*block)
        return
    pool = ProcessPoolExecutor(processes, get_context("spawn"), _start, (make,))
    waiting: deque[Future[Any]] = deque()
    try:
        for block in blocks:
            waiting.append(pool.submit(_call, method, block))
            if len(waiting) > 2 * processes:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool:
        raise ProcessKilled(killed) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_worker: Any  # of a process of the pool


def _start(make: Callable[[], Any]) -> None:
    global _worker
    # The main process decides what an interrupt from the keyboard means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()
    _worker = make()


def _end_with_parent() -> None:
    """End when the main process was killed; the pool would wait for its blocks for ever."""
    parent = parent_process()
    assert parent is not None, "a process of the pool has a parent"
    parent.join()
    os._exit(1)


def _call(method: str, block: tuple[Any, ...]) -> Any:
    return getattr(_worker, method)(*block)
