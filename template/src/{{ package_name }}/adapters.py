"""Adapters on disk: where they lie, what they were made with, which base they belong to.

Only JSON and a few blocks of the weights are read here: no heavy library is loaded.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .config import Config
from .errors import Problem, UserError
from .heads import HEADS
from .objectives import OBJECTIVES
from .prompt_learning import ENCODER
from .techniques import TECHNIQUES
from .utils import read_json, sha256_file, write_json

PLACE = "adapter"  # folder of a run that holds its adapter
SETTINGS = "adapter_config.json"  # by peft
RECORD = "adapter_record.json"  # by us: what peft does not know
WEIGHTS = "adapter_model.safetensors"
PATTERNS = ("*.safetensors", "*.bin")  # weights of a model
BLOCKS, BLOCK = 64, 1 << 16  # of each weights file, in bytes: what the mark of a base is made of
# Kinds of peft -> techniques, for adapters without a record of ours.
KINDS = {
    "LORA": "lora",
    "IA3": "ia3",
    "PROMPT_TUNING": "prompt_tuning",
    "PREFIX_TUNING": "prefix_tuning",
    "P_TUNING": "p_tuning",
    "BOTTLENECK": "adapter",  # peft's name of bottleneck.py
}
# Setting -> name in peft's file: what a start adapter decides.
DECIDED = {
    "lora.lora_r": "r",
    "lora.lora_alpha": "lora_alpha",
    "lora.lora_dropout": "lora_dropout",
    "lora.lora_target_modules": "target_modules",
    "lora.use_rslora": "use_rslora",
    "prompts.num_virtual_tokens": "num_virtual_tokens",
    "prompts.encoder_hidden_size": "encoder_hidden_size",
    "bottleneck.reduction_factor": "reduction_factor",
    "bottleneck.non_linearity": "non_linearity",
}


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter folder.

    Attributes:
        folder: holds adapter_config.json and the weights.
        settings: adapter_config.json.
        record: adapter_record.json; {} for one that another tool wrote.
    """

    folder: Path
    settings: dict[str, Any]
    record: dict[str, Any]

    @property
    def technique(self) -> str:
        """Row of techniques.TECHNIQUES; "" for a kind of peft that is none of them."""
        if self.record:
            return str(self.record["technique"])
        name = KINDS.get(self.settings["peft_type"], "")
        name = "dora" if name == "lora" and self.settings.get("use_dora") else name
        return name if name in TECHNIQUES else ""

    @property
    def kind(self) -> str:
        """Name for people: the technique, or what peft calls it."""
        return self.technique or str(self.settings["peft_type"])

    @property
    def rank(self) -> int | None:
        """Rank of a low-rank adapter, vectors of a learned prompt, None for other kinds."""
        return self.settings.get("r") or self.settings.get("num_virtual_tokens")

    @property
    def base_name(self) -> str:
        """Name of the base as it was configured, or as peft saw it; "" where nobody said."""
        stated = self.settings.get("base_model_name_or_path") or ""
        return str(self.record["base"]["name"]) if self.record else _hub_name(stated)

    @property
    def size(self) -> int:
        """Bytes of the weights."""
        return sum(path.stat().st_size for path in self.folder.glob("adapter_model.*"))

    @property
    def title(self) -> str:
        """Name of the run that it belongs to, or of its folder."""
        return self.folder.parent.name if self.folder.name == PLACE else self.folder.name

    @property
    def sha256(self) -> str:
        """Hash of its weights."""
        return sha256_file(next(self.folder.glob("adapter_model.*")))


def find_adapter(folder: Path) -> Path | None:
    """Return the adapter folder of a run, or the folder itself if it is one; None: neither."""
    for place in (folder, folder / PLACE):
        if (place / SETTINGS).is_file():
            return place
    return None


def read_adapter(folder: Path) -> Adapter:
    """Return the adapter of a run folder, or of the folder that peft wrote.

    Raises:
        UserError: there is none, or a part of it is missing or broken.
    """
    place = find_adapter(folder)
    if place is None:
        fix = "name a run folder, or one that peft wrote"
        raise UserError(Problem(str(folder), f"holds no adapter ({SETTINGS})", fix=fix))
    if not any(place.glob("adapter_model.*")):
        raise UserError(Problem(str(place), f"lacks the weights of the adapter ({WEIGHTS})"))
    if (place / WEIGHTS).is_file() and not _whole(place / WEIGHTS):
        found = f"{WEIGHTS} is cut short or no safetensors file"
        raise UserError(Problem(str(place), found, fix="copy the folder again"))
    record = place / RECORD
    try:
        settings = read_json(place / SETTINGS)
        made = read_json(record) if record.is_file() else {}
    except (json.JSONDecodeError, UnicodeDecodeError):
        found = f"{SETTINGS} or {RECORD} is no JSON"
        raise UserError(Problem(str(place), found, fix="copy the folder again")) from None
    if "peft_type" not in settings:
        raise UserError(Problem(str(place), f"{SETTINGS} names no peft_type"))
    return Adapter(place, settings, made)


def _whole(path: Path) -> bool:
    """Say whether a safetensors file has the bytes that its header promises.

    Layout (github.com/huggingface/safetensors): length of the header in 8 bytes, header, data.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > size:
            return False
        try:
            header = json.loads(file.read(length))
        except ValueError:
            return False
    header.pop("__metadata__", None)
    end = max((tensor["data_offsets"][1] for tensor in header.values()), default=0)
    return bool(size == 8 + length + end)


def base_mark(folder: Path) -> str:
    """Return a hash that tells one set of base weights from another, whatever their folder.

    SHA-256 over size and BLOCKS evenly spread blocks of each weights file: a fine-tune changes
    nearly every block, and a model of 100 GB is not read as a whole.
    """
    digest = hashlib.sha256()
    for path in sorted({path for pattern in PATTERNS for path in folder.glob(pattern)}):
        size = path.stat().st_size
        digest.update(f"{path.name} {size}\n".encode())
        with path.open("rb") as handle:
            for number in range(BLOCKS):
                handle.seek(max(size - BLOCK, 0) * number // (BLOCKS - 1))
                digest.update(handle.read(BLOCK))
    return digest.hexdigest()


def write_record(folder: Path, run: dict[str, Any]) -> None:
    """Complete an adapter folder that peft wrote: what it was made with, and its base.

    Args:
        folder: of the adapter.
        run: training_args.json.
    """
    (folder / "README.md").unlink(missing_ok=True)  # an empty form by peft
    (folder / ENCODER).unlink(missing_ok=True)  # done: its result is the adapter
    base = run["model"]
    names = ("run", "technique", "objective", "labels", "started_from")
    quantised = TECHNIQUES[run["technique"]].quantised
    record = {"schema": 1, **{name: run[name] for name in names if name in run}}
    record |= {
        "precision": run["plan"]["weights"],
        "quantisation": run["config"]["model"]["quantisation"] if quantised else None,
        "base": {"name": base["name"], "mark": base_mark(Path(base["path"]))},
    }
    write_json(folder / RECORD, record)
    if base["origin"] != "local":  # the name leads everywhere to the base, a path only here
        settings = read_json(folder / SETTINGS) | {"base_model_name_or_path": base["name"]}
        write_json(folder / SETTINGS, settings)


def base_problem(adapter: Adapter, name: str, folder: Path) -> Problem | None:
    """Return why an adapter does not belong to a base, or None where it does.

    Args:
        adapter: by its record the weights decide; without one the name that peft wrote.
        name: of the base, as configured.
        folder: of the base.
    """
    fix = f"model.model_name_or_path={adapter.base_name}"
    if adapter.record:
        if adapter.record["base"]["mark"] == base_mark(folder):
            return None
        found = "it was trained on other weights of that name"
        if adapter.base_name != name:
            found = f"it was trained on another base than {name}"
        return Problem(str(adapter.folder), found, adapter.base_name, fix)
    stated = adapter.base_name
    same = stated in ("", name, str(folder), folder.name) or Path(stated) == folder
    if same or Path(stated).name == Path(name).name:
        return None
    return Problem(str(adapter.folder), f"it was trained on another base than {name}", stated, fix)


def start_settings(config: Config) -> tuple[Config, dict[str, str]]:
    """Return the configuration as the adapter of `model.adapter` decides it, and the reasons.

    Technique, rank and places are those of the adapter, whatever the file says. A different
    value that was asked for on the command line is refused.

    Raises:
        UserError: no adapter, another technique, or settings that contradict it.
    """
    if not config.model.adapter:
        return config, {}
    adapter = read_adapter(config.path(config.model.adapter))
    problems = list(_start_problems(config, adapter))
    reasons = {"adapter": f"goes on from {adapter.title} ({adapter.kind}): its size is kept"}
    changes: dict[str, dict[str, Any]] = {}
    for name, value in _decided(adapter):
        section, key = name.split(".")
        now = getattr(getattr(config, section), key)
        if now == value:
            continue
        if config.source.get(name) == "command line":
            found = f"the adapter of model.adapter has {value}"
            problems.append(Problem(name, found, fix="leave it out, or train a new adapter"))
        changes.setdefault(section, {})[key] = value
        reasons[name] = f"{value}: that of the adapter; the setting ({now}) is for new ones"
    if problems:
        raise UserError(problems)
    sections = {
        name: getattr(config, name).model_copy(update=values) for name, values in changes.items()
    }
    # An adapter of another tool does not tell whether its base was quantised.
    technique = adapter.technique if config.technique == "auto" else config.technique
    decided = config.model_copy(update={"technique": technique, **sections})
    decided._source = config.source | dict.fromkeys(set(reasons) - {"adapter"}, "adapter")
    return decided, reasons


def check_start(config: Config, name: str, base: Path, labels: tuple[str, ...]) -> dict[str, str]:
    """Return what the record of a run says of the adapter that it goes on from.

    Args:
        config: names the adapter in `model.adapter`.
        name: of the base, as configured.
        base: its folder.
        labels: names of the classes of the data.

    Raises:
        UserError: it belongs to another base, or to other classes.
    """
    adapter = read_adapter(config.path(config.model.adapter))
    problems = [base_problem(adapter, name, base)]
    if adapter.record and tuple(adapter.record["labels"]) != labels:
        fix = "the same data, or a new adapter"
        problems.append(Problem("model.adapter", "it was trained for other classes", fix=fix))
    if found := [problem for problem in problems if problem]:
        raise UserError(found)
    return {"folder": str(adapter.folder), "adapter": adapter.title, "sha256": adapter.sha256}


def _start_problems(config: Config, adapter: Adapter) -> Iterator[Problem]:
    asked, has = config.technique, adapter.technique
    if not has:
        yield Problem("model.adapter", f"an adapter of peft's kind {adapter.kind}", _adapters())
    elif asked not in ("auto", has) and not _same_kind(adapter, asked):
        fix = f"technique={has}, or merge it first: scripts/adapters.py merge"
        yield Problem("technique", f"model.adapter is an adapter of {has}", f"auto, {has}", fix)
    if has == "p_tuning" and not (adapter.folder / ENCODER).is_file():
        found = "the network of p_tuning is dropped after training"
        fix = "name a checkpoint of the run: runs/<run>/checkpoints/checkpoint-<step>"
        yield Problem("model.adapter", found, fix=fix)
    objective = adapter.record.get("objective")
    if objective is None:
        return
    head, wanted = HEADS[OBJECTIVES[objective].head], HEADS[OBJECTIVES[config.objective].head]
    if head != wanted:
        found = f"its model gives {head.doc}; objective `{config.objective}` needs {wanted.doc}"
        yield Problem("model.adapter", found)


def _adapters() -> str:
    rows = TECHNIQUES.values()
    return ", ".join(row.name for row in rows if row.trainable == "adapter")


def _same_kind(adapter: Adapter, technique: str) -> bool:
    """Return whether an adapter that another tool wrote can be of this technique."""
    return not adapter.record and {adapter.technique, technique} == {"lora", "qlora"}


def _decided(adapter: Adapter) -> Iterator[tuple[str, Any]]:
    low_rank = TECHNIQUES[adapter.technique].low_rank if adapter.technique else False
    for name, key in DECIDED.items():
        value = adapter.settings.get(key)
        # An expression of names is kept by the adapter; as a setting it would be none.
        expression = key == "target_modules" and not isinstance(value, list)
        if value is None or expression or (name.startswith("lora.") and not low_rank):
            continue
        yield name, sorted(value) if isinstance(value, list) else value
    if low_rank:
        start = adapter.settings.get("init_lora_weights")
        yield "lora.init_lora_weights", "pissa" if start == "pissa" else "default"


def _hub_name(stated: str) -> str:
    """Return owner/model of a folder in the Hugging Face cache; other names as they are."""
    for part in Path(stated).parts:
        if part.startswith("models--"):
            return part.removeprefix("models--").replace("--", "/")
    return stated
