"""Technique freeze: the lower part of a model stays as it is, the rest is trained."""

import re
from typing import Any

from .errors import Problem, UserError
from .heads import Head
from .model_parts import block_lists
from .settings import Settings

_EMBEDDINGS = r"\w*embeddings?|embed_\w+|wte|wpe|shared"  # ends of module names


def freeze(model: Any, config: Settings, head: Head) -> Any:  # noqa: ARG001 - one signature
    """Freeze parameters by name, or embeddings and the lowest blocks of each stack.

    Raises:
        UserError: nothing or everything would be frozen, or layers and pattern are both set.
    """
    pattern = config.freeze.pattern
    if pattern and config.freeze.layers != "auto":
        found = "no effect: freeze.pattern decides"
        raise UserError(Problem("freeze.layers", found, fix="leave one of them out"))
    model.requires_grad_(True)
    frozen = _by_name(model, pattern) if pattern else _lowest(model, config.freeze.layers)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name not in frozen)
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    if not trained or not frozen:
        where = "freeze.pattern" if pattern else "freeze.layers"
        found = "everything would be frozen" if frozen else "nothing would be frozen"
        fix = "a pattern that part of the names match" if pattern else "fewer layers"
        raise UserError(Problem(where, found, fix=fix if frozen else f"{fix}, or technique=full"))
    return model


def frozen_note(model: Any, config: Settings) -> dict[str, str]:  # noqa: ARG001 - one signature
    """Return how much of each stack of blocks stays, and what that means for a shared head."""
    parts = []
    for stack, blocks in block_lists(model):
        still = sum(not any(w.requires_grad for w in block.parameters()) for block in blocks)
        parts.append(f"{still} of {len(blocks)} blocks of {stack}")
    weights = [*model.parameters()]
    share = sum(w.numel() for w in weights if not w.requires_grad) / sum(w.numel() for w in weights)
    text = f"{', '.join(parts)}; {share:.0%} of the weights stay as they are"
    head = model.get_output_embeddings()
    shared = head is not None and head.weight is model.get_input_embeddings().weight
    if shared and not head.weight.requires_grad:
        text += "; the output layer is one with the embeddings and stays with them"
    return {"frozen": text}


def _by_name(model: Any, pattern: str) -> set[str]:
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise UserError(Problem("freeze.pattern", f"no regular expression: {error}")) from None
    return {name for name, _ in model.named_parameters() if expression.search(name)}


def _lowest(model: Any, wanted: Any) -> set[str]:
    """Return the names of the parameters in embeddings and in the lowest blocks of each stack."""
    stacks = block_lists(model)
    frozen = set()
    for stack, blocks in stacks:
        count = len(blocks) // 2 if wanted == "auto" else wanted
        if count > len(blocks):
            found = f"{count} blocks, the model has {len(blocks)} in {stack}"
            raise UserError(Problem("freeze.layers", found, f"0 to {len(blocks)}"))
        frozen |= {f"{stack}.{number}" for number in range(count)}
    frozen |= set(_embeddings(model, [stack for stack, _ in stacks]))
    return {
        name
        for name, _ in model.named_parameters()
        if any(name.startswith(f"{module}.") for module in frozen)
    }


def _embeddings(model: Any, stacks: list[str]) -> list[str]:
    """Return the modules that turn ids or pixels into vectors: those named so, outside blocks."""
    return [
        name
        for name, _ in model.named_modules()
        if re.search(rf"(^|\.)({_EMBEDDINGS})$", name)
        and not any(name.startswith(f"{stack}.") for stack in stacks)
    ]
