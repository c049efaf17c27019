"""Configuration files and the command line, read with the place of every value."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node

from .errors import Problem, UserError


def read_yaml(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the file's values and, for each dotted name, `file:line`.

    Raises:
        UserError: the file is missing, or no YAML with settings.
    """
    if not path.is_file():
        fix = "give --config PATH, or run the script in the project folder"
        raise UserError(Problem(str(path), "no such configuration file", fix=fix))
    try:
        text = path.read_text(encoding="utf-8-sig")
        values = _yaml().load(text)
        node = _yaml().compose(text)
    except UnicodeDecodeError as error:
        found = f"not UTF-8 (byte {error.start} cannot be decoded)"
        raise UserError(Problem(str(path), found, fix="save the file as UTF-8")) from None
    except RecursionError:
        found = "nested too deeply, or an anchor that holds itself"
        raise UserError(Problem(str(path), found, fix="write the settings out")) from None
    except YAMLError as error:
        # `problem` is a fixed phrase of the parser; only for a repeated key it quotes values.
        mark = error.problem_mark if isinstance(error, MarkedYAMLError) else None
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        reason = (getattr(error, "problem", None) or "syntax error").partition(" with value ")[0]
        fix = "check indentation, quotes and the colon with a blank after it"
        raise UserError(Problem(where, f"not valid YAML ({reason})", fix=fix)) from None
    if values is None:
        return {}, {}
    if not isinstance(values, dict):
        fix = "write settings as `name: value`, one section per block"
        raise UserError(Problem(str(path), "the file holds no settings", fix=fix))
    return values, {name: f"{path.name}:{line}" for name, line in _lines(node)}


def _yaml() -> YAML:
    return YAML(typ="safe", pure=True)  # YAML 1.2: 2e-4 is a number, `no` is a word


def _lines(node: Node, prefix: str = "") -> Iterator[tuple[str, int]]:
    if isinstance(node, MappingNode):
        for key, value in node.value:
            name = f"{prefix}{key.value}"
            yield name, key.start_mark.line + 1
            yield from _lines(value, f"{name}.")


def override(text: str, values: dict[str, Any], sources: dict[str, str]) -> Problem | None:
    """Put one `key=value` of the command line into the values."""
    name, equals, raw = text.partition("=")
    if not equals or not name.strip():
        fix = "write section.key=value, for example train.max_steps=20"
        return Problem("command line", "an argument is not of the form key=value", fix=fix)
    try:
        value = _yaml().load(raw)
    except YAMLError:
        return Problem(name, "the value is not valid YAML", fix="put the value in quotes")
    *parents, last = name.strip().split(".")
    target = values
    for parent in parents:
        if not isinstance(target.get(parent), dict):
            target[parent] = {}
        target = target[parent]
    target[last] = value
    sources[name.strip()] = "command line"
    return None
