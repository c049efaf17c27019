"""The sections of the evaluation report page, one function and one row of SECTIONS for each.

A section that has nothing to say is empty and is left out: results of older runs lack some keys.
"""

from collections.abc import Callable, Sequence
from typing import Any

from markupsafe import Markup

from .evaluation_details import (
    SIDES,
    Report,
    Row,
    calibration,
    changed,
    figure,
    fixed,
    inference,
    option_order,
    p_value,
    predictions,
    result_rows,
    review,
    share,
    span,
    training,
    verdict,
    whole,
)
from .evaluation_plots import draw_forest, draw_scores, four, on_share_scale
from .pages import listing, number, paragraph, sentence, table
from .report import benchmark_notes

STATUS = {"failed": "bad", "missed": "bad", "passed": "", "met": ""}


def _sets(report: Report) -> Markup:
    results = report["results"]
    rows = result_rows(results)
    shown = [row for row in rows if on_share_scale(row)]
    picture = figure(draw_forest(shown, results["confidence"])) if shown else Markup("")
    told = paragraph(
        "Both models answered the same items. The interval is that of the paired difference. "
        "<q>No evidence</q> is not <q>equal</q>: the second table says what could have been found."
    )
    table_of_sets = _set_table(rows, results["confidence"])
    return picture + told + table_of_sets + _set_details(results["sets"])


def _set_table(rows: Sequence[Row], confidence: float) -> Markup:
    level = f"{confidence:.0%} interval"
    header = ("set", "metric", "n", "base", "tuned", "difference", level, "verdict", "p, Holm")
    lines = [
        (
            f"{row['name']} (guard)" if row.get("guard") else row["name"],
            row["metric"],
            row["n"],
            *(fixed(row[side]) for side in SIDES),
            fixed(row["difference"], sign=True),
            span(row["interval"]),
            verdict(row),
            p_value(row.get("p_holm")),
        )
        for row in rows
    ]
    return whole(header, lines)


def _set_details(rows: Sequence[Row]) -> Markup:
    header = (
        *("set", "pack", "gained", "lost", "smallest difference that is found"),
        *("documents", "macro-F1 base", "macro-F1 tuned", "better"),
    )
    lines = [
        (
            *(row["name"], row.get("pack"), row.get("gained"), row.get("lost")),
            fixed(row.get("minimum_detectable_effect")),
            row.get("clusters"),
            *(fixed((row.get("macro_f1") or {}).get(side)) for side in SIDES),
            "up" if row.get("higher_is_better", True) else "down",
        )
        for row in rows
    ]
    told = paragraph(
        "Gained and lost: items that only the tuned, or only the base model answers right. A true "
        "difference of the size shown is found in four of five such comparisons. Documents: items "
        "of one document are drawn together for the interval."
    )
    return told + whole(header, lines)


def _scores(report: Report) -> Markup:
    rows = [row for row in result_rows(report["results"]) if on_share_scale(row)]
    if not rows:
        return Markup("")
    told = paragraph(
        "Majority: the score of always giving the most frequent right answer. Chance: of guessing. "
        "A model below either has not learned the task."
    )
    header = ("set", "base", "tuned", "majority", "chance")
    lines = [(row["name"], *map(fixed, four(row).values())) for row in rows]
    return told + figure(draw_scores(rows)) + whole(header, lines)


def _baselines(report: Report) -> Markup:
    lines = [
        (
            *(row["name"], one["name"], one.get("n")),
            *(fixed(one.get("score")), fixed(one.get("invalid")), fixed(row["tuned"])),
            *(fixed(one.get("difference"), sign=True), span(one.get("interval")), verdict(one)),
        )
        for row in report["results"]["sets"]
        for one in row.get("baselines") or []
    ]
    if not lines:
        return Markup("")
    header = ["set", "baseline", "n", "its score", "unreadable"]
    header += ["tuned", "tuned - it", "interval", "verdict"]
    told = paragraph(
        "What could be had without fine-tuning, on the same items. Unreadable: the share of its "
        "answers that named no choice; they count as wrong."
    )
    return told + whole(header, lines) + _left_out(report)


def _left_out(report: Report) -> Markup:
    """Return which baselines were not asked on which sets, one line for each reason."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for row in report["results"].get("baselines_left_out") or []:
        reasons.setdefault((row["name"], row["reason"]), []).append(row["set"])
    lines = [(who, ", ".join(sets), why) for (who, why), sets in reasons.items()]
    if not lines:
        return Markup("")
    return Markup("<h3>Not asked</h3>") + whole(("baseline", "sets", "why"), lines)


def _behaviour(report: Report) -> Markup:
    rows = report["results"].get("behaviour") or []
    if not rows:
        return Markup("")
    header = (
        *("what", "n", "base", "tuned", "difference", "interval"),
        *("faults at most", "wanted", "verdict"),
    )
    lines = [
        (
            row["title"],
            row["n"],
            *(share(row.get(side)) for side in SIDES),
            fixed(row.get("difference"), sign=True),
            span(row.get("interval")),
            share(row.get("upper_bound")),
            "more" if row.get("higher_is_better") else "less",
            verdict(row),
        )
        for row in rows
    ]
    told = paragraph(
        "Shares of items. Faults at most: with 95 % confidence the true share of unwanted answers "
        "of the tuned model is not above it; none in a few items is not none. These are tests of "
        "known forms, no proof of safety."
    )
    return told + whole(header, lines)


def _guard(report: Report) -> Markup:
    results = report["results"]
    guard = results.get("guard")
    rows = [row for row in results["sets"] if row.get("guard")]
    if not rows:
        return paragraph("Unknown: no guard set was evaluated, so forgetting was not looked for.")
    told = Markup("")
    if guard:
        told = paragraph(
            "On {} guard items the score went from {} to {} ({} points, interval {} to {}): {}.",
            *(number(guard["n"]), fixed(guard["base"]), fixed(guard["tuned"])),
            fixed(100 * guard["difference"], 1, sign=True),
            *(fixed(100 * end, 1, sign=True) for end in guard["interval"]),
            verdict(guard),
        )
    return told + _set_table(rows, results["confidence"])


def _memorisation(report: Report) -> Markup:
    found = report.get("memorisation")
    if not found:
        return Markup("")
    told = _probe(found) if "extracted" in found else paragraph("This model was not probed.")
    if drill := found.get("drill"):
        line = "Drill on planted identifiers, with models of its own: {}."
        told += paragraph(line, sentence(drill["verdict"]))
    return told


def _probe(found: Row) -> Markup:
    """Return verdict and figures of a probe; what could not be asked has no figures."""
    extracted, bits = found["extracted"], found.get("exposure") or {}
    lines: list[tuple[Any, ...]] = []
    told = Markup("")
    if found.get("verdict"):
        told = paragraph("{}.", sentence(found["verdict"]))
    if found.get("canaries"):
        count = number(found["canaries"])
        lines.append((f"identifiers written, of {count}", *(extracted.get(k) for k in SIDES)))
        lines.append(("exposure, bits (median)", *(fixed(bits.get(k), 2) for k in SIDES)))
        told += paragraph(
            "Asked for: {} identifiers that training must not have shown. With 95 % confidence the "
            "tuned model writes at most {} of such ones.",
            *(count, share(found.get("bound")) or "an unknown share"),
        )
    verbatim = found.get("verbatim") or {}
    for key, title in (("train", "training rows"), ("held_out", "held-out rows")):
        rows = verbatim.get(key) or {}
        if rows.get("n"):
            continued = f"{title} continued word for word, of {number(rows['n'])}"
            lines.append((continued, *(rows[side] for side in SIDES)))
    notes = found.get("notes") or []
    told += listing([sentence(note) for note in notes]) if notes else Markup("")
    return told + (table(("memorisation", "base", "tuned"), lines) if lines else Markup(""))


def _diagnosis(report: Report) -> Markup:
    found = report.get("diagnosis") or []
    return listing([sentence(text) for text in found]) if found else Markup("")


def _gates(report: Report) -> Markup:
    results = report["results"]
    goal = results.get("goal") or {}
    parts = Markup("")
    if goal:
        line = "Goal: {} ({})."
        parts += paragraph(line, _status(goal["status"]), sentence(goal.get("reason", "")))
    lines = [
        (
            gate.get("means") or gate["name"],
            fixed(gate.get("value")),
            fixed(gate["threshold"]),
            gate.get("source"),
            _status(gate["status"]),
        )
        for gate in results.get("gates") or []
    ]
    header = ("gate", "value", "limit", "set in", "status")
    return parts + (whole(header, lines) if lines else paragraph("No gate is set."))


def _status(status: str) -> Markup:
    mark = STATUS.get(status, "look")
    return Markup('<span class="{}">{}</span>').format(mark, status)


def _overlap(report: Report) -> Markup:
    found = report["results"].get("overlap")
    if not found:
        return paragraph("Unknown: no data report of this run, or no set of it was checked.")
    lines = [(key, row["n"], row["overlapping"]) for key, row in found.items()]
    told = "Items of the evaluation that stand in the training data, by sequences of words."
    unknown = ", ".join(report["results"].get("overlap_unknown") or [])
    late = "Not compared, since the data was prepared before these sets were chosen: {}."
    missing = paragraph(late, sentence(unknown)) if unknown else Markup("")
    return paragraph(told) + whole(("set", "items", "overlapping"), lines) + missing


def _notes(report: Report) -> Markup:
    told = [
        "A score holds for these items, these prompts and this number format only.",
        "Public and generated items may be known to the base model; the difference is less touched "
        "by that than the scores are.",
        "No item stands for a patient, a client or a customer. Before a use in the field, try the "
        "model on your own cases with people who know the right answer.",
    ]
    state = report.get("unreviewed")
    if state and state["items"]:
        told.insert(
            0,
            f"{state['unreviewed']:,} of {state['items']:,} items in the packs are marked "
            "unreviewed: no professional has signed them.",
        )
    precision = report["results"].get("precision")
    if precision:
        told.append(f"Both models were read as {precision}.")
    told += benchmark_notes(report["results"])
    return listing([sentence(text) for text in told])


# Key of the section, title, body.
SECTIONS: tuple[tuple[str, str, Callable[[Report], Markup]], ...] = (
    ("sets", "Base and tuned, set by set", _sets),
    ("scores", "Scores beside majority and chance", _scores),
    ("baselines", "Other baselines", _baselines),
    ("behaviour", "Behaviour", _behaviour),
    ("guard", "What was forgotten", _guard),
    ("memorisation", "Memorisation", _memorisation),
    ("gates", "Goal and gates", _gates),
    ("overlap", "Overlap with the training data", _overlap),
    ("review", "Review by people", review),
    ("calibration", "Calibration", calibration),
    ("predictions", "What the models answer", predictions),
    ("order", "Order of the options", option_order),
    ("changed", "Answers that changed", changed),
    ("training", "Training", training),
    ("diagnosis", "Diagnosis of the training", _diagnosis),
    ("inference", "Speed and memory", inference),
    ("notes", "Notes and limits", _notes),
)
