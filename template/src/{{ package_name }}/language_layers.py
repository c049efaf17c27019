"""Which layers of a model that reads images belong to its language part. Layer 0: no import."""

from typing import Any

from .heads import Head

ALL = "all-linear"


def language_layers(model: Any, head: Head, wanted: str | list[str]) -> str | list[str]:
    """Return the layers that an adapter sits on, of the language part where there are two parts.

    An encoder of images has layers of the same names (`q_proj`) and is trained well already. A
    name that the language part lacks is looked for in the rest: `multi_modal_projector.linear_1`.

    Args:
        model: of transformers.
        head: of the model; others than vision_lm are left as they are.
        wanted: `all-linear`, or names or ends of names.
    """
    if head.name != "vision_lm":
        return wanted
    from torch.nn import Linear

    names = [name for name, module in model.named_modules() if isinstance(module, Linear)]
    decoder = model.get_decoder()
    prefix = next(name for name, module in model.named_modules() if module is decoder)
    inside = [name for name in names if name.startswith(f"{prefix}.")]
    if wanted == ALL:
        return inside
    found: list[str] = []
    for name in wanted:
        found += _named(inside, name) or _named(names, name)
    return found or wanted  # peft says that nothing fits


def _named(names: list[str], wanted: str) -> list[str]:
    return [name for name in names if name == wanted or name.endswith(f".{wanted}")]
