"""The sections of the data report page, one function and one row of SECTIONS for each."""

import re
from collections.abc import Callable
from typing import Any

from markupsafe import Markup

from .pages import (
    MOST_ROWS,
    bar,
    counts,
    listing,
    name,
    number,
    paragraph,
    percent,
    sentence,
    shown,
    table,
)
from .plots import OUTCOME_COLOURS, draw_lengths

Report = dict[str, Any]
# Policy for records over max_length -> what it does to them.
POLICIES = {
    "drop": "left out and counted as filtered",
    "truncate": "cut at the limit: nothing is learnt from what stands after it",
    "split": "split into several records that fit",
    "error": "a reason to stop the run",
}
SPLIT_RULES = {
    "hash": "By a keyed hash: a row keeps its split when rows are added or reordered.",
    "as_of": "By time: rows after the chosen day are the test split; the wanted shares are those "
    "of the earlier rows, which a keyed hash divides.",
    "folds": "In folds by a keyed hash, for cross-validation; every fold has the same test split.",
}
# What a figure of the diversity says.
DIVERSITY = {
    "sampled": "rows that were looked at",
    "openings": "different openings of prompts / rows",
    "type_token_ratio": "different words / all words",
    "tokens": "words of that ratio",
    "topics": "topics of equal size that would make rows as unlike as they are",
    "prompt_characters": "prompt, characters",
    "answer_characters": "answer, characters",
}
LEAK = '<strong class="bad">leak</strong>'
ABOUT_SPLITS = re.compile(r"\b(splits?|train|validation|test|folds?)\b")


def _files(report: Report) -> Markup:
    layout = report.get("format")
    intro = Markup("")
    if layout:
        intro = paragraph("Format: {} ({}).", name(layout["name"]), sentence(layout["reason"]))
        if layout["unused_columns"]:
            unused = Markup(", ").join(map(name, layout["unused_columns"][:MOST_ROWS]))
            rest = len(layout["unused_columns"]) - MOST_ROWS
            more = f" and {number(rest)} more" if rest > 0 else ""
            intro += paragraph("Columns that are not used: {}{}.", unused, more)
    header = ("file", "rows", "container", "encoding", "how it was recognised", "licence")
    keys = ("file", "rows", "container", "encoding", "reason")
    lines = [
        (*(file.get(key) for key in keys), file.get("licence") or "not declared")
        for file in report["files"]
    ]
    return intro + table(header, lines)


def _reasons(report: Report) -> Markup:
    rows, found = report["rows"], report["reasons"]
    outcomes = [
        (outcome, rows[outcome], bar(percent(rows[outcome], rows["read"])))
        for outcome in OUTCOME_COLOURS
    ]
    total = table(("outcome", "rows", "share, %"), outcomes)
    if not found:
        return total + paragraph("No row was refused or left out for a reason of its own.")
    return total + counts(("reason", "rows"), found, rows["read"])


def _cleaned(report: Report) -> Markup:
    rows = report["rows"]["read"]
    result = Markup("")
    for title, key in (("cleaned", "cleaned"), ("converted", "converted")):
        if report.get(key):
            result += counts((title, "rows"), report[key], rows)
    return result or paragraph("No row was changed.")


def _duplicates(report: Report) -> Markup:
    found = report["duplicates"]
    intro = paragraph(
        "Exact duplicates: {}. Near duplicates (similarity of at least {}): {}.",
        number(found["exact"]),
        found["threshold"],
        number(found["near"]),
    )
    lines = [
        (one["row"], one["repeats"], Markup(f"{one['similarity']:.2f}"))
        for one in found["examples"]
    ]
    if not lines:
        return intro
    more = found["exact"] + found["near"] - len(lines)
    return intro + table(("row", "repeats", "similarity"), lines, more)


def _conflicts(report: Report) -> Markup:
    found = report["conflicts"]
    if not found["prompts"]:
        return paragraph("No prompt has two different answers.")
    intro = paragraph(
        "Prompts with different answers: {}, in {} rows. Only a person can say which is right.",
        *(number(found[key]) for key in ("prompts", "rows")),
    )
    lines = [Markup(" · ").join(map(name, places[:MOST_ROWS])) for places in found["examples"]]
    more = found["prompts"] - len(lines)
    return intro + listing([*lines, *([f"and {number(more)} more prompts"] if more > 0 else [])])


def _contamination(report: Report) -> Markup:
    found = report["contamination"]
    if not found["sets"]:
        return paragraph("The data was compared with no evaluation set.")
    intro = paragraph(
        "Rows left out because they contain an evaluation item: {}.", number(found["rows"])
    )
    lines = [
        (key, *(one[part] for part in ("n", "overlapping", "too_short")))
        for key, one in sorted(found["sets"].items(), key=lambda pair: -pair[1]["overlapping"])
    ]
    result = intro + table(("evaluation set", "items", "found", "too short to tell"), lines)
    if found["examples"]:
        keys = ("row", "set", "item", "rule")
        places = [tuple(str(one[key]) for key in keys) for one in found["examples"]]
        header = ("row", "evaluation set", "item", "rule that found it")
        result += table(header, places, found["rows"] - len(places))
    return result


def _splits(report: Report) -> Markup:
    sizes, rule = report["splits"], report.get("split_rule", {})
    wanted, total = rule.get("shares", {}), sum(sizes.values())
    result = Markup("")
    if rule:
        result += paragraph(SPLIT_RULES[rule["by"]])
        if rule.get("group_by"):
            result += paragraph("Rows of one {} stay together.", name(rule["group_by"]))
        if rule.get("stratify_by"):
            result += paragraph("Stratified by {}.", name(rule["stratify_by"]))
    lines = [
        (split, size, bar(percent(size, total)), 100.0 * wanted.get(split, 0) or None)
        for split, size in sizes.items()
    ]
    result += table(("split", "records", "share, %", "wanted, %"), lines)
    if notes := [sentence(note) for note in report.get("notes", []) if _on_splits(note)]:
        result += listing(notes)
    if rule.get("deviation"):
        result += _deviation(rule["deviation"], [*sizes])
    if "leakage" in report:
        result += _leakage(report["leakage"])
    return result


def _deviation(deviation: dict[str, dict[str, float]], splits: list[str]) -> Markup:
    worst = sorted(deviation.items(), key=lambda pair: -max(map(abs, pair[1].values())))
    lines = [(label, *(_points(shares.get(split)) for split in splits)) for label, shares in worst]
    title = Markup("<h3>Label shares: reached minus wanted, percentage points</h3>")
    return title + table(("label", *splits), lines)


def _points(share: float | None) -> Markup | None:
    if share is None:
        return None
    points = round(100 * share, 1)
    return Markup(f"{points:+.1f}" if points else "0.0")


def _leakage(leakage: dict[str, int]) -> Markup:
    """Return the result of the test that is made on the written splits."""
    lines = [
        (what.replace("_", " "), count, Markup(LEAK if count else "none"))
        for what, count in leakage.items()
    ]
    title = Markup("<h3>Shared between splits, tested after writing</h3>")
    return title + table(("shared", "found", "result"), lines)


def _on_splits(note: str) -> bool:
    return ABOUT_SPLITS.search(note) is not None


def _tokens(report: Report) -> Markup:
    tokens, unit = report["tokens"], report["tokens"]["unit"]
    total, over = sum(tokens["histogram"]["counts"]), tokens["over"]
    limit = (number(total), number(tokens["max_length"]), unit)
    if over:
        result = paragraph(
            "{} of {} records ({} %) are longer than max_length ({} {}). Policy {}: they are {}.",
            *(number(over), limit[0], number(percent(over, total)), *limit[1:]),
            *(tokens["policy"], POLICIES[tokens["policy"]]),
        )
    else:
        result = paragraph("None of {} records is longer than max_length ({} {}).", *limit)
    if total:
        result += Markup("<figure>{}</figure>").format(Markup(draw_lengths(tokens)))
    points = tokens["percentiles"]
    return result + table(("percentile", *points), [(f"length, {unit}", *points.values())])


def _labels(report: Report) -> Markup:
    splits = report["labels"]
    sizes = {split: sum(found.values()) for split, found in splits.items()}
    totals: dict[str, int] = {}
    for found in splits.values():
        for label, count in found.items():
            totals[label] = totals.get(label, 0) + count
    if not totals:
        return paragraph("The records have no labels.")
    lines = [
        (label, *(_count_and_share(found.get(label, 0), sizes[s]) for s, found in splits.items()))
        for label in sorted(totals, key=lambda label: -totals[label])
    ]
    return table(("label", *(f"{split}, n (%)" for split in splits)), lines)


def _count_and_share(count: int, whole: int) -> Markup:
    text = "{} <small>({})</small>" if count else '<strong class="look">{}</strong>'
    return Markup(text).format(number(count), number(percent(count, whole)))


def _languages(report: Report) -> Markup:
    found = report["languages"]
    return counts(("language", "records"), found, sum(found.values()))


def _pii(report: Report) -> Markup:
    found = report["pii"]
    if not found:
        return paragraph("No identifier was found. A scrubber misses some: look at samples.")
    total = sum(found.values())
    intro = paragraph(
        "Identifiers replaced: {}. A scrubber misses some: look at samples.", number(total)
    )
    return intro + counts(("type", "found"), found, total)


def _guidance(report: Report) -> Markup:
    needed = report["guidance"]
    low, high = needed["recommended"]
    wanted = f"{number(low)} or more" if high is None else f"{number(low)} to {number(high)}"
    header = ("task", "examples", "minimum", "recommended", "verdict")
    line = (needed["task"], needed["rows"], needed["minimum"], wanted, needed["verdict"])
    return paragraph("{}", sentence(needed["text"])) + table(header, [line])


def _diversity(report: Report) -> Markup:
    """Return single figures as one table, percentiles as another, and lists of names."""
    single, spreads, lists = [], [], Markup("")
    for key, value in report["diversity"].items():
        title = DIVERSITY.get(key) or _title(key)
        if isinstance(value, dict):
            spreads.append((title, *value.values()))
            points = [*value]
        elif isinstance(value, list):
            rest = f" and {number(len(value) - MOST_ROWS)} more" if value[MOST_ROWS:] else ""
            names = Markup(", ").join(map(name, value[:MOST_ROWS]))
            lists += paragraph("{}: {}{}.", shown(title.capitalize()), names or "none", rest)
        else:
            ratio = isinstance(value, float)
            single.append((title, Markup(f"{value:,.2f}") if ratio else value))
    result = table(("figure", "value"), single) if single else Markup("")
    return result + (table(("length", *points), spreads) if spreads else "") + lists


def _title(key: str) -> str:
    return key.replace("_", " ")


def _licences(report: Report) -> Markup:
    found = report["licences"]
    return counts(("licence", "files"), found, sum(found.values()))


def _seconds(report: Report) -> Markup:
    stages = report["seconds"]
    total = sum(stages.values())
    lines = [(stage, float(took), bar(percent(took, total))) for stage, took in stages.items()]
    return table(("stage", "seconds", "share, %"), [*lines, ("all", float(total), None)])


def _notes(report: Report) -> Markup:
    told = "splits" in report  # the section on splits has its notes
    notes = [sentence(note) for note in report["notes"] if not (told and _on_splits(note))]
    return listing(notes) if notes else paragraph("No further notes.")


# Key of the report that a section needs, title, body; in the order a reviewer asks.
SECTIONS: tuple[tuple[str, str, Callable[[Report], Markup]], ...] = (
    ("files", "What was read", _files),
    ("reasons", "What became of the rows", _reasons),
    ("cleaned", "Cleaning and conversion", _cleaned),
    ("duplicates", "Duplicates", _duplicates),
    ("conflicts", "Prompts with different answers", _conflicts),
    ("contamination", "Evaluation items in the data", _contamination),
    ("splits", "Splits", _splits),
    ("tokens", "Lengths", _tokens),
    ("labels", "Labels by split", _labels),
    ("languages", "Languages", _languages),
    ("pii", "Identifiers replaced", _pii),
    ("guidance", "Is it enough?", _guidance),
    ("diversity", "Diversity", _diversity),
    ("licences", "Licences", _licences),
    ("seconds", "Time", _seconds),
    ("notes", "Notes", _notes),
)
