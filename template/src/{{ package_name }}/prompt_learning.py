"""Techniques that learn vectors before the input and leave every layer as it is."""

from pathlib import Path
from typing import Any

from .errors import Problem, UserError
from .heads import Head
from .model_parts import new_parts
from .settings import Settings

ENCODER = "prompt_encoder.safetensors"  # network of P-tuning, in checkpoints only


def prompt_tuning(model: Any, config: Settings, head: Head) -> Any:
    """Learn embeddings of virtual tokens (Lester et al., arXiv 2104.08691)."""
    from peft import PromptTuningConfig, PromptTuningInit

    settings = config.prompts
    text = settings.prompt_tuning_init_text
    given = PromptTuningConfig(
        task_type=head.task_type,
        num_virtual_tokens=settings.num_virtual_tokens,
        prompt_tuning_init=PromptTuningInit.TEXT if text else PromptTuningInit.SAMPLE_VOCAB,
        prompt_tuning_init_text=text or None,
        tokenizer_name_or_path=model.name_or_path if text else None,
    )
    wrapped = _wrapped(model, given, head)
    # The start is not needed again: without it the folder loads where this path is not.
    given.prompt_tuning_init = PromptTuningInit.RANDOM
    given.tokenizer_name_or_path = given.prompt_tuning_init_text = None
    return wrapped


def prefix_tuning(model: Any, config: Settings, head: Head) -> Any:
    """Learn keys and values that every layer reads first (Li and Liang, arXiv 2101.00190).

    Raises:
        UserError: the model keeps no keys and values, so there is no place for learned ones, or
            routes tokens to experts and counts them without the prefix.
    """
    from peft import PrefixTuningConfig

    fix = "choose prompt_tuning, p_tuning, ia3 or lora"
    family = model.config.model_type
    if hasattr(model.config, "router_aux_loss_coef"):
        # transformers 5.23 lays the mask, prefix included, over the choices of tokens alone
        found = f"models of the family {family} count which experts are used without the prefix"
        raise UserError(Problem("technique", found, fix=fix))
    given = PrefixTuningConfig(
        task_type=head.task_type, num_virtual_tokens=config.prompts.num_virtual_tokens
    )
    wrapped = _wrapped(model, given, head)
    if not _reads_prefix(wrapped):
        found = f"models of the family {family} do not read learned keys and values"
        raise UserError(Problem("technique", found, fix=fix))
    return wrapped


def p_tuning(model: Any, config: Settings, head: Head) -> Any:
    """Learn virtual tokens through a small network (Liu et al., arXiv 2103.10385)."""
    from peft import PromptEncoderConfig

    width = config.prompts.encoder_hidden_size
    given = PromptEncoderConfig(
        task_type=head.task_type, num_virtual_tokens=config.prompts.num_virtual_tokens
    )
    if width != "auto":  # peft takes the width of the model
        given.encoder_hidden_size = width
    return keep_encoder(_wrapped(model, given, head))


def keep_encoder(wrapped: Any) -> Any:
    """Store the network of P-tuning beside its result, and load it again where it lies there.

    peft 0.21.2 stores what the network gives out, and puts it in the place of what the network
    reads: a run that is resumed, or ends with its best checkpoint, would go on with another model.
    """
    from safetensors.torch import load_file, save_file

    save, load = wrapped.save_pretrained, wrapped.load_adapter

    def save_both(folder: Any, *args: Any, **kwargs: Any) -> None:
        save(folder, *args, **kwargs)
        state = wrapped.prompt_encoder["default"].state_dict()
        tensors = {name: value.contiguous() for name, value in state.items()}
        save_file(tensors, Path(folder) / ENCODER)

    def load_both(folder: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        found = load(folder, name, *args, **kwargs)
        stored = Path(folder) / ENCODER
        if stored.is_file():
            wrapped.prompt_encoder[name].load_state_dict(load_file(stored))
        return found

    wrapped.save_pretrained, wrapped.load_adapter = save_both, load_both
    return wrapped


def _reads_prefix(wrapped: Any) -> bool:
    """Say whether gradients reach the prefix: many encoders drop it without a word."""
    import torch

    ids = torch.ones((1, 2), dtype=torch.long, device=wrapped.device)  # (batch, tokens)
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if wrapped.config.is_encoder_decoder:
        batch["decoder_input_ids"] = ids
    try:
        with torch.enable_grad():
            logits = wrapped(**batch).logits
            prefix = wrapped.prompt_encoder["default"].embedding.weight
            found = torch.autograd.grad(logits.float().norm(), prefix, allow_unused=True)[0]
    except ValueError:  # peft looks for `past_key_values` among the arguments
        return False
    return found is not None and bool(found.abs().max() > 0)


def _wrapped(model: Any, given: Any, head: Head) -> Any:
    from peft import get_peft_model

    given.modules_to_save = [*new_parts(model, head)] or None
    return get_peft_model(model, given)
