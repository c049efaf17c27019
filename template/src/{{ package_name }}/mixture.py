"""More prepared folders in the training split: several tasks in one run, or replay.

`data.mixture` names folders and weights. A folder of weight w gives w examples for each one of
`data.prepared`: all of its rows as often as they go in whole, and a sample for the rest. Validation
and test stay those of `data.prepared`, and no row that repeats one of them is mixed in.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from .config import Config
from .data_loader import load_split
from .errors import Problem, UserError
from .heads import HEADS
from .manifest import check_mixed
from .objectives import OBJECTIVES, Objective, check_readable
from .records import Record
from .settings_data import Mixed
from .shingles import words
from .utils import sha256_json

SETTING = "data.mixture"
HELD_OUT = ("validation", "test")
REPLAY = "data.mixture=[{prepared: data/prepared_chat, weight: 0.1}]"
ROWS = "train.jsonl"


@dataclass(frozen=True, slots=True)
class Source:
    """What one folder gives to the training split.

    Attributes:
        setting: The folder and its weight.
        kind: Of its records.
        available: Rows of its own training split.
        repeated: Of these, left out because they repeat a row of the main held-out splits.
        records: Those that were drawn.
    """

    setting: Mixed
    kind: str
    available: int
    repeated: int
    records: Sequence[Record]

    def as_dict(self) -> dict[str, Any]:
        """Return the counts for training_args.json."""
        return {
            "prepared": self.setting.prepared,
            "weight": self.setting.weight,
            "rows": self.available,
            "left_out_as_held_out": self.repeated,
            "drawn": len(self.records),
        }

    def line(self) -> str:
        """Return the counts as a line of progress."""
        left = f", {self.repeated} repeat held-out rows and are left out" if self.repeated else ""
        drawn = f"{len(self.records)} examples from {self.available} rows"
        return f"Mixed in: {self.setting.prepared} (weight {self.setting.weight:g}): {drawn}{left}"


def mixture_identity(config: Config) -> list[dict[str, Any]]:
    """Return what a run depends on besides its own data: the rows and weights of the mixture.

    Raises:
        UserError: a folder is missing, stale, unscrubbed or altered, or it holds records that
            the objective does not read; all problems together.
    """
    found: list[dict[str, Any]] = []
    problems: list[Problem] = []
    for row in config.data.mixture:
        try:
            manifest = _checked(config, row)
        except UserError as error:
            problems += error.problems
            continue
        digest = manifest["outputs"][ROWS]
        found.append({"prepared": row.prepared, "weight": row.weight, "sha256": digest})
    if problems:
        raise UserError(problems)
    return found


def load_mixture(config: Config) -> list[Source]:
    """Return what each folder of the mixture gives, the same for the same seed.

    Raises:
        UserError: as mixture_identity(), or a folder is left with no row.
    """
    mixture_identity(config)  # every problem before the first row is read
    if not config.data.mixture:
        return []
    main = len(load_split(config, "train"))
    held_out = set().union(*(_marks(r) for split in HELD_OUT for r in load_split(config, split)))
    sources = []
    for number, row in enumerate(config.data.mixture):
        path = config.path(row.prepared) / ROWS
        with path.open(encoding="utf-8") as lines:
            rows = [Record.from_json(json.loads(line)) for line in lines if line.strip()]
        kept = [record for record in rows if not _marks(record) & held_out]
        if not kept:
            found = "no row of it can be mixed in"
            raise UserError(Problem(f"{SETTING}[{number}]", found, fix="take the folder out"))
        seed = f"{config.train.seed} {number} {row.prepared}"
        drawn = draw(kept, round(row.weight * main), seed)
        kind = _checked(config, row)["kind"]
        sources.append(Source(row, kind, len(rows), len(rows) - len(kept), drawn))
    return sources


def draw(rows: Sequence[Record], count: int, seed: str) -> list[Record]:
    """Return `count` rows: whole passes, and a sample without repeats for the rest."""
    passes, rest = divmod(count, len(rows))
    return [*rows] * passes + random.Random(seed).sample(list(rows), rest)


def mixed_objective(objective: Objective, kind: str) -> Objective:
    """Return how the rows of a folder are learned.

    Conversations that are replayed while documents are learned teach their answers only, under
    the system prompt of the packs: that is how the model is asked afterwards.
    """
    if kind == "messages" and not objective.assistant_only:
        return replace(objective, assistant_only=True)
    return objective


def replay_warning(config: Config, kind: str) -> str:
    """Return what to say about documents without conversations; "" where there is nothing.

    Args:
        config: The run.
        kind: Of the records of `data.prepared`.
    """
    objective = OBJECTIVES[config.objective]
    answers = HEADS[objective.head].generates  # an encoder has no way of answering to lose
    if objective.assistant_only or not answers or kind != "text":
        return ""
    if any(_checked(config, row)["kind"] == "messages" for row in config.data.mixture):
        return ""
    return (
        "warning: the model learns documents only and may lose its way of answering prompts; "
        f"mix in conversations: {REPLAY}"
    )


def _checked(config: Config, row: Mixed) -> dict[str, Any]:
    data = config.data.model_copy(update={"prepared": row.prepared})
    other = config.model_copy(update={"data": data})
    manifest = check_mixed(other)
    check_readable(config.objective, manifest["kind"])
    return manifest


def _marks(record: Record) -> set[str]:
    """Return hashes of what would give a row away: its prompt, and all of its text.

    Case, punctuation and blanks do not count. The prompt of a document is the document.
    """
    texts = [" ".join(words(" ".join(part))) for part in (record.prompt(), record.texts())]
    return {sha256_json(text) for text in texts if text}
