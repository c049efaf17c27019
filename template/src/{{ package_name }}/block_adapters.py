"""Techniques that put something small and new into each block: factors, or networks."""

from typing import Any

from .heads import Head
from .model_parts import family_of, feed_forward_places, is_transposed, new_parts, targets
from .settings import Settings


def ia3(model: Any, config: Settings, head: Head) -> Any:  # noqa: ARG001 - one signature
    """Scale keys, values and the inner state of feed-forward networks (arXiv 2205.05638)."""
    from peft import IA3Config, get_peft_model

    family = family_of(model)
    inner = family.feed_forward[-1:]
    given = IA3Config(
        task_type=head.task_type,
        target_modules=targets(model, family.key, family.value, *inner),
        feedforward_modules=targets(model, *inner) if inner else [],
        fan_in_fan_out=is_transposed(model),
        modules_to_save=[*new_parts(model, head)] or None,
    )
    return get_peft_model(model, given)


def adapter(model: Any, config: Settings, head: Head) -> Any:
    """Put a small network behind the feed-forward network of each block."""
    from peft import get_peft_model

    from .bottleneck import BottleneckConfig, register

    register()
    expression, width = feed_forward_places(model)
    given = BottleneckConfig(
        task_type=head.task_type,
        target_modules=expression,
        hidden_size=width,
        reduction_factor=config.bottleneck.reduction_factor,
        non_linearity=config.bottleneck.non_linearity,
        modules_to_save=[*new_parts(model, head)] or None,
    )
    return get_peft_model(model, given)
