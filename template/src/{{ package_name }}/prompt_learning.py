"""Techniques that learn vectors before the input and leave every layer as it is."""

from typing import Any

from .errors import Problem, UserError
from .heads import Head
from .model_parts import new_parts
from .settings import Settings


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
        UserError: the model keeps no keys and values, so there is no place for learned ones.
    """
    from peft import PrefixTuningConfig

    given = PrefixTuningConfig(
        task_type=head.task_type, num_virtual_tokens=config.prompts.num_virtual_tokens
    )
    wrapped = _wrapped(model, given, head)
    if not _reads_prefix(wrapped):
        found = (
            f"models of the family {model.config.model_type} do not read learned keys and values"
        )
        fix = "choose prompt_tuning, p_tuning, ia3 or lora"
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
    return _wrapped(model, given, head)


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
