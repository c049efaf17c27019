"""Greedy answers in batches, with their speed."""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationConfig

from .batches import by_length, left_pad, right_pad
from .errors import Problem, UserError
from .model_access import CAUSAL, SEQ2SEQ, context_length, is_prompt_learning, model_kind
from .scoring import Advance

# A model may reason although its template was told not to; a block without an end was cut off.
_REASONING = re.compile(r"\A\s*<think>.*?(?:</think>|\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Generated:
    """Answers in the order of the prompts; `ended`: by a stop token, not by the limit."""

    texts: list[str]
    new_tokens: int
    seconds: float
    ended: list[bool]

    @property
    def tokens_per_second(self) -> float:
        """New tokens over all rows of a batch, per second of wall time."""
        return self.new_tokens / self.seconds if self.seconds else 0.0


def stop_tokens(model: Any, tokenizer: Any) -> list[int]:
    """Return the ids that end an answer: those of the model's own settings and the tokenizer's."""
    declared = getattr(model.generation_config, "eos_token_id", None)
    ids = declared if isinstance(declared, list) else [declared]
    return sorted({x for x in [*ids, tokenizer.eos_token_id] if x is not None})


def settings(model: Any, tokenizer: Any, max_new_tokens: int, **changes: Any) -> GenerationConfig:
    """Return generation settings: greedy, ended by any stop token.

    Args:
        model: the model that will generate; its own sampling defaults are not used.
        tokenizer: the tokenizer of that model.
        max_new_tokens: longest answer.
        changes: further settings of `transformers.GenerationConfig`.
    """
    stops = stop_tokens(model, tokenizer)
    pad = tokenizer.pad_token_id
    return GenerationConfig(
        max_new_tokens=max_new_tokens,
        eos_token_id=stops or None,
        pad_token_id=pad if pad is not None else (stops or [0])[0],
        **{"do_sample": False, **changes},
    )


def answer_room(model: Any, tokenizer: Any, max_new_tokens: int) -> int:
    """Return how many tokens a prompt may have; a decoder of its own takes no room from it."""
    limit = context_length(model, tokenizer)
    return limit if model_kind(model) == SEQ2SEQ else max(1, limit - max_new_tokens)


@torch.inference_mode()
def generate(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int = 24,
    batch_size: int = 16,
    advance: Advance | None = None,
    sampling: Mapping[str, Any] | None = None,
) -> Generated:
    """Answer prompts (token ids), longest first: greedily, or as `sampling` says.

    Prompts are padded on the left, and those that an encoder reads on the right. Vectors that
    prompt or prefix tuning puts in front must stay next to the prompt, so these prompts are
    not padded at all: batches hold prompts of one length. A leading block of reasoning is no part
    of an answer's text, but counts for the speed.

    Raises:
        UserError: the model is a classifier, which writes no text.
    """
    if model_kind(model) not in (CAUSAL, SEQ2SEQ):
        fix = "leave sets with generated answers out of eval.sets"
        raise UserError(Problem("eval.sets", "a classifier is asked for texts", fix=fix))
    options = settings(model, tokenizer, max_new_tokens, **(sampling or {}))
    texts, ended = [""] * len(prompts), [False] * len(prompts)
    reads_apart, equal = model_kind(model) == SEQ2SEQ, is_prompt_learning(model)
    pad = right_pad if reads_apart else left_pad
    lengths = [len(prompt) + max_new_tokens for prompt in prompts]
    produced, start = 0, time.perf_counter()
    for rows in by_length(lengths, batch_size, equal=equal):
        ids, mask = pad([prompts[i] for i in rows], options.pad_token_id)
        output = model.generate(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            generation_config=options,
        )
        # A decoder's output begins with its start token, that of a causal model with the prompt.
        known = 1 if reads_apart else ids.shape[1]
        for i, tokens in zip(rows, output[:, known:].tolist(), strict=True):
            answer = _until_stop(tokens, options.eos_token_id or [])
            produced += len(answer)
            ended[i] = len(answer) < len(tokens)
            texts[i] = without_reasoning(tokenizer.decode(answer, skip_special_tokens=True))
        if advance:
            advance(len(rows))
    return Generated(texts, produced, time.perf_counter() - start, ended)


def without_reasoning(text: str) -> str:
    """Return a text without the `<think>` block that it opens with; an open one is all of it."""
    return _REASONING.sub("", text).strip()


def _until_stop(tokens: Sequence[int], stops: Sequence[int]) -> list[int]:
    end = next((k for k, token in enumerate(tokens) if token in stops), len(tokens))
    return list(tokens[:end])
