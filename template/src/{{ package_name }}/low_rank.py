"""Low-rank adapters (LoRA, DoRA, QLoRA): where they sit, how they start, how they are stored."""

import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .errors import Problem, UserError
from .families import ATTENTION
from .heads import Head
from .language_layers import language_layers
from .lora_presets import ALL
from .model_parts import family_of, inside, is_transposed, new_parts, targets
from .settings import Settings

PISSA = "pissa"


def lora(model: Any, config: Settings, head: Head, use_dora: bool = False) -> Any:
    """Put low-rank matrices beside the frozen weights (Hu et al., arXiv 2106.09685).

    Raises:
        UserError: a layer that was asked for is not there, or the start fits no base like this.
    """
    from peft import LoraConfig, get_peft_model

    settings = config.lora
    pissa = settings.init_lora_weights == PISSA
    if pissa and use_dora:
        found = "pissa is a start of LoRA; DoRA keeps directions of weights that pissa takes apart"
        raise UserError(Problem("lora.init_lora_weights", found, "default"))
    parts = [*new_parts(model, head)]
    given = LoraConfig(
        task_type=head.task_type,
        r=settings.lora_r,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=_places(model, head, settings.lora_target_modules),
        # all-linear would take them too, and a layer is either trained itself or adapted
        exclude_modules=inside(parts) if parts else None,
        modules_to_save=parts or None,
        use_rslora=settings.use_rslora,
        use_dora=use_dora,
        init_lora_weights="pissa" if pissa else True,
        fan_in_fan_out=is_transposed(model),
    )
    try:
        wrapped: Any = get_peft_model(model, given)
    except ValueError as error:
        # peft 0.21.2: experts that share one parameter get plain LoRA only
        if not use_dora or "ParamWrapper" not in str(error):
            raise
        family = model.config.model_type
        found = f"models of the family {family} keep their experts in one weight, which dora lacks"
        raise UserError(Problem("technique", found, fix="choose lora or qlora")) from None
    if pissa:
        # PiSSA takes the main directions out of the base (arXiv 2404.02948). What it put into the
        # adapter is kept, to tell at the end what training added to the weights as they were.
        start = tempfile.TemporaryDirectory(prefix="start-")  # goes with the model
        wrapped.save_pretrained(Path(start.name) / PISSA)
        wrapped.pissa_start = start
    return wrapped


def dora(model: Any, config: Settings, head: Head) -> Any:
    """Train direction and length of the weights apart (Liu et al., arXiv 2402.09353)."""
    return lora(model, config, head, use_dora=True)


def save_adapter(model: Any, folder: Path) -> None:
    """Store an adapter of any kind so that it fits the base as it is on disk.

    PiSSA becomes plain LoRA of twice the rank: start and end of training side by side.
    """
    # One adapter only: trainers that compare with a reference keep a frozen copy beside it.
    options: dict[str, Any] = {"selected_adapters": ["default"]}
    start = getattr(model, "pissa_start", None)
    if start is not None:
        options["path_initial_model_for_weight_conversion"] = str(Path(start.name) / PISSA)
    with warnings.catch_warnings():
        # Said while the start is read in beside the result, to subtract it.
        warnings.filterwarnings("ignore", message="PiSSA changes the base weights")
        model.save_pretrained(folder, **options)
    if start is not None:
        _complete(model, folder)


def _complete(model: Any, folder: Path) -> None:
    """Add the layers that were trained themselves: peft's way to plain LoRA leaves them out."""
    from peft import get_peft_model_state_dict
    from safetensors.torch import load_file, save_file

    file = folder / "adapter_model.safetensors"
    stored = load_file(file)
    whole = get_peft_model_state_dict(model, adapter_name="default")
    rest = {name: weight.contiguous() for name, weight in whole.items() if name not in stored}
    if rest:
        save_file(stored | rest, file, metadata={"format": "pt"})


def places_note(model: Any, config: Settings) -> dict[str, str]:
    """Return on which layers of this model the adapters sit."""
    from peft.tuners.lora import LoraLayer

    names = [name for name, module in model.named_modules() if isinstance(module, LoraLayer)]
    ends = sorted({name.rpartition(".")[2] for name in names})
    text = f"on {len(names)} matrices of the model: {', '.join(ends)}"
    if set(ATTENTION) & set(config.lora.lora_target_modules):
        family = family_of(model.get_base_model())
        if family.query == family.value:
            text += f"; {family.query} holds query, key and value in one"
    return {"low-rank adapters": text}


def values_note(config: Settings) -> dict[str, str]:
    """Return the size of the adapters and where its values come from."""
    lora = config.lora
    places = lora.lora_target_modules
    where = places if isinstance(places, str) else ", ".join(places)
    text = f"r {lora.lora_r}, alpha {lora.lora_alpha}, dropout {lora.lora_dropout:g} on {where}"
    return {"lora": f"{text}: preset {lora.preset}, and what the configuration sets itself"}


def _places(model: Any, head: Head, wanted: str | Sequence[str]) -> Any:
    """Return what peft needs to find the layers: a wildcard, names, or an expression."""
    if wanted == ALL:
        return language_layers(model, head, ALL)
    asked = [wanted] if isinstance(wanted, str) else list(wanted)
    roles = [name for name in asked if name in ATTENTION]
    if not roles:
        _require(model, asked)
        return language_layers(model, head, asked)
    family = family_of(model)
    names = dict.fromkeys(getattr(family, name) if name in roles else name for name in asked)
    if family.within:
        return targets(model, *names)
    _require(model, [*names])
    return language_layers(model, head, [*names])


def _require(model: Any, ends: Sequence[str]) -> None:
    known = [name for name, _ in model.named_modules()]
    missing = [
        end for end in ends if not any(name == end or name.endswith(f".{end}") for name in known)
    ]
    if missing:
        found = f"the model has no layer named {', '.join(missing)}"
        fix = "names of layers of this model, roles (query, key, value, output), or all-linear"
        raise UserError(Problem("lora.lora_target_modules", found, fix=fix))
