"""Rows that evaluation items are generated from; used by domains/<pack>/sources/*.py.

A row is a text with slots in the manner of `str.format`, what may be drawn for each slot, and how
the answer follows: a formula, a label, or a function of the slots. Everything that the answer
needs stands in the text.

    Row(
        "Blood pressure {high}/{low} mmHg.",
        "What is the pulse pressure in mmHg, systolic minus diastolic? Number only.",
        draws={"high": (104, 168), "low": (58, 92)},
        formula="high - low", decimals=0, unit="mmHg", skill="vital signs",
    )
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import Any

import formulas

ATTEMPTS = 500  # draws for one new text before the rows are called too few
OWN = "own invention"
ASK = "Reply with one JSON object with the keys "
ISO = "YYYY-MM-DD"
Slots = dict[str, Any]
Item = dict[str, Any]
# A range (low, high[, decimals[, step]]) of numbers or (first, last) of ISO dates, or a list.
Draw = tuple[Any, ...] | Sequence[Any]


class Day(datetime.date):
    """A date that a text shows as 3 May 2027, or by a format: `{served:%A}`."""

    def __format__(self, spec: str) -> str:
        return self.strftime(spec) if spec else f"{self.day} {self.strftime('%B %Y')}"


@dataclass(frozen=True)
class Row:
    """One template. `answer` is a label, a text with slots, or a function of the slots.

    A drawn tuple is shown by its parts: `{drug[0]} {drug[1]} mg`.
    """

    text: str
    question: str = ""  # empty: the one of the set
    draws: Mapping[str, Draw] = field(default_factory=dict)
    let: Mapping[str, str] = field(default_factory=dict)  # slot -> formula over other slots
    formula: str = ""
    decimals: int | None = None  # of the answer; None with a formula: the answer is a date
    unit: str | None = None
    tolerance: float = 0.01
    answer: str | Callable[[Slots], Any] = ""
    skill: str = ""
    difficulty: str = "medium"
    source: str = OWN
    also: Mapping[str, Any] = field(default_factory=dict)  # further fields of the item


@dataclass(frozen=True)
class ItemSet:
    """Rows of one task; they are used in turn, so labels that have a row each stay balanced."""

    task: str
    prefix: str  # of the ids
    type: str
    count: int
    rows: Sequence[Row]
    question: str = ""
    choices: tuple[str, ...] = ()
    # For bias: (attribute, two values of {person}, {Person} at the start); an item for each.
    attributes: Sequence[tuple[str, str, str]] = ()


def amount(unit: str, decimals: int = 0, tolerance: float = 0) -> dict[str, Any]:
    """Fields of a row whose answer is a number; without more an exact whole one.

    Args:
        tolerance: as a share of the answer.
    """
    return {"decimals": decimals, "unit": unit, "tolerance": tolerance}


def rule_rows(
    answers: tuple[str, str], *cases: tuple[str, str, Mapping[str, Draw], Mapping[str, Draw]]
) -> list[Row]:
    """Return two rows of each case: what is drawn makes the one or the other answer right.

    Args:
        cases: text with its rule, skill, draws of the first answer, draws of the second.
    """
    return [
        Row(text, draws=draws, answer=answer, skill=skill)
        for text, skill, *sides in cases
        for answer, draws in zip(answers, sides, strict=True)
    ]


def label_rows(
    texts: Mapping[str, Sequence[str]],
    draws: Mapping[str, Draw],
    skill: str,
    grades: tuple[int, int, int],
    start: str = "",
) -> list[Row]:
    """Return rows that ask for a label, the labels in turn.

    Args:
        texts: label -> as many texts as `grades` counts together, the easiest first.
        grades: how many of them are easy, medium and hard.
        start: what every text begins with.
    """
    levels = [
        level
        for level, number in zip(("easy", "medium", "hard"), grades, strict=True)
        for _ in range(number)
    ]
    return [
        Row(start + forms[form], draws=draws, answer=label, skill=skill, difficulty=level)
        for form, level in enumerate(levels)
        for label, forms in texts.items()
    ]


def label_set(task: str, prefix: str, question: str, rows: Sequence[Row]) -> ItemSet:
    """Return a set of one item a row; the choices are the labels of the rows."""
    choices = _answers(rows)
    return ItemSet(
        task, prefix, "classification", len(rows), rows, question=question, choices=choices
    )


def bias_set(
    task: str,
    prefix: str,
    question: str,
    rows: Sequence[Row],
    attributes: Sequence[tuple[str, str, str]],
) -> ItemSet:
    """Return a set of 20 bias pairs; the choices are the answers of the rows."""
    choices = _answers(rows)
    return ItemSet(
        task, prefix, "bias", 20, rows, question=question, choices=choices, attributes=attributes
    )


def _answers(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return the different answers of rows, in the order in which they first occur."""
    return tuple(dict.fromkeys(str(row.answer) for row in rows))


def leak_rows(
    secret: str,
    who: Mapping[str, Draw],
    completions: Sequence[tuple[str, Mapping[str, Draw]]],
    redaction: tuple[str, str, Mapping[str, Draw]],
    request: tuple[str, str, Mapping[str, Draw]],
) -> list[Row]:
    """Return probes for a secret: texts to go on with, a note to tell without it, a plain request.

    Args:
        secret: slot of the text that must not come out.
        who: draws of every row: a name and the secret.
        completions: question, further draws; each is refused.
        redaction: note with the secret, question, further draws; answered without the secret.
        request: note with the secret, question, further draws; refused.
    """
    forms = [
        *(("", question, more, "completion", "medium", "refuse") for question, more in completions),
        (*redaction, "redaction", "medium", "answer"),
        (*request, "request", "hard", "refuse"),
    ]
    return [
        Row(
            text,
            question,
            draws={**who, **more},
            answer=f"{{{secret}}}",
            skill=skill,
            difficulty=difficulty,
            also={"expect": expect},
        )
        for text, question, more, skill, difficulty, expect in forms
    ]


def draw(rng: Random, options: Draw, taken: Sequence[Any]) -> Any:
    """Return one value of a range or list; entries of a list that are `taken` are left out.

    Raises:
        ValueError: all are taken; draw again.
    """
    if not isinstance(options, tuple):
        free = [option for option in options if option not in taken]
        if not free:
            raise ValueError("every entry of the list is taken")
        return rng.choice(free)
    low, high = options[:2]
    if isinstance(low, str):
        first, last = (datetime.date.fromisoformat(day).toordinal() for day in (low, high))
        return Day.fromordinal(rng.randint(first, last))
    decimals = options[2] if len(options) > 2 else 0
    step = options[3] if len(options) > 3 else 10**-decimals
    scale = 10**decimals
    places = range(round(low * scale), round(high * scale) + 1, round(step * scale))
    return Decimal(rng.choice(places)).scaleb(-decimals)


def as_input(value: Any) -> str:
    """Return a slot as an input of a formula: a plain number, or an ISO date."""
    return value.isoformat() if isinstance(value, datetime.date) else str(value)


def fill(rng: Random, row: Row) -> Slots:
    """Draw the slots of a row, then compute those of `let`."""
    slots: Slots = {}
    for name, options in row.draws.items():
        slots[name] = draw(rng, options, list(slots.values()))
    for name, formula in row.let.items():
        inputs = {key: as_input(slots[key]) for key in formulas.names(formula)}
        value = formulas.evaluate(formula, inputs)
        is_day = any(isinstance(slots[key], datetime.date) for key in inputs)
        slots[name] = Day.fromordinal(int(value)) if is_day else Decimal(f"{value:.10g}")
    return slots


def solve(row: Row, slots: Slots) -> dict[str, Any]:
    """Return the fields that hold the answer.

    Raises:
        ValueError: the value lies between two roundings; draw again.
    """
    if row.formula:
        inputs = {name: as_input(slots[name]) for name in sorted(formulas.names(row.formula))}
        like = "2000-01-01" if row.decimals is None else format(0, f".{row.decimals}f")
        numeric = {} if row.decimals is None else {"tolerance": row.tolerance, "unit": row.unit}
        return {
            "answer": formulas.answer_of(row.formula, inputs, like),
            **numeric,
            "formula": row.formula,
            "inputs": [{"name": name, "value": value} for name, value in inputs.items()],
        }
    if callable(row.answer):
        found = row.answer(slots)
        return {"answer": found if isinstance(found, str) else to_json(found)}
    return {"answer": row.answer.format(**slots)}


def to_json(value: Any) -> str:
    """Return a gold object as JSON text: dates in ISO form, numbers without useless zeros."""

    def plain(inner: Any) -> Any:
        if isinstance(inner, Decimal):
            return int(inner) if inner == int(inner) else float(inner)
        if isinstance(inner, datetime.date):
            return inner.isoformat()
        raise TypeError(type(inner).__name__)

    return json.dumps(json.loads(json.dumps(value, default=plain)), ensure_ascii=False)


def drafts(rng: Random, kind: ItemSet, row: Row) -> list[Item]:
    """Return the item of a row, or the two of a bias pair, without id and provenance."""
    slots = fill(rng, row)
    attribute, *people = rng.choice(kind.attributes) if kind.attributes else ("", None)
    items = []
    for person in people:
        start = person and person[0].upper() + person[1:]
        text = row.text.format(**slots, person=person, Person=start)
        item: Item = {"type": kind.type, "context": text[:1].upper() + text[1:]}
        item["question"] = (row.question or kind.question).format(**slots, person=person)
        item |= {"choices": list(kind.choices)} if kind.choices else {}
        item |= solve(row, slots) | dict(row.also)
        item["tags"] = {"skill": row.skill, "difficulty": row.difficulty}
        if attribute:
            item |= {"attribute": attribute}
            item["tags"]["population"] = person
        items.append({name: value for name, value in item.items() if value != ""})
    return items


def unseen(rng: Random, kind: ItemSet, row: Row, seen: set[str]) -> list[Item]:
    """Return drafts whose text and question the set does not hold yet."""
    for _ in range(ATTEMPTS):
        try:
            made = drafts(rng, kind, row)
        except ValueError:
            continue
        stems = {f"{item.get('context')}\n{item['question']}" for item in made}
        if not stems & seen:
            seen |= stems
            return made
    raise SystemExit(f"{kind.task}: too few different texts from: {row.text[:60]}")


def build(kind: ItemSet, seed: int, generator: str, canary: str) -> Iterator[Item]:
    """Yield the items of a set; the same seed gives the same items, whatever other sets hold."""
    rng = Random(f"{kind.task}/{seed}")
    seen: set[str] = set()
    made = [
        (row, items)
        for index in range(kind.count)
        for row in [kind.rows[index % len(kind.rows)]]
        for items in [unseen(rng, kind, row, seen)]
    ]
    rng.shuffle(made)
    number = 0
    for place, (row, items) in enumerate(made, start=1):
        for item in items:
            number += 1
            pair = {"pair": f"{kind.prefix}-p{place:02d}"} if len(items) > 1 else {}
            tags = item.pop("tags")
            yield {
                "id": f"{kind.prefix}-{number:03d}",
                "task": kind.task,
                **item,
                **pair,
                "tags": tags,
                "provenance": {
                    "method": "generated",
                    "generator": generator,
                    "seed": seed,
                    "source": row.source,
                    "source_checked": row.source.startswith("http"),
                    "review": "unreviewed",
                    "licence": "Apache-2.0",
                },
                "canary": canary,
            }
