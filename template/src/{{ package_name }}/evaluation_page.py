"""The evaluation of a run for people: evaluation_report.html beside evaluation_results.json.

Made from what lies in the run folder; keys that an older run lacks are left out. Evaluation items
are authored text; rows of the training data are never read.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from markupsafe import Markup

from .config import Config
from .diagnosis import findings as diagnosed
from .diagnosis import summary
from .evaluation_plots import majority
from .evaluation_sections import SECTIONS, Report, fixed
from .manual_review import read_review
from .packs import count_unreviewed, load_packs
from .pages import findings_box, name, number, paragraph, report_page
from .report import RESULTS
from .run_log import LOG_NAME, read_log
from .runs import read_record
from .statistics import BETTER, WORSE
from .utils import read_json, write_text

PAGE = "evaluation_report.html"
ITEMS = "evaluation_items.jsonl"
MEMORISATION = "memorisation.json"
MOST_UNREADABLE = 0.05  # share of answers; above, a score says little about the task
WORSE_CALIBRATED = 0.05  # rise of the expected calibration error
SAME_ANSWER = 0.95  # share of items that get one answer, although others are right
CONSISTENT = 0.7  # share of items with the same choice in every order; below is worth a look


def write_page(config: Config, run_dir: Path) -> Path:
    """Write the report of an evaluated run as one self-contained HTML page, atomically.

    Raises:
        UserError: a pack cannot be read.
    """
    path = run_dir / PAGE
    write_text(path, render(read_report(config, run_dir)))
    return path


def read_report(config: Config, run_dir: Path) -> Report:
    """Return all that the page tells: results, answers, training log, probe, review."""
    items, probe = run_dir / ITEMS, run_dir / MEMORISATION
    results, record = read_json(run_dir / RESULTS), read_record(run_dir)
    lines = items.read_text(encoding="utf-8").split("\n") if items.is_file() else []
    return {
        "run": run_dir.name,
        "results": results,
        "items": [json.loads(line) for line in lines if line.strip()],
        "log": read_log(run_dir / LOG_NAME),
        "memorisation": read_json(probe) if probe.is_file() else None,
        "review": read_review(run_dir),
        "unreviewed": count_unreviewed(load_packs(config)),
        "diagnosis": summary(record, results),
        "diagnosed": [one["name"] for one in diagnosed(record, results) or []],
    }


def render(report: Report) -> str:
    """Return the page of a report; only `results` is required."""
    bodies = [(key, title, body(report)) for key, title, body in SECTIONS]
    sections = [section for section in bodies if section[2]]
    opening = [_verdict(report), findings_box(findings(report), sections)]
    return report_page("Evaluation report", opening, sections, _footer(report))


def _verdict(report: Report) -> Markup:
    results = report["results"]
    head = Markup("<h1>Evaluation report</h1>")
    pooled = results.get("pooled")
    if not pooled:
        text = "<strong>No verdict</strong>: no set of right-or-wrong answers was evaluated."
        return head + paragraph(text, kind="verdict")
    words = {
        BETTER: "The tuned model is better than its base",
        WORSE: "The tuned model is worse than its base",
    }
    line = paragraph(
        "<strong>{}</strong>: {} of {} items right before, {} after. The difference is {} points, "
        "{} interval {} to {}.",
        words.get(pooled["verdict"], "No evidence that the tuned model differs from its base"),
        *(f"{pooled['base']:.1%}", number(pooled["n"]), f"{pooled['tuned']:.1%}"),
        *(fixed(100 * pooled["difference"], 1, sign=True), f"{results['confidence']:.0%}"),
        *(fixed(100 * end, 1, sign=True) for end in pooled["interval"]),
        kind="verdict",
    )
    return head + line + _beside(results, pooled)


def _beside(results: dict[str, Any], pooled: dict[str, Any]) -> Markup:
    """Return what has to stand beside the verdict: majority, size of the test, forgetting."""
    told = Markup("")
    if pooled.get("majority") is not None:
        told += paragraph(
            "Always giving the most frequent right answer would score {}.",
            f"{pooled['majority']:.1%}",
        )
    effect = pooled.get("minimum_detectable_effect")
    if effect is not None:
        told += paragraph(
            "A true difference of {} points would be found in four of five such comparisons; "
            "smaller ones may go unseen.",
            fixed(100 * effect, 1),
        )
    guard = results.get("guard")
    if guard:
        told += paragraph(
            "On what it should not forget: {} ({} points on {} guard items).",
            guard["verdict"],
            fixed(100 * guard["difference"], 1, sign=True),
            number(guard["n"]),
        )
    return told


def findings(report: Report) -> Iterator[tuple[bool, str, str]]:
    """Yield (is it a problem, section, sentence) for all that a reviewer would ask about."""
    results = report["results"]
    for gate in results.get("gates") or []:
        if gate["status"] == "failed":
            yield True, "gates", f"Gate failed: {gate['name']}."
        elif gate["status"] != "passed":
            yield False, "gates", f"Gate {gate['status']}: {gate['name']}."
    goal = results.get("goal") or {}
    if goal.get("status") == "missed":
        yield True, "gates", f"The goal was missed: {goal.get('reason', '')}."
    elif goal.get("status") == "not judged":
        yield False, "gates", f"The goal was not judged: {goal.get('reason', '')}."
    sets: dict[tuple[bool, str, str], list[str]] = {}
    for row in results["sets"]:
        for serious, key, phrase, detail in _set_findings(row):
            sets.setdefault((serious, key, phrase), []).append(row["name"] + detail)
    for (serious, key, phrase), names in sets.items():
        yield serious, key, f"{phrase}: {', '.join(names)}."
    yield from _other_findings(report)


def _set_findings(row: dict[str, Any]) -> Iterator[tuple[bool, str, str, str]]:
    """Yield (is it a problem, section, phrase, figure of this set)."""
    if row["verdict"] == WORSE:
        yield True, "guard" if row.get("guard") else "sets", "Worse than the base", ""
    usual = majority(row)
    if usual is not None and row["tuned"] < usual:
        yield False, "scores", "Below always giving the most frequent right answer", ""
    unread = (row.get("invalid") or {}).get("tuned", 0)
    if unread > MOST_UNREADABLE:
        yield False, "predictions", "Answers that could not be read", f" {unread:.0%}"
    given = (row.get("predictions") or {}).get("tuned") or {}
    if max(given.values(), default=0) >= SAME_ANSWER * row["n"]:
        right = (row["predictions"].get("right") or {}).values()
        if max(right, default=row["n"]) < SAME_ANSWER * row["n"]:
            yield False, "predictions", "Nearly always the same answer", ""
    error = row.get("ece") or {}
    if error and error["tuned"] - error["base"] > WORSE_CALIBRATED:
        yield False, "calibration", "Its confidence says less than the base's", ""
    order = (row.get("option_order") or {}).get("tuned")
    if order and order["consistency"] < CONSISTENT:
        same = f" {order['consistency']:.0%}"
        yield False, "order", "Seldom the same choice when the options change places", same


def _other_findings(report: Report) -> Iterator[tuple[bool, str, str]]:
    results = report["results"]
    for row in results.get("behaviour") or []:
        if row.get("verdict") == WORSE:
            yield True, "behaviour", f"{row.get('title') or row['name']}: worse than the base."
    if not any(row.get("guard") for row in results["sets"]):
        yield False, "guard", "No guard set was evaluated: forgetting is unknown."
    overlap = results.get("overlap")
    if overlap is None:
        yield False, "overlap", "Overlap of evaluation and training data is unknown."
    elif hits := sum(row["overlapping"] for row in overlap.values()):
        yield True, "overlap", f"Evaluation items that stand in the training data: {hits:,}."
    probe = report.get("memorisation") or {}
    extracted = probe.get("extracted") or {"base": 0, "tuned": 0}
    if what := probe.get("memorised"):
        yield True, "memorisation", f"Sign of memorisation: {', '.join(what)}."
    elif "memorised" not in probe and extracted["tuned"] > extracted["base"]:
        more = extracted["tuned"] - extracted["base"]
        yield True, "memorisation", f"Identifiers that only the tuned model gives away: {more}."
    if names := report.get("diagnosed"):
        yield False, "diagnosis", f"Diagnosis: {', '.join(names)}."
    state = report.get("unreviewed")
    if state and state["unreviewed"]:
        yield False, "notes", f"Items that no professional has signed: {state['unreviewed']:,}."


def _footer(report: Report) -> Markup:
    model = (report["results"].get("base_model") or {}).get("name", "unknown")
    text = paragraph(
        'The same figures are in <a href="evaluation_results.json">evaluation_results.json</a>, '
        'every answer in <a href="evaluation_items.jsonl">evaluation_items.jsonl</a>. '
        "Run {}, base model {}.",
        name(report.get("run", "unknown")),
        name(model),
    )
    return Markup("<footer>{}</footer>").format(text)
