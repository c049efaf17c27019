"""Training of encoder-decoders: the turns before the last answer are read, the answer is written.

Only the last answer of a conversation is learned; earlier ones are part of what is read.
"""

from collections.abc import Callable, Sequence
from typing import Any

from .data_loader import check_dropped, render_prompt, target_ids, with_system
from .errors import Problem, UserError
from .generation import generate
from .model_access import base_model
from .objectives import IGNORED
from .records import Record
from .scored_training import (
    collator,
    cross_entropy_sum,
    loss_function,
    plain_classes,
    token_hits,
    token_scores,
)
from .text_overlap import normalise, rouge
from .training import Job, Start, Tokenised, Training, trainer_scores

MOST_WRITTEN = 64  # examples of the test split that are answered in full


def answers() -> Training:
    """Learn to write the last answer of each conversation (objective seq2seq)."""
    return Training(_tokenised, plain_classes, _extras, _scores, show=_shown)


def _tokenised(records: Sequence[Record], job: Job) -> Tokenised:
    """Return sources and targets; a pair is left out where either is over the length."""
    from datasets import Dataset

    limit = job.config.train.max_length
    pairs: list[tuple[list[int], list[int]]] = []
    for row, record in enumerate(records):
        *asked, answer = with_system(record.messages, job.prompt)
        if not answer.content.strip() or answer.role != "assistant":
            fix = "see the row in the prepared file; it must end with an answer"
            raise UserError(Problem(f"row {row}", "no token is left to learn from", fix=fix))
        source = render_prompt(job.tokenizer, asked)
        pairs.append((source, target_ids(job.tokenizer, answer.content)))
    kept = [pair for pair in pairs if max(map(len, pair)) <= limit]
    dropped = len(pairs) - len(kept)
    check_dropped(dropped, len(pairs), limit, job.split)
    if not kept and job.split == "train":
        fix = "look at data/prepared/report.json for what became of the rows"
        raise UserError(Problem("train split", "it holds no example", fix=fix))
    columns = {"input_ids": [source for source, _ in kept], "labels": [one for _, one in kept]}
    read, written = (sum(map(len, column)) for column in columns.values())
    return Tokenised(Dataset.from_dict(columns), dropped, read + written, written)


def _extras(start: Start) -> dict[str, Any]:
    return {
        "data_collator": _with_decoder(collator(start.tokenizer, per_token=True), start.model),
        "compute_loss_func": loss_function(cross_entropy_sum, start),
        "compute_metrics": token_scores,
        "preprocess_logits_for_metrics": token_hits,
    }


def _with_decoder(collate: Callable[[Any], dict[str, Any]], model: Any) -> Callable[[Any], Any]:
    """Add what the decoder reads: the target moved by one, behind the model's start token."""
    shifted = base_model(model).prepare_decoder_input_ids_from_labels

    def batch(examples: Sequence[Any]) -> dict[str, Any]:
        made = collate(examples)
        return made | {"decoder_input_ids": shifted(labels=made["labels"])}

    return batch


def _scores(trainer: Any, dataset: Any) -> dict[str, float]:
    """Return loss, token accuracy and perplexity, and how near whole answers come to the right.

    Answers are written greedily to the first MOST_WRITTEN examples; `written` says how many.
    """
    scores = trainer_scores(trainer, dataset)
    some = dataset.select(range(min(MOST_WRITTEN, len(dataset))))
    tokenizer = trainer.processing_class
    longest = max(map(len, some["labels"]))
    size = trainer.args.per_device_eval_batch_size
    model = trainer.model.eval()
    found = generate(model, tokenizer, list(some["input_ids"]), longest + 1, size).texts
    right = [tokenizer.decode(ids, skip_special_tokens=True) for ids in some["labels"]]
    pairs = [*zip(found, right, strict=True)]
    exact = sum(normalise(one) == normalise(other) for one, other in pairs) / len(pairs)
    overlap = sum(rouge("rougeL", one, other) for one, other in pairs) / len(pairs)
    return scores | {"exact_match": exact, "rouge_l": overlap, "written": float(len(pairs))}


def _shown(tokenizer: Any, example: dict[str, Any]) -> list[str]:
    source, target = (example[name] for name in ("input_ids", "labels"))
    assert IGNORED not in target
    return [
        "First example: what is read, and below it a line per token of what is learned",
        repr(tokenizer.decode(source)),
        *(f"learn {token:7d} {tokenizer.decode([token])!r}" for token in target),
    ]
