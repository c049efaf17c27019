"""Where blocks of rows are worked on: one row per engine.

The module of an engine has two functions, `opened(workers)`, a context that yields how many cores
and bytes of memory there are beside this machine, and `run_blocks(make, method, blocks, processes,
killed)`, as in processes.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True, slots=True)
class Engine:
    """One way to work in several processes.

    Attributes:
        name: Value of `data.engine`.
        module: Of this package.
        distant: Its processes may run on other machines. They read raw rows themselves, by file
            and number, and the project's key by themselves: neither travels.
        doc: For the documentation.
    """

    name: str
    module: str
    distant: bool
    doc: str

    def load(self) -> Any:
        """Return the module."""
        return import_module(f".{self.module}", __package__)


ROWS = (
    Engine("local", "processes", False, "processes of this machine"),
    Engine("ray", "ray_processes", True, "processes of a Ray cluster"),
)
ENGINES = {row.name: row for row in ROWS}
Room = tuple[int, int]  # cores, bytes of memory
