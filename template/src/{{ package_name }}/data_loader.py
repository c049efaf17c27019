"""Prepared records -> token ids and labels. The only place that renders a chat template."""

import json
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from jinja2 import TemplateError

from .config import Config
from .errors import Problem, UserError
from .heads import HEADS
from .images import MARK
from .manifest import check_manifest
from .objectives import IGNORED, OBJECTIVES, Objective, check_readable
from .packs import load_packs
from .records import Message, Record
from .splits import SPLITS
from .training import Tokenised

MAX_DROPPED = 0.10  # share of examples that may be over the length before training refuses


def check_prepared(config: Config) -> dict[str, Any]:
    """Return the manifest of prepared data that this run can learn from.

    Raises:
        UserError: the prepared data is missing, stale, unscrubbed or altered, or the
            objective does not read its records.
    """
    manifest = check_manifest(config)
    check_readable(config.objective, manifest["kind"])
    return manifest


def load_split(config: Config, split: str) -> list[Record]:
    """Read one prepared split: train, validation or test.

    Raises:
        UserError: as check_prepared().
    """
    assert split in SPLITS
    check_prepared(config)
    path = config.path(config.data.prepared) / f"{split}.jsonl"
    with path.open(encoding="utf-8") as lines:
        return [Record.from_json(json.loads(line)) for line in lines if line.strip()]


def label_names(config: Config) -> tuple[str, ...]:
    """Return the classes of the training split in alphabetical order; () without classes."""
    if not HEADS[OBJECTIVES[config.objective].head].labels:
        return ()
    records = load_split(config, "train")
    return tuple(sorted({label for record in records for label in record.labels}))


def system_prompt(config: Config) -> str:
    """Return what stands before every conversation that has no system turn of its own.

    It is that of the chosen domain packs; the general one counts only when they have none.
    Training, evaluation and inference use the same text.
    """
    prompts = {pack.name: pack.system_prompt for pack in load_packs(config) if pack.system_prompt}
    chosen = [text for name, text in prompts.items() if name != "general"]
    return "\n".join(chosen or prompts.values())


def with_system(messages: Sequence[Message], prompt: str) -> list[Message]:
    """Return the conversation, opened by the system prompt unless it has one."""
    if not prompt or (messages and messages[0].role == "system"):
        return list(messages)
    return [Message("system", prompt), *messages]


def render_prompt(
    tokenizer: Any, messages: Sequence[Message], add_generation_prompt: bool = True
) -> list[int]:
    """Return the token ids of a conversation, as the model saw them in training.

    Args:
        tokenizer: with a chat template, or the processor of a model that reads images: each
            mark of an image is one token then (see image_tokens).
        messages: turns in order.
        add_generation_prompt: end with the opening of an assistant turn.
    """
    return _encode(tokenizer, _text(tokenizer, messages, add_generation_prompt))


def tokenise(
    records: Sequence[Record],
    tokenizer: Any,
    objective: Objective,
    max_length: int,
    prompt: str = "",
    split: str = "train",
) -> Tokenised:
    """Turn records into examples with labels.

    Conversations longer than `max_length` tokens are left out and counted. Documents are
    cut into blocks that overlap by one token, so that every token is predicted once; where
    every token is learned, a conversation counts as a document.

    Raises:
        UserError: too many examples are over the length, or one has no token to learn from.
    """
    from datasets import Dataset

    examples: list[tuple[list[int], list[int]]] = []
    dropped = 0
    for row, record in enumerate(records):
        if not objective.assistant_only:
            document = record.text or _text(tokenizer, with_system(record.messages, prompt), False)
            examples += _blocks(tokenizer, document, max_length)
            continue
        ids, labels = label_conversation(tokenizer, with_system(record.messages, prompt), row)
        if len(ids) > max_length:
            dropped += 1
            continue
        examples.append((ids, labels))
    check_dropped(dropped, len(records), max_length, split)
    if not examples and split == "train":
        fix = "look at data/prepared/report.json for what became of the rows"
        raise UserError(Problem("train split", "it holds no example", fix=fix))
    columns = {"input_ids": [e[0] for e in examples], "labels": [e[1] for e in examples]}
    tokens = sum(len(ids) for ids in columns["input_ids"])
    learned = sum(sum(label != IGNORED for label in labels) for labels in columns["labels"])
    return Tokenised(Dataset.from_dict(columns), dropped, tokens, learned)


def count_tokens(tokenizer: Any, record: Record, objective: Objective, prompt: str) -> int:
    """Return the length of a record in tokens as `tokenise` would make it.

    Args:
        tokenizer: with a chat template.
        record: of any kind. A preference counts as its prompt with the longer answer, which
            are trained on one after the other; others without turns as the sum of their texts.
        objective: decides whether a conversation or its text is learned.
        prompt: system prompt of conversations that have none.
    """

    def total(texts: Iterable[str]) -> int:
        return sum(len(_encode(tokenizer, text)) for text in texts)

    if record.chosen or record.rejected:
        answers = (record.chosen, record.rejected)
        longer = max(total(turn.content for turn in turns) for turns in answers)
        return total(turn.content for turn in record.messages) + longer
    if record.kind != "messages":
        return total(record.texts())
    messages = with_system(record.messages, prompt)
    if objective.assistant_only:
        return len(label_conversation(tokenizer, messages, 0)[0])
    return len(_encode(tokenizer, _text(tokenizer, messages, False))) + 1  # the end token


def label_conversation(
    tokenizer: Any, messages: Sequence[Message], row: int
) -> tuple[list[int], list[int]]:
    """Return ids and labels: assistant turns and their end tokens are learned, nothing else.

    The template is rendered up to each assistant turn and once more with it. The first text
    must be the beginning of the second, or the loss would fall on other tokens than those
    that are written at inference.

    Raises:
        UserError: the template breaks this, or no token is left to learn.
    """
    ids: list[int] = []
    labels: list[int] = []
    done = ""
    for turn, message in enumerate(messages):
        if message.role != "assistant":
            continue
        before = _text(tokenizer, messages[:turn], add_generation_prompt=True)
        after = _text(tokenizer, messages[: turn + 1], add_generation_prompt=False)
        if not before.startswith(done) or not after.startswith(before):
            raise UserError(_template_problem(row, turn))
        # What follows the end token (usually a line break) is the template's, not the model's.
        end = len(after.rstrip())
        if end <= len(before):
            raise UserError(_empty_problem(row))
        prompt_ids = _continue(tokenizer, ids, done, before)
        answer_ids = _continue(tokenizer, ids + prompt_ids, before, after[:end])
        if answer_ids[-1] not in _special_ids(tokenizer):
            raise UserError(_end_problem())
        ids += prompt_ids + answer_ids
        labels += [IGNORED] * len(prompt_ids) + answer_ids
        done = after[:end]
    if not any(label != IGNORED for label in labels):
        raise UserError(_empty_problem(row))
    return ids, labels


def _continue(tokenizer: Any, ids: list[int], done: str, text: str) -> list[int]:
    """Return the ids that follow `ids` (those of `done`) when the text goes on to `text`.

    Where a token would straddle the border, the new part is tokenised by itself: at inference
    the prompt ends at the border as well.
    """
    whole = _encode(tokenizer, text)
    if whole[: len(ids)] == ids:
        return whole[len(ids) :]
    return _encode(tokenizer, text[len(done) :])


def _text(tokenizer: Any, messages: Sequence[Message], add_generation_prompt: bool) -> str:
    """Render a conversation; where the template knows no system role (Gemma's, for one), the
    system text stands before the first user turn.
    """
    try:
        return _rendered(tokenizer, messages, add_generation_prompt)
    except TemplateError:
        if [message.role for message in messages[:2]] != ["system", "user"]:
            raise UserError(_role_problem()) from None
    system, user, *rest = messages
    joined = Message("user", f"{system.content}\n\n{user.content}")
    try:
        return _rendered(tokenizer, [joined, *rest], add_generation_prompt)
    except TemplateError:
        raise UserError(_role_problem()) from None


def _rendered(tokenizer: Any, messages: Sequence[Message], add_generation_prompt: bool) -> str:
    words = words_of(tokenizer)
    in_parts = words is not tokenizer or _wants_parts(words, str(words.chat_template))
    turns: list[dict[str, Any]] = [
        {
            "role": message.role,
            "content": _parts(message, words is not tokenizer) if in_parts else message.content,
        }
        for message in messages
    ]
    # Templates of reasoning models open an answer with an empty thinking block then, both when
    # they ask for one and around a given one. Others ignore the variable.
    return words.apply_chat_template(
        turns,
        tokenize=False,
        add_generation_prompt=add_generation_prompt,
        enable_thinking=False,
    )


def words_of(reader: Any) -> Any:
    """Return the tokenizer of a processor, or the tokenizer itself."""
    return reader.tokenizer if hasattr(reader, "image_processor") else reader


def _parts(message: Message, shows_images: bool) -> list[dict[str, str]]:
    """Return a content as a list of parts; line breaks around an image are the template's."""
    if not shows_images or MARK not in message.content:
        return [{"type": "text", "text": message.content}]
    parts: list[dict[str, str]] = []
    for place, text in enumerate(message.content.split(MARK)):
        parts += [{"type": "image"}] * (place > 0)
        parts += [{"type": "text", "text": text.strip("\n")}] * bool(text.strip("\n"))
    return parts


@lru_cache(maxsize=64)
def _wants_parts(tokenizer: Any, _template: str) -> bool:
    """Say whether a template loses a content that is a plain text, as some with images do."""
    turns = [{"role": "user", "content": "probe"}]
    try:
        return "probe" not in tokenizer.apply_chat_template(turns, tokenize=False)
    except TemplateError:
        return False


def _role_problem() -> Problem:
    found = "the chat template refuses a conversation of this data"
    fix = "use a model whose template takes user and assistant turns in this order"
    return Problem("model.model_name_or_path", found, fix=fix)


def _encode(tokenizer: Any, text: str) -> list[int]:
    # The template writes the special tokens itself.
    return words_of(tokenizer)(text, add_special_tokens=False)["input_ids"]


def _special_ids(tokenizer: Any) -> set[int]:
    words = words_of(tokenizer)
    return {*words.all_special_ids, *words.get_added_vocab().values()}


def _blocks(tokenizer: Any, text: str, max_length: int) -> list[tuple[list[int], list[int]]]:
    ids = [*_encode(tokenizer, text), words_of(tokenizer).eos_token_id]
    starts = range(0, len(ids) - 1, max_length - 1)
    return [(ids[start : start + max_length],) * 2 for start in starts]


def check_dropped(dropped: int, total: int, max_length: int, split: str) -> None:
    """Say how many examples are too long, and refuse a split that loses many of them."""
    if dropped:
        print(f"{split}: {dropped} of {total} examples exceed {max_length} tokens, left out")
    if dropped > MAX_DROPPED * total:
        found = f"{dropped} of {total} {split} examples are longer than {max_length} tokens"
        fix = "raise train.max_length, or shorten the records"
        raise UserError(Problem("train.max_length", found, f"at most {MAX_DROPPED:.0%}", fix))


def _template_problem(row: int, turn: int) -> Problem:
    found = (
        f"row {row}, turn {turn}: the text before an assistant turn changes when the turn is "
        "added, so its tokens cannot be told apart"
    )
    fix = "use single-turn data, or a tokenizer whose template renders turns one by one"
    return Problem("chat template", found, fix=fix)


def _end_problem() -> Problem:
    found = "it writes no special token after an assistant turn, so no model could learn to stop"
    fix = "choose an instruction-tuned model, or remove the template to get the plain one"
    return Problem("chat template", found, fix=fix)


def _empty_problem(row: int) -> Problem:
    fix = "see the row in the prepared file; the assistant turns must not be empty"
    return Problem(f"row {row}", "no token is left to learn from", fix=fix)
