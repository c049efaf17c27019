"""Further baselines by configuration (`eval.baselines`): what could be had without training.

- `k_shot`: the base model sees k solved items of the same set before the question;
- `passage`: the base model sees the nearest passage of the training data before the question;
- `model`: another model from a folder, asked exactly as base and tuned are;
- `endpoint`: a model behind an OpenAI-compatible address. It writes its answers; for sets that
  choose between labels, the label is read from what it wrote.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .answers_cache import (
    Answers,
    Asked,
    Contender,
    answer_limit,
    answer_sets,
    bar,
    fingerprint,
)
from .comparison import Row, paired, rounded
from .config import Config
from .data_loader import load_split
from .endpoint import Endpoint, MalformedReply, complete, open_endpoint
from .errors import Problem, UserError
from .eval_sets import BEHAVIOUR, Task
from .few_shot import NO_TEXT, shown_items, solved_before
from .items import CHOICES, TEXT, Item
from .metrics import Answer, Outcome
from .model_source import require_weights
from .model_wrapper import load_tuned
from .nearest import nearest_passage
from .numbers_text import INVALID
from .scoring import item_messages
from .text_overlap import normalise
from .utils import timed

MOST_PASSAGE = 1200  # characters of a training passage
Worded = dict[str, list[Item] | str]  # set -> its items in another wording, or why there is none
_OPENING = re.compile(
    r"^(?:the )?(?:(?:correct|right|best) )?(?:answer|label|option|choice)\b(?: is)?[\s:]*"
)
_MARKS = re.compile(r"[*`]+")  # bold type and code of Markdown
# "B. Paris", "B) Paris", "B - Paris", but neither "a man" nor "A, B and C"
_LETTER = re.compile(r"([a-j])(?:\s*[.):,(\]]|\s+[-–—]\s)(?!\s*(?:and |or )?[a-j]\b)")  # noqa: RUF001
# A capital only: "the answer is a matter of taste" names no option.
_CLAIM = re.compile(
    r"(?:\A\s*|(?i:\b(?:answer|option|choice|letter)(?:\s+(?:is|would\s+be))?\s*:?\s*))"
    r"\(?([A-J])(?=\)|\s*(?:\Z|[.;:\n]|,(?!\s*[A-J]\b)|(?:is|because|since|as|for)\b))\)?"
)
_OTHERS = re.compile(r",?\s*(?:or|and|nor)\b|\s*/")  # "approve or decline" repeats the question
_SENTENCE = re.compile(r"[.;!?\n]")
_DENIAL = re.compile(
    r"\b(?:not|no|never|cannot|neither|nor|without|hardly|unlikely|(?:rather|other|less) than"
    r"|instead of|against|incorrect|wrong)\b|n['’]t\b",  # noqa: RUF001
    re.IGNORECASE,
)
_DENIED_AFTER = re.compile(
    r"[\s\"')]*(?:(?:is|was|would be|seems|can be)\s+)?(?:clearly\s+|certainly\s+)?"
    r"(?:not|never|wrong|incorrect|false|cannot|ruled out|\w+n['’]t)\b",  # noqa: RUF001
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Found:
    """What one baseline answered: set -> answers, and why other sets were left out."""

    name: str
    answers: dict[str, Answers]
    left_out: dict[str, str]


def baseline_problems(config: Config) -> Iterator[Problem]:
    """Yield what is wrong with the baselines, without contacting or loading anything."""
    for number, setting in enumerate(config.eval.baselines):
        where = f"eval.baselines[{number}]"
        try:
            if setting.kind == "endpoint":
                names = (f"{where}.base_url", f"{where}.model")
                open_endpoint(setting.base_url, setting.model, names=names)
            elif setting.kind == "model":
                require_weights(config.path(setting.path))
            elif setting.kind == "passage":
                load_split(config, "train")
        except UserError as error:
            for problem in error.problems:
                inside = problem.where.startswith(where)
                yield problem if inside else replace(problem, where=f"{where}: {problem.where}")


def prompted_baselines(asked: Asked, base: Contender, tasks: Sequence[Task]) -> list[Found]:
    """Return what the base model answers under other prompts: `k_shot` and `passage`."""
    found = []
    for setting in asked.config.eval.baselines:
        if setting.kind == "k_shot":
            worded: Worded = {task.name: with_examples(task, setting.k) for task in tasks}
            name = f"base, {setting.k} examples"
        elif setting.kind == "passage":
            worded = with_passages(asked.config, tasks)
            name = "base, with passage"
        else:
            continue
        left_out = {name: items for name, items in worded.items() if isinstance(items, str)}
        shown = {name: items for name, items in worded.items() if not isinstance(items, str)}
        # An answer may quote the passage of the training data: nothing of it is kept.
        shows_data = setting.kind == "passage"
        one = replace(base, identity=None, loaded=base.load(asked)) if shows_data else base
        answers = answer_sets(asked, one, [task for task in tasks if task.name in shown], shown)
        found.append(Found(name, answers, left_out))
    return found


def other_baselines(asked: Asked, tasks: Sequence[Task]) -> list[Found]:
    """Return what other models answer: `model` and `endpoint`, one after the other."""
    found = []
    left_out = {task.name: NO_TEXT for task in tasks if task.metric.needs == TEXT}
    chosen = [task for task in tasks if task.name not in left_out]
    for setting in asked.config.eval.baselines:
        if setting.kind == "model":
            name, answers = Path(setting.path).name, _of_model(asked, setting.path, chosen)
        elif setting.kind == "endpoint":
            name = setting.model
            answers = _of_endpoint(asked, setting.base_url, setting.model, chosen)
        else:
            continue
        found.append(Found(name, answers, left_out))
    return found


def baseline_rows(
    task: Task, found: Sequence[Found], tuned: Sequence[Outcome], confidence: float
) -> list[Row]:
    """Return one row for each baseline that answered a set: its score, and tuned against it."""
    rows = []
    for one in found:
        if task.name in one.answers:
            answers = one.answers[task.name]
            outcomes = _judged(task, answers)
            row = paired(outcomes, tuned, task.metric, task.clusters(), confidence)
            shown = {key: row[key] for key in ("n", "difference", "interval", "verdict", "p_value")}
            unread = sum(outcome.note == INVALID for outcome in outcomes) / len(outcomes)
            rows.append(
                {
                    "name": one.name,
                    "score": row["base"],
                    **shown,
                    "invalid": rounded(unread),
                    "seconds": answers.seconds,
                    "cached": answers.cached,
                }
            )
    return rows


def _judged(task: Task, answers: Answers) -> list[Outcome]:
    """Return what the answers are worth; a reply that gives no label is invalid."""
    outcomes = answers.judged(task)
    if task.metric.needs != CHOICES:
        return outcomes
    return [
        outcome if outcome.prediction in item.labels() else replace(outcome, note=INVALID)
        for item, outcome in zip(task.items, outcomes, strict=True)
    ]


def with_examples(task: Task, k: int) -> list[Item] | str:
    """Return the items of a set, each after k other solved ones in the same turn; or why not."""
    found = solved_before(task, k)
    if isinstance(found, str):
        return found
    shown = []
    for item, examples in zip(task.items, found, strict=True):
        solved = "\n\n".join(_solved(one) for one in examples)
        before = f"Solved examples:\n\n{solved}\n\nNow answer this one."
        shown.append(replace(item, context=_join(before, item.context)))
    return shown


def with_passages(config: Config, tasks: Sequence[Task]) -> Worded:
    """Return for each set its items after the nearest training passage, or why not.

    Items that bring a context of their own stay as they are: that is their passage.
    """
    nearest = None
    result: Worded = {}
    for task in tasks:
        if task.metric.needs == TEXT:
            result[task.name] = NO_TEXT
        elif task.role == BEHAVIOUR:
            result[task.name] = "how a model behaves is not in a passage"
        elif all(item.context for item in task.items):
            result[task.name] = "every item brings its own passage"
        else:
            if nearest is None:
                texts = [" ".join(record.texts()) for record in load_split(config, "train")]
                nearest = nearest_passage([text[:MOST_PASSAGE] for text in texts])
            result[task.name] = [
                item if item.context else replace(item, context=nearest(item.question))
                for item in task.items
            ]
    return result


def read_label(text: str, labels: Sequence[str], options: Sequence[str] = ()) -> str:
    """Return the label that a written answer gives, or nothing if it is not clear.

    That is the answer itself, or what it begins with ("B. Because ..."), or the only label
    that it holds as whole words and does not deny ("not approve").

    Args:
        text: the answer.
        labels: what may be answered.
        options: what the labels stand for, where they are letters.
    """
    marked = _MARKS.sub("", text)
    lines = [line for line in map(normalise, marked.splitlines()) if line]
    plain = {normalise(label): label for label in sorted(labels, key=len, reverse=True)}
    said = _OPENING.sub("", "\n".join(lines)).strip(" (")
    first = normalise(said.split("\n")[0])
    if first in plain:
        return plain[first]
    if all(len(label) == 1 for label in plain):
        meant = {normalise(option): x for option, x in zip(options, labels, strict=False)}
        found = meant.get(first) or _read_letter(said, marked, labels)
        return found or _asserted("\n".join(lines), meant)
    for label in plain:  # the longest first: "approve with conditions" before "approve"
        match = re.match(rf"{re.escape(label)}(?![\w-])", said)
        if match and not _OTHERS.match(said, match.end()) and not _denied(said, match):
            return plain[label]
    return _asserted(said, plain)


def _read_letter(said: str, cased: str, labels: Sequence[str]) -> str:
    """Return the letter that an answer begins with or names as the answer, if it is one."""
    start = _LETTER.match(said)
    if start and start[1].upper() in labels:
        return start[1].upper()
    claimed = {m[1] for m in _CLAIM.finditer(cased) if not _denied(cased, m)} & set(labels)
    return claimed.pop() if len(claimed) == 1 else ""


def _asserted(text: str, meaning: Mapping[str, str]) -> str:
    """Return the only label whose words stand in a text and are not denied there."""
    held = set()
    for words in meaning:
        # "non-compliant" does not say "compliant", nor 1.5 "5".
        whole = rf"(?<![\w-])(?<!\d[.,]){re.escape(words)}(?!\w|[.,]\d)"
        if words and any(not _denied(text, match) for match in re.finditer(whole, text)):
            held.add(words)
    held = {one for one in held if not any(one != other and one in other for other in held)}
    return meaning[held.pop()] if len(held) == 1 else ""


def _denied(text: str, match: re.Match[str]) -> bool:
    """Return whether the sentence denies what was found in it, before it or right after it."""
    before = _SENTENCE.split(text[: match.start()])[-1]
    return bool(_DENIAL.search(before) or _DENIED_AFTER.match(text, match.end()))


def _solved(item: Item) -> str:
    return f"{item_messages(item)[-1].content}\n\nAnswer: {item.gold()}"


def _join(*parts: str | None) -> str:
    return "\n\n".join(part for part in parts if part)


def _of_model(asked: Asked, path: str, tasks: Sequence[Task]) -> dict[str, Answers]:
    folder = asked.config.path(path)
    contender = Contender(
        folder.name, lambda: load_tuned(folder, asked.precision, asked.config), fingerprint(folder)
    )
    worded, _ = shown_items(tasks, asked.config.few_shot_k)
    return answer_sets(asked, contender, tasks, worded)


def _of_endpoint(asked: Asked, url: str, model: str, tasks: Sequence[Task]) -> dict[str, Answers]:
    """Return the answers of an endpoint, never kept: it may serve other weights tomorrow."""
    endpoint, result = open_endpoint(url, model), {}
    worded, _ = shown_items(tasks, asked.config.few_shot_k)
    for task in tasks:
        seconds: dict[str, float] = {}
        title = f"{model}: {task.name}"
        with timed(seconds, "all"), bar(asked, title, len(task.items)) as done:
            answers = []
            for item in worded.get(task.name, task.items):
                answers.append(_ask(asked, endpoint, task, item))
                done(1)
        asked.spend(f"answer {model}", seconds["all"])
        result[task.name] = Answers(answers, seconds["all"])
    return result


def _ask(asked: Asked, endpoint: Endpoint, task: Task, item: Item) -> Answer:
    """Return the answer to one item; an empty one if the reply holds no text."""
    messages = item_messages(item, asked.prompt)
    turns = [{"role": turn.role, "content": turn.content} for turn in messages]
    choosing = task.metric.needs == CHOICES
    if choosing:
        turns[-1]["content"] += f"\n\nAnswer with one of these only: {', '.join(item.labels())}"
    try:
        text = complete(endpoint, turns, answer_limit(asked.config, task))
    except MalformedReply:
        return Answer()
    if choosing:
        text = read_label(text, item.labels(), item.choices if item.letters else ())
    return Answer(text=text)
