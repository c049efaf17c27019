"""Log-likelihood of answers under a causal language model.

Labels are compared by the sum of the log-probabilities of their tokens. The sum is not
divided by length: on label words that division only rewards the longer word ("Yes" over
"No"; accuracy on 80 yes/no items fell from 0.54 to 0.45).

Cost: one forward pass for each item. Tokens that all prompts of a set begin with (template,
system prompt, instruction) are computed once, and labels of several tokens continue from the
cached prompt. Shapes: R rows, S positions, L labels, V vocabulary.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache

from .data_loader import render_prompt
from .items import Item
from .records import Message

Layers = list[tuple[torch.Tensor, torch.Tensor]]  # keys and values of each layer
Advance = Callable[[int], None]  # told how many items are done


@dataclass(frozen=True, slots=True)
class ItemScore:
    """Log-likelihood in nats of each label of one item, and the best label."""

    id: str
    label: str
    log_likelihoods: tuple[float, ...]
    tokens: int  # of the prompt


def item_messages(item: Item, system_prompt: str = "") -> list[Message]:
    """Return the conversation that asks one item; the answer is the turn that follows."""
    options = [f"{x}. {text}" for x, text in zip(item.labels(), item.choices, strict=True)]
    parts = [item.context, item.question, "\n".join(options) if item.letters else None]
    user = Message("user", "\n\n".join(part for part in parts if part))
    return [Message("system", system_prompt), user] if system_prompt else [user]


def prompt_tokens(tokenizer: Any, item: Item, system_prompt: str = "") -> list[int]:
    """Return the token ids of one item's prompt, up to where the answer begins."""
    return render_prompt(tokenizer, item_messages(item, system_prompt), add_generation_prompt=True)


def label_tokens(tokenizer: Any, item: Item) -> list[list[int]]:
    """Return the token ids of each label, as the chat template writes them in an answer.

    A label that is the beginning of another one ("approve", "approve with conditions") would
    always win, so the labels of such an item end with the end-of-turn token.
    """
    ends = {*tokenizer.all_special_ids, *tokenizer.get_added_vocab().values()}
    messages = item_messages(item)
    prompt = render_prompt(tokenizer, messages, add_generation_prompt=True)
    result = []
    for label in item.labels():
        answered = [*messages, Message("assistant", label)]
        whole = render_prompt(tokenizer, answered, add_generation_prompt=False)
        tail = whole[len(prompt) :]
        stop = next((i for i, token in enumerate(tail) if token in ends), len(tail))
        # Templates that open an answer differently when they ask for one (thinking blocks).
        if whole[: len(prompt)] != prompt or stop == len(tail):
            tail = tokenizer(label, add_special_tokens=False).input_ids
            stop = len(tail)
        result.append(list(tail[:stop]))
    nested = any(a != b and b[: len(a)] == a for a in result for b in result)
    return [[*tokens, tokenizer.eos_token_id] for tokens in result] if nested else result


@torch.inference_mode()
def score_choices(
    model: Any,
    tokenizer: Any,
    items: Sequence[Item],
    system_prompt: str = "",
    batch_size: int = 16,
    advance: Advance | None = None,
) -> list[ItemScore]:
    """Return the log-likelihood of every label of every item, in the order of the items.

    Args:
        model: causal language model with attention over its whole context.
        tokenizer: the tokenizer of that model, with a chat template.
        items: items with labels, best of one set: they share the beginning of their prompts.
        system_prompt: system turn of every conversation, empty for none.
        batch_size: prompts in one forward pass; changes speed and memory, not scores.
        advance: called with the number of items after each batch.
    """
    prompts = [prompt_tokens(tokenizer, item, system_prompt) for item in items]
    endings = _endings(tokenizer, items)
    shared = _shared_length(prompts)
    prefix = _prefill(model, prompts[0][:shared])
    scores: list[tuple[float, ...]] = [()] * len(items)
    for rows in _by_length(prompts, batch_size):
        suffixes = [prompts[i][shared:] for i in rows]
        batch = _score_batch(model, tokenizer, suffixes, [endings[i] for i in rows], prefix, shared)
        for i, values in zip(rows, batch, strict=True):
            scores[i] = values
        if advance:
            advance(len(rows))
    labels = [
        i.labels()[max(range(len(s)), key=s.__getitem__)]
        for i, s in zip(items, scores, strict=True)
    ]
    return [
        ItemScore(item.id, label, values, len(prompt))
        for item, label, values, prompt in zip(items, labels, scores, prompts, strict=True)
    ]


@torch.inference_mode()
def score_texts(
    model: Any, tokenizer: Any, texts: Sequence[str], window: int = 512
) -> list[tuple[float, int]]:
    """Return (log-likelihood in nats, tokens counted) of each text, for perplexity.

    A text is cut into windows of `window` tokens that do not overlap. The first token of a
    window has nothing before it and is not counted.
    """
    results = []
    for text in texts:
        tokens = tokenizer(text, add_special_tokens=False).input_ids
        total, counted = 0.0, 0
        for start in range(0, len(tokens), window):
            ids = torch.tensor([tokens[start : start + window]], device=model.device)
            if ids.shape[1] < 2:
                continue
            logits = model(input_ids=ids, use_cache=False).logits[:, :-1].float()
            picked = logits.log_softmax(-1).gather(-1, ids[:, 1:, None])
            total += picked.sum().item()
            counted += ids.shape[1] - 1
        results.append((total, counted))
    return results


def left_pad(rows: Sequence[Sequence[int]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids and attention mask, both (R, S); the last column holds every row's last token."""
    width = max(map(len, rows))
    ids = torch.tensor([[pad] * (width - len(row)) + list(row) for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    return ids, mask


def _endings(tokenizer: Any, items: Sequence[Item]) -> list[list[list[int]]]:
    known: dict[tuple[str, ...], list[list[int]]] = {}
    for item in items:
        if item.labels() not in known:
            known[item.labels()] = label_tokens(tokenizer, item)
    return [known[item.labels()] for item in items]


def _shared_length(prompts: Sequence[list[int]]) -> int:
    """Return how many tokens all prompts begin with; each keeps at least one of its own."""
    low, high = min(prompts), max(prompts)  # in dictionary order these differ earliest
    limit = min(map(len, prompts)) - 1
    return next((k for k in range(limit) if low[k] != high[k]), limit)


def _prefill(model: Any, tokens: Sequence[int]) -> Layers:
    if not tokens:
        return []
    cache = DynamicCache()
    ids = torch.tensor([list(tokens)], device=model.device)
    model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
    return [(layer[0], layer[1]) for layer in cache]


def _by_length(prompts: Sequence[Sequence[int]], size: int) -> Iterator[list[int]]:
    """Yield batches of indices, longest first: a batch that does not fit fails at once."""
    order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _score_batch(
    model: Any,
    tokenizer: Any,
    suffixes: Sequence[Sequence[int]],
    endings: Sequence[list[list[int]]],
    prefix: Layers,
    shared: int,
) -> list[tuple[float, ...]]:
    """Return L log-likelihoods for each of R prompts = the shared prefix + a suffix each."""
    rows = len(suffixes)
    ids, mask = (x.to(model.device) for x in left_pad(suffixes, tokenizer.pad_token_id or 0))
    mask = torch.cat([mask.new_ones(rows, shared), mask], dim=1)
    # The prefix is a view repeated over the rows; the cache copies when it grows.
    layers = [(k.expand(rows, -1, -1, -1), v.expand(rows, -1, -1, -1)) for k, v in prefix]
    cache = DynamicCache(layers) if layers else DynamicCache()
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    logits = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions[:, shared:],
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    ).logits
    first = logits[:, -1].float().log_softmax(-1)  # (R, V)
    totals = [[first[r, label[0]].item() for label in endings[r]] for r in range(rows)]
    for column in range(max(map(len, endings))):
        # What follows the first token of this label; a row without such a label is skipped.
        tails = [labels[column] if column < len(labels) else labels[0][:1] for labels in endings]
        if max(map(len, tails)) > 1:
            sums = _continue(model, tails, mask, positions[:, -1:], cache)
            for r, labels in enumerate(endings):
                if column < len(labels):
                    totals[r][column] += sums[r]
    return [tuple(values) for values in totals]


def _continue(
    model: Any,
    tails: Sequence[Sequence[int]],
    mask: torch.Tensor,
    last: torch.Tensor,
    cache: DynamicCache,
) -> list[float]:
    """Return the log-probability of tail[1:] after the cached prompt and tail[0], for each row.

    The cache is left as it was found. `mask` is (R, S), `last` (R, 1) the last position used.
    """
    width = max(map(len, tails)) - 1
    ids = torch.tensor([(list(t[:-1]) + [0] * width)[:width] for t in tails], device=mask.device)
    goal = torch.tensor([(list(t[1:]) + [0] * width)[:width] for t in tails], device=mask.device)
    real = torch.tensor([[k < len(t) - 1 for k in range(width)] for t in tails], device=mask.device)
    logits = model(
        input_ids=ids,
        attention_mask=torch.cat([mask, mask.new_ones(len(tails), width)], dim=1),
        position_ids=last + 1 + torch.arange(width, device=mask.device),
        past_key_values=cache,
        use_cache=True,
    ).logits
    cache.crop(-width)
    picked = logits.float().log_softmax(-1).gather(-1, goal[:, :, None]).squeeze(-1)  # (R, width)
    return (picked * real).sum(1).tolist()
