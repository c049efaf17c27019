"""Prepared records -> the files of other fine-tuning tools. Only scrubbed rows leave.

openai: one JSON object a line, as OpenAI's fine-tuning reads it
(https://developers.openai.com/api/docs/guides/supervised-fine-tuning for conversations,
https://developers.openai.com/api/docs/guides/direct-preference-optimization for preferences).

llama_factory: the same turns and a `dataset_info.json` that describes them to LLaMA-Factory
(https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md): `formatting: sharegpt`
with `tags` for turns, `ranking: true` with chosen and rejected for preferences, `kto_tag` for
rated answers, and the column `prompt` for documents. Point its `dataset_dir` at the folder.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from .errors import Problem, UserError
from .manifest import FIX, NAME
from .records import Message, Record
from .utils import read_json, sha256_file, write_json

INFO = "dataset_info.json"
TAGS = {
    "role_tag": "role",
    "content_tag": "content",
    "user_tag": "user",
    "assistant_tag": "assistant",
    "system_tag": "system",
}
_SHAREGPT = {"formatting": "sharegpt", "tags": TAGS}
# Kind of record -> its description for LLaMA-Factory, without the file's name.
DESCRIPTIONS: dict[str, dict[str, Any]] = {
    "messages": {**_SHAREGPT, "columns": {"messages": "messages"}},
    "preference": {
        **_SHAREGPT,
        "ranking": True,
        "columns": {"messages": "messages", "chosen": "chosen", "rejected": "rejected"},
    },
    "unpaired": {**_SHAREGPT, "columns": {"messages": "messages", "kto_tag": "label"}},
    "text": {"columns": {"prompt": "text"}},
}


def export(prepared_folder: Path, target: Path, style: str) -> list[Path]:
    """Write the splits of a prepared folder as another tool reads them; empty ones are left out.

    Args:
        prepared_folder: What `prepare` wrote, with its manifest.
        target: Folder for the files; existing files of the same names are replaced.
        style: `openai` or `llama_factory`.

    Returns:
        The files.

    Raises:
        UserError: no such style, the data is not prepared or was altered, it would be written
            over, or the style has no place for its records.
    """
    if style not in STYLES:
        raise UserError(Problem("style", "no such export", ", ".join(STYLES)))
    if target.resolve() == prepared_folder.resolve():
        found = "the folder of the prepared data, whose files would be replaced"
        raise UserError(Problem(target.as_posix(), found, fix="name another folder"))
    paths = _prepared_splits(prepared_folder)
    return STYLES[style](target, {split: _records(path) for split, path in paths.items()})


def export_openai(records: Iterable[Record]) -> Iterator[dict[str, Any]]:
    """Yield the rows of an OpenAI fine-tuning file.

    Raises:
        UserError: a record is neither a conversation nor a preference, or an answer of a
            preference has more than one turn.
    """
    for number, record in enumerate(records, 1):
        if record.kind == "messages":
            yield {"messages": _turns(record.messages)}
        elif record.kind == "preference":
            asked = {"messages": _turns(record.messages), "tools": [], "parallel_tool_calls": True}
            chosen, rejected = (_answer(record, name, number) for name in ("chosen", "rejected"))
            yield {"input": asked, "preferred_output": [chosen], "non_preferred_output": [rejected]}
        else:
            raise _no_place("openai", record.kind, ("messages", "preference"))


def write_openai(target: Path, splits: Mapping[str, Iterable[Record]]) -> list[Path]:
    """Write one file for each split that holds a record."""
    return list(_write_splits(target, splits, export_openai))


def write_llama_factory(
    folder: Path, splits: Mapping[str, Iterable[Record]], kind: str
) -> list[Path]:
    """Write one file for each split that holds a record, and the `dataset_info.json` for them.

    Args:
        folder: LLaMA-Factory's `dataset_dir`; the datasets are called as the splits.
        splits: Split -> its records.
        kind: Kind of all records.

    Raises:
        UserError: LLaMA-Factory has no layout for the kind, a record is of another one, or an
            answer of a preference has more than one turn.
    """
    if kind not in DESCRIPTIONS:
        raise _no_place("llama_factory", kind, tuple(DESCRIPTIONS))

    def rows(records: Iterable[Record]) -> Iterator[dict[str, Any]]:
        for number, record in enumerate(records, 1):
            if record.kind != kind:
                raise UserError(Problem(f"record {number}", f"kind {record.kind}", kind))
            yield _llama_factory_row(record, number)

    paths = list(_write_splits(folder, splits, rows))
    info = {path.stem: {"file_name": path.name, **DESCRIPTIONS[kind]} for path in paths}
    write_json(folder / INFO, info)
    return [*paths, folder / INFO]


def _llama_factory_export(target: Path, splits: Mapping[str, Iterable[Record]]) -> list[Path]:
    """Write the splits under the kind of their first record."""
    found: dict[str, Iterable[Record]] = {}
    kind = "messages"
    for split, records in splits.items():
        rest = iter(records)
        if (first := next(rest, None)) is not None:
            kind = first.kind if not found else kind
            found[split] = chain([first], rest)
    return write_llama_factory(target, found, kind)


STYLES: dict[str, Callable[[Path, Mapping[str, Iterable[Record]]], list[Path]]] = {
    "openai": write_openai,
    "llama_factory": _llama_factory_export,
}


def _llama_factory_row(record: Record, number: int) -> dict[str, Any]:
    if record.kind == "text":
        return {"text": record.text}
    if record.kind == "preference":
        answers = {name: _answer(record, name, number) for name in ("chosen", "rejected")}
        return {"messages": _turns(record.messages), **answers}
    row: dict[str, Any] = {"messages": _turns((*record.messages, *record.chosen, *record.rejected))}
    return {**row, "label": bool(record.chosen)} if record.kind == "unpaired" else row


def _turns(messages: Sequence[Message]) -> list[dict[str, str]]:
    return [{"role": turn.role, "content": turn.content} for turn in messages]


def _answer(record: Record, name: str, number: int) -> dict[str, str]:
    turns = _turns(getattr(record, name))
    if len(turns) != 1:
        found = f"the answer `{name}` has {len(turns)} turns"
        fix = "prepare data whose answers are one turn, or export it in another style"
        raise UserError(Problem(f"record {number}", found, "one turn", fix))
    return turns[0]


def _no_place(style: str, kind: str, allowed: Sequence[str]) -> UserError:
    found = f"it has no layout for {kind} records"
    return UserError(Problem(f"export {style}", found, ", ".join(allowed)))


def _write_splits(
    target: Path,
    splits: Mapping[str, Iterable[Record]],
    rows: Callable[[Iterable[Record]], Iterator[dict[str, Any]]],
) -> Iterator[Path]:
    """Write each split that holds a row under a temporary name first, and yield its path."""
    target.mkdir(parents=True, exist_ok=True)
    for split, records in splits.items():
        path, draft = target / f"{split}.jsonl", target / f".{split}.jsonl.tmp"
        try:
            with draft.open("w", encoding="ascii", newline="\n") as handle:
                # ASCII: no reader takes an escaped U+2028 for the end of a line.
                handle.writelines(json.dumps(row) + "\n" for row in rows(records))
            if draft.stat().st_size:
                draft.replace(path)
                yield path
        finally:
            draft.unlink(missing_ok=True)


def _prepared_splits(folder: Path) -> dict[str, Path]:
    """Return the split files that the manifest vouches for."""
    where = (folder / NAME).as_posix()
    try:
        manifest = read_json(folder / NAME)
    except FileNotFoundError:
        raise UserError(Problem(where, "no prepared data", fix=FIX)) from None
    except ValueError:
        raise UserError(Problem(where, "not valid JSON", fix=FIX)) from None
    outputs = manifest.get("outputs") if isinstance(manifest, dict) else None
    if not isinstance(outputs, dict) or manifest.get("scrubbed") is not True:
        raise UserError(Problem(where, "it does not say that the data was scrubbed", fix=FIX))
    paths = {Path(name).stem: folder / name for name in outputs if name.endswith(".jsonl")}
    for path in paths.values():
        if not path.is_file() or sha256_file(path) != outputs[path.name]:
            found = "missing, or altered since it was prepared"
            raise UserError(Problem(path.as_posix(), found, fix=FIX))
    return paths


def _records(path: Path) -> Iterator[Record]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.strip():
                record = Record.from_json(json.loads(line))
                if record.image_keys:
                    found = "its records have images, of which prepared files hold no names"
                    raise UserError(Problem(path.name, found, "records of text"))
                yield record
