"""What the answers of runs cost and save, beside each other: tables for runs_table."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from . import impact
from .runs_table import UNKNOWN, Run, Table

SIDES = ("base", "tuned")


class Terms(NamedTuple):
    """How costs are counted.

    Attributes:
        price: of an hour of the machine, in the user's currency; None: as in `prices`.
        tokens: new tokens of a request; None: answers as in the evaluation.
        prices: rows as of planning.own_prices; None: those of the package.
    """

    price: float | None = None
    tokens: float | None = None
    prices: Mapping[str, Any] | None = None


def cost_table(runs: Sequence[Run], terms: Terms) -> Table:
    """Return what 1,000 requests cost, run by run, or why that is unknown."""
    header = ("run", "device", "price an hour", "base", "tuned", "tuned / base", "why unknown")
    rows = []
    sources: dict[str, None] = {}
    for run in runs:
        device, found, costs = run_costs(run, terms)
        if isinstance(found, impact.Price):
            sources[found.source] = None
        shown_price = "-" if isinstance(found, str) else f"{_range(found[:2])} {found.currency}"
        reasons = [found] if isinstance(found, str) else []
        reasons += [c for c in costs.values() if isinstance(c, str) and c not in reasons]
        known = {side: cost for side, cost in costs.items() if isinstance(cost, tuple)}
        rows.append(
            (
                *(run.name, device, shown_price.strip()),
                *(_range(known[side]) if side in known else "-" for side in SIDES),
                f"{known['tuned'][1] / known['base'][1]:.2f}" if len(known) == 2 else "-",
                "; ".join(reasons) or "-",
            )
        )
    formula = impact.ONE_BY_ONE if terms.tokens is None else impact.BY_TOKENS
    notes = [
        f"Cost of 1,000 requests = {formula}.",
        "Price: --price-per-hour, else the range in configs/prices.toml, else in prices.toml of "
        f"the package (US dollars). Used here: {'; '.join(sources) or 'none'}. The device is "
        "busy only while it answers: an idle hour costs as much.",
    ]
    return Table("Cost per 1,000 requests", header, rows, notes)


def run_costs(
    run: Run, terms: Terms
) -> tuple[str, impact.Price | str, dict[str, tuple[float, float] | str]]:
    """Return device, price, and the cost of 1,000 requests to base and tuned, or why not."""
    measured = run.results.get("inference") or {}
    device = _device(run, measured.get("tuned") or {})
    if not measured:
        return device, "speed was not measured in this run", {}
    found = impact.find_price(device, terms.price, terms.prices)
    if isinstance(found, str):
        return device, found, {}
    sides = {side: measured.get(side) or {} for side in SIDES}
    return (
        device,
        found,
        {k: impact.cost_per_1000(v, found, terms.tokens) for k, v in sides.items()},
    )


def _device(run: Run, speed: Mapping[str, Any]) -> str:
    """Return the name of the device that answered.

    Older results tell its kind only: the name is that of the training, if that was of one kind.
    """
    if name := speed.get("device_name"):
        return str(name)
    trained, kind = run.record.get("device") or {}, str(speed.get("device") or "-")
    return str(trained.get("name") or kind) if trained.get("kind") == kind else kind


def _range(pair: Sequence[float]) -> str:
    low, high = (f"{end:,.4g}" for end in pair)
    return low if low == high else f"{low} to {high}"


def impact_tables(root: Path, runs: Sequence[Run], terms: Terms) -> list[Table]:
    """Return the sheet with what follows from it, for each run; none while it is empty.

    Raises:
        UserError: the sheet holds unknown names or values.
    """
    sheet = impact.read_sheet(root)
    if all(value is None for value in sheet.values.values()):
        return []
    return [_impact(sheet, run, terms) for run in runs if run.results]


def _impact(sheet: impact.Sheet, run: Run, terms: Terms) -> Table:
    values, sources, currency = sheet
    _, found, costs = run_costs(run, terms)
    cost, why = costs.get("tuned"), ""
    if not isinstance(cost, tuple):
        why = cost or (found if isinstance(found, str) else "")
    elif isinstance(found, impact.Price) and found.currency not in ("", currency):
        why = f"{found.source} is in {found.currency}; give --price-per-hour in your currency"
    known = cost[1] if isinstance(cost, tuple) and not why else None
    rows = []
    for row in impact.INPUTS:
        value = values[row.name]
        shown_value = UNKNOWN if value is None else f"{value:,g}"
        source = sources[row.name] or ("-" if value is None else "no source given")
        rows.append((row.name.replace("_", " "), shown_value, row.unit, source))
    for figure, result in impact.compute(values, known, why):
        text = result if isinstance(result, str) else f"{result:,.1f}"
        told = "never, at these figures" if text == "inf" else text
        rows.append((figure.name, told, figure.unit, figure.formula))
    notes = [f"Inputs from {impact.SHEET}, currency {currency or 'not named'}."]
    header = ("figure", "value", "unit", "source or formula")
    return Table(f"Impact of {run.name}", header, rows, notes)
