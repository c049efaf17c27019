"""What kind of model this is, whatever adapter is wrapped around it."""

from collections.abc import Sequence
from typing import Any

CAUSAL, SEQ2SEQ, CLASSIFIER = "causal_lm", "seq2seq", "classifier"  # rows of heads.HEADS
TOKEN_CLASSIFIER, MASKED = "token_classifier", "masked_lm"
VISION, CONTRASTIVE = "vision_lm", "contrastive"
_ENDINGS = {  # of class names, where the head decides; others tell by their configuration
    "ForSequenceClassification": CLASSIFIER,
    "ForTokenClassification": TOKEN_CLASSIFIER,
    "ForMaskedLM": MASKED,
}
_WRITES, _SEES = "ForCausalLM", "ForConditionalGeneration"
NO_LIMIT = 10**9  # tokenizers without a limit of their own name a larger number


def base_model(model: Any) -> Any:
    """Return the transformers model inside an adapter's wrapper, or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def model_kind(model: Any) -> str:
    """Return how a model is asked: its row of heads.HEADS, by its class.

    One that reads images as well is asked as a causal language model.
    """
    inner = base_model(model)
    kind = _kind([type(inner).__name__], inner.config)
    return CAUSAL if kind == VISION else kind


def stored_kind(config: Any) -> str:
    """Return the kind of the model that a configuration in a model folder belongs to."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    found = _kind(config.architectures or (), config)
    encoder = config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    # An encoder that was stored without any head; a decoder of such a kind says that it is one.
    return MASKED if found == CAUSAL and encoder and not _decodes(config) else found


def _decodes(config: Any) -> bool:
    return bool(getattr(config, "is_decoder", False))


def _kind(classes: Sequence[str], config: Any) -> str:
    for ending, kind in _ENDINGS.items():
        if any(name.endswith(ending) for name in classes):
            return kind
    if config.is_encoder_decoder:
        return SEQ2SEQ
    if not hasattr(config, "vision_config") or any(name.endswith(_WRITES) for name in classes):
        return CAUSAL
    return VISION if any(name.endswith(_SEES) for name in classes) else CONTRASTIVE


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
