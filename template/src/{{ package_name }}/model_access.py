"""What kind of model this is, whatever adapter is wrapped around it."""

from typing import Any

CAUSAL, SEQ2SEQ, CLASSIFIER = "causal_lm", "seq2seq", "classifier"  # rows of heads.HEADS
VISION, CONTRASTIVE = "vision_lm", "contrastive"  # likewise
_CLASSIFIER = "ForSequenceClassification"
_VISION = "ForConditionalGeneration"
NO_LIMIT = 10**9  # tokenizers without a limit of their own name a larger number


def base_model(model: Any) -> Any:
    """Return the transformers model inside an adapter's wrapper, or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def model_kind(model: Any) -> str:
    """Return how a model is asked: `causal_lm`, `seq2seq` or `classifier`."""
    inner = base_model(model)
    if type(inner).__name__.endswith(_CLASSIFIER):
        return CLASSIFIER
    return SEQ2SEQ if inner.config.is_encoder_decoder else CAUSAL


def stored_kind(config: Any) -> str:
    """Return the kind of the model that a configuration in a model folder belongs to."""
    if any(name.endswith(_CLASSIFIER) for name in config.architectures or ()):
        return CLASSIFIER
    if hasattr(config, "vision_config"):
        writes = any(name.endswith(_VISION) for name in config.architectures or ())
        return VISION if writes else CONTRASTIVE
    return SEQ2SEQ if config.is_encoder_decoder else CAUSAL


def is_prompt_learning(model: Any) -> bool:
    """Say whether an adapter puts learned vectors before the prompt (prompt, prefix tuning)."""
    adapter = getattr(model, "active_peft_config", None)
    return bool(adapter is not None and adapter.is_prompt_learning)


def vocabulary(model: Any) -> int:
    """Return the number of logits at one position."""
    return int(model.config.get_text_config().vocab_size)


def context_length(model: Any, tokenizer: Any) -> int:
    """Return how many tokens a model reads at most; a large number where nothing says so.

    The configuration of a causal model is right. Encoders often count positions that are no
    tokens (RoBERTa: 514 for 512) or name no limit (T5): there the tokenizer counts as well.
    """
    config = base_model(model).config.get_text_config()
    limits = [getattr(config, "max_position_embeddings", None) or NO_LIMIT]
    if limits == [NO_LIMIT] or model_kind(model) != CAUSAL:
        limits.append(int(min(tokenizer.model_max_length, NO_LIMIT)))
    learned = model.active_peft_config.num_virtual_tokens if is_prompt_learning(model) else 0
    return min(limits) - learned
