"""What models of any kind say about items: log-likelihoods of their labels.

Labels are compared by the sum of the log-probabilities of their tokens. The sum is not
divided by length: on label words that division only rewards the longer word ("Yes" over
"No"; accuracy on 80 yes/no items fell from 0.54 to 0.45).

Causal models read the prompt of the chat template (causal_scoring.py), sequence-to-sequence
models read it with the encoder (seq2seq_scoring.py), and classifiers read the item's text and
choose among the labels they know (classifier_scoring.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from .causal_scoring import Advance, score_queries
from .classifier_scoring import classify
from .data_loader import render_prompt, target_ids
from .errors import Problem, UserError
from .items import Item
from .model_access import CAUSAL, CLASSIFIER, SEQ2SEQ, context_length, model_kind
from .prefixes import Query
from .records import Message
from .seq2seq_scoring import score_decoder

SHORT_TEXT = "What is this text about? It is about the tide."
CUT_STEP = 64  # tokens: items of one document are cut alike and still begin alike


@dataclass(frozen=True, slots=True)
class ItemScore:
    """Log-likelihood in nats of each label of one item, and the best label."""

    id: str
    label: str
    log_likelihoods: tuple[float, ...]
    tokens: int  # of the prompt, as the model read it
    cut: int = 0  # tokens that were left out because the model's context is shorter


def item_messages(item: Item, system_prompt: str = "") -> list[Message]:
    """Return the conversation that asks one item; the answer is the turn that follows."""
    options = [f"{x}. {text}" for x, text in zip(item.labels(), item.choices, strict=True)]
    parts = [item.context, item.question, "\n".join(options) if item.letters else None]
    user = Message("user", "\n\n".join(part for part in parts if part))
    solved = [
        Message(role, text)
        for shot in item.shots
        for role, text in zip(("user", "assistant"), shot, strict=True)
    ]
    system = [Message("system", system_prompt)] if system_prompt else []
    return [*system, *solved, user]


def prompt_tokens(tokenizer: Any, item: Item, system_prompt: str = "") -> list[int]:
    """Return the token ids of one item's prompt, up to where the answer begins."""
    return render_prompt(tokenizer, item_messages(item, system_prompt))


def fitted_prompt(
    tokenizer: Any, item: Item, system_prompt: str, limit: int
) -> tuple[list[int], int]:
    """Return the prompt in at most `limit` tokens, and how many tokens that leaves out.

    Solved examples are left out first, then the beginning of the item's context; what asks the
    question stays whole. Only a prompt that is too long without any context loses its own
    beginning.
    """
    whole = ids = prompt_tokens(tokenizer, item, system_prompt)
    while len(ids) > limit and item.shots:
        item = replace(item, shots=item.shots[1:])
        ids = prompt_tokens(tokenizer, item, system_prompt)
    context = tokenizer(item.context or "", add_special_tokens=False).input_ids
    dropped = 0
    while len(ids) > limit and dropped < len(context):
        dropped += -(-(len(ids) - limit) // CUT_STEP) * CUT_STEP
        rest = tokenizer.decode(context[dropped:], skip_special_tokens=True).lstrip("\ufffd")
        ids = prompt_tokens(tokenizer, replace(item, context=rest), system_prompt)
    ids = ids[-limit:]
    return ids, len(whole) - len(ids)


def label_tokens(tokenizer: Any, item: Item) -> list[list[int]]:
    """Return the token ids of each label, as the chat template writes them in an answer.

    A label that is the beginning of another one ("approve", "approve with conditions") would
    always win, so the labels of such an item end with the end-of-turn token.

    Raises:
        UserError: the tokenizer writes a label without any token, or two labels alike.
    """
    if tokenizer.chat_template:
        result = _templated_labels(tokenizer, item)
    else:
        result = [target_ids(tokenizer, label)[:-1] for label in item.labels()]
    if not all(result) or len(set(map(tuple, result))) < len(result):
        found = f"its tokenizer cannot tell the labels of item {item.id} apart"
        fix = "use a model whose vocabulary has the letters of the labels, or reword the labels"
        raise UserError(Problem("model.model_name_or_path", found, fix=fix))
    nested = any(a != b and b[: len(a)] == a for a in result for b in result)
    return [[*tokens, tokenizer.eos_token_id] for tokens in result] if nested else result


def _templated_labels(tokenizer: Any, item: Item) -> list[list[int]]:
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
        if whole[: len(prompt)] != prompt or stop in (0, len(tail)):
            tail = _plain_label(tokenizer, label)
            stop = len(tail)
        result.append(list(tail[:stop]))
    return result


def _plain_label(tokenizer: Any, label: str) -> list[int]:
    return list(tokenizer(text_target=label, add_special_tokens=False).input_ids)


@torch.inference_mode()
def gives_numbers(model: Any, tokenizer: Any) -> bool:
    """Say whether what a model expects after a short text is a probability.

    A model that diverged still writes something when it generates: greedy decoding takes token
    0 of logits that are NaN.
    """
    ids = torch.tensor([tokenizer(SHORT_TEXT).input_ids], device=model.device)
    inputs = {"input_ids": ids}
    if model_kind(model) == SEQ2SEQ:
        inputs["decoder_input_ids"] = ids[:, :1]
    # Not each logit: a model may give -inf to rows of its vocabulary that stand for no token.
    return bool(model(**inputs).logits.float().logsumexp(-1).isfinite().all())


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
        model: causal, sequence-to-sequence or classification model, with or without adapter.
        tokenizer: the tokenizer of that model.
        items: items with labels, best of one set: they share the beginning of their prompts.
        system_prompt: system turn of every conversation, empty for none. Classifiers read none.
        batch_size: most rows in one forward pass; changes speed and memory, not scores.
        advance: called with the number of items after each batch.

    Raises:
        UserError: a classifier does not know some label, or as label_tokens().
    """
    limit = context_length(model, tokenizer)
    if model_kind(model) == CLASSIFIER:
        scores, prompts = classify(model, tokenizer, items, limit, batch_size, advance)
    else:
        score = score_queries if model_kind(model) == CAUSAL else score_decoder
        queries, prompts = _queries(model, tokenizer, items, system_prompt, limit)
        scores = score(model, queries, batch_size, advance) if items else []
    labels = [
        i.labels()[max(range(len(s)), key=s.__getitem__)]
        for i, s in zip(items, scores, strict=True)
    ]
    return [
        ItemScore(item.id, label, values, tokens, cut)
        for item, label, values, (tokens, cut) in zip(items, labels, scores, prompts, strict=True)
    ]


def _queries(
    model: Any, tokenizer: Any, items: Sequence[Item], system_prompt: str, limit: int
) -> tuple[list[Query], list[tuple[int, int]]]:
    """Return what is asked, and (tokens, tokens left out) of each prompt."""
    known: dict[tuple[str, ...], list[list[int]]] = {}
    queries, lengths = [], []
    for item in items:
        if item.labels() not in known:
            known[item.labels()] = label_tokens(tokenizer, item)
        endings = known[item.labels()]
        # The last token of a label is predicted, not read; a decoder reads labels by itself.
        answer = max(map(len, endings)) - 1 if model_kind(model) == CAUSAL else 0
        prompt, cut = fitted_prompt(tokenizer, item, system_prompt, max(1, limit - answer))
        queries.append(Query(prompt, endings))
        lengths.append((len(prompt), cut))
    return queries, lengths


@torch.inference_mode()
def score_texts(
    model: Any, tokenizer: Any, texts: Sequence[str], window: int = 512
) -> list[tuple[float, int]]:
    """Return (log-likelihood in nats, tokens counted) of each text, for perplexity.

    A text is cut into windows of `window` tokens that do not overlap. The first token of a
    window has nothing before it and is not counted.

    Raises:
        UserError: the model is no causal language model and gives texts no probability.
    """
    if model_kind(model) != CAUSAL:
        found = f"perplexity is asked of a {model_kind(model)} model"
        fix = "leave perplexity sets out of eval.sets"
        raise UserError(Problem("eval.sets", found, "a causal language model", fix))
    results = []
    for text in texts:
        tokens = tokenizer(text, add_special_tokens=False).input_ids
        total, counted = 0.0, 0
        for start in range(0, len(tokens), window):
            ids = torch.tensor([tokens[start : start + window]], device=model.device)
            if ids.shape[1] < 2:
                continue
            # Prompt tuning puts positions in front of those of the ids.
            logits = model(input_ids=ids, use_cache=False).logits[:, -ids.shape[1] : -1].float()
            picked = logits.log_softmax(-1).gather(-1, ids[:, 1:, None])
            total += picked.sum().item()
            counted += ids.shape[1] - 1
        results.append((total, counted))
    return results
