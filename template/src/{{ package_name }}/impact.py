"""What answers cost and what they save: measured speed, a price, and a sheet the user fills.

Nothing is guessed: a figure whose inputs are not known is unknown, and says which ones.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from . import machines, shapes
from .errors import Problem, UserError
from .utils import write_text

SHEET = Path("configs/impact.yaml")
DOLLARS = "USD"  # currency of prices.toml
ONE_BY_ONE = "price an hour / 3600 x seconds of one answer at batch size 1 x 1000"
BY_TOKENS = "price an hour / 3600 x tokens a request / tokens a second x 1000"
HEAD = """\
# What the tuned model is worth to you: fill in the values, then scripts/report.py runs/*
# Written once and never overwritten. null stays unknown; every value needs its source.
"""


class Price(NamedTuple):
    """What an hour of the machine costs, from the lowest to the highest price."""

    low: float
    high: float
    source: str
    currency: str  # empty: the user's own


class Input(NamedTuple):
    """One question of the sheet."""

    name: str
    unit: str
    question: str
    most: float = 1e12  # largest value that makes sense


INPUTS = (
    Input("requests_per_month", "requests a month", "tasks in which the model will take part"),
    Input("minutes_before", "minutes a task", "working time for one task today", 1e5),
    Input("minutes_after", "minutes a task", "the same with the model, its check included", 1e5),
    Input("staff_cost_per_hour", "currency an hour", "full cost of the people who do the task"),
    Input("error_share_before", "share, 0 to 1", "tasks with an error that costs, today", 1),
    Input("error_share_after", "share, 0 to 1", "the same with the model and its check", 1),
    Input("cost_per_error", "currency", "what one such error costs on average"),
    Input("running_cost_per_month", "currency a month", "upkeep beside the answers themselves"),
    Input("project_cost", "currency", "once: data, training, review, introduction"),
)
Values = Mapping[str, float | None]


class Sheet(NamedTuple):
    """The filled sheet."""

    values: dict[str, float | None]
    sources: dict[str, str]
    currency: str


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure that is computed from inputs of the sheet and figures above it."""

    name: str
    unit: str
    needs: tuple[str, ...]
    formula: str
    compute: Callable[..., float]


FIGURES = (
    Figure(
        "hours saved",
        "hours a month",
        ("requests_per_month", "minutes_before", "minutes_after"),
        "requests x (minutes before - minutes after) / 60",
        lambda requests, before, after: requests * (before - after) / 60,
    ),
    Figure(
        "value of the time",
        "currency a month",
        ("hours saved", "staff_cost_per_hour"),
        "hours saved x staff cost",
        lambda hours, cost: hours * cost,
    ),
    Figure(
        "errors avoided",
        "errors a month",
        ("requests_per_month", "error_share_before", "error_share_after"),
        "requests x (error share before - error share after)",
        lambda requests, before, after: requests * (before - after),
    ),
    Figure(
        "value of the errors",
        "currency a month",
        ("errors avoided", "cost_per_error"),
        "errors avoided x cost of an error",
        lambda errors, cost: errors * cost,
    ),
    Figure(
        "cost of the answers",
        "currency a month",
        ("requests_per_month", "cost per 1,000 requests"),
        "requests / 1000 x cost per 1,000 requests (the highest price)",
        lambda requests, cost: requests / 1000 * cost,
    ),
    Figure(
        "net value",
        "currency a month",
        (
            *("value of the time", "value of the errors"),
            *("cost of the answers", "running_cost_per_month"),
        ),
        "value of the time + value of the errors - cost of the answers - running cost",
        lambda time, errors, answers, running: time + errors - answers - running,
    ),
    Figure(
        "months until it has paid",
        "months",
        ("project_cost", "net value"),
        "project cost / net value, where that is above 0",
        lambda cost, net: cost / net if net > 0 else float("inf"),
    ),
)


def find_price(
    device: str, price_per_hour: float | None, prices: Mapping[str, Any] | None = None
) -> Price | str:
    """Return the price of an hour, or why it is not known.

    Args:
        device: name as the driver reports it.
        price_per_hour: what the user says; it goes before every table.
        prices: rows as in prices.toml, with the file they come from if that is not the package's
            (planning.own_prices); None: those of the package.
    """
    if price_per_hour is not None:
        return Price(price_per_hour, price_per_hour, "--price-per-hour", "")
    rows = shapes.table("prices") if prices is None else prices
    row = rows.get(machines.find_device(device)[0])
    if row is None:
        return (
            f"no price of {device} in configs/prices.toml or prices.toml of the package; "
            "give --price-per-hour"
        )
    source = f"{row.get('file', 'prices.toml of the package')}, {row.get('as_of', 'undated')}"
    return Price(row["low"], row["high"], source, DOLLARS)


def cost_per_1000(
    measured: Mapping[str, Any], price: Price, tokens: float | None = None
) -> tuple[float, float] | str:
    """Return the lowest and highest cost of 1,000 requests, or why they are not known.

    Args:
        measured: `latency_s` and `tokens_per_second` of one model (`inference` in the results).
        price: of the machine, an hour.
        tokens: new tokens of a request; None: the answers of the evaluation, one by one.
    """
    if tokens is None:
        seconds = measured.get("latency_s")
        missing = "the seconds of an answer were not measured"
    else:
        rate = measured.get("tokens_per_second")
        seconds = tokens / rate if rate else None
        missing = "tokens a second were not measured"
    if not seconds:
        return missing
    return price.low / 3.6 * seconds, price.high / 3.6 * seconds


def write_template(root: Path) -> Path | None:
    """Write the sheet with empty values; return its path, or None if there is one already."""
    path = root / SHEET
    if path.exists():
        return None
    lines = [HEAD, 'currency: "" # for example EUR']
    for row in INPUTS:
        lines += [f"{row.name}: # {row.unit}: {row.question}", "  value: null", '  source: ""']
    write_text(path, "\n".join(lines) + "\n")
    return path


def read_sheet(root: Path) -> Sheet:
    """Return values, sources and the currency of the sheet.

    Raises:
        UserError: lists every unknown name and every value that is no number in its range.
    """
    path, where = root / SHEET, str(SHEET)
    try:
        found = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8-sig"))
    except (YAMLError, UnicodeDecodeError):
        fix = "mend the file, or move it away for a new one"
        raise UserError(Problem(where, "not valid YAML in UTF-8", fix=fix)) from None
    if not isinstance(found, dict):
        raise UserError(Problem(where, "not a list of names and values"))
    problems = [Problem(f"{where}: {p[0]}", *p[1:]) for p in _sheet_faults(found)]
    if problems:
        raise UserError(problems)
    rows = {row.name: found.get(row.name) or {} for row in INPUTS}
    values = {name: row.get("value") for name, row in rows.items()}
    sources = {name: str(row.get("source") or "") for name, row in rows.items()}
    return Sheet(values, sources, str(found.get("currency") or ""))


def _sheet_faults(found: Mapping[Any, Any]) -> Iterator[tuple[str, ...]]:
    """Yield (where, what is wrong, what is allowed), without quoting a value."""
    known = {row.name: row for row in INPUTS}
    unknown = [name for name in found if name not in known and name != "currency"]
    if unknown:
        yield f"{len(unknown)} name(s)", "no such input", f"currency, {', '.join(known)}"
    for name, row in known.items():
        entry = found.get(name) or {}
        if not isinstance(entry, dict) or not entry.keys() <= {"value", "source"}:
            yield name, "not written as value and source", "value: NUMBER and source: TEXT"
            continue
        value = entry.get("value")
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float):
            yield name, "not a number", f"a plain number ({row.unit}) or null"
        elif not 0 <= value <= row.most:
            yield name, "out of range", f"0 to {row.most:g} ({row.unit})"


def compute(values: Values, cost: float | None, why: str = "") -> Iterator[tuple[Figure, Any]]:
    """Yield each figure with its value, or with the text that says what is missing.

    Args:
        values: of the sheet.
        cost: of 1,000 requests to the tuned model, in the sheet's currency.
        why: what stands for an unknown cost.
    """
    known: dict[str, float | None] = {**values, "cost per 1,000 requests": cost}
    for figure in FIGURES:
        inputs = [known[name] for name in figure.needs]
        missing = [name for name, x in zip(figure.needs, inputs, strict=True) if x is None]
        if missing:
            known[figure.name] = None
            because = f" ({why})" if why and "cost per 1,000 requests" in missing else ""
            names = ", ".join(name.replace("_", " ") for name in missing)
            yield figure, f"unknown: {names} not known{because}"
            continue
        known[figure.name] = figure.compute(*inputs)
        yield figure, known[figure.name]
