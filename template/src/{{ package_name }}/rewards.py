"""What an answer of the model earns while it learns: one row per reward.

The rewards that can be verified are the metrics of the evaluation, so that training and
evaluation mean the same by a right answer.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .config import Config
from .errors import Problem
from .items import GENERATION, ITEM_TYPES, Item
from .metrics import METRICS, Metric, lacking
from .numbers_text import INVALID, parse_number
from .outcomes import Answer
from .records import Message, Record

SECTION = "reinforcement"
MODEL_FIX = "name the run folder of a model that objective `reward` trained"


@dataclass(frozen=True, slots=True)
class Written:
    """An answer of the model: the turns before it, its text, and the right answer if known."""

    turns: tuple[Message, ...]
    text: str
    reference: str | None = None


# Points of every answer; None for one that cannot be judged, which counts as 0.
Scorer = Callable[[Sequence[Written]], list[float | None]]


@dataclass(frozen=True, slots=True)
class Reward:
    """One row of the table.

    Attributes:
        name: key in `reinforcement.rewards`.
        make: (config, device) -> scorer; what it needs is loaded then.
        doc: what earns points, one sentence.
        setting: of the section `reinforcement`, that must be filled for it; "": none.
        reference: the prompts need a right answer.
        number: the right answer must be a number.
    """

    name: str
    make: Callable[[Config, str], Scorer]
    doc: str
    setting: str = ""
    reference: bool = False
    number: bool = False


def _by_metric(metric: Metric) -> Reward:
    """Return the reward that a metric of generated answers gives."""
    kind = min(metric.only, default="exact")

    def score(answers: Sequence[Written]) -> list[float | None]:
        points: list[float | None] = []
        for answer in answers:
            question = answer.turns[-1].content if answer.turns else ""
            item = Item("", "", kind, question, answer.reference or "")
            if lacking(metric.name, item):
                points.append(None)  # json_f1 of a right answer that is no object
                continue
            outcome = metric.judge(item, Answer(answer.text))
            points.append(None if outcome.note == INVALID else outcome.value)
        return points

    return Reward(
        metric.name,
        lambda _config, _device: score,
        f"The metric of this name ({metric.title}) against the reference of the prompt.",
        reference=True,
        number=any(ITEM_TYPES[name].number for name in metric.only),
    )


def _verifiable() -> Iterator[Reward]:
    """Yield metrics that need no more than the right answer and the one that was given."""
    probe = Item("", "", "exact", "", '{"key": 1}')
    for metric in METRICS.values():
        generated = metric.needs == GENERATION and metric.higher_is_better
        if generated and not lacking(metric.name, probe):
            yield _by_metric(metric)


def _format(config: Config, _device: str) -> Scorer:
    """Give 1 where the whole answer matches the pattern, else 0."""
    pattern = re.compile(config.reinforcement.format_pattern, re.DOTALL)
    return lambda answers: [float(bool(pattern.fullmatch(each.text))) for each in answers]


def _json(_config: Config, _device: str) -> Scorer:
    """Give 1 where the whole answer is a JSON object or list, else 0."""

    def valid(text: str) -> bool:
        try:
            return isinstance(json.loads(text), dict | list)
        except (ValueError, RecursionError):
            return False

    return lambda answers: [float(valid(each.text)) for each in answers]


def _reward_model(config: Config, device: str) -> Scorer:
    """Give the score of a trained reward model, on the conversation as its template renders it."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from .batches import right_pad
    from .model_access import context_length

    folder = config.path(config.reinforcement.reward_model)
    local: dict[str, Any] = {"local_files_only": True}
    tokenizer = AutoTokenizer.from_pretrained(folder, **local)
    model: Any = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1, **local)
    model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    model = model.to(device).eval().requires_grad_(False)
    limit = context_length(model, tokenizer)

    @torch.inference_mode()
    def score(answers: Sequence[Written]) -> list[float | None]:
        points: list[float | None] = []
        for each in answers:
            ids = judged_ids(tokenizer, [*each.turns, Message("assistant", each.text)])
            if len(ids) > limit:
                points.append(None)
                continue
            row, mask = right_pad([ids], tokenizer.pad_token_id)  # (1, S) each
            output = model(input_ids=row.to(device), attention_mask=mask.to(device))
            points.append(float(output.logits[0, 0]))
        return points

    return score


def judged_ids(tokenizer: Any, turns: Sequence[Message]) -> list[int]:
    """Return a conversation up to the token that ends its last answer, as reward models learn it.

    An empty answer, which no training data holds, is rendered all the same: as nothing it would
    earn 0, which may be more than a bad answer does.
    """
    from .data_loader import label_conversation, render_prompt

    if turns[-1].content.strip():
        return label_conversation(tokenizer, turns, 0)[0]
    ids = render_prompt(tokenizer, turns, add_generation_prompt=False)
    special = {*tokenizer.all_special_ids, *tokenizer.get_added_vocab().values()}
    ends = [place for place, token in enumerate(ids) if token in special]
    return ids[: ends[-1] + 1] if ends else ids


REWARDS = {
    row.name: row
    for row in (
        *_verifiable(),
        Reward(
            "format",
            _format,
            "1 where the whole answer matches reinforcement.format_pattern.",
            setting="format_pattern",
        ),
        Reward("json", _json, "1 where the whole answer is a JSON object or list."),
        Reward(
            "reward_model",
            _reward_model,
            "The score of a model that objective `reward` trained.",
            setting="reward_model",
        ),
    )
}


def reward_problems(config: Config, records: Sequence[Record]) -> list[Problem]:
    """Return what keeps the chosen rewards from judging answers to these prompts."""
    settings, problems = config.reinforcement, []
    weights = f"{SECTION}.rewards"
    if not any(weight > 0 for weight in settings.rewards.values()):
        found = "no reward has a weight above 0: nothing would count for an answer"
        problems.append(Problem(weights, found, fix="give one of them such a weight"))
    unknown = [name for name in settings.rewards if name not in REWARDS]
    if unknown:
        problems.append(Problem(weights, f"no such: {', '.join(unknown)}", ", ".join(REWARDS)))
    chosen = [REWARDS[name] for name in settings.rewards if name in REWARDS]
    for row in chosen:
        if row.setting and not getattr(settings, row.setting):
            found = f"empty, but the reward `{row.name}` needs it"
            problems.append(Problem(f"{SECTION}.{row.setting}", found))
    for row in REWARDS.values():
        if row.setting and getattr(settings, row.setting) and row not in chosen:
            found = f"no effect: the reward `{row.name}` is not among the chosen ones"
            fix = f"add {row.name} to {weights}, or leave it empty"
            problems.append(Problem(f"{SECTION}.{row.setting}", found, fix=fix))
    if settings.format_pattern:
        try:
            re.compile(settings.format_pattern)
        except re.error as error:
            found = f"no regular expression: {error.msg}"
            problems.append(Problem(f"{SECTION}.format_pattern", found))
    if settings.reward_model and "reward_model" in settings.rewards:
        problems += _model_problems(config.path(settings.reward_model))
    return problems + _reference_problems(chosen, records)


def _model_problems(folder: Path) -> Iterator[Problem]:
    where = f"{SECTION}.reward_model"
    if not folder.is_dir():
        yield Problem(where, "no such folder", fix=MODEL_FIX)
        return
    for name in ("config.json", "tokenizer_config.json"):
        if not (folder / name).is_file():
            yield Problem(where, f"no {name} in that folder", fix=MODEL_FIX)
            return
    from transformers import AutoConfig, AutoTokenizer

    if AutoConfig.from_pretrained(folder, local_files_only=True).num_labels != 1:
        yield Problem(where, "the model gives more than one score", fix="train it with `reward`")
    if not AutoTokenizer.from_pretrained(folder, local_files_only=True).chat_template:
        yield Problem(where, "its tokenizer has no chat template", fix="train it with `reward`")


def _reference_problems(chosen: Sequence[Reward], records: Sequence[Record]) -> list[Problem]:
    needs = [row.name for row in chosen if row.reference]
    missing = sum(record.reference is None for record in records) if needs else 0
    problems = []
    if missing:
        found = f"{missing} of {len(records)} prompts have no reference for {', '.join(needs)}"
        problems.append(Problem("prepared data", found, fix="use data of format question_answer"))
    numbers = [row.name for row in chosen if row.number]
    if numbers:
        known = [record.reference for record in records if record.reference is not None]
        words = sum(parse_number(text) is None for text in known)
        if words:
            found = f"{words} of {len(known)} references are no number, for {', '.join(numbers)}"
            problems.append(Problem(f"{SECTION}.rewards", found, fix="use exact_match for texts"))
    return problems
