"""Training over a sequence of versions of the data, and what each step forgot of earlier ones.

A version is a folder of prepared data with its manifest. After each step the model is compared
with its base on the evaluation sets (the guard sets tell what must not be forgotten), and reads
the test splits of its own and of all earlier versions. A sequence that was interrupted goes on
where it stopped, and one that is finished goes on with versions that are added at its end.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .adapters import DECIDED, read_adapter
from .answers_cache import TUNED, Asked, Contender
from .config import Config, leaves
from .continual_scores import Row, summary
from .data_loader import check_prepared, system_prompt
from .errors import Problem, UserError
from .eval_sets import load_tasks
from .evaluation import base_contender, evaluate
from .evaluation_page import write_page
from .heads import HEADS
from .held_out import held_out_records
from .manifest import NAME as MANIFEST
from .manifest import shown_name
from .measuring import measure
from .model_card import write_card
from .model_wrapper import load_tuned
from .objectives import OBJECTIVES
from .planning import resolve_plan
from .plots import COMPARISON, draw_comparison
from .report import is_promoted
from .runs import CHECKPOINTS, COMPARED, FREE, RECORD, promote
from .settings_data import Data
from .techniques import TECHNIQUES
from .trainer import train
from .utils import read_json, sha256_json, write_json

STATE = "continual.json"
PREVIOUS, SAME = "previous", "same"
STARTS = {
    PREVIOUS: "each step goes on from the adapter of the step before",
    SAME: "each step starts alike: from model.adapter, or from a new adapter",
}
NO_START = "p_tuning"  # its network is dropped after training: nothing goes on from it
# Of the row of an evaluation set.
KEPT = (
    *("name", "metric", "guard", "higher_is_better", "n"),
    *("base", "tuned", "difference", "interval", "verdict"),
)
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Version:
    """One version of the data.

    Attributes:
        name: Its folder as reports show it.
        data: Section `data` of the configuration that it was prepared with.
        rows: Hash over the hashes of its prepared rows.
    """

    name: str
    data: Data
    rows: str

    def of(self, config: Config) -> Config:
        """Return the configuration of a run on this version."""
        return config.model_copy(update={"data": self.data})


def learn(
    config: Config,
    folders: Sequence[Path],
    out: Path,
    start: str = PREVIOUS,
    say: Say = print,
    progress: bool = True,
) -> Row:
    """Train on one version of the data after the other; return the content of STATE.

    Args:
        config: The run; its section `data` is replaced by that of each version.
        folders: Prepared data, or its manifests, in the order in which it is learned.
        out: Folder of the sequence; holds the runs and STATE, and what is there is not done again.
        start: Row of STARTS.
        say: Shows a line of progress.
        progress: Show a bar for each evaluation set.

    Raises:
        UserError: a version cannot be learned from or scored, or `out` holds another sequence.
    """
    _require_possible(config, start)
    versions = read_versions(config, folders)
    state = open_state(config, versions, out, start)
    for number, (version, step) in enumerate(zip(versions, state["steps"], strict=True)):
        say(f"Step {number + 1} of {len(versions)}: {version.name}")
        before = state["steps"][number - 1] if number and start == PREVIOUS else None
        if "run" not in step:
            chosen = _step_config(config, version, out / _folder_name(number, version), before)
            run_dir = _train(chosen, say)
            step |= {"run": shown_name(config, run_dir), "adapter": read_adapter(run_dir).sha256}
            write_json(out / STATE, state)
        if "own" not in step:
            run_dir = config.path(step["run"])
            step |= _scores(config, versions[: number + 1], run_dir, progress, say)
            write_json(out / STATE, state)
    state["summary"] = summary(state, config.eval.confidence)
    write_json(out / STATE, state)
    return state


def read_versions(config: Config, folders: Sequence[Path]) -> list[Version]:
    """Return the versions of the data, each checked as before a training run.

    Raises:
        UserError: a folder is named twice, was not prepared with the settings of this run, or
            has no test split that can be scored; everything is listed.
    """
    if not folders:
        raise UserError(Problem("--versions", "none", "one prepared folder or more"))
    problems: list[Problem] = []
    versions: list[Version] = []
    for given in folders:
        folder = config.path(given.parent if given.name == MANIFEST else given)
        try:
            versions.append(_read_version(config, folder))
        except UserError as error:
            name = shown_name(config, folder)
            problems += [replace(one, where=f"{name}: {one.where}") for one in error.problems]
    names = [version.name for version in versions]
    twice = sorted({name for name in names if names.count(name) > 1})
    problems += [Problem("--versions", f"{name} is named twice") for name in twice]
    if problems:
        raise UserError(problems)
    return versions


def _read_version(config: Config, folder: Path) -> Version:
    path = folder / MANIFEST
    fix = f"make prepare SET=data.prepared={shown_name(config, folder)}"
    try:
        stated = read_json(path)["config"]["data"]
        data = Data.model_validate(config.data.model_dump() | stated)
    except FileNotFoundError:
        raise UserError(Problem(MANIFEST, "no prepared data", fix=fix)) from None
    except (ValueError, KeyError, TypeError):  # pydantic raises ValueError
        raise UserError(Problem(MANIFEST, "not a manifest of this version", fix=fix)) from None
    if config.path(data.prepared) != folder:
        found = f"it was prepared as {data.prepared}"
        raise UserError(Problem(MANIFEST, found, fix="name that folder, or prepare it here"))
    version = Version(shown_name(config, folder), data, "")
    manifest = check_prepared(version.of(config))
    if not held_out_records(version.of(config)):
        found = "its test split holds no text that can be scored"
        raise UserError(Problem("data.split.test", found, "above 0", fix))
    rows = {n: h for n, h in manifest["outputs"].items() if n.endswith(".jsonl")}
    return replace(version, rows=sha256_json(rows))


def open_state(config: Config, versions: Sequence[Version], out: Path, start: str) -> Row:
    """Return the state of a sequence, with a step for each version; done ones are kept.

    Raises:
        UserError: the folder holds a sequence of other versions, settings or evaluation sets.
    """
    now: Row = {
        "schema": 1,
        "start": start,
        "settings": _settings(config),
        "sets": sha256_json([[t.name, [i.as_dict() for i in t.items]] for t in load_tasks(config)]),
        "steps": [{"version": one.name, "rows": one.rows} for one in versions],
    }
    if not (out / STATE).is_file():
        return now
    then = read_json(out / STATE)
    problems = [Problem(*one) for one in _differences(then, now)]
    if problems:
        fix = "set it back, or name another folder (--out)"
        raise UserError([replace(one, fix=fix) for one in problems])
    now["steps"] = [*then["steps"], *now["steps"][len(then["steps"]) :]]
    return now


def _differences(then: Row, now: Row) -> list[tuple[str, str]]:
    """Return (where, what) of all that would make new steps unlike those that were done."""
    found = []
    if then["start"] != now["start"]:
        found.append(("--start", f"the sequence was begun with {then['start']}"))
    for name in sorted({*then["settings"], *now["settings"]}):
        if then["settings"].get(name) != now["settings"].get(name):
            found.append((name, "changed since the sequence began"))
    if then["sets"] != now["sets"]:
        found.append(("evaluation sets", "their items changed since the sequence began"))
    for number, old in enumerate(then["steps"]):
        new = now["steps"][number] if number < len(now["steps"]) else None
        if new is None or new["version"] != old["version"]:
            found.append(("--versions", f"number {number + 1} was {old['version']}"))
        elif new["rows"] != old["rows"]:
            found.append((old["version"], "its rows changed since they were learned"))
    return found


def _settings(config: Config) -> dict[str, Any]:
    """Return the settings that decide a step or its scores, by their dotted names."""
    wanted = {
        name: value
        for name, value in leaves(config)
        if name.split(".")[0] in (*COMPARED, "eval") and name not in FREE
    }
    return json.loads(json.dumps(wanted, default=lambda value: value.model_dump(mode="json")))


def _require_possible(config: Config, start: str) -> None:
    """Refuse a run whose model cannot read a test split, or leaves nothing to go on from."""
    objective = OBJECTIVES[config.objective]
    problems = []
    if HEADS[objective.head].task_type != "CAUSAL_LM":
        found = f"`{objective.name}` gives {HEADS[objective.head].doc}"
        allowed = "an objective whose model continues text: its test splits are read"
        problems.append(Problem("objective", found, allowed))
    if config.technique != "auto" and TECHNIQUES[config.technique].trainable != "adapter":
        rows = [row.name for row in TECHNIQUES.values() if row.trainable == "adapter"]
        found = f"`{config.technique}` leaves no adapter to go on from"
        problems.append(Problem("technique", found, ", ".join(rows)))
    if config.technique == NO_START and start == PREVIOUS:
        found = f"the network of {NO_START} is dropped after training: no step can go on from it"
        problems.append(Problem("technique", found, fix="--start same, or another technique"))
    if config.eval.held_out_tokens == 0:
        problems.append(Problem("eval.held_out_tokens", "0", "above 0: test splits are read"))
    if problems:
        raise UserError(problems)


def _folder_name(number: int, version: Version) -> str:
    return f"{number + 1:02d}-{Path(version.name).name}"


def _step_config(config: Config, version: Version, folder: Path, before: Row | None) -> Config:
    """Return the configuration of one step.

    Args:
        config: The run.
        version: That is learned.
        folder: Gets the run.
        before: The step before; None: there is none, or each step starts alike.
    """
    place = {"output_dir": shown_name(config, folder)}
    train_section = config.train.model_copy(update=place)
    update: dict[str, Any] = {"data": version.data, "train": train_section}
    if before is not None:
        update["model"] = config.model.model_copy(update={"adapter": before["run"]})
    chosen = config.model_copy(update=update)
    if before is not None:  # the adapter of the first step was made by what was asked for
        chosen._source = config.source | dict.fromkeys(DECIDED, "step before")
    return chosen


def _train(config: Config, say: Say) -> Path:
    """Train one step, or go on with it; return its run folder."""
    folder = config.path(config.train.output_dir)
    for record in sorted(folder.glob(f"*/{RECORD}")):
        if read_json(record)["status"] == "finished":  # killed before it was written down
            return record.parent
    states = folder.glob(f"*/{CHECKPOINTS}/checkpoint-*/trainer_state.json")
    latest = max(states, key=lambda path: path.stat().st_mtime_ns, default=None)
    if latest is not None:
        resumed = {"resume_from_checkpoint": str(latest.parents[2])}
        config = config.model_copy(update={"train": config.train.model_copy(update=resumed)})
    plan, _, _ = resolve_plan(config, write=False)
    return train(config, plan, say)


def _scores(
    config: Config, versions: Sequence[Version], run_dir: Path, progress: bool, say: Say
) -> Row:
    """Return what a step reached on the evaluation sets and on the test splits so far.

    Its run folder is left as `make evaluate` leaves it: results, card, page.
    """
    one = versions[-1].of(config)
    results = evaluate(one, run_dir, progress)
    draw_comparison(results, run_dir / COMPARISON)
    write_card(one, run_dir, say)
    write_page(one, run_dir)
    if is_promoted(one, run_dir):
        promote(one, run_dir)
    asked = Asked(one, system_prompt(one), results["precision"], progress)
    tuned = Contender(TUNED, lambda: load_tuned(run_dir, asked.precision, one))
    rows = [*results["sets"]]
    if results["guard"] and len([row for row in rows if row["guard"]]) > 1:
        rows.append(results["guard"] | {"guard": True})  # all of them as one row
    return {
        "sets": [{name: row[name] for name in KEPT} for row in rows],
        "gates": results["gates"],
        "base": _read_text(asked, base_contender(asked), versions[-1]),
        "own": {version.name: _read_text(asked, tuned, version) for version in versions},
    }


def _read_text(asked: Asked, contender: Contender, version: Version) -> list[list[float]]:
    """Return nats and tokens of each record of a version's test split that is read."""
    there = replace(asked, config=version.of(asked.config))
    scored = measure(there, contender, (), held_out_records(there.config)).held_out
    return [[*pair] for pair in scored]  # as JSON has them
