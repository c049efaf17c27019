"""Blocks of rows on a Ray cluster: the one at RAY_ADDRESS, else one that is started here.

What Ray carries, keeps in its object store and may spill to a disk or write to a log is: names of
files, numbers of rows, counts, keyed hashes and reasons. No text and no key is among it: workers
read rows from the files and write scrubbed ones to them; what they print is thrown away, and of
an error only its type and place comes back. Telemetry and dashboard are off.
"""

import os
import pickle
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import Problem, UserError
from .processes import ProcessKilled
from .ray_worker import ABSENT, BUG, DONE, REFUSED, SYSTEM

ADDRESS = "RAY_ADDRESS"  # Ray's own variable: where a running cluster is
HERE = "local"
STORE_BYTES = 100 << 20  # of a cluster that is started here; Ray takes no less than 75 MiB
START_S = 300.0  # until all workers have a place
AHEAD = 2  # blocks that wait at each worker
INSTALL = "pip install 'ray>=2.50,<3', or make setup EXTRAS=dev,ray; or set data.engine=local"
SHARE = (
    "put project, environment and models on a disk that all nodes share, under the same paths, "
    "or install them alike on each (requirements.lock)"
)


class WorkerFailed(Exception):
    """A worker failed for a reason that is no fault of the user's; names type and place."""


@contextmanager
def opened(workers: int | str) -> Iterator[tuple[int, int]]:
    """Connect to the cluster, or start one of this machine; yield its CPUs and bytes of memory.

    Args:
        workers: How many processes are wanted, or auto; a cluster of this machine gets as many.

    Raises:
        UserError: Ray is not installed, or there is no cluster at RAY_ADDRESS.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # before the import
    try:
        import ray
    except ImportError:
        raise UserError(Problem("data.engine", "ray is not installed", fix=INSTALL)) from None
    address = os.environ.get(ADDRESS) or HERE
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address == HERE:
        wanted = workers if isinstance(workers, int) else 1
        options |= {"num_cpus": max(wanted, os.cpu_count() or 1), "include_dashboard": False}
        options |= {"object_store_memory": STORE_BYTES}
        options |= {"_system_config": {"automatic_object_spilling_enabled": False}}
    try:
        ray.init(address=address, **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        found = f"no cluster could be reached or started ({type(error).__name__})"
        fix = f"ray status; without {ADDRESS} a cluster of this machine is started"
        raise UserError(Problem(f"environment {ADDRESS}", found, fix=fix)) from None
    try:
        has = ray.cluster_resources()
        yield int(has.get("CPU", 1)), int(has.get("memory", 0))
    finally:
        ray.shutdown()


def run_blocks(
    make: Callable[[], Any],
    method: str,
    blocks: Iterable[tuple[Any, ...]],
    processes: int,
    killed: Problem,
) -> Generator[Any, None, None]:
    """Yield `make().<method>(*block)` for each block, in order; inside opened().

    Args:
        make: Makes what works on the blocks, once in each process; it can be pickled.
        method: Its method that is called; arguments and results hold no text.
        blocks: Arguments of the calls.
        processes: How many work.
        killed: What is said if a process or its node is lost.

    Raises:
        ProcessKilled: results that were yielded are right; or the cluster has too few CPUs, or a
            node is not like this machine.
    """
    import ray
    from ray.exceptions import RayActorError, RayError

    _require_room(processes, int(ray.cluster_resources().get("CPU", 1)))
    # No restart: a block that kills its worker would kill the next one too.
    options = {"num_cpus": 1, "max_restarts": 0, "scheduling_strategy": "SPREAD"}
    remote = ray.remote(_bootstrap()).options(**options)
    workers = [remote.remote() for _ in range(processes)]
    try:
        _start(workers, make, processes)
        yield from _results(workers, method, blocks)
    except RayActorError:
        raise ProcessKilled(killed) from None
    except RayError as error:
        raise WorkerFailed(type(error).__name__) from None  # its message may quote
    finally:
        for worker in workers:
            ray.kill(worker)


def _bootstrap() -> type:
    """Return the class of a worker. It is sent as a whole: a node may lack this package."""

    class Bootstrap:
        def start(self, source: str, module: str, made: bytes) -> tuple[Any, ...]:
            import importlib
            import os
            import platform
            import sys

            if os.path.isdir(source) and source not in sys.path:
                sys.path.append(source)
            try:
                self._module = importlib.import_module(module)
            except ImportError as error:
                return "absent", platform.node(), str(error.name)
            return self._module.start(made)

        def call(self, method: str, block: tuple[Any, ...]) -> tuple[Any, ...]:
            return self._module.call(method, block)

    return Bootstrap


def _require_room(processes: int, cpus: int) -> None:
    if processes > cpus:
        fix = f"data.workers={cpus} or auto, or add nodes to the cluster"
        found = f"{processes}; the cluster has {cpus} CPUs"
        raise ProcessKilled(Problem("data.workers", found, fix=fix))


def _start(workers: list[Any], make: Callable[[], Any], processes: int) -> None:
    """Let each worker load what it needs; refuse a node that is not like this machine."""
    import ray

    source = str(Path(__file__).resolve().parents[1])
    arguments = (source, f"{__package__}.ray_worker", pickle.dumps(make))
    started = [worker.start.remote(*arguments) for worker in workers]
    ready, waiting = ray.wait(started, num_returns=processes, timeout=START_S)
    if waiting:
        found = f"{len(waiting)} of {processes} workers found no place within {START_S:.0f} s"
        fix = "ray status; other jobs may use the CPUs"
        raise ProcessKilled(Problem("data.engine", found, fix=fix))
    problems = []
    for outcome in ray.get(ready):
        try:
            _value(outcome)
        except UserError as error:
            problems += [problem for problem in error.problems if problem not in problems]
    if problems:
        raise ProcessKilled(problems)


def _results(
    workers: list[Any], method: str, blocks: Iterable[tuple[Any, ...]]
) -> Generator[Any, None, None]:
    """Give each block to the worker that has least to do; yield the results in order."""
    import ray

    running: dict[Any, int] = {}  # result that is not there yet -> place of its worker
    ordered: deque[Any] = deque()
    for block in blocks:
        while len(running) >= AHEAD * len(workers):
            done, _ = ray.wait(list(running), num_returns=1)
            running.pop(done[0])
        while len(ordered) > AHEAD * len(workers):
            first = ordered.popleft()
            yield _value(ray.get(first))
            running.pop(first, None)
        load = [0] * len(workers)
        for place in running.values():
            load[place] += 1
        place = load.index(min(load))
        result = workers[place].call.remote(method, block)
        running[result] = place
        ordered.append(result)
    while ordered:
        yield _value(ray.get(ordered.popleft()))


def _value(outcome: tuple[Any, ...]) -> Any:
    """Return what a worker returned, or raise what it raised."""
    kind, *parts = outcome
    if kind == DONE:
        return parts[0]
    if kind == REFUSED:
        raise UserError(parts[0])
    if kind == SYSTEM:
        raise OSError(*parts)
    if kind == ABSENT:
        node, module = parts
        raise UserError(Problem(f"node {node}", f"lacks the Python package {module}", fix=SHARE))
    assert kind == BUG, "one of five outcomes"
    print(f"a worker failed: {parts[0]}", *parts[1], sep="\n  ", file=sys.stderr)
    raise WorkerFailed(parts[0])
