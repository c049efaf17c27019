"""Judged answers -> token ids: pairs of answers (dpo, orpo, reward) and single ones (kto)."""

import random
from collections.abc import Callable, Sequence
from typing import Any

from .data_loader import check_dropped, check_present, label_conversation, with_system
from .errors import Problem, UserError
from .objectives import IGNORED
from .records import Message, Record
from .training import Job, Tokenised

SIDES = ("chosen", "rejected")
Tokens = tuple[list[int], list[int], list[int]]  # prompt, answer, mask of the answer


def answer_tokens(
    tokenizer: Any, asked: Sequence[Message], answer: Sequence[Message], row: int
) -> Tokens:
    """Return the ids of a prompt, those of an answer to it, and 1 where the assistant speaks.

    The text is rendered as a conversation is for fine-tuning, so the token that ends a turn is
    part of every answer. An answer of several turns has questions in between; their mask is 0.

    Args:
        tokenizer: with a chat template.
        asked: turns before the answer.
        answer: its turns, the first one by the assistant.
        row: place of the record, for messages.
    """
    ids, labels = label_conversation(tokenizer, [*asked, *answer], row)
    spoken = [label != IGNORED for label in labels]
    starts = [at for at, now in enumerate(spoken) if now and (at == 0 or not spoken[at - 1])]
    begin = starts[sum(message.role == "assistant" for message in asked)]
    return ids[:begin], ids[begin:], [int(one) for one in spoken[begin:]]


def tokenise_pairs(records: Sequence[Record], job: Job) -> Tokenised:
    """Return pairs with the columns prompt_ids, and ids and mask of both answers.

    A pair one of whose answers is too long with its prompt is left out and counted.

    Raises:
        UserError: too many pairs are too long, or none is left.
    """
    columns: dict[str, list[Any]] = {"prompt_ids": []}
    columns |= {f"{side}_{part}": [] for side in SIDES for part in ("ids", "mask")}
    dropped = tokens = learned = 0
    for row, record in enumerate(records):
        asked = with_system(record.messages, job.prompt)
        answers = [
            answer_tokens(job.tokenizer, asked, turns, row)
            for turns in (record.chosen, record.rejected)
        ]
        sizes = [len(prompt) + len(answer) for prompt, answer, _ in answers]
        if max(sizes) > job.config.train.max_length:
            dropped += 1
            continue
        columns["prompt_ids"].append(answers[0][0])
        for side, (_, answer, mask) in zip(SIDES, answers, strict=True):
            columns[f"{side}_ids"].append(answer)
            columns[f"{side}_mask"].append(mask)
            learned += sum(mask)
        tokens += sum(sizes)
    return _tokenised(columns, "prompt_ids", job, len(records), (dropped, tokens, learned))


def tokenise_whole_pairs(records: Sequence[Record], job: Job) -> Tokenised:
    """Return pairs with the columns chosen_ids and rejected_ids: prompt and answer in one."""
    pairs = tokenise_pairs(records, job)
    whole = {
        f"{side}_ids": [
            [*prompt, *answer]
            for prompt, answer in zip(
                pairs.dataset["prompt_ids"], pairs.dataset[f"{side}_ids"], strict=True
            )
        ]
        for side in SIDES
    }
    return Tokenised(_dataset(whole), pairs.dropped, pairs.tokens, pairs.label_tokens)


def tokenise_rated(records: Sequence[Record], job: Job) -> Tokenised:
    """Return single answers: prompt_ids, completion_ids, completion_mask, label (good or not).

    A pair counts as a good and a bad answer. The order is drawn once from the seed, because the
    trainer reads these examples in order: neighbours lend each other their answers. Good and
    bad ones are spread evenly, since a batch of one kind alone teaches next to nothing: its
    rewards and the divergence that they are compared with rise together.

    Raises:
        UserError: too many answers are too long, none is left, or all are good or all bad.
    """
    names = ("prompt_ids", "completion_ids", "completion_mask", "label")
    columns: dict[str, list[Any]] = {name: [] for name in names}
    dropped = total = 0
    for row, record in enumerate(records):
        asked = with_system(record.messages, job.prompt)
        for turns, good in ((record.chosen, True), (record.rejected, False)):
            if not turns:
                continue
            total += 1
            prompt, answer, mask = answer_tokens(job.tokenizer, asked, turns, row)
            if len(prompt) + len(answer) > job.config.train.max_length:
                dropped += 1
                continue
            for name, value in zip(names, (prompt, answer, mask, good), strict=True):
                columns[name].append(value)
    order = _mixed(columns["label"], job.config.train.seed)
    columns = {name: [values[at] for at in order] for name, values in columns.items()}
    both = (*columns["prompt_ids"], *columns["completion_ids"])
    learned = sum(map(sum, columns["completion_mask"]))
    counts = (dropped, sum(map(len, both)), learned)
    found = _tokenised(columns, "label", job, total, counts)
    if job.split == "train":
        _say_balance(columns["label"], job)
    return found


def _mixed(labels: Sequence[bool], seed: int) -> list[int]:
    """Return places in a random order in which both labels are spread evenly."""
    places: list[tuple[float, int]] = []
    for label in (True, False):
        same = [at for at, one in enumerate(labels) if one == label]
        random.Random(seed + label).shuffle(same)
        places += [((rank + 0.5) / len(same), at) for rank, at in enumerate(same)]
    return [at for _, at in sorted(places)]


def _tokenised(
    columns: dict[str, list[Any]], key: str, job: Job, total: int, counts: tuple[int, int, int]
) -> Tokenised:
    dropped, tokens, learned = counts
    check_dropped(dropped, total, job.config.train.max_length, job.split)
    check_present(len(columns[key]), job.split)
    return Tokenised(_dataset(columns), dropped, tokens, learned)


def _dataset(columns: dict[str, list[Any]]) -> Any:
    from datasets import Dataset

    return Dataset.from_dict(columns)


def _say_balance(labels: Sequence[bool], job: Job) -> None:
    """Print how many answers are good and bad, and weights that even them out.

    Equation 8 of the KTO paper (arXiv 2402.01306): desirable_weight * good answers should be 1
    to 4/3 times undesirable_weight * bad answers.
    """
    good = sum(labels)
    bad = len(labels) - good
    if not good or not bad:
        found = f"{good} good and {bad} bad answers"
        fix = "add answers of the other kind, or train on the good ones with objective sft"
        raise UserError(Problem("train split", found, "both kinds", fix))
    weights = job.config.preference
    share = weights.desirable_weight * good / (weights.undesirable_weight * bad)
    line = f"train: {good} good and {bad} bad answers, weighted {share:.2f} to 1"
    if not 1 <= share <= 4 / 3:
        name, value = "undesirable_weight", weights.desirable_weight * good / bad
        if share < 1:
            name, value = "desirable_weight", weights.undesirable_weight * bad / good
        line += f"; 1 to 1.33 is usual, which preference.{name}={value:.3g} gives"
    print(line)


def pair_collator(pad: int) -> Callable[[list[dict[str, Any]]], dict[str, Any]]:
    """Return what makes a batch of pairs: first all chosen answers, then all rejected ones."""

    def collate(examples: list[dict[str, Any]]) -> dict[str, Any]:
        rows = [
            _joined(row["prompt_ids"], row[f"{side}_ids"], row[f"{side}_mask"])
            for side in SIDES
            for row in examples
        ]
        return _padded(rows, pad)

    return collate


def rated_collator(pad: int) -> Callable[[list[dict[str, Any]]], dict[str, Any]]:
    """Return what makes a batch of rated answers, each also with the answer lent to it."""

    def collate(examples: list[dict[str, Any]]) -> dict[str, Any]:
        import torch

        batch = {"label": torch.tensor([row["label"] for row in examples])}  # (batch,)
        for prefix in ("", "KL_"):
            rows = [
                _joined(
                    row["prompt_ids"],
                    row[f"{prefix}completion_ids"],
                    row[f"{prefix}completion_mask"],
                )
                for row in examples
            ]
            found = _padded(rows, pad)
            batch |= {f"{prefix}{name}": values for name, values in found.items()}
        return batch

    return collate


def lend_answers(dataset: Any, batch: int) -> Any:
    """Add the columns KL_completion_ids and KL_completion_mask: an answer of another row.

    Within each batch the answers move on by one, so that those which estimate the divergence
    are the answers of the batch (arXiv 2402.01306). A batch of one row, at the end of a split,
    borrows from the row before it: its own answer would cancel its reward.
    """
    size = len(dataset)
    lenders = []
    for at in range(size):
        first = at - at % batch
        last = min(first + batch, size) - 1
        alone = first == last
        lenders.append(max(at - 1, 0) if alone or at > first else last)
    for part in ("ids", "mask"):
        column = list(dataset[f"completion_{part}"])
        dataset = dataset.add_column(f"KL_completion_{part}", [column[at] for at in lenders])
    return dataset


def _joined(prompt: list[int], answer: list[int], mask: list[int]) -> tuple[list[int], list[int]]:
    return [*prompt, *answer], [0] * len(prompt) + mask


def _padded(rows: Sequence[tuple[list[int], list[int]]], pad: int) -> dict[str, Any]:
    """Return input_ids, attention_mask and completion_mask, each of shape (rows, longest)."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    def fill(values: list[list[int]], filler: int) -> torch.Tensor:
        tensors = [torch.tensor(value) for value in values]
        return pad_sequence(tensors, batch_first=True, padding_value=filler)

    ids, masks = [list(part) for part in zip(*rows, strict=True)]
    return {
        "input_ids": fill(ids, pad),
        "attention_mask": fill([[1] * len(one) for one in ids], 0),
        "completion_mask": fill(masks, 0),
    }
