"""Which technique goes with which objective: derived from their rows, never listed."""

from collections.abc import Iterator

from .heads import HEADS, Head
from .objectives import OBJECTIVES, Objective
from .techniques import TECHNIQUES, Technique


def why_not(objective: Objective, technique: Technique, head: Head | None = None) -> str:
    """Return why a technique cannot train an objective, as one sentence; "" where it can.

    Args:
        objective: row of the table.
        technique: row of the table.
        head: of the model, where it is another one than the objective names.
    """
    head = head or HEADS[objective.head]
    if technique.prompts and (head.task_type is None or head.images):
        return (
            f"`{technique.name}` puts learned vectors before the input, which peft does not do "
            f"for a model that gives {head.doc} (`{objective.name}`)."
        )
    if technique.prompts and head.last_token:
        return (
            f"`{technique.name}` hands vectors to the model instead of token ids, so that it "
            f"cannot find the last token, where it gives {head.doc} (`{objective.name}`)."
        )
    return ""


def illegal() -> Iterator[tuple[str, str, str]]:
    """Yield (objective, technique, sentence) of every combination that is refused."""
    for objective in OBJECTIVES.values():
        for technique in TECHNIQUES.values():
            if reason := why_not(objective, technique):
                yield objective.name, technique.name, reason
