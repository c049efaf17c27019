"""How well a model expects text that it was not trained on: the test split of the run.

Perplexity counts the tokens that training learns: for conversations those of the assistant
turns and their ends, for documents all of them.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from .comparison import Row, paired, rounded
from .config import Config
from .data_loader import label_conversation, load_split, with_system
from .errors import UserError
from .metrics import METRICS, Outcome
from .model_wrapper import LoadedModel
from .objectives import IGNORED
from .plain_tokens import encode_plain
from .records import Message, Record
from .run_log import LOG_NAME, read_log
from .scoring import Advance
from .utils import finite

Scored = tuple[float, int]  # negative log-likelihood in nats, tokens that it is summed over


def held_out_records(config: Config) -> list[Record]:
    """Return the records of the test split that can be scored, in the order of the file.

    Conversations, documents, and preferences by their chosen answer; others have no text that
    the model is to write. At most `eval.max_items` of them; none if the split is not usable,
    because it is gone or was made by other settings, or if `eval.held_out_tokens` is 0.
    """
    if config.eval.held_out_tokens == 0:
        return []
    try:
        records = load_split(config, "test")
    except UserError:
        return []
    texts = [record for record in records if not record.image_keys]  # no image is shown here
    usable = [record for record in texts if record.text or _turns(record)]
    return usable[: config.eval.max_items]


@torch.inference_mode()
def score_records(
    loaded: LoadedModel,
    records: Sequence[Record],
    prompt: str,
    max_length: int,
    most_tokens: int,
    advance: Advance,
) -> list[Scored]:
    """Return the scores of the first records, until `most_tokens` tokens were read.

    Which records are scored depends on the tokenizer alone, so that base and tuned score the
    same ones. A record is cut at `max_length` tokens.

    Args:
        loaded: a causal language model.
        records: of the test split.
        prompt: system turn of conversations that have none.
        max_length: tokens that the model was trained with at most.
        most_tokens: tokens of all records, those without a label included.
        advance: called with the number of tokens after each record.
    """
    model, tokenizer, read = loaded.model, loaded.tokenizer, 0
    scores: list[Scored] = []
    for row, record in enumerate(records):
        ids, labels = _labelled(tokenizer, record, prompt, row)
        ids, labels = ids[:max_length], labels[:max_length]
        read += len(ids)
        if read > most_tokens and scores:
            break
        goal = torch.tensor([labels[1:]], device=model.device)
        learned = goal != IGNORED
        if not learned.any():
            continue
        logits = model(input_ids=torch.tensor([ids], device=model.device), use_cache=False).logits
        # From the end: an adapter may put learned vectors before the text.
        chances = logits[:, -len(ids) : -1][learned].float().log_softmax(-1)  # (learned, V)
        total = chances.gather(-1, goal[learned][:, None]).sum().item()
        scores.append((-total, int(learned.sum())))
        advance(len(ids))
    return scores


def held_out_row(base: Sequence[Scored], tuned: Sequence[Scored], confidence: float) -> Row | None:
    """Return perplexity of base and tuned with their paired difference, or None without text."""
    if not base or not tuned:
        return None
    before, after = (
        [Outcome(str(i), "", "", value, weight=float(n)) for i, (value, n) in enumerate(side)]
        for side in (base, tuned)
    )
    row = paired(before, after, METRICS["perplexity"], None, confidence)
    names = ("base", "tuned", "difference", "interval", "n", "verdict", "p_value")
    ratio = rounded(row["tuned"] / row["base"])
    return {name: row[name] for name in names} | {"ratio": ratio, "tokens": sum(n for _, n in base)}


def validation_loss(run_dir: Path) -> dict[str, float | None] | None:
    """Return the first, best and last validation loss of a run in nats per token, or None.

    A single figure is None where training had diverged: the log says NaN.
    """
    rows = read_log(run_dir / LOG_NAME)
    losses = [row["eval_loss"] for row in rows if row.get("eval_loss") is not None]
    if not losses:
        return None
    best = min(filter(math.isfinite, losses), default=None)
    found: dict[str, float | None] = finite({"first": losses[0], "best": best, "last": losses[-1]})
    return found


def _turns(record: Record) -> tuple[Message, ...]:
    """Return the conversation with the answer that the model is to write, or nothing."""
    turns = (*record.messages, *record.chosen)
    return turns if any(turn.role == "assistant" for turn in turns) else ()


def _labelled(tokenizer: Any, record: Record, prompt: str, row: int) -> tuple[list[int], list[int]]:
    if record.text:
        ids = encode_plain(tokenizer, record.text)
        return ids, ids
    return label_conversation(tokenizer, with_system(_turns(record), prompt), row)
