"""Prepared records -> token ids and labels. The only place that renders conversations."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from jinja2 import TemplateError

from .chat_templates import render
from .config import Config
from .errors import Problem, UserError
from .heads import HEADS
from .manifest import check_manifest
from .message_parts import content, words_of
from .objectives import IGNORED, OBJECTIVES, Objective, check_readable
from .packs import load_packs
from .plain_tokens import encode, encode_plain, shield, special_ids, tokenise_plain
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


def prepared_rows(config: Config) -> list[Record]:
    """Read the training split; [] where it is not prepared yet, or anew, which training refuses."""
    try:
        return load_split(config, "train")
    except UserError:
        return []


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

    The names of special tokens in what a turn says are tokenised as plain text, so that no
    content can end its turn and open another.

    Args:
        tokenizer: with a chat template, or the processor of a model that reads images: each
            mark of an image is one token then (see image_tokens). Without a template (T5) the
            turns are plain text, with the special tokens that the tokenizer puts around a text.
        messages: turns in order.
        add_generation_prompt: end with the opening of an assistant turn.
    """
    words = words_of(tokenizer)
    if not words.chat_template:
        return list(tokenise_plain(words, plain_turns(messages)).input_ids)
    return encode(words, _text(tokenizer, messages, add_generation_prompt))


def plain_turns(messages: Sequence[Message]) -> str:
    """Return a conversation as plain text, for models that know no chat template.

    The texts stand one below the other, the system prompt first, with blank lines between them.
    Who speaks is written only where there is more than one speaker: a single question reads as
    in the data such models were pre-trained on.
    """
    named = any(message.role == "assistant" for message in messages)
    return "\n\n".join(
        f"{turn.role}: {turn.content}" if named and turn.role != "system" else turn.content
        for turn in messages
    )


def target_ids(tokenizer: Any, text: str) -> list[int]:
    """Return the ids of a text that a decoder of its own learns to write; the last ends it."""
    ids = list(tokenise_plain(tokenizer, text_target=text).input_ids)
    return ids if ids[-1:] == [tokenizer.eos_token_id] else [*ids, tokenizer.eos_token_id]


def tokenise(
    records: Sequence[Record],
    tokenizer: Any,
    objective: Objective,
    max_length: int,
    prompt: str = "",
    split: str = "train",
    starts: Sequence[int] = (),
) -> Tokenised:
    """Turn records into examples with labels.

    Conversations longer than `max_length` tokens are left out and counted. Documents are
    cut into blocks that overlap by one token, so that every token is predicted once; where
    every token is learned, a conversation counts as a document.

    Args:
        records: Of one split.
        tokenizer: With a chat template.
        objective: Decides what is learned.
        max_length: Longest example in tokens.
        prompt: System turn of conversations that have none.
        split: Name of the split, for messages.
        starts: Of each conversation the turn from which answers carry loss; (): the first.

    Raises:
        UserError: too many examples are over the length, or one has no token to learn from.
    """
    from datasets import Dataset

    examples: list[tuple[list[int], list[int]]] = []
    dropped = 0
    for row, record in enumerate(records):
        if not objective.assistant_only:
            if not record.text and not record.messages:
                raise UserError(_empty_problem(row))
            document = shield(tokenizer, record.text)
            document = document or _text(tokenizer, with_system(record.messages, prompt), False)
            examples += _blocks(tokenizer, document, max_length)
            continue
        messages = with_system(record.messages, prompt)
        ids, labels = label_conversation(tokenizer, messages, row, starts[row] if starts else 0)
        if len(ids) > max_length:
            dropped += 1
            continue
        examples.append((ids, labels))
    check_dropped(dropped, len(records), max_length, split)
    check_present(len(examples), split)
    columns = {"input_ids": [e[0] for e in examples], "labels": [e[1] for e in examples]}
    tokens = sum(len(ids) for ids in columns["input_ids"])
    learned = sum(sum(label != IGNORED for label in labels) for labels in columns["labels"])
    return Tokenised(Dataset.from_dict(columns), dropped, tokens, learned)


def count_tokens(reader: Any, record: Record, objective: Objective, prompt: str) -> int:
    """Return the length of a record in tokens as `tokenise` would make it.

    Args:
        reader: tokenizer with a chat template, or processor; an image counts as one token.
        record: of any kind. Judged answers count as the prompt with the longer of them; records
            without turns as the sum of their texts.
        objective: decides whether a conversation or its text is learned.
        prompt: system prompt of conversations that have none.
    """
    tokenizer = words_of(reader)

    def total(texts: Iterable[str]) -> int:
        return sum(len(encode_plain(tokenizer, text)) for text in texts)

    if record.chosen or record.rejected:
        asked = with_system(record.messages, prompt)
        answers = [turns for turns in (record.chosen, record.rejected) if turns]
        return max(len(label_conversation(reader, [*asked, *one], 0)[0]) for one in answers)
    if record.kind == "labelled":
        return len(tokenise_plain(tokenizer, record.texts()[0]).input_ids)
    if record.kind != "messages":
        return total(record.texts())
    if not tokenizer.chat_template and not objective.assistant_only:
        return total(["\n\n".join(record.texts())])
    messages = with_system(record.messages, prompt)
    if not tokenizer.chat_template:  # encoder and decoder have the limit each
        answer = target_ids(tokenizer, messages[-1].content)
        return max(len(render_prompt(reader, messages[:-1])), len(answer))
    if objective.assistant_only:
        return len(label_conversation(reader, messages, 0)[0])
    return len(encode(tokenizer, _text(reader, messages, False))) + 1  # the end token


def label_conversation(
    tokenizer: Any, messages: Sequence[Message], row: int, start: int = 0
) -> tuple[list[int], list[int]]:
    """Return ids and labels: assistant turns and their end tokens are learned, nothing else.

    Answers before turn `start` are solved examples, which carry no loss.

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
        if answer_ids[-1] not in special_ids(words_of(tokenizer)):
            raise UserError(_end_problem())
        ids += prompt_ids + answer_ids
        learned = answer_ids if turn >= start else [IGNORED] * len(answer_ids)
        labels += [IGNORED] * len(prompt_ids) + learned
        done = after[:end]
    if not any(label != IGNORED for label in labels):
        raise UserError(_empty_problem(row))
    return ids, labels


def _continue(tokenizer: Any, ids: list[int], done: str, text: str) -> list[int]:
    """Return the ids that follow `ids` (those of `done`) when the text goes on to `text`.

    Where a token would straddle the border, the new part is tokenised by itself: at inference
    the prompt ends at the border as well.
    """
    words = words_of(tokenizer)
    whole = encode(words, text)
    if whole[: len(ids)] == ids:
        return whole[len(ids) :]
    return encode(words, text[len(done) :])


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
    turns = [{"role": m.role, "content": content(tokenizer, m.content)} for m in messages]
    # Templates of reasoning models open an answer with an empty thinking block then, both when
    # they ask for one and around a given one. Others ignore the variable.
    return render(words_of(tokenizer), turns, add_generation_prompt, enable_thinking=False)


def _role_problem() -> Problem:
    found = "the chat template refuses a conversation of this data"
    fix = "use a model whose template takes user and assistant turns in this order"
    return Problem("model.model_name_or_path", found, fix=fix)


def _blocks(tokenizer: Any, text: str, max_length: int) -> list[tuple[list[int], list[int]]]:
    ids = [*encode(tokenizer, text), tokenizer.eos_token_id]
    starts = range(0, len(ids) - 1, max_length - 1)
    return [(ids[start : start + max_length],) * 2 for start in starts]


def check_present(examples: int, split: str) -> None:
    """Refuse to train on nothing.

    Raises:
        UserError: the training split holds no example.
    """
    if not examples and split == "train":
        fix = "look at data/prepared/report.json for what became of the rows"
        raise UserError(Problem("train split", "it holds no example", fix=fix))


def check_dropped(dropped: int, total: int, max_length: int, split: str) -> None:
    """Say how many examples are too long and were left out.

    Raises:
        UserError: they are more than MAX_DROPPED of all.
    """
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
