"""Where the parts of a model stand, found by looking: blocks, matrices by role, a new head."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from .errors import Problem, UserError
from .families import ATTENTION, FAMILIES, Family
from .heads import Head

# Ends of names in families that no row knows, best first
_USUAL = {
    "query": ("q_proj", "query", "q_lin", "wq"),
    "key": ("k_proj", "key", "k_lin", "wk"),
    "value": ("v_proj", "value", "v_lin", "wv"),
    "output": ("o_proj", "out_proj", "out_lin", "attn.c_proj", "attention.dense", "wo"),
}
_FUSED = ("qkv_proj", "query_key_value", "c_attn", "Wqkv", "qkv")
_FEED_FORWARD = ("down_proj", "fc2", "mlp.c_proj", "dense_4h_to_h", "lin2", "w2")


def block_lists(model: Any) -> list[tuple[str, Any]]:
    """Return (name, list of blocks) of each stack of equal blocks, outermost only.

    A decoder or an encoder has one stack, an encoder-decoder and a model of text and images two.
    """
    from torch.nn import ModuleList

    found: list[tuple[str, Any]] = []
    for name, module in model.named_modules():
        inside = any(name.startswith(f"{outer}.") for outer, _ in found)
        if isinstance(module, ModuleList) and not inside and _equal(module):
            found.append((name, module))
    if not found:
        fix = "set the section of the technique by names, or choose technique=full"
        raise UserError(Problem("model", "no stack of equal blocks was found in it", fix=fix))
    return found


def _equal(blocks: Any) -> bool:
    """Say whether all members are of one class that holds matrices: blocks, not parts of one."""
    kinds = {type(block) for block in blocks}
    matrices = [weight for block in blocks for weight in block.parameters() if weight.dim() > 1]
    return len(kinds) == 1 and len(matrices) >= 2 * len(blocks)


def is_matrix(module: Any) -> bool:
    """Say whether a layer multiplies by one matrix (GPT-2 has a class of its own for that)."""
    from torch.nn import Linear
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, Linear | Conv1D)


def is_transposed(model: Any) -> bool:
    """Say whether the matrices of a model are stored as (inputs, outputs), as in GPT-2."""
    from transformers.pytorch_utils import Conv1D

    return any(isinstance(module, Conv1D) for module in model.modules())


def inside(parts: Iterable[str]) -> str:
    """Return the regular expression of everything that belongs to parts of a model."""
    return rf"(.*\.)?({'|'.join(parts)})(\..*)?"


def matrices(model: Any, ends: Iterable[str], within: str = "") -> list[str]:
    """Return the names of the layers inside blocks that end in one of `ends`, in their order."""
    stacks = [name for name, _ in block_lists(model)]
    pattern = _pattern(ends, within)
    return [
        name
        for name, module in model.named_modules()
        if is_matrix(module)
        and any(name.startswith(f"{stack}.") for stack in stacks)
        and re.fullmatch(pattern, name)
    ]


def _pattern(ends: Iterable[str], within: str) -> str:
    start = rf"(?:.*\.)?{within}\.(?:.*\.)?" if within else r"(?:.*\.)?"
    joined = "|".join(ends)
    return rf"{start}(?:{joined})"


def family_of(model: Any) -> Family:
    """Return the row of a model's family; for others one that is made by looking.

    Raises:
        UserError: the matrices of the attention have names that nothing here knows.
    """
    row = FAMILIES.get(model.config.model_type)
    return row if row is not None else _guess(model)


def _guess(model: Any) -> Family:
    def first(ends: Iterable[str]) -> str:
        return next((end for end in ends if matrices(model, [end])), "")

    fused = first(_FUSED)
    query, key, value = (first(_USUAL[role]) or fused for role in ATTENTION[:3])
    output = first(_USUAL["output"])
    names = (query, key, value, output)
    if not all(names):
        found_none = [role for role, name in zip(ATTENTION, names, strict=True) if not name]
        missing = ", ".join(found_none)
        found = f"the family {model.config.model_type} is not known, and no {missing} was found"
        fix = "name the layers: lora.lora_target_modules=[...], or all-linear"
        raise UserError(Problem("lora.lora_target_modules", found, fix=fix))
    down = first(_FEED_FORWARD)
    return Family((model.config.model_type,), *names, (down,) if down else ())


def targets(model: Any, *ends: str) -> str:
    """Return the regular expression of full names of the layers that end in `ends`.

    Raises:
        UserError: the model has none of them.
    """
    within = family_of(model).within
    if not matrices(model, ends, within):
        found = f"the model has no layer named {', '.join(ends)}"
        fix = "name its layers in lora.lora_target_modules, or take all-linear"
        raise UserError(Problem("lora.lora_target_modules", found, fix=fix))
    return _pattern(ends, within)


def feed_forward_places(model: Any) -> tuple[str, int]:
    """Return the regular expression of the layers behind which feed-forward networks end.

    Returns:
        The expression of full names, and the width of what these layers give where they do not
        say so themselves (networks of experts).

    Raises:
        UserError: none was found.
    """
    family = family_of(model)
    width = int(model.config.get_text_config().hidden_size)
    if family.feed_forward:
        return targets(model, family.feed_forward[-1]), width
    if not family.network:
        found = f"the family {model.config.model_type} is not known, nor where its blocks end"
        raise UserError(Problem("technique", found, fix="choose lora"))
    return rf".*\.\d+\.{family.network}", width


def new_parts(model: Any, head: Head) -> Iterator[str]:
    """Yield the parts around the body that a model for labels or scores needs trained and saved.

    The checkpoint of a language model lacks them, so they start at random: beside an adapter they
    must be trained, and stored with it, or a reload would start at random again.
    """
    if head.task_type not in ("SEQ_CLS", "TOKEN_CLS"):
        yield from getattr(model, "fresh_modules", ())  # set where the model was loaded
        return
    yield from outer_parts(model)


def outer_parts(model: Any) -> Iterator[str]:
    """Yield the parts with weights around the body of a model, and the pooler within it."""
    body = model.base_model_prefix
    for name, module in model.named_children():
        # A model of images and texts has two bodies, and the name of neither.
        is_body = name == body if hasattr(model, body) else _has_blocks(module)
        if not is_body and any(True for _ in module.parameters()):
            yield name
    if getattr(getattr(model, body, None), "pooler", None) is not None:
        yield f"{body}.pooler"


def _has_blocks(module: Any) -> bool:
    from torch.nn import ModuleList

    return any(isinstance(part, ModuleList) for part in module.modules())


def merged(model: Any) -> Any:
    """Return plain weights with the adapter folded in.

    Parts that were trained as a whole take the place of peft's wrappers first: its merge asks each
    for a weight of its own (peft 0.21.2, IA3), which parts of several layers do not have.
    """
    from peft.utils import ModulesToSaveWrapper

    found = [(n, m) for n, m in model.named_modules() if isinstance(m, ModulesToSaveWrapper)]
    for name, wrapper in found:
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, wrapper.modules_to_save["default"])
    return model.merge_and_unload()
