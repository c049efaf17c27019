"""The processes that work on blocks of rows: of the engine that `data.engine` names."""

import os
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from .config import Config
from .devices import machine_memory
from .engines import ENGINES, Engine, Room
from .errors import Problem, UserError
from .nodes import distant, unlike_local
from .processes import ProcessKilled
from .shards import Shards
from .workers import Task, Worker, worker_count

KILLED = Problem(
    "data.workers",
    "a process was killed",
    fix="give it more memory or set data.workers=1; finished blocks are kept",
)
SEEN_S, POLL_S = 60.0, 0.5  # a shared disk may show a new file that late


@dataclass(frozen=True, slots=True)
class Crew:
    """Processes that can be given the blocks of a task.

    Attributes:
        engine: What they are processes of.
        room: Cores and bytes of memory; None: those of this machine.
    """

    engine: Engine
    room: Room | None = None

    def size(self, config: Config, rows: int) -> tuple[int, str]:
        """Return how many processes work on so many rows, and why so many."""
        cores, memory = self.room or (os.cpu_count() or 1, machine_memory())
        count, reason = worker_count(config, rows, cores, memory)
        return count, f"{reason}, {self.engine.doc}" if self.engine.distant else reason

    def run(
        self, task: Task, method: str, blocks: Iterable[tuple[Any, ...]], processes: int
    ) -> Generator[Any, None, None]:
        """Yield what `method` of a Worker returns for each block, in order.

        Raises:
            UserError: a process was killed, or a machine is not like this one.
        """
        make = distant(task) if self.engine.distant else partial(Worker, task)
        run_blocks = self.engine.load().run_blocks
        yield from run_blocks(make, method, blocks, processes, KILLED)


HERE = Crew(ENGINES["local"])


@contextmanager
def crew_of(config: Config) -> Iterator[Crew]:
    """Yield the crew of a run; what its engine starts ends with the context.

    Raises:
        UserError: the engine is not installed or not reached, or cannot do what the run asks for.
    """
    engine = ENGINES[config.data.engine]
    if engine.distant and (problems := unlike_local(config)):
        raise UserError(problems)
    with engine.load().opened(config.data.workers) as room:
        yield Crew(engine, room)


def require_written(shards: Shards, blocks: Mapping[int, int]) -> None:
    """Refuse to go on without blocks that were worked on and are not to be seen.

    Args:
        shards: Of the preparation.
        blocks: Number -> rows of each block that another machine has written.

    Raises:
        ProcessKilled: they lie on a disk that is not shared.
    """
    end = time.monotonic() + SEEN_S
    for number, rows in blocks.items():
        while not shards.is_finished(number, rows):
            if time.monotonic() > end:
                found = f"block {number} was written where this machine does not see it"
                fix = "put data.prepared on a disk that all nodes share"
                raise ProcessKilled(Problem("data.engine", found, fix=fix))
            time.sleep(POLL_S)
