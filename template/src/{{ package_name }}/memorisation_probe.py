"""What a model has by heart: rows it continues word for word, and values it writes or prefers.

A row is memorised if greedy decoding continues it word for word from what stands before
(Carlini et al. 2023, "Quantifying Memorization Across Neural Language Models", arXiv 2202.07646).

Exposure of a value among the values R of the same form, in bits (Carlini et al. 2019, "The Secret
Sharer", arXiv 1802.08232):

    exposure = log2 |R| - log2 rank        rank 1: no value of R is likelier for the model

R is too large to go through, so rank is taken among the value and drawn ones (the paper's
approximation by sampling): with 127 drawn ones no exposure is above 7 bits. Of a value that the
model does not know every rank is equally likely, and half of the exposures are below 1 bit.
"""

import copy
import math
import random
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from .batches import by_length, left_pad
from .data_loader import render_prompt, with_system
from .errors import Problem, UserError
from .generation import generate
from .heads import HEADS
from .invented import NoSurrogateError, Source, compact, shaped
from .model_access import CAUSAL, is_prompt_learning
from .objectives import IGNORED, OBJECTIVES
from .records import Message
from .training import Tokenised

CONTINUATION = 50  # tokens that must be repeated (Carlini et al. 2023)
LEAST_CONTINUATION = 10  # fewer are guessed too often: "It is not." is nobody's secret
NEW_TOKENS = 32  # in which a value has to appear
FEWEST_OTHERS = 15  # values of the same form; with fewer, 4 bits would be out of reach
ENDINGS = 64  # values scored at a time

Pair = tuple[list[int], list[int]]  # what the model is given, and what it may continue with
Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Probe:
    """One value, where it stood, and others that could have stood there.

    Attributes:
        type: Of the identifier.
        turns: Conversation before the turn that held it; empty for a document.
        before: Text of that turn, or of the document, up to the value.
        value: No message and no report may show it.
        others: Values of the same form; empty: the exposure is not measured.
    """

    type: str
    turns: tuple[Message, ...]
    before: str
    value: str = field(repr=False)
    others: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Measured:
    """What one model did with a probe; exposure in bits, None where it was not measured."""

    extracted: bool
    exposure: float | None


def require_writer(objective: str) -> None:
    """Refuse an objective whose model does not continue a text.

    Raises:
        UserError: names what the model gives out instead.
    """
    head = HEADS[OBJECTIVES[objective].head]
    if head.name != CAUSAL:
        found = f"`{objective}` gives {head.doc}; only a model that continues a text is probed"
        fix = "probe a run of another objective, such as sft"
        raise UserError(Problem("objective", found, fix=fix))


def exposure(own: float, others: Sequence[float]) -> float:
    """Return the exposure in bits of a value among others, from their log-likelihoods."""
    rank = 1 + sum(other >= own for other in others)
    return math.log2(len(others) + 1) - math.log2(rank)


def continuations(split: Tokenised) -> list[Pair]:
    """Return of each example its last learned tokens, at most CONTINUATION, and what is before.

    Examples that end with fewer than LEAST_CONTINUATION learned tokens are left out.
    """
    pairs = []
    for row in split.dataset:
        ids, labels = row["input_ids"], row["labels"]
        learned = next(
            (k for k, label in enumerate(reversed(labels)) if label == IGNORED), len(labels)
        )
        length = min(learned, CONTINUATION, len(ids) - 1)
        if length >= LEAST_CONTINUATION:
            pairs.append((ids[:-length], ids[-length:]))
    return pairs


@torch.inference_mode()
def repeated(
    model: Any, pad: int, pairs: Sequence[Pair], batch_size: int, advance: Advance | None = None
) -> list[bool]:
    """Return for each pair whether greedy decoding would write exactly the continuation.

    One forward pass says it: it would if each token is the likeliest after those before it.
    """
    found = [False] * len(pairs)
    lengths = [sum(map(len, pair)) for pair in pairs]
    # Learned vectors in front must stay next to the text: no padding between them.
    for rows in by_length(lengths, batch_size, equal=is_prompt_learning(model)):
        longest = max(len(pairs[i][1]) for i in rows)
        ids, mask = left_pad([[*pairs[i][0], *pairs[i][1]] for i in rows], pad)
        logits = model(
            input_ids=ids.to(model.device),
            attention_mask=mask.to(model.device),
            position_ids=(mask.cumsum(1) - 1).clamp(min=0).to(model.device),
            use_cache=False,
            logits_to_keep=longest + 1,
        ).logits  # (rows, longest + 1, vocabulary); the last one is about what follows
        best = logits[:, :-1].argmax(-1).tolist()
        for i, tokens in zip(rows, best, strict=True):
            found[i] = tokens[-len(pairs[i][1]) :] == pairs[i][1]
        if advance:
            advance(len(rows))
    return found


def probe_values(
    model: Any,
    tokenizer: Any,
    probes: Sequence[Probe],
    prompt: str,
    batch_size: int,
    advance: Advance | None = None,
) -> list[Measured]:
    """Return for each probe whether the model writes the value, and its exposure.

    A value counts as written if its letters and digits stand in the greedy answer.

    Args:
        model: Causal language model.
        tokenizer: Of the model.
        probes: At least one token stands before each value.
        prompt: System prompt of conversations that have none.
        batch_size: Answers at a time.
        advance: Called with the number of probes that are done.
    """
    prefixes = [prefix_tokens(tokenizer, probe, prompt) for probe in probes]
    answers = generate(model, tokenizer, prefixes, NEW_TOKENS, batch_size).texts if probes else []
    results = []
    for probe, prefix, answer in zip(probes, prefixes, answers, strict=True):
        bits = None
        if probe.others:
            values = (probe.value, *probe.others)
            endings = [ending_tokens(tokenizer, probe.before, value) for value in values]
            own, *others = ending_scores(model, prefix, endings)
            bits = exposure(own, others)
        results.append(Measured(compact(probe.value) in compact(answer), bits))
        if advance:
            advance(1)
    return results


def prefix_tokens(tokenizer: Any, probe: Probe, prompt: str) -> list[int]:
    """Return the tokens before a value; blanks before it belong to what follows."""
    turns = with_system(probe.turns, prompt)
    opening = render_prompt(tokenizer, turns) if probe.turns else []
    return [*opening, *_encode(tokenizer, probe.before.rstrip())]


def ending_tokens(tokenizer: Any, before: str, value: str) -> list[int]:
    """Return the tokens of a value after a text, with the blanks between them."""
    head = before.rstrip()
    tail = before[len(head) :] + value
    start, whole = _encode(tokenizer, head), _encode(tokenizer, head + tail)
    if whole[: len(start)] == start:
        return whole[len(start) :]
    return _encode(tokenizer, tail)  # a token would straddle the border


@torch.inference_mode()
def ending_scores(
    model: Any, prefix: Sequence[int], endings: Sequence[Sequence[int]]
) -> list[float]:
    """Return the log-likelihood (nats) of each ending after the prefix, which is read once.

    A model with learned vectors in front would put them before each part: it reads the prefix
    again with every ending.
    """
    if is_prompt_learning(model):
        return [
            score
            for start in range(0, len(endings), ENDINGS)
            for score in _whole(model, prefix, endings[start : start + ENDINGS])
        ]
    ids = torch.tensor([list(prefix)], device=model.device)
    read = model(input_ids=ids, use_cache=True, logits_to_keep=1)
    first = read.logits[0, -1].float().log_softmax(-1)  # (vocabulary)
    scores: list[float] = []
    for start in range(0, len(endings), ENDINGS):
        rows = endings[start : start + ENDINGS]
        totals = first[torch.tensor([row[0] for row in rows], device=first.device)]
        if max(map(len, rows)) > 1:
            totals = totals + _rest(model, copy.deepcopy(read.past_key_values), rows)
        scores += totals.tolist()
    return scores


def _whole(model: Any, prefix: Sequence[int], endings: Sequence[Sequence[int]]) -> list[float]:
    """Return the log-likelihood of each ending after the prefix, without a cache."""
    width = max(map(len, endings))
    # Padding stands on the right, where no real token sees it.
    rows = [[*prefix, *ending, *[0] * (width - len(ending))] for ending in endings]
    ids = torch.tensor(rows, device=model.device)
    logits = model(input_ids=ids, use_cache=False, logits_to_keep=width + 1).logits[:, :-1].float()
    picked = logits.log_softmax(-1).gather(-1, ids[:, -width:, None]).squeeze(-1)  # (rows, width)
    scored = zip(picked.tolist(), endings, strict=True)
    return [sum(row[: len(ending)]) for row, ending in scored]


def _rest(model: Any, cache: Any, rows: Sequence[Sequence[int]]) -> torch.Tensor:
    """Return the log-likelihood of row[1:] after the cached prefix and row[0], shape (rows)."""
    width = max(map(len, rows)) - 1
    cache.batch_repeat_interleave(len(rows))
    # Padding stands on the right, where no real token sees it.
    ids = torch.tensor([[*row[:-1], *[0] * width][:width] for row in rows], device=model.device)
    goal = torch.tensor([[*row[1:], *[0] * width][:width] for row in rows], device=model.device)
    real = torch.tensor([[k < len(row) - 1 for k in range(width)] for row in rows])
    logits = model(input_ids=ids, past_key_values=cache, use_cache=True).logits.float()
    picked = logits.log_softmax(-1).gather(-1, goal[:, :, None]).squeeze(-1)  # (rows, width)
    return (picked * real.to(picked.device)).sum(1)


def alternatives(value: str, known: Collection[str], count: int, seed: int) -> tuple[str, ...]:
    """Return values that have the form of another one: those that are known, or invented digits.

    Form is what is left when each digit becomes 0 and each word a: a model that has learned
    how numbers are written in a place prefers none of them for that. Letters are not invented: a
    name beside rows of random letters would always come first.

    Args:
        value: Is not among the result.
        known: Values of the same type, from the same data.
        count: How many at most.
        seed: Decides which.

    Returns:
        Nothing if there are fewer than FEWEST_OTHERS.
    """
    form = _form(value)
    found = sorted({other for other in known if _form(other) == form} - {value})
    generator = random.Random(f"{seed} {value}")
    found = generator.sample(found, min(count, len(found)))
    if "a" not in form:
        found += [one for one in _invented(value, count - len(found), seed) if one not in found]
    return tuple(found) if len(found) >= FEWEST_OTHERS else ()


def _invented(value: str, count: int, seed: int) -> Iterator[str]:
    key = str(seed).encode()
    for attempt in range(count):
        try:
            other = shaped(value, Source(key, attempt))
        except NoSurrogateError:
            return
        if other != value:
            yield other


def _form(value: str) -> str:
    return re.sub(r"[^\W\d_]+", "a", re.sub(r"\d", "0", value))


def _encode(tokenizer: Any, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"] if text else []
