"""Errors a user can mend, and the exit codes of every script.

0 done, 1 a bug of ours, 2 something the user has to change, 3 a gate failed, 143 ended by SIGTERM
after a checkpoint was saved (128 + 15, what a shell and a scheduler see of any process that the
signal ends).
"""

from collections.abc import Sequence
from dataclasses import dataclass

EXIT_DONE = 0
EXIT_BUG = 1
EXIT_USER = 2
EXIT_GATE = 3
EXIT_INTERRUPTED = 143


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to mend. No field may quote a value of the user's data."""

    where: str
    found: str
    allowed: str = ""
    fix: str = ""

    def __str__(self) -> str:
        parts = [f"{self.where}: {self.found}"]
        if self.allowed:
            parts.append(f"    allowed: {self.allowed}")
        if self.fix:
            parts.append(f"    do: {self.fix}")
        return "\n".join(parts)


class UserError(Exception):
    """All problems of one step, collected and raised once (exit code 2, no traceback)."""

    def __init__(self, problems: Problem | Sequence[Problem]) -> None:
        self.problems = [problems] if isinstance(problems, Problem) else list(problems)
        assert self.problems, "a UserError names at least one problem"
        super().__init__(str(self))

    def __reduce__(self) -> tuple[type["UserError"], tuple[list[Problem]]]:
        # Exceptions are pickled with their message alone, unless they say otherwise.
        return UserError, (self.problems,)

    def __str__(self) -> str:
        count = len(self.problems)
        head = "" if count == 1 else f"{count} problems:\n"
        return head + "\n".join(str(problem) for problem in self.problems)


class GateFailed(Exception):
    """The run is sound, but a figure misses the threshold that was set (exit code 3)."""


class Interrupted(Exception):
    """Training ended at a step because SIGTERM came; it is saved and can go on (exit code 143)."""

    def __init__(self, step: int) -> None:
        super().__init__(f"SIGTERM: saved after step {step}; go on with `make resume`")
        self.step = step
