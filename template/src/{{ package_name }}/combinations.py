"""Which technique goes with which objective: derived from their rows, never listed."""

from collections.abc import Iterator

from .heads import HEADS
from .objectives import OBJECTIVES, Objective
from .techniques import TECHNIQUES, Technique

INSTEAD = "choose lora, or another technique that changes layers"


def why_not(objective: Objective, technique: Technique) -> str:
    """Return why a technique cannot train an objective, as one sentence; "" where it can."""
    head = HEADS[objective.head]
    if technique.prompts and head.task_type is None:
        return (
            f"`{technique.name}` puts learned vectors before the input, which peft does not do "
            f"for a model that gives {head.doc} (`{objective.name}`): {INSTEAD}."
        )
    if technique.prompts and head.last_token:
        return (
            f"`{technique.name}` hands vectors to the model instead of token ids, so that it "
            f"cannot find the last token, where it gives {head.doc} (`{objective.name}`): "
            f"{INSTEAD}."
        )
    return ""


def why_not_anew(technique: Technique) -> str:
    """Return why a technique cannot be trained with gradient checkpointing; "" where it can."""
    if technique.fills_cache:
        return (
            f"`{technique.name}` hands keys and values to every layer, which gradient "
            "checkpointing would compute anew without them: set train.gradient_checkpointing to "
            "auto or false."
        )
    return ""


def illegal() -> Iterator[tuple[str, str, str]]:
    """Yield (objective, technique, sentence) of every combination that is refused."""
    for objective in OBJECTIVES.values():
        for technique in TECHNIQUES.values():
            if reason := why_not(objective, technique):
                yield objective.name, technique.name, reason
