"""Solved examples before a question (`few_shot_k`), in training and in evaluation alike.

They stand there as earlier turns: k times a question of the same task and its answer. Only the
answers of the example itself carry loss.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from .data_loader import label_conversation, with_system
from .eval_sets import BEHAVIOUR, Task
from .items import TEXT, Item
from .records import Message, Record
from .scoring import item_messages
from .utils import sha256_json

SETTING = "few_shot_k"
NO_TEXT = "perplexity depends on the tokenizer and on nothing that a prompt could add"
NO_BEHAVIOUR = "solved examples would show how to behave"
SPARE = 32  # further rows that are looked at where one that was drawn cannot be shown


def shown_records(
    records: Sequence[Record],
    pool: Sequence[Record],
    k: int,
    seed: str,
    prompt: str,
    fits: Callable[[Sequence[Message], int], bool],
) -> tuple[list[Record], list[int], int]:
    """Return conversations with solved examples in front of them.

    Examples are single exchanges under the same system turn. No row is an example for itself, for
    its repetition or for its own group. A row that gets too long has fewer of them.

    Args:
        records: conversations.
        pool: of the training split, from which examples are drawn.
        k: examples of each row.
        seed: decides what is drawn.
        prompt: system turn of conversations that have none.
        fits: says whether a conversation is short enough.

    Returns:
        The conversations, for each the turn from which answers carry loss, and how many examples
        are missing in all.
    """
    by_system: dict[str, list[Record]] = defaultdict(list)
    for record in pool:
        system, turns = _parts(record, prompt)
        if [turn.role for turn in turns] == ["user", "assistant"]:
            by_system[_content(system)].append(record)
    shown, starts, missing = [], [], 0
    for row, record in enumerate(records):
        system, turns = _parts(record, prompt)
        found = _drawn(record, by_system[_content(system)], k, f"{seed} {row}", prompt)
        while found and not fits([*system, *_flat(found), *turns], row):
            found.pop()
        messages = (*system, *_flat(found), *turns)
        shown.append(replace(record, messages=messages))
        starts.append(len(messages) - len(turns))
        missing += k - len(found)
    return shown, starts, missing


def fitting(tokenizer: Any, max_length: int) -> Callable[[Sequence[Message], int], bool]:
    """Return what says whether a conversation has at most `max_length` tokens."""

    def fits(messages: Sequence[Message], row: int) -> bool:
        return len(label_conversation(tokenizer, messages, row)[0]) <= max_length

    return fits


def shown_items(tasks: Sequence[Task], k: int) -> tuple[dict[str, list[Item]], dict[str, str]]:
    """Return the items of each set with k solved ones before them, and the sets without, and why.

    Args:
        tasks: the evaluation sets.
        k: setting `few_shot_k`.
    """
    shown: dict[str, list[Item]] = {}
    left_out: dict[str, str] = {}
    if not k:
        return shown, left_out
    for task in tasks:
        found = solved_before(task, k)
        if isinstance(found, str):
            left_out[task.name] = found
            continue
        shown[task.name] = [
            replace(
                item, shots=tuple((item_messages(one)[-1].content, one.gold()) for one in before)
            )
            for item, before in zip(task.items, found, strict=True)
        ]
    return shown, left_out


def solved_before(task: Task, k: int) -> list[list[Item]] | str:
    """Return for each item of a set k other solved ones; or why that makes no sense.

    They are the first by the hash of their ids, one of each right answer before a second of any.
    An item is never an example for itself, its pair or its document.
    """
    if task.metric.needs == TEXT:
        return NO_TEXT
    if task.role == BEHAVIOUR:
        return NO_BEHAVIOUR
    order = sorted(task.items, key=lambda item: sha256_json(item.id))
    shown = []
    for item in task.items:
        others = [one for one in order if one.unit_of_draw != item.unit_of_draw]
        examples = _each_answer_first(others)[:k]
        if len(examples) < k:
            return f"the set has fewer than {k} other items"
        shown.append(examples)
    return shown


def mismatch(k: int, trained: int | None) -> str:
    """Return that a model is asked in another way than it was trained, or nothing.

    Args:
        k: examples before each question of the evaluation.
        trained: of the run's training; None where that is not known.
    """
    if trained is None or trained == k:
        return ""
    return (
        f"the model was trained with {trained} solved examples before each question and is asked "
        f"with {k}; set {SETTING}={trained} to ask as in training"
    )


def _parts(record: Record, prompt: str) -> tuple[list[Message], list[Message]]:
    """Return the system turn, if there is one, and the other turns."""
    turns = with_system(record.messages, prompt)
    cut = 1 if turns and turns[0].role == "system" else 0
    return turns[:cut], turns[cut:]


def _content(system: Sequence[Message]) -> str:
    return system[0].content if system else ""


def _drawn(
    record: Record, pool: Sequence[Record], k: int, seed: str, prompt: str
) -> list[list[Message]]:
    """Return up to k exchanges of other rows; no question twice."""
    draw = random.Random(seed)
    asked = {record.prompt()}
    found = []
    for other in draw.sample(pool, min(len(pool), k + SPARE)):
        same_group = record.group is not None and other.group == record.group
        if other.prompt() in asked or same_group:
            continue
        asked.add(other.prompt())
        found.append(_parts(other, prompt)[1])
        if len(found) == k:
            break
    return found


def _flat(exchanges: Sequence[Sequence[Message]]) -> list[Message]:
    return [turn for exchange in exchanges for turn in exchange]


def _each_answer_first(items: Sequence[Item]) -> list[Item]:
    """Return the items, one of each right answer before a second of any."""
    seen: Counter[str] = Counter()
    ranks = []
    for item in items:
        seen[item.gold()] += 1
        ranks.append(seen[item.gold()])
    places = sorted(range(len(items)), key=lambda place: (ranks[place], place))
    return [items[place] for place in places]
