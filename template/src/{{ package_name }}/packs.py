"""Domain packs: folders below `domains/` with rules, evaluation sets and notes."""

import datetime
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from .config import Config
from .errors import Problem, UserError

FOLDER = "domains"
GENERAL = "general"
CUSTOM = "custom"
CITATIONS = "citations.yaml"  # a list of citations that are known to be real
PRINCIPLES = "principles.yaml"  # a list of sentences that a critique goes by
RULE_FILES = ("recognizers.yaml", "allow.txt", "deny.txt")
FIX = "compare it with domains/general/pack.yaml"
Text = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class EvalSet:
    """One evaluation set of a pack: the items of the file `path` whose task is `id`.

    A guard set watches what the model must not forget; it is reported, but not pooled.
    """

    id: str
    path: Path
    type: str
    metric: str
    guard: bool
    n: int


@dataclass(frozen=True, slots=True)
class Pack:
    """One domain. `canary` marks its evaluation items, which training data must not hold.

    `citations` are real ones, which an answer may bring along without being marked.
    `principles` are what its answers are criticised by where preferences are made.
    `policy` is the row of policies.POLICIES that its data asks for; None: it has no say.
    `sample_text`: trackers may hold a sample of the training text, if every pack in use says so.
    """

    name: str
    title: str
    sensitive: bool
    system_prompt: str
    disclaimer: str
    recognizers: list[Path]
    eval_sets: list[EvalSet]
    gates: dict[str, float]
    card: dict[str, Any]
    canary: str
    policy: str | None = None
    citations: tuple[str, ...] = ()
    principles: tuple[str, ...] = ()
    sample_text: bool = False


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class _Prompts(_Part):
    system: str = ""
    disclaimer: str = ""


class _ScrubPart(_Part):
    policy: Text | None = None


class _TrackersPart(_Part):
    sample_text: bool = False


class _EvalRow(_Part):
    id: Text
    file: Text
    type: Text
    metric: Text
    n: Annotated[int, Field(ge=1)]
    guard: bool = False


class _PackFile(_Part):
    schema_version: Literal[1]
    name: Text
    title: Text
    version: Text = "0"
    as_of: str = ""
    sensitive: bool = False
    retired: bool = False
    languages: list[str] = ["en"]
    prompts: _Prompts = _Prompts()
    scrub: _ScrubPart = _ScrubPart()
    trackers: _TrackersPart = _TrackersPart()
    sample: str | None = None
    eval: list[_EvalRow] = []
    gates: dict[str, int | float] = {}
    card: dict[str, Any] = {}
    canary: str = ""
    files: list[str] = []


def load_packs(config: Config) -> list[Pack]:
    """Return the packs of a run: general, those of `domains`, and the user's own.

    `domains/custom` takes part once it has a pack.yaml or one of RULE_FILES.

    Raises:
        UserError: a pack is missing or its pack.yaml is wrong; every problem is listed.
    """
    root = config.path(FOLDER)
    problems: list[Problem] = []
    packs: list[Pack] = []
    for name in dict.fromkeys([GENERAL, *config.domains, CUSTOM]):
        file = root / name / "pack.yaml"
        try:
            if file.is_file():
                packs.append(_read_pack(file, f"{FOLDER}/{name}/pack.yaml"))
            elif name != CUSTOM:
                there = ", ".join(sorted(path.parent.name for path in root.glob("*/pack.yaml")))
                problem = Problem("domains", f"no pack {name}", f"one of: {there or 'none'}")
                problems.append(problem)
            elif recognizers := _recognizers(file.parent):
                packs.append(Pack(CUSTOM, "Custom", False, "", "", recognizers, [], {}, {}, ""))
        except UserError as error:
            problems += error.problems
    problems += _twice(packs)
    if problems:
        raise UserError(problems)
    return packs


def count_unreviewed(packs: Iterable[Pack]) -> dict[str, int]:
    """Count the evaluation items of packs, and those that no professional has signed."""
    files = {row.path for pack in packs for row in pack.eval_sets}
    counts = {"items": 0, "unreviewed": 0}
    for path in sorted(file for file in files if file.is_file()):
        for line in filter(str.strip, path.read_text(encoding="utf-8").split("\n")):
            state = (json.loads(line).get("provenance") or {}).get("review", "unreviewed")
            counts["items"] += 1
            counts["unreviewed"] += state == "unreviewed"
    return counts


def _twice(packs: list[Pack]) -> list[Problem]:
    """Return the sets whose id is not their own: results are kept and shown by it."""
    owners: dict[str, list[str]] = {}
    for pack in packs:
        for row in pack.eval_sets:
            owners.setdefault(row.id, []).append(pack.name)
    fix = "rename one, and the `task` of its items"
    return [
        Problem(name, f"two packs bring this set: {', '.join(names)}", fix=fix)
        for name, names in owners.items()
        if len(names) > 1
    ]


def _read_pack(path: Path, where: str) -> Pack:
    try:
        value = _plain(YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8")))
        file = _PackFile.model_validate(value)
    except YAMLError:
        raise UserError(Problem(where, "not valid YAML", fix=FIX)) from None
    except ValidationError as error:
        found = [(".".join(map(str, e["loc"])) or "file", e["msg"]) for e in error.errors()]
        raise UserError([Problem(f"{where}: {at}", text, fix=FIX) for at, text in found]) from None
    problems: list[Problem] = []
    citations = _texts(path.with_name(CITATIONS), problems)
    principles = _texts(path.with_name(PRINCIPLES), problems)
    if file.name != path.parent.name:
        problems.append(Problem(f"{where}: name", "differs from the name of the folder", fix=FIX))
    sets = []
    for row in file.eval:
        target = path.parent / row.file
        sets.append(EvalSet(row.id, target, row.type, row.metric, row.guard, row.n))
        if not target.is_file():
            problems.append(Problem(f"{where}: eval.{row.id}", f"no file {row.file}"))
    if problems:
        raise UserError(problems)
    return Pack(
        name=file.name,
        title=file.title,
        sensitive=file.sensitive,
        system_prompt=file.prompts.system.strip(),
        disclaimer=file.prompts.disclaimer.strip(),
        recognizers=_recognizers(path.parent),
        eval_sets=sets,
        gates={name: float(value) for name, value in file.gates.items()},
        card=file.card,
        canary=file.canary,
        policy=file.scrub.policy,
        citations=citations,
        principles=principles,
        sample_text=file.trackers.sample_text,
    )


def _texts(path: Path, problems: list[Problem]) -> tuple[str, ...]:
    """Return the texts of a list of a pack, such as its citations; it may have none."""
    if not path.is_file():
        return ()
    where = f"{FOLDER}/{path.parent.name}/{path.name}"
    try:
        value = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except YAMLError:
        problems.append(Problem(where, "not valid YAML", fix="a list of texts"))
        return ()
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        problems.append(Problem(where, "not a list of texts", fix="one text a line, quoted"))
        return ()
    return tuple(value)


def _recognizers(folder: Path) -> list[Path]:
    return [folder / name for name in RULE_FILES if (folder / name).is_file()]


def _plain(value: Any) -> Any:
    """Turn the dates that YAML recognises back into text."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value.isoformat() if isinstance(value, datetime.date) else value
