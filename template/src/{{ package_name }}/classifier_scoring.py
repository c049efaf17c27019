"""Labels of items by a classification model, which knows its labels by name.

The model reads the text of an item without its question: a classifier has learned the question.
Of an item of type `nli` it reads context and question (the hypothesis) as a pair.
"""

from collections.abc import Callable, Sequence
from typing import Any

from .batches import by_length
from .errors import Problem, UserError
from .items import Item
from .plain_tokens import tokenise_plain


def classify(
    model: Any,
    tokenizer: Any,
    items: Sequence[Item],
    limit: int,
    batch_size: int,
    advance: Callable[[int], None] | None = None,
) -> tuple[list[tuple[float, ...]], list[tuple[int, int]]]:
    """Return log-probabilities in nats of each item's labels, and (tokens, tokens left out).

    The probabilities are over all classes of the model, those included that are no label of
    the item.

    Args:
        model: a model of class ...ForSequenceClassification; `id2label` names its classes.
        tokenizer: the tokenizer of that model.
        items: items with labels.
        limit: most tokens that the model reads; the beginning of longer texts is left out.
        batch_size: most rows in one forward pass.
        advance: called with the number of items after each batch.

    Raises:
        UserError: labels that the model does not know.
    """
    classes = _class_of(model, items)
    rows = [_encode(tokenizer, item, limit) for item in items]
    lengths = [len(row["input_ids"]) for row, _ in rows]
    scores: list[tuple[float, ...]] = [()] * len(items)
    # Without a padding token a decoder cannot tell where a padded text ends.
    size = batch_size if model.config.pad_token_id is not None else 1
    for batch in by_length(lengths, size):
        padded = tokenizer.pad(
            [rows[i][0] for i in batch], padding_side="right", return_tensors="pt"
        )
        logits = model(**{name: value.to(model.device) for name, value in padded.items()}).logits
        for i, values in zip(batch, logits.float().log_softmax(-1).tolist(), strict=True):
            scores[i] = tuple(values[classes[label]] for label in items[i].labels())
        if advance:
            advance(len(batch))
    return scores, [(length, cut) for length, (_, cut) in zip(lengths, rows, strict=True)]


def _class_of(model: Any, items: Sequence[Item]) -> dict[str, int]:
    """Return the class of each label; upper and lower case count alike."""
    names = {str(name).casefold(): int(number) for number, name in model.config.id2label.items()}
    labels = dict.fromkeys(label for item in items for label in item.labels())
    problems = [
        Problem(
            f"label `{label}`",
            "the classification model has no class of this name",
            ", ".join(str(name) for name in model.config.id2label.values()),
            "name the classes in id2label of its config.json, or leave the set out of eval.sets",
        )
        for label in labels
        if label.casefold() not in names
    ]
    if problems:
        raise UserError(problems)
    return {label: names[label.casefold()] for label in labels}


def _encode(tokenizer: Any, item: Item, limit: int) -> tuple[dict[str, list[int]], int]:
    """Return the inputs of one item, and how many tokens of its text are left out."""
    text = item.context or item.question
    pair = item.question if item.type == "nli" and item.context else None
    whole = len(tokenise_plain(tokenizer, text, pair).input_ids)
    if whole <= limit:
        return dict(tokenise_plain(tokenizer, text, pair)), 0
    tokens = tokenise_plain(tokenizer, text, add_special_tokens=False).input_ids
    rest = tokenizer.decode(tokens[min(whole - limit, len(tokens)) :])
    # Decoded text may read as a few tokens more; the tokenizer cuts those.
    encoded = dict(
        tokenise_plain(tokenizer, rest, pair, truncation="longest_first", max_length=limit)
    )
    return encoded, whole - len(encoded["input_ids"])
