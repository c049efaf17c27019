"""Training of classifiers: one label for a text, any number of them, or one for each word."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from .data_loader import check_dropped
from .entity_spans import is_span_scheme, span_f1
from .errors import Problem, UserError
from .model_access import base_model
from .objectives import IGNORED
from .plain_tokens import tokenise_plain
from .records import Record
from .scored_training import (
    aligned,
    binary_sum,
    collator,
    cross_entropy_sum,
    f1_scores,
    first_logits,
    loss_function,
    plain_classes,
)
from .training import Job, Start, Tokenised, Training

SINGLE, MULTI = "single_label_classification", "multi_label_classification"  # of transformers


def one_label() -> Training:
    """Choose one label for a text (objective classify): cross entropy."""
    return Training(_tokenised_one, plain_classes, partial(_text_extras, SINGLE), show=_shown)


def any_labels() -> Training:
    """Choose any number of labels for a text (objective multilabel): a yes or no for each."""
    return Training(_tokenised_any, plain_classes, partial(_text_extras, MULTI), show=_shown)


def word_labels() -> Training:
    """Choose a label for each word (objective token_classify)."""
    return Training(_tokenised_words, plain_classes, _word_extras)


def _tokenised_one(records: Sequence[Record], job: Job) -> Tokenised:
    _check_labels(records, job, fewest=2)
    _require_texts(records, job)
    wrong = [row for row, record in enumerate(records) if len(record.labels) != 1]
    if wrong:
        found = f"{len(wrong)} rows have no label or several, the first is row {wrong[0]}"
        fix = "objective=multilabel learns any number of labels"
        raise UserError(Problem(f"{job.split} split", found, "exactly one label a row", fix))
    numbers = {label: number for number, label in enumerate(job.labels)}
    return _texts(records, job, lambda record: numbers[record.labels[0]])


def _tokenised_any(records: Sequence[Record], job: Job) -> Tokenised:
    _check_labels(records, job, fewest=1)
    _require_texts(records, job)
    return _texts(records, job, lambda r: [float(label in r.labels) for label in job.labels])


def _require_texts(records: Sequence[Record], job: Job) -> None:
    if any(record.tokens for record in records):
        found, fix = "its rows are words with a label each", "objective=token_classify"
        raise UserError(Problem(f"{job.split} split", found, fix=fix))


def _texts(records: Sequence[Record], job: Job, labels: Callable[[Record], Any]) -> Tokenised:
    rows = [tokenise_plain(job.tokenizer, record.text).input_ids for record in records]
    _say_majority(job, Counter(record.labels for record in records), "rows")
    return _dataset(job, rows, [labels(record) for record in records], learned=len)


def _tokenised_words(records: Sequence[Record], job: Job) -> Tokenised:
    _check_labels(records, job, fewest=2)
    if not all(record.tokens for record in records):
        fix = "objective=classify, or data with `tokens` and a label for each"
        raise UserError(Problem(f"{job.split} split", "its rows are texts with labels", fix=fix))
    if not job.tokenizer.is_fast:
        found = "a tokenizer that does not say where its tokens stand in a text"
        fix = "a model with a tokenizer.json"
        raise UserError(Problem("model.model_name_or_path", found, fix=fix))
    numbers = {label: number for number, label in enumerate(job.labels)}
    coded = [word_pieces(job.tokenizer, record.tokens) for record in records]
    rows, labels, lost = [], [], 0
    for record, (ids, firsts) in zip(records, coded, strict=True):
        row = [IGNORED] * len(ids)
        for word, piece in firsts.items():
            row[piece] = numbers[record.labels[word]]
        rows.append(ids)
        labels.append(row)
        lost += len(record.tokens) - len(firsts)
    if lost:
        print(f"{job.split}: {lost} words give no token of their own, their labels are left out")
    counts = Counter(label for record in records for label in record.labels)
    _say_majority(job, counts, "words")
    return _dataset(job, rows, labels, lambda kept: sum(n != IGNORED for r in kept for n in r))


def word_pieces(tokenizer: Any, words: Sequence[str]) -> tuple[list[int], dict[int, int]]:
    """Return the ids of words joined by blanks, and word -> position of its first piece.

    A piece belongs to the word in which it ends, because the blank before a word is part of the
    piece in many vocabularies. Words that leave no piece (characters that the tokenizer removes,
    or that are merged with the next word) are missing.
    """
    coded = tokenise_plain(tokenizer, " ".join(words), return_offsets_mapping=True)
    owner = _owners(words)
    firsts: dict[int, int] = {}
    for position, (start, end) in enumerate(coded.offset_mapping):
        if start < end and (word := owner[end - 1]) is not None:
            firsts.setdefault(word, position)
    return list(coded.input_ids), firsts


def _owners(words: Sequence[str]) -> list[int | None]:
    """Return for each character of the joined words the word that it belongs to."""
    owners: list[int | None] = []
    for number, word in enumerate(words):
        owners += [*([None] if number else []), *[number] * len(word)]
    return owners


def _dataset(
    job: Job, rows: list[list[int]], labels: list[Any], learned: Callable[[list[Any]], int]
) -> Tokenised:
    """Leave out what is too long, and refuse what leaves nothing to learn."""
    from datasets import Dataset

    limit = min(job.config.train.max_length, job.tokenizer.model_max_length)
    special = {*job.tokenizer.all_special_ids}
    empty = [row for row, ids in enumerate(rows) if special.issuperset(ids)]
    if empty:
        fix = "remove the row, or choose a model that knows its characters"
        raise UserError(Problem(f"row {empty[0]}", "no token is left to learn from", fix=fix))
    kept = [row for row, ids in enumerate(rows) if len(ids) <= limit]
    check_dropped(len(rows) - len(kept), len(rows), limit, job.split)
    if not kept and job.split == "train":
        fix = "look at data/prepared/report.json for what became of the rows"
        raise UserError(Problem("train split", "it holds no example", fix=fix))
    columns = {"input_ids": [rows[i] for i in kept], "labels": [labels[i] for i in kept]}
    tokens = sum(map(len, columns["input_ids"]))
    dropped = len(rows) - len(kept)
    return Tokenised(Dataset.from_dict(columns), dropped, tokens, learned(columns["labels"]))


def _check_labels(records: Sequence[Record], job: Job, fewest: int) -> None:
    """Refuse too few classes, and labels that the training split does not have.

    A model has no output for such a label: leaving its rows out would flatter the test score.
    """
    if len(job.labels) < fewest:
        fix = f"data with {fewest} labels or more"
        found = f"{len(job.labels)} labels: nothing to tell apart"
        raise UserError(Problem("train split", found, fix=fix))
    known = set(job.labels)
    rows = [row for row, record in enumerate(records) if not known.issuperset(record.labels)]
    if rows:
        strange = {label for row in rows for label in records[row].labels} - known
        main = job.config.data.prepared
        found = f"{len(rows)} rows have labels that no training row of {main} has"
        found += f" ({len(strange)} labels)"
        fix = "more rows of these labels, or merge or remove the labels; then make prepare"
        raise UserError(Problem(f"{job.split} split", found, fix=fix))


def _say_majority(job: Job, counts: Counter[Any], what: str) -> None:
    if counts:
        share = max(counts.values()) / counts.total()
        print(f"{job.split}: {share:.0%} of the {counts.total()} {what} have the same label")


def _text_extras(problem_type: str, start: Start) -> dict[str, Any]:
    # Saved with the model: it says whether scores exclude each other.
    base_model(start.model).config.problem_type = problem_type
    single = problem_type == SINGLE
    return {
        "data_collator": collator(start.tokenizer),
        "compute_loss_func": loss_function(cross_entropy_sum if single else binary_sum, start),
        "compute_metrics": one_label_scores if single else any_labels_scores,
        "preprocess_logits_for_metrics": lambda outputs, _labels: first_logits(outputs),
    }


def _word_extras(start: Start) -> dict[str, Any]:
    return {
        "data_collator": collator(start.tokenizer, per_token=True),
        "compute_loss_func": loss_function(cross_entropy_sum, start),
        "compute_metrics": partial(word_scores, start.labels),
        "preprocess_logits_for_metrics": _chosen,
    }


def _chosen(outputs: Any, labels: Any) -> Any:
    return aligned(first_logits(outputs), labels).argmax(dim=-1)  # (rows, length)


def one_label_scores(found: Any) -> dict[str, float]:
    """Return accuracy, macro F1, and the accuracy of always choosing the most frequent label."""
    import numpy as np

    gold, predicted = found.label_ids, found.predictions.argmax(axis=-1)  # (rows,) each
    classes = np.arange(found.predictions.shape[1])
    macro, _ = f1_scores(gold[:, None] == classes, predicted[:, None] == classes)
    majority = np.bincount(gold).max() / len(gold)
    accuracy = float((gold == predicted).mean())
    return {"accuracy": accuracy, "macro_f1": macro, "majority": float(majority)}


def any_labels_scores(found: Any) -> dict[str, float]:
    """Return micro and macro F1 at probability 1/2, and the share of rows with all labels right.

    `majority` is that share for always choosing the most frequent set of labels.
    """
    gold, predicted = found.label_ids > 0.5, found.predictions > 0  # (rows, labels)
    macro, micro = f1_scores(gold, predicted)
    sets = Counter(map(tuple, gold.tolist()))
    return {
        "micro_f1": micro,
        "macro_f1": macro,
        "exact_match": float((gold == predicted).all(axis=1).mean()),
        "majority": max(sets.values()) / len(gold),
    }


def word_scores(labels: Sequence[str], found: Any) -> dict[str, float]:
    """Return accuracy over words, its value for the most frequent label, and F1 of entities."""
    import numpy as np

    gold, predicted = found.label_ids, found.predictions  # (rows, length)
    labelled = gold != IGNORED
    scores = {
        "accuracy": float((gold == predicted)[labelled].mean()),
        "majority": float(np.bincount(gold[labelled]).max() / labelled.sum()),
    }
    if is_span_scheme(labels):
        scores["entity_f1"] = span_f1(
            _named(labels, gold, labelled), _named(labels, predicted, labelled)
        )
    return scores


def _named(labels: Sequence[str], numbers: Any, labelled: Any) -> Iterator[list[str]]:
    for row, kept in zip(numbers, labelled, strict=True):
        yield [labels[number] for number in row[kept]]


def _shown(tokenizer: Any, example: dict[str, Any]) -> list[str]:
    text = tokenizer.decode(example["input_ids"])
    return [
        "First example",
        repr(text),
        f"number of its label, or a 1 for each: {example['labels']}",
    ]
