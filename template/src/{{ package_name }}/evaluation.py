"""The comparison: base and tuned model answer the same items under the same prompts."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .answers_cache import BASE, TUNED, Answers, Asked, Contender, fingerprint
from .baselines import (
    Found,
    baseline_problems,
    baseline_rows,
    other_baselines,
    prompted_baselines,
)
from .behaviour import behaviour_rows
from .benchmarks import load_benchmarks
from .comparison import GUARD_SETS, POOLED, Compared, adjust, compare, judge_goal, pool
from .config import Config
from .data_loader import system_prompt
from .devices import detect_device
from .errors import Problem, UserError
from .eval_sets import GUARD, SKILL, Task, load_tasks
from .few_shot import mismatch, shown_items
from .gates import gate_thresholds, judge_gates
from .heads import HEADS
from .held_out import held_out_records, held_out_row, validation_loss
from .items import TEXT
from .judge import open_judge
from .measuring import Measured, measure
from .model_access import MASKED
from .model_readers import base_kind
from .model_source import resolve_model
from .model_wrapper import load_base, load_tuned
from .objectives import OBJECTIVES
from .records import Record
from .report import RESULTS, data_report
from .runs import RECORD, require_same_base
from .set_details import add_details
from .utils import read_json, timed, write_json, write_text

ITEMS = "evaluation_items.jsonl"


def evaluate(config: Config, run_dir: Path, progress: bool = True) -> dict[str, Any]:
    """Score base and tuned model and write the comparison into the run folder.

    Args:
        config: names the base model, the packs, the sets, the goal and the gates.
        run_dir: a run folder or `fine_tuned_model/`.
        progress: show a bar for each set.

    Returns:
        The content of `evaluation_results.json`.

    Raises:
        UserError: a set, an item, a gate, a baseline or the goal is wrong; every problem is
            listed.
    """
    tasks, thresholds = _checked(config)
    require_same_base(config, run_dir)
    _require_answers(config, run_dir)
    data = _data_of(config, run_dir)
    records = held_out_records(config) if data else []
    precision = evaluation_precision(config, run_dir)
    asked = Asked(config, system_prompt(config), precision, progress)
    base, baselines = _measure_base(asked, tasks, records)
    tuned = _measure_tuned(asked, run_dir, tasks, records)
    baselines += other_baselines(asked, tasks)
    with timed(asked.seconds, "statistics"):
        results = _results(config, tasks, base, tuned, baselines)
    results |= {
        "few_shot": few_shot_facts(config, run_dir, tasks),
        "validation": validation_loss(run_dir),
        **_overlap(data, tasks),
        "benchmarks": [one.facts() for one in load_benchmarks(config)],
        "precision": precision,
        "system_prompt": asked.prompt,
        "seconds": asked.seconds,
        "base_model": resolve_model(config).as_dict(),
    }
    results["gates"] = judge_gates(thresholds, results)
    write_text(run_dir / ITEMS, "".join(_item_lines(tasks, base.answers, tuned.answers)))
    write_json(run_dir / RESULTS, results)
    return results


def check_run(config: Config, run_dir: Path) -> list[str]:
    """Return what an evaluation of this run would do, after the checks that need no model.

    Raises:
        UserError: what would stop the evaluation before its first answer.
    """
    tasks, _ = _checked(config)
    require_same_base(config, run_dir)
    _require_answers(config, run_dir)
    sets = ", ".join(f"{task.name} ({len(task.items)})" for task in tasks)
    precision = evaluation_precision(config, run_dir)
    source = resolve_model(config, fetch=False)
    lines = [
        f"answer {sum(len(task.items) for task in tasks)} items in {precision}: {sets}",
        f"compare {run_dir} with {source.name} ({source.origin}: {source.note})",
    ]
    few_shot = few_shot_facts(config, run_dir, tasks)
    lines += [f"warning: {few_shot['note']}"] if few_shot["note"] else []
    kinds = ", ".join(setting.kind for setting in config.eval.baselines)
    lines += [f"compare with further baselines: {kinds}"] if kinds else []
    return [*lines, f"write {RESULTS}, {ITEMS}, the card and the plot into {run_dir}"]


def evaluation_precision(config: Config, run_dir: Path) -> str:
    """Return the number format for both models: that of the run, or what the device can do."""
    record = run_dir / RECORD
    planned = read_json(record).get("plan", {}).get("precision") if record.is_file() else None
    for choice in (planned, config.train.precision):
        if choice in ("fp32", "bf16", "fp16"):
            return choice
    return "bf16" if detect_device().bf16 else "fp32"


def few_shot_facts(config: Config, run_dir: Path, tasks: Sequence[Task]) -> dict[str, Any]:
    """Return how many solved examples stand before each question, here and in training."""
    record = run_dir / RECORD
    trained = read_json(record).get("config", {}).get("few_shot_k") if record.is_file() else None
    _, left_out = shown_items(tasks, config.few_shot_k)
    note = mismatch(config.few_shot_k, trained)
    return {"k": config.few_shot_k, "trained": trained, "left_out": left_out, "note": note}


def _checked(config: Config) -> tuple[list[Task], dict[str, tuple[float, str]]]:
    """Return sets and gates; what is wrong with anything that is asked for is raised together."""
    problems: list[Problem] = []
    tasks: list[Task] = []
    thresholds: dict[str, tuple[float, str]] = {}
    try:
        tasks = load_tasks(config)
    except UserError as error:
        problems += error.problems
    try:
        thresholds = gate_thresholds(config)
    except UserError as error:
        problems += error.problems
    problems += baseline_problems(config)
    try:
        open_judge(config)
    except UserError as error:
        problems += error.problems
    if problems:
        raise UserError(problems)
    return tasks, thresholds


def why_not_asked(config: Config, run_dir: Path) -> Problem | None:
    """Return why evaluation sets cannot ask a run or its base, and which scores it has instead."""
    record = run_dir / RECORD
    name = read_json(record).get("objective") if record.is_file() else None
    if name not in OBJECTIVES:
        return None  # bare weights: what they are shows when they are loaded
    head = HEADS[OBJECTIVES[name].head]
    source = resolve_model(config, fetch=False)
    found = ""
    if not head.generates and name != "classify":
        found = f"objective `{name}` gives {head.doc}, which no evaluation set asks for"
    elif not head.generates and base_kind(source, config.model) == MASKED:
        found = "the base is an encoder without a head for these labels: it has no answers"
    fix = "see the scores of the run's own test split: make report, or `test` in " + RECORD
    return Problem(str(run_dir), found, fix=fix) if found else None


def _require_answers(config: Config, run_dir: Path) -> None:
    """Refuse a run that evaluation sets cannot ask.

    Raises:
        UserError: points to the scores that the run has of its own test split.
    """
    if problem := why_not_asked(config, run_dir):
        raise UserError(problem)


def base_contender(asked: Asked) -> Contender:
    """Return the base model, not loaded yet; its answers are kept."""
    identity = fingerprint(resolve_model(asked.config).path)
    return Contender(BASE, lambda: load_base(asked.config, asked.precision), identity)


def _measure_base(
    asked: Asked, tasks: Sequence[Task], records: Sequence[Record]
) -> tuple[Measured, list[Found]]:
    """Measure the base model, and let it answer under other prompts while it is loaded."""
    base = base_contender(asked)
    measured = measure(asked, base, tasks, records)
    _require_scored(measured, tasks)
    return measured, prompted_baselines(asked, base, tasks)


def _measure_tuned(
    asked: Asked, run_dir: Path, tasks: Sequence[Task], records: Sequence[Record]
) -> Measured:
    tuned = Contender(TUNED, lambda: load_tuned(run_dir, asked.precision, asked.config))
    measured = measure(asked, tuned, tasks, records)
    _require_scored(measured, tasks)
    return measured


def _results(
    config: Config,
    tasks: Sequence[Task],
    base: Measured,
    tuned: Measured,
    baselines: Sequence[Found],
) -> dict[str, Any]:
    level = config.eval.confidence
    before, after = (
        {task.name: side.answers[task.name].judged(task) for task in tasks}
        for side in (base, tuned)
    )
    sets = {task.name: Compared(task, before[task.name], after[task.name]) for task in tasks}
    rows = [compare(one, level) for one in sets.values()]
    adjust(rows, level)
    for row, task in zip(rows, tasks, strict=True):
        add_details(row, config, task, base, tuned)
        row["baselines"] = baseline_rows(task, baselines, after[task.name], level)
    pooled = pool(POOLED, [one for one in sets.values() if one.task.role == SKILL], level)
    guard = [one for one in sets.values() if one.task.role == GUARD]
    return {
        "schema": 1,
        "confidence": level,
        "sets": rows,
        "pooled": pooled,
        "guard": pool(GUARD_SETS, guard, level),
        "behaviour": behaviour_rows(tasks, before, after, level),
        "held_out": held_out_row(base.held_out, tuned.held_out, level),
        "inference": {"base": base.speed, "tuned": tuned.speed} if tuned.speed else None,
        "baselines_left_out": [
            {"name": one.name, "set": name, "reason": reason}
            for one in baselines
            for name, reason in one.left_out.items()
        ],
        "goal": judge_goal(config.goal, sets, pooled),
    }


def _data_of(config: Config, run_dir: Path) -> dict[str, Any] | None:
    """Return the report of the data that the run was trained on, if it is still there."""
    path = run_dir / RECORD
    return data_report(config, read_json(path)) if path.is_file() else None


def _overlap(data: dict[str, Any] | None, tasks: Sequence[Task]) -> dict[str, Any]:
    """Return how many items of each set overlap with the training data, and the unchecked sets.

    `overlap` is None without a data report; `overlap_unknown` names the sets without a count.
    """
    names = [task.name for task in tasks]
    if data is None:
        return {"overlap": None, "overlap_unknown": names}
    sets = data["overlap"]["eval_sets"]
    return {
        "overlap": {name: sets[name] for name in names if name in sets},
        "overlap_unknown": [name for name in names if name not in sets],
    }


def _require_scored(measured: Measured, tasks: Sequence[Task]) -> None:
    """Refuse sets of texts that are too short to be scored.

    Raises:
        UserError: no text of a set has a token that is scored.
    """
    empty = [
        Problem(f"{task.name}: items", "no text has a second token, which would be scored")
        for task in tasks
        if task.metric.needs == TEXT
        and not any(one.tokens for one in measured.answers[task.name].answers)
    ]
    if empty:
        raise UserError(empty)


def _item_lines(
    tasks: Sequence[Task], base: dict[str, Answers], tuned: dict[str, Answers]
) -> Iterator[str]:
    """Yield one JSON line per item: what each model answered and whether it was right."""
    for task in tasks:
        answers = zip(base[task.name].answers, tuned[task.name].answers, strict=True)
        for item, pair in zip(task.items, answers, strict=True):
            row: dict[str, Any] = {"set": task.name, "id": item.id, "gold": item.gold()}
            for who, one in zip(("base", "tuned"), pair, strict=True):
                outcome = task.metric.judge(item, one)
                row[who] = {
                    "prediction": outcome.prediction,
                    "value": round(outcome.value, 4),
                    "note": outcome.note,
                    "scores": [round(score, 4) for score in one.scores],
                }
            yield json.dumps(row, ensure_ascii=False) + "\n"
