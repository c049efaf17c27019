"""What the launch environment says: which of how many processes this is, and its share of a batch.

`torchrun` describes the launch to every process in environment variables, `accelerate launch` in
the same ones. A process that finds none is alone: `accelerate launch --cpu --num_processes 2`
(accelerate 1.x) starts one process and does not say so, which is why the number of processes is
shown and recorded.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass

from .errors import Problem, UserError

# Each process finds the others by these.
NEEDED = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
COMMAND = "torchrun --nproc_per_node N scripts/train.py"
BATCH = "train.effective_batch_size"


@dataclass(frozen=True, slots=True)
class Launch:
    """One process of a launch.

    Attributes:
        rank: Number of this process among all, from 0.
        processes: All of them, over all machines.
        local_rank: Number of this process on its machine.
        local_processes: Those of its machine.
    """

    rank: int = 0
    processes: int = 1
    local_rank: int = 0
    local_processes: int = 1

    @property
    def first(self) -> bool:
        """Say whether this is the process that writes files and shows lines."""
        return self.rank == 0

    @property
    def alone(self) -> bool:
        """Say whether there is no other process."""
        return self.processes == 1

    @property
    def machines(self) -> int:
        """Return over how many machines the processes are spread."""
        return max(1, self.processes // self.local_processes)


def launched(environment: Mapping[str, str] = os.environ) -> Launch:
    """Return the launch that this process belongs to.

    Raises:
        UserError: there are other processes, and nothing says how to find them.
    """
    processes = int(environment.get("WORLD_SIZE") or 1)
    if processes <= 1:
        return Launch()
    missing = [name for name in NEEDED if not environment.get(name)]
    if missing:
        found = f"WORLD_SIZE is {processes}, and {', '.join(missing)} is not set"
        raise UserError(Problem("launcher", found, fix=f"start by {COMMAND}"))
    rank, local = int(environment["RANK"]), int(environment["LOCAL_RANK"])
    return Launch(rank, processes, local, int(environment.get("LOCAL_WORLD_SIZE") or processes))


@contextmanager
def one_voice() -> Iterator[None]:
    """Let the first process alone print, for all of them; errors are told by each."""
    if launched().first:
        yield
        return
    with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        yield


def share_of_batch(effective: int, processes: int) -> int:
    """Return the examples of one optimiser step that each process computes.

    Raises:
        UserError: the processes cannot share them evenly.
    """
    if effective % processes:
        near = effective // processes * processes
        allowed = f"a multiple of {processes}: {near or processes} or {near + processes}"
        found = f"{effective} examples a step, for {processes} processes"
        raise UserError(Problem(BATCH, found, allowed))
    return effective // processes


def check_batch(effective: int, micro: int, accumulation: int, processes: int) -> None:
    """Refuse micro batches that do not make up the step which the configuration names.

    A single process takes what the plan says: there the step is shown with its reason.

    Raises:
        UserError: with the sizes that fit.
    """
    if processes == 1 or micro * accumulation * processes == effective:
        return
    share = share_of_batch(effective, processes)
    fitting = ", ".join(str(size) for size in range(1, share + 1) if share % size == 0)
    found = f"{micro} x {accumulation} accumulated x {processes} processes are not {effective}"
    fix = f"train.gradient_accumulation_steps=auto, or {share} / micro batch"
    where = "train.per_device_train_batch_size"
    raise UserError(Problem(where, found, fitting, fix))
