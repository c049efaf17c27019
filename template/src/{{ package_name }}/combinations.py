"""Which technique goes with which objective, derived from their rows, and what neither reads."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .heads import HEADS, Head
from .objectives import OBJECTIVES, Objective
from .settings import Settings
from .settings_base import Section
from .techniques import TECHNIQUES, Technique

# Setting, or start of settings -> whether a technique reads it. The longest that fits counts.
BY_TECHNIQUE: dict[str, Callable[[Any], bool]] = {
    "lora.": lambda row: row.low_rank,
    "model.quantisation": lambda row: row.quantised,
    "freeze.": lambda row: row.name == "freeze",
    "prompts.": lambda row: row.prompts,
    "prompts.prompt_tuning_init_text": lambda row: row.name == "prompt_tuning",
    "prompts.encoder_hidden_size": lambda row: row.name == "p_tuning",
    "bottleneck.": lambda row: row.name == "adapter",
}
# The same for objectives
BY_OBJECTIVE: dict[str, Callable[[Any], bool]] = {
    "preference.": lambda row: "preference" in row.reads,
    "reinforcement.": lambda row: row.planner_class == "rollouts",
    "distill.": lambda row: row.planner_class == "distilled",
}
INSTEAD = "choose lora, or another technique that changes layers"


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


def unread(config: Settings, sources: Mapping[str, str], technique: str) -> str:
    """Return which settings that were changed have no effect in this run, and who reads them.

    Args:
        config: the run.
        sources: where each value comes from; what a preset decides was not changed by anybody.
        technique: of the plan.
    """
    kept = Settings.model_validate({})
    found: dict[str, list[str]] = {}
    for name in _method_settings():
        section, key = name.split(".")
        changed = getattr(getattr(config, section), key) != getattr(getattr(kept, section), key)
        readers = _readers(name)
        if not changed or "preset" in sources.get(name, "") or technique in readers:
            continue
        if config.objective not in readers:
            found.setdefault(", ".join(readers), []).append(name)
    return "; ".join(
        f"{', '.join(names)}: no effect here, read by {readers} only"
        for readers, names in found.items()
    )


def _method_settings() -> Iterator[str]:
    exact = {name for name in (*BY_TECHNIQUE, *BY_OBJECTIVE) if not name.endswith(".")}
    for start in (*BY_TECHNIQUE, *BY_OBJECTIVE):
        if start in exact:
            yield start
            continue
        section = Settings.model_fields[start.removesuffix(".")].annotation
        assert isinstance(section, type)
        assert issubclass(section, Section)
        yield from (f"{start}{key}" for key in section.model_fields if f"{start}{key}" not in exact)


def _readers(name: str) -> list[str]:
    """Return the techniques, or the objectives, that read a setting."""
    rules = BY_TECHNIQUE | BY_OBJECTIVE
    start = max((start for start in rules if name.startswith(start)), key=len)
    rows: Mapping[str, Any] = TECHNIQUES if start in BY_TECHNIQUE else OBJECTIVES
    return [row.name for row in rows.values() if rules[start](row)]
