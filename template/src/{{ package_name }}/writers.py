"""Models that write data: one on this machine, or an endpoint. Both answer whole conversations.

What an endpoint is sent are prepared prompts, which the preparation scrubbed, and what it wrote
itself.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from .config import Config
from .endpoint import Endpoint, MalformedReply, reply_ended, reply_text, send
from .model_source import resolve_model, with_model
from .records import Message

Conversation = Sequence[Message]
EMPTY, CUT = "empty", "longer than the limit"


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer; `fault` says why it is of no use, or nothing."""

    text: str
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Writing:
    """How a model writes.

    Attributes:
        max_new_tokens: Longest answer in tokens; longer ones are left out.
        temperature: 0 writes the likeliest answer, higher values draw at random.
        seed: Of what is drawn.
        batch_size: Conversations that are answered at once.
    """

    max_new_tokens: int = 512
    temperature: float = 0.0
    seed: int = 42
    batch_size: int = 8


@dataclass(frozen=True, slots=True)
class Writer:
    """A model that answers.

    Attributes:
        name: Of the model, for reports.
        identity: Changes when the answers may: name, place and files.
        reply: (conversations, seed) -> a reply to each, in their order.
    """

    name: str
    identity: str
    reply: Callable[[Sequence[Conversation], int], list[Reply]]


def endpoint_writer(endpoint: Endpoint, writing: Writing) -> Writer:
    """Return a writer behind an OpenAI-compatible address, which is asked in parallel.

    A refused request, or no answer after several attempts, ends the run with a UserError.
    """

    def one(turns: Conversation, seed: int) -> Reply:
        body: dict[str, Any] = {
            "model": endpoint.model,
            "messages": [{"role": turn.role, "content": turn.content} for turn in turns],
            "max_tokens": writing.max_new_tokens,
            "temperature": writing.temperature,
        }
        if writing.temperature:
            body["seed"] = seed
        data = send(endpoint, body)
        try:
            return _reply(reply_text(data), reply_ended(data))
        except MalformedReply:
            return Reply("", "malformed reply")

    def reply(conversations: Sequence[Conversation], seed: int) -> list[Reply]:
        with ThreadPoolExecutor(writing.batch_size) as pool:
            seeds = range(seed, seed + len(conversations))
            return [*pool.map(one, conversations, seeds)]

    return Writer(endpoint.model, f"{endpoint.url} {endpoint.model}", reply)


def local_writer(config: Config, name: str, writing: Writing) -> Writer:
    """Return a writer on this machine.

    Args:
        config: the run; where models may come from.
        name: hub id or folder of a causal language model.
        writing: how it writes.

    Raises:
        UserError: there is no such model.
    """
    import torch

    from .answers_cache import fingerprint
    from .data_loader import render_prompt
    from .devices import detect_device
    from .generation import answer_room, generate
    from .heads import HEADS
    from .model_wrapper import load_base

    named = with_model(config, name)
    source = resolve_model(named, setting="--model")
    precision = "bf16" if detect_device().bf16 else "fp32"
    loaded = load_base(named, precision, head=HEADS["causal_lm"])
    model, tokenizer, limit = loaded.model, loaded.tokenizer, writing.max_new_tokens
    room = answer_room(model, tokenizer, limit)
    sampling: dict[str, Any] = {}
    if writing.temperature:
        sampling = {"do_sample": True, "temperature": writing.temperature}

    def reply(conversations: Sequence[Conversation], seed: int) -> list[Reply]:
        ids = [render_prompt(tokenizer, turns) for turns in conversations]
        fitting = [place for place, one in enumerate(ids) if len(one) <= room]
        found = [Reply("", "prompt longer than the context")] * len(ids)
        torch.manual_seed(seed)
        prompts = [ids[place] for place in fitting]
        written = generate(model, tokenizer, prompts, limit, writing.batch_size, sampling=sampling)
        for place, text, ended in zip(fitting, written.texts, written.ended, strict=True):
            found[place] = _reply(text, ended)
        return found

    print(f"Model: {source.name} from {source.origin} ({source.note}), {precision}")
    return Writer(source.name, f"{source.path} {fingerprint(source.path)}", reply)


def _reply(text: str, ended: bool) -> Reply:
    if not ended:
        return Reply("", CUT)
    return Reply(text.strip(), "" if text.strip() else EMPTY)
