"""What a classifier says about a text: labels with their probability."""

from collections.abc import Callable
from typing import Any

from .classification import MULTI, word_pieces
from .errors import Problem, UserError
from .model_access import (
    CLASSIFIER,
    CONTRASTIVE,
    MASKED,
    TOKEN_CLASSIFIER,
    context_length,
    model_kind,
)
from .model_wrapper import LoadedModel
from .plain_tokens import tokenise_plain

Labelled = list[dict[str, Any]]
HALF = 0.5  # probability from which a label of several holds


def predictor(loaded: LoadedModel) -> Callable[[str], Labelled] | None:
    """Return how a model is asked for the labels of a text; None for one that writes text.

    Raises:
        UserError: it gives out neither labels nor text.
    """
    kind, config = model_kind(loaded.model), loaded.model.config
    found = ""
    if kind == MASKED:
        found = "a masked-language model: it fills gaps and answers nothing"
    elif kind == CLASSIFIER and config.num_labels == 1 and config.problem_type != MULTI:
        found = "a reward model: it rates answers and gives none"
    elif kind == CONTRASTIVE:
        found = "a model of images and texts: it tells how well they fit and answers nothing"
    if found:
        fix = "train it further with an objective that gives answers or labels"
        raise UserError(Problem("--model", found, fix=fix))
    label = ROWS.get(kind)
    return label and (lambda text: label(loaded, text))


def text_labels(loaded: LoadedModel, text: str) -> Labelled:
    """Return the labels of a text, the likeliest first, each with its probability.

    Where labels exclude each other, all are returned; else those that hold.
    """
    ids = _fitting(loaded, tokenise_plain(loaded.tokenizer, text).input_ids)
    logits = _logits(loaded, ids)[0]  # (labels,)
    several = loaded.model.config.problem_type == MULTI
    chances = (logits.sigmoid() if several else logits.softmax(-1)).tolist()
    names = loaded.model.config.id2label
    found = [{"label": names[i], "probability": round(p, 4)} for i, p in enumerate(chances)]
    found.sort(key=lambda one: -one["probability"])
    return [one for one in found if one["probability"] >= HALF] if several else found


def word_labels(loaded: LoadedModel, text: str) -> Labelled:
    """Return the words of a text (split at blanks), each with its likeliest label.

    A word of which the tokenizer leaves nothing has no label.
    """
    words = text.split()
    ids, firsts = word_pieces(loaded.tokenizer, words)
    logits = _logits(loaded, _fitting(loaded, ids))[0, -len(ids) :]  # (length, labels)
    chances = logits.softmax(-1)
    names = loaded.model.config.id2label
    found: Labelled = []
    for number, word in enumerate(words):
        one: dict[str, Any] = {"word": word, "label": None}
        if number in firsts:
            best = chances[firsts[number]].max(dim=-1)
            one |= {"label": names[int(best.indices)], "probability": round(best.values.item(), 4)}
        found.append(one)
    return found


def _fitting(loaded: LoadedModel, ids: list[int]) -> list[int]:
    limit = context_length(loaded.model, loaded.tokenizer)
    if len(ids) <= limit:
        return ids
    raise UserError(Problem("the text", f"{len(ids)} tokens", f"at most {limit}", "shorten it"))


def _logits(loaded: LoadedModel, ids: list[int]) -> Any:
    import torch

    with torch.inference_mode():
        return loaded.model(torch.tensor([ids], device=loaded.model.device)).logits.float()


# Kind of model -> what it says about a text
ROWS: dict[str, Callable[[LoadedModel, str], Labelled]] = {
    CLASSIFIER: text_labels,
    TOKEN_CLASSIFIER: word_labels,
}
