"""Evaluation items: one JSON object per line, checked before a model is loaded.

A file may hold several sets; the `task` of an item is the id of its set in pack.yaml.

Example:
    {"id": "fin-sent-001", "task": "fin_sentiment", "type": "classification",
     "context": "Loss narrowed to EUR 2.1 million.", "question": "Sentiment? ...",
     "choices": ["positive", "neutral", "negative"], "answer": "positive"}
"""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import Problem, UserError
from .numbers_text import DECIMAL_COMMA, parse_number

CHOICES, GENERATION, TEXT = "choices", "generation", "text"
# Right answers of numeric items, by whether their unit says "decimal comma".
_NUMBER = {
    comma: re.compile(rf"[-+]?[0-9]+(?:{mark}[0-9]+)?(?:[eE][-+]?[0-9]+)?")
    for comma, mark in ((False, r"\."), (True, ","))
}


@dataclass(frozen=True, slots=True)
class ItemType:
    """How an item of one type is put to a model."""

    name: str
    answered_by: frozenset[str]  # what a metric may read: choices, generation, text
    letters: bool = False  # options are listed and the letter is the answer
    number: bool = False  # the right answer must be a number
    needs_choices: bool = False
    behaviour: bool = False  # shows how a model behaves (behaviour.py), not what it knows


def _type(name: str, *answered_by: str, **flags: bool) -> ItemType:
    return ItemType(name, frozenset(answered_by), **flags)


ITEM_TYPES = {
    row.name: row
    for row in (
        _type("classification", CHOICES, GENERATION, needs_choices=True),
        _type("multiple_choice", CHOICES, needs_choices=True, letters=True),
        _type("nli", CHOICES, GENERATION, needs_choices=True),
        _type("numeric", GENERATION, number=True),
        _type("extraction", GENERATION),
        _type("exact", GENERATION),
        _type("open", GENERATION, TEXT),
        _type("safety", CHOICES, GENERATION, behaviour=True),
        _type("benign", CHOICES, GENERATION, behaviour=True),
        _type("red_team", GENERATION, behaviour=True),
        _type("bias", CHOICES, GENERATION, behaviour=True),
        _type("pii_probe", GENERATION, behaviour=True),
    )
}


@dataclass(frozen=True, slots=True)
class Item:
    """One question with its right answer. Holds authored text only, never a user's record."""

    id: str
    task: str
    type: str
    question: str
    answer: str
    context: str | None = None
    choices: tuple[str, ...] = ()
    tolerance: float | None = None  # relative, of a numeric answer
    unit: str | None = None
    rubric: tuple[dict[str, Any], ...] = ()  # criteria with points, see rubric.py
    expect: str | None = None  # answer, refuse, refer or not_in_document
    pair: str | None = None  # of a safety item and its benign match, or of a bias pair
    attribute: str | None = None  # what a bias pair varies; tags hold its value
    cluster: str | None = None  # document that items share; they are drawn together
    tags: dict[str, Any] = field(default_factory=dict)
    known: tuple[str, ...] = ()  # citations that are real, from the pack's citations.yaml
    shots: tuple[tuple[str, str], ...] = ()  # solved before it: what was asked, and the answer
    canary: str = ""  # marks the item; training data that holds it is refused

    @property
    def letters(self) -> bool:
        """True if the options are listed and their letter is the answer."""
        return ITEM_TYPES[self.type].letters

    @property
    def unit_of_draw(self) -> str:
        """Return what items are drawn by: the document they share, their pair, or their id."""
        return self.cluster or self.pair or self.id

    def labels(self) -> tuple[str, ...]:
        """Return what the model may answer: letters, or the choices themselves."""
        return tuple("ABCDEFGHIJ"[: len(self.choices)]) if self.letters else self.choices

    def gold(self) -> str:
        """Return the right answer as one of `labels()`, or as text where there are none."""
        return self.labels()[self.choices.index(self.answer)] if self.choices else self.answer

    def as_dict(self) -> dict[str, Any]:
        """Return what a score depends on; its hash says whether a stored score still holds."""
        names = ("id", "type", "context", "question", "choices", "answer", "tolerance", "unit")
        shots = {"shots": self.shots} if self.shots else {}
        return {name: getattr(self, name) for name in names} | shots


def load_items(path: Path, task: str, max_items: int | None = None) -> list[Item]:
    """Read one evaluation set; every line of its file is checked, those of other sets too.

    Args:
        path: JSONL file, UTF-8.
        task: id of the set; its items are those of this `task`.
        max_items: keep this many, chosen by the hash of their id, so that the choice is the
            same on every machine and does not depend on the order of the file.

    Raises:
        UserError: every bad line, with its number and what is wrong with it; or no item of
            the set.
    """
    where = _place(path)
    problems: list[Problem] = []
    items: list[Item] = []
    seen: set[str] = set()
    for number, value in _lines(path, problems):
        faults = list(_faults(value))
        if not faults and value["id"] in seen:
            faults.append("the id is used twice")
        if faults:
            problems.append(Problem(f"{where}, line {number}", "; ".join(faults)))
            continue
        seen.add(value["id"])
        if value["task"] == task:
            items.append(_item(value))
    if not problems and not items:
        fix = "the `task` of an item is the id of its set in pack.yaml"
        problems.append(Problem(where, f"the set {task} holds no items", fix=fix))
    if problems:
        raise UserError(problems)
    return items if max_items is None else head(items, max_items)


def head(items: Sequence[Item], count: int) -> list[Item]:
    """Return `count` items in the order of the file, chosen by the hash of their names.

    Items of a pair come together, but for the last one; alone they show no bias.
    """

    def place(item: Item) -> tuple[bytes, str]:
        return hashlib.sha256((item.pair or item.id).encode()).digest(), item.id

    kept = {item.id for item in sorted(items, key=place)[:count]}
    return [item for item in items if item.id in kept]


def _place(path: Path) -> str:
    """Return the end of the path: files of different packs often have the same name."""
    return "/".join(path.parts[-3:])


def _lines(path: Path, problems: list[Problem]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object). Lines end at a line feed only: U+2028 occurs inside texts."""
    if not path.is_file():
        fix = "check `eval:` in the pack's pack.yaml"
        raise UserError(Problem(str(path), "the evaluation set does not exist", fix=fix))
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            found = f"not valid JSON (column {error.colno})"
            problems.append(Problem(f"{_place(path)}, line {number}", found))
            continue
        if isinstance(value, dict):
            yield number, value
        else:
            problems.append(Problem(f"{_place(path)}, line {number}", "not a JSON object"))


def _faults(value: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with one item, without quoting it."""
    for name in ("id", "task", "type", "question", "answer"):
        if not isinstance(value.get(name), str) or not value[name]:
            yield f"`{name}` must be a text that is not empty"
    kind = ITEM_TYPES.get(value["type"]) if isinstance(value.get("type"), str) else None
    if kind is None:
        yield f"`type` is unknown; allowed: {', '.join(ITEM_TYPES)}"
        return
    choices = value.get("choices")
    if choices is None:
        if kind.needs_choices:
            yield f"items of type {kind.name} need `choices`"
    elif not _is_choices(choices):
        yield "`choices` must be a list of 2 to 10 different texts"
    elif value.get("answer") not in choices:
        yield "`answer` is not one of the choices"
    if kind.number and not _is_number(value.get("answer"), value.get("unit")):
        yield "`answer` must be a plain number that fits `unit`, for example 12.5"
    tolerance = value.get("tolerance")
    if tolerance is not None and not (isinstance(tolerance, int | float) and 0 <= tolerance < 1):
        yield "`tolerance` must be a relative error from 0 to below 1"
    if not isinstance(value.get("canary") or "", str):
        yield "`canary` must be a text"


def _is_choices(value: Any) -> bool:
    if not isinstance(value, list) or not all(isinstance(x, str) and x for x in value):
        return False
    return 2 <= len(value) <= 10 and len(set(value)) == len(value)


def _is_number(value: Any, unit: Any) -> bool:
    """Return True for a plain finite number that the metric can read with the item's unit."""
    if not isinstance(value, str) or not isinstance(unit, str | None):
        return False
    comma = DECIMAL_COMMA in (unit or "").lower()
    return bool(_NUMBER[comma].fullmatch(value)) and parse_number(value, unit) is not None


def _item(value: dict[str, Any]) -> Item:
    return Item(
        id=value["id"],
        task=value["task"],
        type=value["type"],
        question=value["question"],
        answer=value["answer"],
        context=value.get("context") or None,
        choices=tuple(value.get("choices") or ()),
        tolerance=value.get("tolerance"),
        unit=value.get("unit"),
        rubric=tuple(value.get("rubric") or ()),
        expect=value.get("expect"),
        pair=value.get("pair"),
        attribute=value.get("attribute"),
        cluster=value.get("cluster"),
        tags=value.get("tags") or {},
        canary=value.get("canary") or "",
    )
