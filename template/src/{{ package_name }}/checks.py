"""Everything that can be known before training, in one pass: configuration, goal, data, plan."""

from collections.abc import Callable, Iterator
from typing import Any

from . import shapes
from .adapters import check_start
from .arguments import OPTIONS
from .config import Config
from .data_loader import label_names
from .errors import Problem, UserError
from .forgetting import check_forgetting
from .licences import use_warnings
from .manifest import recognizer_files, scrub_policy
from .metrics import METRICS
from .model_source import find_installed
from .objectives import OBJECTIVES
from .packs import load_packs
from .planning import require_fit, resolve_plan
from .preparation import survey
from .quantised import require_quantisation
from .trackers import require_trackers
from .training import training_of
from .usual_ranges import unusual


def check(config: Config, say: Callable[[str], None] = print) -> list[str]:
    """Look at the whole run without training; print what was found.

    Args:
        config: the run, already validated setting by setting.
        say: receives one line at a time.

    Returns:
        Warnings: things that do not stop a run.

    Raises:
        UserError: everything that would stop a run, in one message.
    """
    problems: list[Problem] = []
    warnings = [*_goal(config, problems), *_unusual(config), *use_warnings(config)]
    for step in (_packs, _evaluation, _scrubber, _data, _tracker, _plan, _start, _objective):
        try:
            say(step(config))
        except UserError as error:
            problems += error.problems
    for warning in warnings:
        say(f"warning  {warning}")
    if problems:
        raise UserError(problems)
    return warnings


def _goal(config: Config, problems: list[Problem]) -> Iterator[str]:
    """Yield a warning for every empty part of the goal; collect what is wrong with the rest."""
    goal = config.goal
    stated = [name for name in type(goal).model_fields if name != "eval_set"]  # empty: all sets
    empty = [name for name in stated if getattr(goal, name) in ("", None)]
    if config.scrub.nlp_model == "none":
        yield "scrub.nlp_model is none: names without a label or title are not found"
    if empty:
        fields = ", ".join(f"goal.{name}" for name in empty)
        yield f"the goal is not stated ({fields}): nobody can say when the model is good enough"
    if goal.metric and goal.metric not in METRICS:
        problems.append(Problem("goal.metric", "no such metric", ", ".join(METRICS)))
    if goal.eval_set:
        known = [row.id for pack in load_packs(config) for row in pack.eval_sets]
        if goal.eval_set not in known:
            problems.append(Problem("goal.eval_set", "no such evaluation set", ", ".join(known)))


def _start(config: Config) -> str:
    source = find_installed(config)
    if not config.model.adapter:
        return "start    a new model or adapter"
    if source is None:
        return f"start    {config.model.adapter}; its base is not on this disk yet"
    start = check_start(config, source.name, source.path, label_names(config))
    return f"start    {start['adapter']}, which belongs to this base"


def _objective(config: Config) -> str:
    row = OBJECTIVES[config.objective]
    OPTIONS[row.options](config)  # settings that only its trainer reads
    training_of(row).check(config)
    return f"learns   {row.title}"


def _unusual(config: Config) -> Iterator[str]:
    try:
        plan, _, _ = resolve_plan(config, must_fit=False, write=False)
    except UserError:
        return  # _plan says it
    yield from unusual(config, plan)


def _packs(config: Config) -> str:
    packs = load_packs(config)
    items = sum(row.n for pack in packs for row in pack.eval_sets)
    names = ", ".join(pack.name for pack in packs)
    return f"packs    {names}: {items} evaluation items"


def _evaluation(config: Config) -> str:
    from .eval_sets import load_tasks
    from .gates import gate_thresholds

    tasks, gates = load_tasks(config), gate_thresholds(config)
    return f"eval     {len(tasks)} sets, {len(gates)} gate{'' if len(gates) == 1 else 's'}"


def _scrubber(config: Config) -> str:
    from .scrub import Scrubber  # loads presidio and the language model, as `make prepare` will

    scrub = config.scrub
    files = recognizer_files(config)
    policy = scrub_policy(config)
    scrubber = Scrubber(files, scrub.languages, policy, scrub.nlp_model, b"", scrub.score_threshold)
    notes = "".join(f"\nnote     {notice}" for notice in scrubber.notices)
    return f"scrub    {policy}, names by {scrub.nlp_model}, rules of {len(files)} files{notes}"


def _data(config: Config) -> str:
    report: dict[str, Any] = survey(config)
    if report["refused"]:
        found = "; ".join(report["refused"])
        raise UserError(Problem(config.data.raw, found, fix="make prepare lists every bad row"))
    rows, layout = report["rows"], report["format"]
    outcome = ", ".join(f"{rows[name]} {name}" for name in rows if name != "read")
    return f"data     {rows['read']} rows as {layout['name']} ({layout['reason']}): {outcome}"


def _tracker(config: Config) -> str:
    names = ", ".join(require_trackers(config.tracker, config.tracker_upload)) or "none"
    if not config.tracker_upload:
        return f"tracker  {names}"
    sensitive = [pack.name for pack in load_packs(config) if pack.sensitive]
    warning = f"; data of {', '.join(sensitive)} is sensitive" if sensitive else ""
    return f"tracker  {names}\nnote     figures and settings leave this machine{warning}"


def _plan(config: Config) -> str:
    known = shapes.table("models").get(config.model.model_name_or_path)
    if known and config.train.max_length > known["context"]:
        found = f"{config.train.max_length} tokens, and the model reads {known['context']}"
        raise UserError(Problem("train.max_length", found, f"at most {known['context']}"))
    plan, device, _ = resolve_plan(config, must_fit=False, write=False)
    require_fit(plan, device)
    require_quantisation(config, plan, device)
    check_forgetting(config, plan.technique)
    return (
        f"plan     {plan.technique}, {plan.precision}: needs {plan.need_gib:.1f} of "
        f"{device.memory_gib:.1f} GiB on {device.name}"
    )
