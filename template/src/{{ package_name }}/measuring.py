"""All that one model is asked and measured for: answers, option order, held-out text, speed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .answers_cache import Answers, Asked, Contender, answer_sets, bar, kept, require_numbers
from .eval_sets import Task
from .few_shot import shown_items
from .held_out import Scored, score_records
from .inference_speed import PROMPTS, inference_speed
from .items import TEXT, Item
from .metrics import Answer
from .model_access import CAUSAL, CLASSIFIER, model_kind
from .model_wrapper import LoadedModel
from .option_order import permutation_scores, reordered
from .records import Record
from .scoring import prompt_tokens
from .utils import timed


@dataclass(slots=True)
class Measured:
    """What one model answered and what was measured on it."""

    answers: dict[str, Answers]
    option_order: dict[str, dict[str, float]]
    held_out: list[Scored]
    speed: dict[str, Any] | None


def measure(
    asked: Asked, contender: Contender, tasks: Sequence[Task], records: Sequence[Record]
) -> Measured:
    """Ask and measure one model; what is kept of it is not asked again.

    Args:
        asked: how models are asked.
        contender: the model.
        tasks: the evaluation sets.
        records: of the test split, for perplexity; may be empty.
    """
    worded, _ = shown_items(tasks, asked.config.few_shot_k)
    return Measured(
        answer_sets(asked, contender, tasks, worded),
        {
            task.name: _option_order(asked, contender, task, worded.get(task.name, task.items))
            for task in tasks
            if all(item.letters for item in task.items)
        },
        _held_out(asked, contender, records),
        _speed(asked, contender, tasks),
    )


def _option_order(
    asked: Asked, contender: Contender, task: Task, shown: Sequence[Item]
) -> dict[str, float]:
    items = reordered(shown)
    title = f"{contender.who}: {task.name}, other orders"

    def compute(loaded: LoadedModel) -> dict[str, float]:
        with bar(asked, title, len(items)) as done:
            scores = permutation_scores(
                loaded.model, loaded.tokenizer, items, asked.prompt, asked.config.eval.batch_size
            )
            done(len(items))
        return {name: round(value, 4) for name, value in scores.items()}

    what = {"option_order": [item.as_dict() for item in items]}
    found: dict[str, float] = _kept(asked, contender, what, "option order", compute)
    return found


def _held_out(asked: Asked, contender: Contender, records: Sequence[Record]) -> list[Scored]:
    most = asked.config.eval.held_out_tokens
    if not records:
        return []

    def compute(loaded: LoadedModel) -> list[Scored]:
        if model_kind(loaded.model) != CAUSAL:
            return []  # the others do not write the running text of a conversation
        with bar(asked, f"{contender.who}: held-out text", most) as done:
            length = asked.config.train.max_length
            scored = score_records(loaded, records, asked.prompt, length, most, done)
        texts = [Answer(log_likelihood=nats, tokens=count) for nats, count in scored]
        require_numbers(contender.who, texts)
        return scored

    what = {
        "held_out": [record.to_json() for record in records],
        "tokens": most,
        "length": asked.config.train.max_length,
    }
    found = _kept(asked, contender, what, "held-out text", compute)
    return [(value, count) for value, count in found]


def _speed(asked: Asked, contender: Contender, tasks: Sequence[Task]) -> dict[str, Any] | None:
    """Time the first item of a few sets; None for a model that writes nothing."""
    items = [task.items[0] for task in tasks if task.metric.needs != TEXT][:PROMPTS]
    if not items:
        return None

    def compute(loaded: LoadedModel) -> dict[str, Any] | None:
        if model_kind(loaded.model) == CLASSIFIER:
            return None
        prompts = [prompt_tokens(loaded.tokenizer, item, asked.prompt) for item in items]
        return inference_speed(loaded, prompts, asked.config.eval.max_new_tokens)

    what = {"speed": [item.as_dict() for item in items], "n": asked.config.eval.max_new_tokens}
    speed: dict[str, Any] | None = _kept(asked, contender, what, "speed", compute)
    return speed


def _kept(
    asked: Asked,
    contender: Contender,
    what: dict[str, Any],
    stage: str,
    compute: Callable[[LoadedModel], Any],
) -> Any:
    """Return a kept figure, or compute it with the loaded model and note the time."""

    def timed_compute() -> Any:
        loaded = contender.load(asked)
        with timed(asked.seconds, f"{stage} {contender.who}"):
            return compute(loaded)

    return kept(asked, contender.identity, what, timed_compute)[0]
