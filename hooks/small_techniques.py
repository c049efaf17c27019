"""Techniques that train neither the weights nor low-rank matrices: what each adds to a step.

Standard library only. A shape is one of footprint.py.
"""

from collections.abc import Callable
from typing import Any, NamedTuple


class Small(NamedTuple):
    """A technique that trains neither the weights nor low-rank matrices, at its usual settings.

    `once` weights of the model, `layer` weights of each block, both functions of a shape; `kept`
    bytes that a layer keeps of a token per unit of (hidden, key, inner) width, 32-bit copies of
    what a vector is multiplied with or an adapter reads (peft computes them in 32 bits);
    `virtual` tokens before the input.
    """

    once: Callable[[Any], int] = lambda _: 0
    layer: Callable[[Any], int] = lambda _: 0
    kept: tuple[float, float, float] = (0, 0, 0)
    virtual: int = 0
    checkpointed: bool = True  # False: keys and values it adds are lost where a layer is run again


VIRTUAL, REDUCTION = 20, 16  # settings prompts.num_virtual_tokens, bottleneck.reduction_factor
SMALL = {
    "prompt_tuning": Small(once=lambda s: VIRTUAL * s.hidden, virtual=VIRTUAL),
    # a vector a token, and three layers that make the prompt of it (peft's PromptEncoder)
    "p_tuning": Small(once=lambda s: VIRTUAL * s.hidden + 3 * s.hidden**2, virtual=VIRTUAL),
    "prefix_tuning": Small(
        layer=lambda s: 2 * VIRTUAL * s.kv_heads * s.head_dim, virtual=VIRTUAL, checkpointed=False
    ),
    "ia3": Small(layer=lambda s: 2 * s.kv_heads * s.head_dim + s.intermediate, kept=(0, 12, 6)),
    "adapter": Small(layer=lambda s: 2 * s.hidden * -(-s.hidden // REDUCTION), kept=(6, 0, 0)),
}


def checkpointed(technique: str) -> bool:
    """Whether a technique can be trained with gradient checkpointing."""
    return SMALL.get(technique, Small()).checkpointed
