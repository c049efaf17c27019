"""The configuration of a run: YAML file + command line -> one checked `Config`.

Everything wrong with it is reported at once, before any heavy library is loaded.
"""

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from pydantic import PrivateAttr, ValidationError, ValidationInfo, field_validator

from .combinations import why_not
from .config_files import override, read_yaml
from .errors import Problem, UserError
from .formats import FORMATS
from .objectives import OBJECTIVES, check_combination
from .settings import Settings
from .settings_base import Section
from .splits import split_problems
from .techniques import TECHNIQUES
from .trackers import TRACKERS
from .utils import write_text

# Names that other tools or older releases use -> what replaces them here.
HINTS = {
    "evaluation_strategy": "train.eval_strategy",
    "save_strategy": "train.eval_strategy (checkpoints follow the validations)",
    "max_seq_length": "train.max_length",
    "max_seq_len": "train.max_length",
    "warmup_ratio": "train.warmup_steps (a value below 1 is a share of the run)",
    "torch_dtype": "train.precision",
    "bf16": "train.precision: bf16",
    "fp16": "train.precision: fp16",
    "report_to": "tracker",
    "batch_size": "train.per_device_train_batch_size",
    "lr": "train.learning_rate",
    "epochs": "train.num_train_epochs",
    "num_epochs": "train.num_train_epochs",
    "r": "lora.lora_r",
    "alpha": "lora.lora_alpha",
    "target_modules": "lora.lora_target_modules",
    "model_name": "model.model_name_or_path",
    "base_model": "model.model_name_or_path",
    "dataset": "data.raw",
    "no_cuda": "the environment variable CUDA_VISIBLE_DEVICES (empty: no GPU)",
    "use_cpu": "the environment variable CUDA_VISIBLE_DEVICES (empty: no GPU)",
    "group_by_length": "train.extra.train_sampling_strategy: group_by_length",
    "overwrite_output_dir": "nothing: every run gets a folder of its own",
    "load_best_model_at_end": "nothing: the best checkpoint is always loaded at the end",
    "logging_dir": "nothing: the log is training_log.jsonl in the run folder",
}


class Config(Settings):
    """All settings of one run, checked. Attribute access: `config.train.learning_rate`."""

    _root: Path = PrivateAttr(default_factory=Path.cwd)
    _source: dict[str, str] = PrivateAttr(default_factory=dict)

    @field_validator("objective", "technique")
    @classmethod
    def _known_row(cls, value: str, info: ValidationInfo) -> str:
        allowed = list(OBJECTIVES) if info.field_name == "objective" else ["auto", *TECHNIQUES]
        if value not in allowed:
            found = f"no such {info.field_name}{_close(value, allowed)}"
            # translate puts what follows the bar into the line "allowed".
            raise ValueError(f"{found}|{', '.join(allowed)}")
        return value

    @field_validator("tracker")
    @classmethod
    def _known_tracker(cls, value: str | list[str]) -> str | list[str]:
        for name in [value] if isinstance(value, str) else value:
            if name not in TRACKERS:
                found = f"no such tracker{_close(name, list(TRACKERS))}"
                raise ValueError(f"{found}|{', '.join(TRACKERS)}, or a list of them")
        return value

    @property
    def root(self) -> Path:
        """Project folder, the one that holds `configs/`."""
        return self._root

    @property
    def source(self) -> dict[str, str]:
        """Dotted name -> `default`, `file:line` or `command line`."""
        return self._source

    def path(self, value: str | Path) -> Path:
        """Return a path of the configuration as an absolute path below the project folder."""
        return (self._root / Path(value).expanduser()).resolve()

    def as_dict(self) -> dict[str, Any]:
        """Return all settings as plain JSON values."""
        return self.model_dump(mode="json")

    def table(self) -> str:
        """Return one line per setting: name, value, where it came from."""
        rows = [(n, json.dumps(v), self._source.get(n, "default")) for n, v in leaves(self)]
        wide = [max(len(row[column]) for row in rows) for column in (0, 1)]
        limit = min(wide[1], 44)
        return "\n".join(f"{n:<{wide[0]}}  {v:<{limit}}  {source}" for n, v, source in rows)


def load_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read, merge and check the configuration.

    Args:
        path: the YAML file; the folder that holds its `configs/` folder becomes the root.
        overrides: `section.key=value`, the value as a YAML scalar or flow collection.

    Raises:
        UserError: everything that is wrong, in one message.
    """
    problems: list[Problem] = []
    values, sources = read_yaml(path)
    for text in overrides:
        problem = override(text, values, sources)
        if problem is not None:
            problems.append(problem)
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        raise UserError(problems + translate(error, sources)) from None
    problems += _check_format(config)
    if config.technique != "auto":
        reason = why_not(OBJECTIVES[config.objective], TECHNIQUES[config.technique])
        problems += [Problem("technique", reason, ", ".join(_fitting(config)))] if reason else []
    problems += split_problems(config.data.split.model_dump(), config.data.time_column)
    if problems:
        raise UserError(problems)
    config._root = _project_root(path.resolve())
    if problems := list(_mixed_folders(config)):
        raise UserError(problems)
    config._source = {name: _source_of(name, sources) for name, _ in leaves(config)}
    for name in _left_to_preset(values) if config.lora.preset != "default" else ():
        config._source[name] += f", preset {config.lora.preset}"
    return config


def _left_to_preset(values: dict[str, Any]) -> Iterator[str]:
    """Yield the settings of low-rank adapters that the user left to the preset."""
    for name in ("lora_r", "lora_alpha", "lora_dropout", "lora_target_modules"):
        if (values.get("lora") or {}).get(name, "auto") == "auto":
            yield f"lora.{name}"


def _mixed_folders(config: Config) -> Iterator[Problem]:
    """Yield the places that would write over each other, or over the raw data."""
    places = {
        "data.raw": config.path(config.data.raw),
        "data.prepared": config.path(config.data.prepared),
        "data.quarantine": config.path(config.data.quarantine),
        "train.output_dir": config.path(config.train.output_dir),
        "fine_tuned_model/": config.path("fine_tuned_model"),
    }
    for (one, first), (other, second) in combinations(places.items(), 2):
        if first.is_relative_to(second) or second.is_relative_to(first):
            found = f"the same folder as {one}, or one lies inside the other"
            yield Problem(other, found, fix="give each a folder of its own")


def write_json_schema(path: Path) -> None:
    """Write the JSON Schema of the configuration, for completion in editors."""
    schema = Config.model_json_schema()
    schema["properties"]["objective"]["enum"] = list(OBJECTIVES)
    schema["properties"]["technique"]["enum"] = ["auto", *TECHNIQUES]
    one, several = schema["properties"]["tracker"]["anyOf"]
    one["enum"] = several["items"]["enum"] = list(TRACKERS)
    write_text(path, json.dumps(schema, indent=2) + "\n")


def leaves(section: Section, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted name, value) for every setting, in file order."""
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, Section):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _check_format(config: Config) -> list[Problem]:
    """Check the data format and that the objective can read what it gives."""
    name = config.data.format
    if name == "auto":
        return []
    if name not in FORMATS:
        allowed = ["auto", *FORMATS]
        return [
            Problem("data.format", f"no such format{_close(name, allowed)}", ", ".join(allowed))
        ]
    try:
        check_combination(config.objective, FORMATS[name])
    except UserError as error:
        return error.problems
    return []


def _fitting(config: Config) -> list[str]:
    """Return the techniques that can train the objective."""
    objective = OBJECTIVES[config.objective]
    return [name for name, row in TECHNIQUES.items() if not why_not(objective, row)]


def _close(name: str, allowed: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, allowed, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _source_of(name: str, sources: Mapping[str, str]) -> str:
    inner = [s for key, s in sources.items() if key.startswith(f"{name}.") and s == "command line"]
    return inner[0] if inner else sources.get(name, "default")


def _project_root(path: Path) -> Path:
    for parent in path.parents:
        if parent.name == "configs":
            return parent.parent
    return path.parent


def translate(error: ValidationError, sources: Mapping[str, str]) -> list[Problem]:
    """Turn pydantic's findings into one problem per setting, without quoting values."""
    problems: dict[str, Problem] = {}
    for item in error.errors(include_url=False, include_input=False):
        location = [str(part) for part in item["loc"]]
        name, schema = _setting(location)
        place = _place(location, sources)
        suffix = f" ({place})" if place else ""
        if item["type"] == "extra_forbidden":
            name = _dotted(location)
            problem = Problem(name, f"no such setting{_near(location)}{suffix}")
        elif item["type"] == "value_error":
            found, _, allowed = item["msg"].removeprefix("Value error, ").partition("|")
            problem = Problem(name, found + suffix, allowed)
        else:
            found = FAULTS.get(item["type"], "the value does not fit")
            problem = Problem(name, f"{found}{suffix}", _describe(schema))
        problems.setdefault(name, problem)
    return list(problems.values())


def _setting(location: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Cut pydantic's location down to the setting, and return its JSON Schema.

    What a list or a block of free names holds counts as a setting: `data.mixture[0].weight`.
    """
    schema = Config.model_json_schema()
    definitions, node, names = schema["$defs"], schema, []
    if location[-1:] == ["[key]"]:  # a name that is no text: the block is wrong
        location = location[:-2]
    for part in location:
        inner = _inner(node, part)
        if inner is None:
            break
        names.append(part)
        node = inner
        for option in (node, *node.get("anyOf", [])):  # a block that may be null
            if "$ref" in option:
                node = definitions[option["$ref"].split("/")[-1]]
    return _dotted(names), node


def _inner(node: Mapping[str, Any], part: str) -> dict[str, Any] | None:
    """Return the JSON Schema of a part of a value, None where the value has no such part."""
    free = node.get("additionalProperties") or None  # false: no free names
    found = node.get("items") if part.isdecimal() else node.get("properties", {}).get(part, free)
    return found if isinstance(found, dict) else None


def _dotted(location: Sequence[str]) -> str:
    """Return the name of a place, with the items of a list counted from 0 in brackets."""
    return re.sub(r"\.(\d+)(?=\.|$)", r"[\1]", ".".join(location))


def _place(location: Sequence[str], sources: Mapping[str, str]) -> str:
    """Return where the innermost block was written that holds the place; "" where nowhere.

    A block of the command line replaces what the file says about anything in it.
    """
    blocks = [".".join(location[:end]) for end in range(len(location), 0, -1)]
    found = [sources[block] for block in blocks if block in sources]
    return "command line" if "command line" in found else "".join(found[:1])


# pydantic's types of errors that can be said better than that a value does not fit.
FAULTS = {"missing": "it is missing", "finite_number": "no finite number"}
KINDS = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "null": "null",
    "array": "a list",
    "object": "a block of `name: value`",
}
BOUNDS = {
    "minimum": ">=",
    "exclusiveMinimum": ">",
    "maximum": "<=",
    "exclusiveMaximum": "<",
}


def _describe(schema: Mapping[str, Any]) -> str:
    """Say in words what a JSON Schema allows."""
    if "anyOf" in schema:
        return " or ".join(_describe(part) for part in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(str(value) for value in schema["enum"])
    if "const" in schema:
        return str(schema["const"])
    text = KINDS.get(schema.get("type", ""), "another type")
    if schema.get("type") == "array":
        text += f" of {KINDS.get(schema['items'].get('type', ''), 'values')}"
    bounds = [f"{sign} {schema[key]}" for key, sign in BOUNDS.items() if key in schema]
    if schema.get("minLength") or schema.get("minItems"):
        text += ", not empty"
    return f"{text} {' and '.join(bounds)}".rstrip()


def _near(location: Sequence[str]) -> str:
    """Return `; did you mean ...?` for an unknown name, or nothing."""
    last, parent = location[-1], ".".join(location[:-1])
    if last in HINTS:
        return f"; use {HINTS[last]}" if " " in HINTS[last] else f"; did you mean {HINTS[last]}?"
    known = [name for name, _ in leaves(Config())]
    elsewhere = [name for name in known if name.split(".")[-1] == last]
    siblings = [n for n in known if n.rpartition(".")[0] == parent]
    sections = list(Config.model_fields) if not parent else []
    candidates = {name.split(".")[-1]: name for name in known}
    candidates |= {name.split(".")[-1]: name for name in [*siblings, *sections]}
    close = difflib.get_close_matches(last, candidates, n=1, cutoff=0.7)
    found = elsewhere or [candidates[name] for name in close]
    return f"; did you mean {found[0]}?" if found else ""
