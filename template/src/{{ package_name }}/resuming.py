"""Going on with a run: is it the same one, on the same footing, and what it had to give way to."""

import hashlib
from pathlib import Path
from typing import Any

from .errors import Problem, UserError
from .model_source import resolve_model
from .run_record import Session
from .runs import check_resume, read_record
from .utils import sha256_json

SAMPLE = 1 << 20  # bytes of a file's start, middle and end that its fingerprint reads
WEIGHTS = (".safetensors", ".bin", ".json", ".model", ".jinja", ".txt")
COUNTED = ("examples", "tokens", "label_tokens")
LR = "learning_rate"
BATCH = ("per_device_train_batch_size", "gradient_accumulation_steps")


def take_over(session: Session, checkpoint: Path) -> bool:
    """Take name, date and history of the run that goes on; return whether it is finished.

    Raises:
        UserError: it was begun with other settings, data or model, and train.allow_changed is
            not set.
    """
    run_dir = checkpoint.parent.parent
    before, record, config = read_record(run_dir), session.record, session.config
    is_finished = bool(before["status"] == "finished")
    if not is_finished and "model_files" in before:
        record["model_files"] = fingerprint(resolve_model(config).path)
    changes = check_resume(before, record, config.train.allow_changed)
    session.before = before
    record |= {"run": before["run"], "created": before["created"]}
    kept = ("recoveries", "changed", "findings")
    record |= {name: before[name] for name in kept if name in before}
    if is_finished:
        session.say(f"This run is finished; nothing was trained: {run_dir}")
        return True
    for change in changes:
        _accept(session, change)
    for name, version in record["versions"].items():
        if before["versions"].get(name, version) != version:
            was = before["versions"][name]
            session.say(f"{name} was {was} and is {version}: the last digits may differ")
    return False


def fix_threads(session: Session) -> None:
    """Fix the number of CPU threads for the run and write it down.

    Sums are split over the threads, so another number rounds them otherwise: a run that goes on
    takes the number that it began with.
    """
    import torch

    here = torch.get_num_threads()
    count = session.before.get("threads", here)
    torch.set_num_threads(count)  # from now on the libraries do not vary it by themselves
    session.record["threads"] = count
    if count != here:
        session.say(f"CPU threads: {count}, as when the run began ({here} by default here)")


def check_examples(session: Session) -> None:
    """Compare the tokenised rows with those that the run began with.

    A template, a system prompt or a tokenizer that changed is seen here.

    Raises:
        UserError: they differ, and train.allow_changed is not set.
    """
    now, then = session.record["data"], session.before.get("data", {})
    names = [
        name
        for name in ("train", "validation")
        if any(now[name].get(key) != then.get(name, now[name]).get(key) for key in COUNTED)
    ]
    if not names:
        return
    found = "the same rows became other tokens: tokenizer, chat template or prompt changed"
    if not session.config.train.allow_changed:
        fix = "undo it, start a new run, or go on all the same with train.allow_changed=true"
        raise UserError([Problem(f"{name} split", found, fix=fix) for name in names])
    for name in names:
        _accept(session, f"{name} split: {found}")


def with_recoveries(session: Session, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the trainer's arguments with the batch and learning rate that the run had come to.

    Args:
        session: of the run; what a user changed since then goes before.
        arguments: as planned now.
    """
    result, then = dict(arguments), session.before.get("arguments", {})
    for entry in session.record.get("recoveries", []):
        batch = {name: entry[name] for name in BATCH if name in entry}
        whole = arguments[BATCH[0]] * arguments[BATCH[1]]
        if batch and batch[BATCH[0]] * batch[BATCH[1]] == whole:
            result |= batch if batch[BATCH[0]] < result[BATCH[0]] else {}
        if LR in entry and then.get(LR) == arguments[LR]:
            result[LR] = entry[LR]
    for name in (BATCH[0], LR):
        if result[name] != arguments[name]:
            session.say(f"{name}: {result[name]:g}, which the run had come to before it ended")
    return result


def fingerprint(folder: Path) -> str:
    """Return a hash by which changed files of a model are seen, as 64 hexadecimal digits.

    Of each file its size, and a mebibyte of its start, middle and end: training changes every
    part of the weights, and whole files of large models take minutes to read.
    """
    found: dict[str, list[Any]] = {}
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix in WEIGHTS:
            size = path.stat().st_size
            with path.open("rb") as handle:
                parts = []
                for start in sorted({0, max(size // 2 - SAMPLE // 2, 0), max(size - SAMPLE, 0)}):
                    handle.seek(start)
                    parts.append(hashlib.sha256(handle.read(SAMPLE)).hexdigest())
            found[path.name] = [size, *parts]
    return sha256_json(found)


def _accept(session: Session, change: str) -> None:
    session.record.setdefault("changed", []).append(change)
    session.say(f"changed, and gone on all the same: {change}")
