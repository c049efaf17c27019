"""Section "Results" of the model card: every score beside the base's, with its interval.

Keys that an older evaluation did not write are said to be not measured, with what measures them.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from .card_facts import Facts, Json
from .metrics import METRICS
from .report import benchmark_notes, test_table, test_title

SIDES = ("base", "tuned")


def results_section(facts: Facts) -> Iterator[str]:
    """Yield the lines of the section."""
    results = facts.results
    if facts.record.get("test"):
        yield test_title(facts.record)
        yield ""
        yield from table(*test_table(facts.record))
        yield ""
    if not results:
        yield "Unknown: the run was not evaluated (`make evaluate`)."
        return
    yield from _scores(results)
    yield from _notes(results)
    yield from _part("Behaviour", _behaviour(results), "no set of this kind was evaluated")
    yield from _part("Further baselines", _baselines(results), "not configured")
    yield from _part(
        "Classes, calibration and order of options", _calibration(results), "not measured"
    )
    yield from _part("Loss and perplexity on held-out data", _held_out(results), "not measured")
    yield from _part("Speed and memory", _speed(results), "not measured")
    hint = "unknown, the probe was not run on this model"
    yield from _part("Memorisation", _memorisation(facts.memorisation), hint)
    yield from _part("Manual review", _review(facts.review), "no answers were judged by people")


def number(value: Any, digits: int = 3) -> str:
    """Return a figure for a table; `-` where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


def interval(bounds: Sequence[float] | None, sign: str = "") -> str:
    """Return an interval, with signs if it is one of a difference."""
    return f"[{bounds[0]:{sign}.3f}, {bounds[1]:{sign}.3f}]" if bounds else "-"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    yield f"| {' | '.join(header)} |"
    yield f"|{'---|' * len(header)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', '/') for cell in row)} |"


def _part(title: str, lines: Iterator[str], absent: str) -> Iterator[str]:
    """Yield a part with its heading, or what to say where nothing was measured."""
    yield ""
    yield f"### {title}"
    yield ""
    shown = [*lines]
    yield from shown or [f"{absent[0].upper()}{absent[1:]}."]


def _scores(results: Json) -> Iterator[str]:
    level = f"{results['confidence']:.0%}"
    yield "Base and tuned model answered the same items under the same prompts. The interval beside"
    yield "a score is its own, that of the difference is of the pairs; majority is the score of"
    yield "always giving the most frequent right answer."
    yield ""
    scores = (f"base [{level}]", f"tuned [{level}]", f"difference [{level}]")
    header = ("set", "metric", "n", *scores, "better", "majority", "verdict")
    rows = [row for row in [*results["sets"], results["pooled"], results["guard"]] if row]
    yield from table(header, [_score_row(row) for row in rows])
    yield ""


def _score_row(row: Json) -> list[str]:
    return [
        f"{row['name']} (guard)" if row.get("guard") else row["name"],
        row["metric"],
        str(row["n"]),
        *(f"{row[side]:.3f} {_own(row, side)}".strip() for side in SIDES),
        f"{row['difference']:+.3f} {interval(row['interval'], '+')}",
        _better(row),
        number(row["majority"]),
        row["verdict"],
    ]


def _better(row: Json) -> str:
    """Return where better scores are; rows of older runs do not say it, their metric does."""
    metric = METRICS.get(row["metric"])
    upwards = row.get("higher_is_better", metric.higher_is_better if metric else True)
    return "up" if upwards else "down"


def _own(row: Json, side: str) -> str:
    bounds = row.get(f"{side}_interval")
    return interval(bounds) if bounds else ""


def _notes(results: Json) -> Iterator[str]:
    pooled, guard = results["pooled"], results["guard"]
    if pooled and pooled.get("sets"):
        yield f"- Pooled: {', '.join(pooled['sets'])}."
    if pooled and pooled.get("minimum_detectable_effect") is not None:
        effect = pooled["minimum_detectable_effect"]
        yield f"- With {pooled['n']} items, a true difference of {effect:.3f} or more would be"
        yield "  found in four of five such comparisons; smaller ones may go unseen."
    if guard:
        yield f"- Forgetting: on the guard sets the verdict is **{guard['verdict']}**"
        yield f"  ({guard['base']:.3f} to {guard['tuned']:.3f}, n = {guard['n']})."
    else:
        yield "- Forgetting: unknown, no guard set was evaluated."
    for gate in results.get("gates", []):
        reached = "not measured" if gate.get("value") is None else f"reached {gate['value']:.4g}"
        limit = f"limit {gate['threshold']:g}, {gate['source']}"
        yield f"- Gate `{gate['name']}`: {gate['status']} ({reached}, {limit})."
    overlap = results.get("overlap") or {}
    shown = ", ".join(f"{k}: {v['overlapping']} of {v['n']}" for k, v in overlap.items())
    yield f"- Items that overlap with the training data: {shown or 'unknown, not measured'}."
    few_shot = results.get("few_shot", {})
    if few_shot.get("k"):
        yield f"- {few_shot['k']} solved examples of the same set stand before each question."
    if few_shot.get("note"):
        yield f"- Note: {few_shot['note']}."
    if overlap and results.get("overlap_unknown"):
        yield f"- Not compared with the training data: {', '.join(results['overlap_unknown'])}."
    unreadable = [
        f"{row['name']} {row['invalid']['base']:.0%} / {row['invalid']['tuned']:.0%}"
        for row in results["sets"]
        if any((row.get("invalid") or {}).values())
    ]
    if unreadable:
        yield f"- Answers that could not be read, base / tuned: {', '.join(unreadable)}."
    for note in benchmark_notes(results):
        yield f"- {note[0].upper()}{note[1:]}."
    judged = [row for row in results["sets"] if row.get("judge")]
    for row in judged:
        judge = row["judge"]
        scores = f"{number(judge['base'])} / {number(judge['tuned'])}"
        yield f"- {row['name']}, judged by the model `{judge['model']}`, base / tuned: {scores},"
        yield f"  n = {judge['n']}."


def _behaviour(results: Json) -> Iterator[str]:
    rows = results.get("behaviour") or []
    if not rows:
        return
    level = f"{results['confidence']:.0%}"
    scores = (f"base [{level}]", f"tuned [{level}]", f"difference [{level}]")
    header = ("what", "n", *scores, "at most", "better", "verdict")
    yield from table(header, [_behaviour_row(row) for row in rows])
    yield ""
    yield f"`at most`: one-sided {level} upper bound of what must not happen with the tuned model:"
    yield "the rate itself where down is better, its complement where up is better."


def _behaviour_row(row: Json) -> list[str]:
    better = "up" if row.get("higher_is_better") else "down"
    return [
        row.get("title") or row["name"],
        str(row["n"]),
        *(f"{number(row.get(side))} {_own(row, side)}".strip() for side in SIDES),
        f"{row['difference']:+.3f} {interval(row.get('interval'), '+')}"
        if row.get("difference") is not None
        else "-",
        number(row.get("upper_bound")),
        better,
        row.get("verdict") or "-",
    ]


def _baselines(results: Json) -> Iterator[str]:
    rows = [
        [
            f"{row['name']}: {other['name']}",
            str(other.get("n", "-")),
            number(other.get("score")),
            number(row["tuned"]),
            f"{other['difference']:+.3f} {interval(other.get('interval'), '+')}",
            other.get("verdict") or "-",
        ]
        for row in results["sets"]
        for other in row.get("baselines") or []
    ]
    if rows:
        header = ("baseline", "n", "its score", "tuned", "tuned minus it", "verdict")
        yield from table(header, rows)


def _calibration(results: Json) -> Iterator[str]:
    rows = []
    for row in results["sets"]:
        f1, ece, order = (row.get(name) or {} for name in ("macro_f1", "ece", "option_order"))
        if f1 or ece or order:
            same = {side: (order.get(side) or {}).get("consistency") for side in SIDES}
            rows.append([row["name"], *(_pair(found) for found in (f1, ece, same))])
    if rows:
        yield from table(("set", "macro-F1", "ECE", "same option"), rows)
        yield ""
        yield "Base / tuned. ECE: expected calibration error, 0 is best. Same option: share of"
        yield "items whose answer stays the same in every order of the options."


def _pair(found: Json) -> str:
    both = [number(found.get(side)) for side in SIDES]
    return "-" if both == ["-", "-"] else " / ".join(both)


def _held_out(results: Json) -> Iterator[str]:
    if found := results.get("held_out"):
        pair = f"base {number(found['base'], 2)}, tuned {number(found['tuned'], 2)}"
        yield f"- Perplexity on the test split ({found.get('n', 'unknown')} records): {pair};"
        yield f"  interval of the difference {interval(found.get('interval'), '+')}."
    if found := results.get("validation"):
        steps = ", ".join(f"{name} {number(found.get(name))}" for name in ("first", "best", "last"))
        yield f"- Validation loss while training: {steps}."


def _speed(results: Json) -> Iterator[str]:
    found = results.get("inference") or {}
    rows = [
        [
            side,
            number(found[side].get("latency_s")),
            number(found[side].get("tokens_per_second"), 1),
            number(found[side].get("peak_memory_gib"), 2),
            str(found[side].get("device", "-")),
        ]
        for side in SIDES
        if found.get(side)
    ]
    if rows:
        yield from table(
            ("model", "latency of one answer, s", "tokens/s", "peak memory, GiB", "device"), rows
        )


def probed(memorisation: Json | None) -> bool:
    """Return True if something was asked of the model of this run.

    A drill trains models of its own, and a probe may find nothing to ask.
    """
    found = memorisation or {}
    rows = (found.get("verbatim") or {}).get("train") or {}
    return "extracted" in found and bool(found["canaries"] or rows.get("n"))


def _memorisation(memorisation: Json | None) -> Iterator[str]:
    found = memorisation or {}
    if "extracted" in found:
        yield from _probe(found)
    if drill := found.get("drill"):
        yield f"- Drill on planted identifiers: {drill['verdict']}."


def _probe(found: Json) -> Iterator[str]:
    if total := found["canaries"]:
        pair = found["extracted"]
        yield f"- Replaced identifiers that are written, of {total}: base {pair['base']},"
        yield f"  tuned {pair['tuned']}; at most {found['bound']:.1%} with 95 % confidence."
        bits = [number((found.get("exposure") or {}).get(side), 2) for side in SIDES]
        yield f"- Median exposure, bits: base {bits[0]}, tuned {bits[1]}; 1 is chance."
    for split in ("train", "held_out"):
        rows = (found.get("verbatim") or {}).get(split) or {}
        if rows.get("n"):
            name = split.replace("_", "-")
            yield f"- Rows ({name}) that are continued word for word, of {rows['n']}:"
            yield f"  base {rows['base']}, tuned {rows['tuned']}."
    if not probed(found):
        yield "- Nothing could be probed, so nothing is known about memorisation."
    if "verdict" in found:
        yield f"- Verdict: {found['verdict']}."
    yield from (f"- Note: {note}." for note in found.get("notes") or [])


def _review(found: Json | None) -> Iterator[str]:
    result = (found or {}).get("result")
    if not result:
        return
    row = result["pooled"]
    people = "1 rater" if result["raters"] == 1 else f"{result['raters']} raters"
    yield f"- Pairs of answers judged without names: {row['rated']}, by {people}."
    yield f"- Preferred: tuned {row['tuned']}, base {row['base']}, tie {row['tie']}; share of the"
    share = f"{number(row['share'])} {interval(row['interval'])}"
    yield f"  tuned model among the decided {share}, p {_p_value(row['p_value'])}."
    for fault, count in result.get("faults", {}).items():
        yield f"- Fault `{fault}`: base {count['base']}, tuned {count['tuned']}."


def _p_value(value: float) -> str:
    return "< 0.0001" if value < 0.0001 else f"= {value:.4f}"
