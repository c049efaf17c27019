"""What a search varies: the axes with their usual values, and the file `configs/search.yaml`."""

import difflib
import itertools
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from .config import Config, leaves, translate
from .config_files import read_yaml
from .errors import Problem, UserError
from .utils import markdown_table

FILE = Path("configs/search.yaml")
METHODS = ("grid", "ablation")  # how a sweep goes through its values
WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
CONSTANTS = ("true", "false", "null")
Values = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Axis:
    """One thing that is varied.

    Attributes:
        name: short name, in the file and in tables.
        setting: dotted name in the configuration.
        values: what `auto` stands for.
        unit: of the values, or what they are.
    """

    name: str
    setting: str
    values: Values
    unit: str


ROWS = (
    Axis("learning_rate", "train.learning_rate", (1e-5, 5e-5, 1e-4), "peak step size"),
    Axis("batch", "train.effective_batch_size", (4, 8, 16), "examples per optimiser step"),
    Axis("epochs", "train.num_train_epochs", (3, 5, 10), "passes over the training split"),
    Axis("warm_up", "train.warmup_steps", (100, 500, 1000), "optimiser steps; below 1: a share"),
    Axis("technique", "technique", ("full", "freeze", "lora", "dora", "qlora", "ia3"), "name"),
    Axis("rank", "lora.lora_r", (4, 8, 16, 32, 64), "rank of the update"),
    Axis("steps", "train.max_steps", (50, 100, 200), "optimiser steps"),
    Axis("optimizer", "train.optim", ("adamw_torch", "adafactor", "adamw_8bit"), "name"),
    Axis("dropout", "lora.lora_dropout", (0.0, 0.05, 0.1), "share of adapter inputs"),
    Axis("weight_decay", "train.weight_decay", (0.0, 0.01, 0.1), "per step and learning rate"),
)
AXES = {row.name: row for row in ROWS}

# Settings, or starts of settings, that no search may vary -> why.
REFUSED = {
    "train.seed": "every trial has the same seed: the best of many seeds is luck",
    "train.output_dir": "every trial has a run folder of its own",
    "train.resume_from_checkpoint": "trials go on by themselves",
    "train.eval_strategy": "trials are compared at the same validations",
    "train.eval_steps": "trials are compared at the same validations",
    "train.metric_for_best_model": "trials are compared by one metric",
    "train.max_length": "it changes which examples are validated on",
    "few_shot_k": "it changes which examples are validated on",
    "objective": "losses of two objectives do not compare",
    "preference.": "it changes what the loss measures",
    "reinforcement.": "it changes what the reward measures",
    "distill.": "it changes what the loss measures",
    "model.": "losses of two models do not compare; name another study for each",
    "data.": "it changes the rows; prepare them anew, and name another study",
    "scrub.": "it changes the rows; prepare them anew, and name another study",
    "domains": "it changes the system prompt; name another study",
    "goal.": "training does not read it",
    "eval.": "training does not read it",
    "hardware.": "training does not read it",
    "tracker": "it changes no result",
}


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from low to high, both included; whole ones only where both ends are whole."""

    low: float
    high: float
    log: bool = False

    @property
    def whole(self) -> bool:
        """Return whether only whole numbers are meant."""
        return isinstance(self.low, int) and isinstance(self.high, int)


@dataclass(frozen=True, slots=True)
class Space:
    """The file of a search, checked.

    Attributes:
        name: of the study; its folder is runs/search/<name>.
        trials: runs that a study is made of, and the most that a sweep may have.
        startup_trials: finished trials before the median of them stops others.
        method: of a sweep, one of METHODS: all combinations, or one change at a time.
        search: setting -> values, or a range, of the study.
        sweep: setting -> values of the sweep.
    """

    name: str = "first"
    trials: int = 30
    startup_trials: int = 5
    method: str = "grid"
    search: Mapping[str, Values | Range] = field(default_factory=dict)
    sweep: Mapping[str, Values] = field(default_factory=dict)


def axes() -> str:
    """One line per axis."""
    rows = [
        [f"`{row.name}`", f"`{row.setting}`", ", ".join(map(flow, row.values)), row.unit]
        for row in ROWS
    ]
    return markdown_table(["axis", "setting", "`auto`", "unit"], rows)


def flow(value: Any) -> str:
    """Return a value as YAML in one line, as it is written behind `setting=`."""
    if isinstance(value, str) and WORD.fullmatch(value) and value.lower() not in CONSTANTS:
        return value
    return json.dumps(value, default=str)


def shown_value(value: Any) -> str:
    """Return a value for people: numbers with four digits."""
    return f"{value:.4g}" if isinstance(value, float) else flow(value)


def title(setting: str) -> str:
    """Return the name of a setting in tables: that of its axis, if it has one."""
    return next((row.name for row in ROWS if row.setting == setting), setting)


def words(settings: Mapping[str, Any]) -> list[str]:
    """Return settings as words of the command line."""
    return [f"{name}={flow(value)}" for name, value in settings.items()]


def combinations_of(space: Mapping[str, Values]) -> list[dict[str, Any]]:
    """Return all combinations of the values, the last axis changing first."""
    return [dict(zip(space, values, strict=True)) for values in itertools.product(*space.values())]


def one_at_a_time(space: Mapping[str, Values], config: Config) -> list[dict[str, Any]]:
    """Return the base, and each value of each axis that the base does not have."""
    now = dict(leaves(config))
    pairs = ((name, value) for name, values in space.items() for value in values)
    return [{}, *({name: value} for name, value in pairs if value != now[name])]


def read_space(path: Path) -> Space:
    """Read the file of a search.

    Raises:
        UserError: everything that is wrong with it.
    """
    values, lines = read_yaml(path)
    problems: list[Problem] = []
    known = [part.name for part in fields(Space)]
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            place = lines.get(str(name), path.name)
            problems.append(Problem(place, f"no such key{hint}", ", ".join(known)))
    found = {name: values[name] for name in known if values.get(name) is not None}
    for name, (fits, allowed) in SCALARS.items():
        if name in found and not fits(found[name]):
            place = lines.get(name, path.name)
            problems.append(Problem(place, f"{name}: the value does not fit", allowed))
    for part, ranges in (("search", True), ("sweep", False)):
        found[part] = _axes(part, values.get(part), (lines, path.name), problems, ranges)
    if problems:
        raise UserError(problems)
    return Space(**found)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_folder(value: Any) -> bool:
    return isinstance(value, str) and bool(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", value))


COUNT = (_is_count, "a whole number >= 1")
SCALARS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "name": (_is_folder, "text: letters, digits, dots, hyphens, underscores, 64 at most"),
    "trials": COUNT,
    "startup_trials": COUNT,
    "method": (lambda value: value in METHODS, ", ".join(METHODS)),
}


def _axes(
    part: str,
    block: Any,
    source: tuple[Mapping[str, str], str],
    problems: list[Problem],
    ranges: bool,
) -> dict[str, Any]:
    """Return setting -> values of one block of the file; collect what is wrong with it."""
    lines, file = source
    if block is None:
        return {}
    if not isinstance(block, dict):
        found = f"{part} is no block of `axis: values`"
        problems.append(Problem(lines.get(part, file), found))
        return {}
    result: dict[str, Any] = {}
    for name, values in block.items():
        place = f"{lines.get(f'{part}.{name}', file)} {part}.{name}"
        row = AXES.get(str(name))
        setting = row.setting if row else str(name)
        wrong = list(_refused(setting))
        if setting in result:
            wrong.append(Problem("", "the same setting as an axis above"))
        if not wrong:
            result[setting], wrong = _values(setting, values, row, ranges)
        problems += [Problem(place, p.found, p.allowed, p.fix) for p in wrong]
    return result


def _refused(setting: str) -> Iterator[Problem]:
    for start, reason in REFUSED.items():
        if setting == start or (start.endswith(".") and setting.startswith(start)):
            yield Problem("", f"not varied: {reason}", ", ".join(AXES))
            return
    known = [name for name, _ in leaves(Config())]
    if setting not in known:
        near = difflib.get_close_matches(setting, [*AXES, *known], n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        yield Problem("", f"no such axis or setting{hint}", f"{', '.join(AXES)}, or a setting")


def _values(
    setting: str, values: Any, row: Axis | None, ranges: bool
) -> tuple[Values | Range, list[Problem]]:
    """Return the values of an axis, and what is wrong with them."""
    if values == "auto" and row is not None:
        return row.values, []
    if isinstance(values, dict) and ranges:
        return _range(setting, values)
    if not isinstance(values, list) or not values:
        allowed = "a list of values" + (", or {low: .., high: .., log: true}" if ranges else "")
        return (), [Problem("", "no values", allowed + (", or auto" if row else ""))]
    wrong: list[Problem] = []
    for number, value in enumerate(values):
        found = value_problems(setting, value)
        wrong += [Problem("", f"value {number + 1}: {p.found}", p.allowed) for p in found]
        if value in values[:number]:
            wrong.append(Problem("", f"value {number + 1} stands there twice"))
    return tuple(values), wrong


def _range(setting: str, block: Mapping[str, Any]) -> tuple[Range, list[Problem]]:
    low, high, log = block.get("low"), block.get("high"), block.get("log", False)
    numbers = [x for x in (low, high) if isinstance(x, int | float) and not isinstance(x, bool)]
    allowed = "{low: NUMBER, high: larger NUMBER, log: true or false}"
    if set(block) - {"low", "high", "log"} or len(numbers) != 2 or not isinstance(log, bool):
        return Range(0, 1), [Problem("", "no range", allowed)]
    low, high = numbers
    wrong = []
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        wrong.append(Problem("", "low is not below high", allowed))
    if log and low <= 0:
        wrong.append(Problem("", "a logarithmic range begins above 0", allowed))
    for end, value in (("low", low), ("high", high)):
        found = value_problems(setting, value)
        wrong += [Problem("", f"{end}: {p.found}", p.allowed) for p in found]
    return Range(low, high, log), wrong


def value_problems(setting: str, value: Any) -> list[Problem]:
    """Return what is wrong with one value of one setting, apart from all others."""
    for part in reversed(setting.split(".")):
        value = {part: value}
    try:
        Config.model_validate(value)
    except ValidationError as error:
        return translate(error, {})
    return []


def size(space: Mapping[str, Values | Range]) -> float:
    """Return the number of combinations; a range has no end of them."""
    return math.prod(
        math.inf if isinstance(values, Range) else len(values) for values in space.values()
    )
