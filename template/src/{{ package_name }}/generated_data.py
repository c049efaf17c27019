"""Prepared prompts -> raw rows that a model wrote, for training like any other data.

A model may write identifiers, of its own training or made up, so its rows are raw data: they are
written below data/raw only and pass the preparation again. Prompts are those of the training
split, which were scrubbed; the model never sees the others, so that they can still test.
"""

import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from .config import Config
from .data_loader import system_prompt, with_system
from .errors import Problem, UserError
from .keys import Keys, load_keys
from .manifest import check_manifest
from .pairs import RAW
from .records import Message, Record, canonical
from .utils import sha256_file, write_json, write_text
from .writers import Writer, Writing

KINDS = ("messages", "prompt", "preference", "unpaired")  # records that hold a prompt


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model is asked: turns of the data, and the same with the system prompt in front."""

    turns: tuple[Message, ...]
    asked: tuple[Message, ...]
    group: str | None
    key: str


@dataclass(frozen=True, slots=True)
class Made:
    """What became of a prompt: a raw row, or why there is none."""

    row: dict[str, Any] | None
    fault: str = ""


# (prompts, seed) -> what became of each, in their order
Make = Callable[[Sequence[Prompt], int], list[Made]]


@dataclass(frozen=True, slots=True)
class Recipe:
    """One way to make data.

    Attributes:
        name: As on the command line.
        format: Of the rows (formats.FORMATS).
        make: Makes the rows of some prompts.
        details: What else the rows depend on, for the report; holds no text.
    """

    name: str
    format: str
    make: Make
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Summary:
    """What became of the records: each is read once, repeated, without a prompt, or left over."""

    records: int = 0
    repeated: int = 0
    without: int = 0
    left_over: int = 0
    kept: int = 0
    rows: int = 0
    left_out: Counter[str] = field(default_factory=Counter)


def answers(writer: Writer) -> Recipe:
    """Return the recipe of sequence distillation: the model's answer to each prompt.

    Kim and Rush 2016 (arXiv 1606.07947), section 3.2: the student learns what the teacher writes.
    """

    def make(prompts: Sequence[Prompt], seed: int) -> list[Made]:
        replies = writer.reply([prompt.asked for prompt in prompts], seed)
        return [
            Made(None, reply.fault)
            if reply.fault
            else Made({"messages": _turns((*prompt.turns, Message("assistant", reply.text)))})
            for prompt, reply in zip(prompts, replies, strict=True)
        ]

    return Recipe("answers", "messages", make)


def require_place(config: Config, out: Path) -> None:
    """Refuse a file that is not below data/raw.

    Raises:
        UserError: as it says.
    """
    problems = []
    if out.suffix != ".jsonl":
        problems.append(Problem("--out", "not a jsonl file", "a name that ends with .jsonl"))
    if not out.resolve().is_relative_to(config.path(RAW)):
        found = "what a model wrote may hold identifiers, and is scrubbed by the preparation only"
        problems.append(Problem("--out", found, f"a file below {RAW}/"))
    if problems:
        raise UserError(problems)


def read_prompts(config: Config, limit: int | None = None) -> tuple[list[Prompt], Summary]:
    """Return the prompts of the prepared training split, each once, and what was left over.

    A conversation is asked up to its last answer; turns before that stay as the data has them.

    Args:
        config: names the prepared data.
        limit: most prompts; None: all.

    Raises:
        UserError: the data is missing or stale, or its records hold no prompts.
    """
    manifest = check_manifest(config)
    if manifest["kind"] not in KINDS:
        what = f"{manifest['kind']} records hold no prompt"
        raise UserError(Problem("prepared data", what, ", ".join(KINDS)))
    keys, _ = load_keys(config, create=False)
    system, summary = system_prompt(config), Summary()
    found: dict[str, Prompt] = {}
    with (config.path(config.data.prepared) / "train.jsonl").open(encoding="utf-8") as lines:
        for line in filter(str.strip, lines):
            summary.records += 1
            record = Record.from_json(json.loads(line))
            turns = _asked(record)
            if not turns:
                summary.without += 1
                continue
            asked = tuple(with_system(turns, system))
            key = keys.digest("generated", canonical(_turns(asked)).encode()).hex()
            if key in found:
                summary.repeated += 1
            elif limit is not None and len(found) >= limit:
                summary.left_over += 1
            else:
                found[key] = Prompt(turns, asked, record.group, key)
    return [*found.values()], summary


def _asked(record: Record) -> tuple[Message, ...]:
    """Return the turns up to the last one of a user; () where no user asks."""
    places = [place for place, turn in enumerate(record.messages) if turn.role == "user"]
    return record.messages[: places[-1] + 1] if places else ()


def _turns(turns: Sequence[Message]) -> list[dict[str, str]]:
    return [{"role": turn.role, "content": turn.content} for turn in turns]


def generate_rows(
    config: Config, recipe: Recipe, writer: Writer, writing: Writing, out: Path, limit: int | None
) -> Summary:
    """Make the rows of all prompts and write them, with a report beside them.

    A run that was killed goes on: what became of each prompt is kept in a file beside the
    output, as long as model, recipe and settings are the same.

    Raises:
        UserError: the output is not below data/raw, or the prepared data cannot be used.
    """
    require_place(config, out)
    prompts, summary = read_prompts(config, limit)
    keys, _ = load_keys(config)
    state = [recipe.name, recipe.details, writer.identity, writing.max_new_tokens]
    state += [writing.temperature, writing.seed]
    names = {prompt.key: _name(keys, state, prompt) for prompt in prompts}
    path = out.with_name(f".{out.name}.progress")
    done = _read_progress(path)
    summary.kept = sum(name in done for name in names.values())
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, "".join(_line(name, made) for name, made in done.items()))
    with path.open("a", encoding="utf-8", newline="\n") as handle:
        for number, batch in _batches(prompts, writing.batch_size, recipe.name):
            if all(names[prompt.key] in done for prompt in batch):
                continue
            # The same batch and seed as in a run that was not interrupted.
            for prompt, made in zip(batch, recipe.make(batch, writing.seed + number), strict=True):
                name = names[prompt.key]
                if name not in done:
                    done[name] = made
                    handle.write(_line(name, made))
            handle.flush()
            os.fsync(handle.fileno())
    found = [(prompt, done[names[prompt.key]]) for prompt in prompts]
    rows = [_with_group(made.row, prompt) for prompt, made in found if made.row is not None]
    summary.rows = len(rows)
    summary.left_out = Counter(made.fault for _, made in found if made.fault)
    write_text(out, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    write_json(report_path(out), _report(config, recipe, writer, writing, summary, out))
    return summary


def report_path(out: Path) -> Path:
    """Return where the report stands; its name is not one that is read as raw data."""
    return out.with_name(f"{out.name}.report")


def _name(keys: Keys, state: Sequence[Any], prompt: Prompt) -> str:
    return keys.digest("generated", canonical([*state, prompt.key]).encode()).hex()


def _batches(
    prompts: Sequence[Prompt], size: int, title: str
) -> Iterator[tuple[int, Sequence[Prompt]]]:
    """Yield (place of the first, prompts) of each batch under a bar with rate and time left."""
    from tqdm import tqdm

    rhythm = 0.5 if sys.stderr.isatty() else 30.0  # seconds between two lines of a log
    with tqdm(total=len(prompts), desc=title, unit="prompt", mininterval=rhythm) as bar:
        for start in range(0, len(prompts), size):
            batch = prompts[start : start + size]
            yield start, batch
            bar.update(len(batch))


def _with_group(row: dict[str, Any], prompt: Prompt) -> dict[str, Any]:
    return row if prompt.group is None else {**row, "group": prompt.group}


def _line(name: str, made: Made) -> str:
    return json.dumps({"key": name, "row": made.row, "fault": made.fault}) + "\n"


def _read_progress(path: Path) -> dict[str, Made]:
    """Return what earlier runs made; a last line that a kill cut short does not count."""
    lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
    rows = [json.loads(line) for line in lines]
    return {row["key"]: Made(row["row"], row["fault"]) for row in rows}


def _report(
    config: Config, recipe: Recipe, writer: Writer, writing: Writing, summary: Summary, out: Path
) -> dict[str, Any]:
    """Return what the rows were made from; it holds no text of the data."""
    manifest = check_manifest(config)
    return {
        "schema": 1,
        "made": recipe.name,
        "format": recipe.format,
        "model": writer.name,
        "model_identity": sha256(writer.identity.encode()).hexdigest(),
        "max_new_tokens": writing.max_new_tokens,
        "temperature": writing.temperature,
        "seed": writing.seed,
        **recipe.details,
        "counts": {
            "records": summary.records,
            "repeated": summary.repeated,
            "without_prompt": summary.without,
            "over_limit": summary.left_over,
            "left_out": dict(summary.left_out),
            "rows": summary.rows,
        },
        "prompts_sha256": manifest["outputs"]["train.jsonl"],
        "scrubber": manifest["scrubber"],
        "output_sha256": sha256_file(out),
    }


def summary_lines(summary: Summary) -> list[str]:
    """Return the summary for people."""
    asked = summary.records - summary.repeated - summary.without - summary.left_over
    lines = [f"prompts     {asked} of {summary.records} records, {summary.kept} done before"]
    rest = {"asked before": summary.repeated, "no question": summary.without}
    rest |= {"over --limit": summary.left_over}
    passed = ", ".join(f"{name} {count}" for name, count in rest.items() if count)
    lines += [f"not asked   {passed}"] if passed else []
    lines.append(f"rows        {summary.rows}")
    if summary.left_out:
        reasons = ", ".join(f"{name} {count}" for name, count in summary.left_out.most_common())
        lines.append(f"left out    {summary.left_out.total()} ({reasons})")
    return lines
