"""Errors a user can mend, and the exit codes of every script.

0 done, 1 a bug of ours, 2 something the user has to change, 3 a gate failed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

EXIT_DONE = 0
EXIT_BUG = 1
EXIT_USER = 2
EXIT_GATE = 3


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
