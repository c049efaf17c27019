"""One model answers the sets; what it answered is kept, so that nothing is asked twice.

Kept are the answers of models whose files can be told apart: the base and further baselines from
a folder, not what an endpoint writes. They lie in `runs/.cache/`, one file each, named by a hash
of everything that they depend on. Items come from the packs and hold no user data. Where a passage
of the training data stands in the prompt, the model may quote it: answers to such prompts are not
kept.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from .config import Config
from .devices import detect_device
from .errors import Problem, UserError
from .eval_sets import Task
from .generation import answer_room, generate
from .items import CHOICES, GENERATION, Item
from .metrics import Answer, Outcome
from .model_wrapper import LoadedModel
from .scoring import Advance, fitted_prompt, gives_numbers, score_choices, score_texts
from .utils import read_json, sha256_json, timed, write_json

SCORING_VERSION = 4  # raise when answers change although nothing else does
TEXT_WINDOW = 512  # tokens of context for perplexity
BASE, TUNED = "base", "tuned"
MOST_NATS = 300.0  # per token; the square of its exp, which an interval needs, is still a float


@dataclass(slots=True)
class Answers:
    """What one model answered to one set."""

    answers: list[Answer]
    seconds: float
    cached: bool = False

    def judged(self, task: Task) -> list[Outcome]:
        """Return what each answer is worth by the metric of its set."""
        pairs = zip(task.items, self.answers, strict=True)
        return [task.metric.judge(item, one) for item, one in pairs]


@dataclass(frozen=True, slots=True)
class Asked:
    """How every model is asked: the same for base, tuned and further baselines."""

    config: Config
    prompt: str  # system turn
    precision: str
    progress: bool
    seconds: dict[str, float] = field(default_factory=dict)

    def spend(self, stage: str, seconds: float) -> None:
        """Add the seconds of a stage."""
        self.seconds[stage] = round(self.seconds.get(stage, 0.0) + seconds, 2)


@dataclass(slots=True)
class Contender:
    """One model of the comparison.

    Attributes:
        who: its name in progress bars and in `seconds`.
        open: loads it; called when the first answer is not kept.
        identity: hash of its weights; None: its answers are not kept.
    """

    who: str
    open: Callable[[], LoadedModel]
    identity: str | None = None
    loaded: LoadedModel | None = None

    def load(self, asked: Asked) -> LoadedModel:
        """Return the model, loaded on the first call.

        Raises:
            UserError: it gives no numbers.
        """
        if self.loaded is None:
            with timed(asked.seconds, f"load {self.who}"):
                loaded = self.open()
                require_sound(self.who, loaded)
            self.loaded = loaded
        return self.loaded


def require_sound(who: str, loaded: LoadedModel) -> None:
    """Refuse a loaded model that diverged, or whose weights overflow in this precision.

    Raises:
        UserError: what it expects after a short text is NaN or infinite.
    """
    if not gives_numbers(loaded.model, loaded.tokenizer):
        raise UserError(_diverged(who))


def require_numbers(who: str, answers: Iterable[Answer]) -> None:
    """Refuse scores that are no numbers, or log-likelihoods whose perplexity would overflow.

    Raises:
        UserError: some answer has such a score.
    """
    for one in answers:
        nats = abs(one.log_likelihood) / max(one.tokens, 1)
        if not all(map(math.isfinite, one.scores)) or not nats < MOST_NATS:  # NaN is not less
            raise UserError(_diverged(who))


def _diverged(who: str) -> Problem:
    fix = "load it in another train.precision, or fetch its weights again"
    if who == TUNED:
        fix = "training diverged: lower train.learning_rate and train again"
    name = f"the {who} model" if who in (BASE, TUNED) else f"model {who}"
    return Problem(name, "gives scores that are no numbers", fix=fix)


def kept(
    asked: Asked,
    identity: str | None,
    what: Mapping[str, Any],
    compute: Callable[[], Any],
) -> tuple[Any, bool]:
    """Return a JSON value and True if it was kept; else compute it, and keep it.

    Args:
        asked: how models are asked; part of what the value depends on.
        identity: hash of the model; None: nothing is kept.
        what: everything else that the value depends on.
        compute: called if nothing is kept.
    """
    path = _place(asked, identity, what)
    if path and path.is_file():
        return read_json(path), True
    value = compute()
    if path:
        write_json(path, value)
    return value, False


def _place(asked: Asked, identity: str | None, what: Mapping[str, Any]) -> Path | None:
    """Return the file of a kept value, whether it is there or not; None: nothing is kept."""
    if identity is None:
        return None
    device = detect_device()
    parts = {
        "version": SCORING_VERSION,
        "model": identity,
        "precision": asked.precision,
        "device": [device.kind, device.name],  # speed is that of this very card
        "prompt": asked.prompt,
    }
    folder = asked.config.path(asked.config.train.output_dir) / ".cache"
    return folder / f"{sha256_json(parts | dict(what))[:24]}.json"


@dataclass(frozen=True, slots=True)
class _Question:
    """A set as one model is asked it, and where its answers are kept."""

    task: Task
    items: Sequence[Item]
    limit: int | None  # tokens of a generated answer
    path: Path | None


def answer_sets(
    asked: Asked,
    contender: Contender,
    tasks: Sequence[Task],
    worded: Mapping[str, Sequence[Item]] | None = None,
) -> dict[str, Answers]:
    """Let one model answer sets, or return what it answered before.

    Sets whose answers are written with one limit are asked together: small sets fill a batch.

    Args:
        asked: how models are asked.
        contender: the model.
        tasks: the sets; the metric of a set says what an answer is.
        worded: the items of a set in another wording (baselines), by its name.
    """
    questions = []
    for task in tasks:
        items = (worded or {}).get(task.name, task.items)
        needs = task.metric.needs
        limit = answer_limit(asked.config, task) if needs == GENERATION else None
        shown = [item.as_dict() for item in items]
        what = {"needs": needs, "max_new_tokens": limit, "items": shown}
        questions.append(_Question(task, items, limit, _place(asked, contender.identity, what)))
    result = {q.task.name: _read(q.path) for q in questions if q.path and q.path.is_file()}
    for pool in _pools([q for q in questions if q.task.name not in result]):
        result |= _ask(asked, contender, pool)
    return {task.name: result[task.name] for task in tasks}


def _read(path: Path) -> Answers:
    value = read_json(path)
    return Answers([Answer.from_dict(row) for row in value["answers"]], value["seconds"], True)


def _pools(questions: Sequence[_Question]) -> list[list[_Question]]:
    """Return the sets that are asked together."""
    pools: dict[int | str, list[_Question]] = {}
    for question in questions:
        alone = question.task.name  # labels of one set share the beginning of their prompts
        pools.setdefault(question.limit or alone, []).append(question)
    return list(pools.values())


def _ask(asked: Asked, contender: Contender, pool: Sequence[_Question]) -> dict[str, Answers]:
    """Ask sets together and keep their answers; the time is shared out by items."""
    names, total = ", ".join(q.task.name for q in pool), sum(len(q.items) for q in pool)
    seconds: dict[str, float] = {}
    loaded = contender.load(asked)
    with timed(seconds, "all"), bar(asked, f"{contender.who}: {names}", total) as done:
        whole = _answers(asked, loaded, pool, done)
    require_numbers(contender.who, whole)
    asked.spend(f"answer {contender.who}", seconds["all"])
    result, answers = {}, iter(whole)
    for question in pool:
        own = list(islice(answers, len(question.items)))
        share = round(seconds["all"] * len(own) / total, 2)
        result[question.task.name] = Answers(own, share)
        if question.path:
            write_json(question.path, {"answers": [asdict(row) for row in own], "seconds": share})
    return result


def answer_limit(config: Config, task: Task) -> int:
    """Return the longest generated answer to a set, in tokens."""
    return max(config.eval.max_new_tokens, task.metric.tokens)


def bar(asked: Asked, title: str, total: int) -> Any:
    """Return a progress bar with rate and time left; call it with the number of items done."""
    from tqdm import tqdm

    class Bar(tqdm):
        def __call__(self, done: int) -> None:
            self.update(done)

    return Bar(total=total, desc=title, unit="item", disable=not asked.progress or None)


def _answers(
    asked: Asked, loaded: LoadedModel, pool: Sequence[_Question], advance: Advance
) -> list[Answer]:
    """Return the answers to the items of a pool, one set after the other."""
    model, tokenizer, size = loaded.model, loaded.tokenizer, asked.config.eval.batch_size
    items = [item for question in pool for item in question.items]
    needs, limit = pool[0].task.metric.needs, pool[0].limit
    if needs == CHOICES:
        scores = score_choices(model, tokenizer, items, asked.prompt, size, advance)
        return [Answer(text=s.label, scores=s.log_likelihoods, cut=s.cut) for s in scores]
    if limit is not None:
        room = answer_room(model, tokenizer, limit)
        fitted = [fitted_prompt(tokenizer, item, asked.prompt, room) for item in items]
        generated = generate(model, tokenizer, [ids for ids, _ in fitted], limit, size, advance)
        pairs = zip(generated.texts, fitted, strict=True)
        return [Answer(text=text, cut=cut) for text, (_, cut) in pairs]
    texts = [item.context or item.question for item in items]
    scored = score_texts(model, tokenizer, texts, TEXT_WINDOW)
    advance(len(texts))
    return [Answer(log_likelihood=total, tokens=count) for total, count in scored]


def fingerprint(folder: Path) -> str:
    """Return a hash of the files of a model folder: names, sizes and times of change."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return sha256_json(stats)
