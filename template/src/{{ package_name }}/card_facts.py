"""What a model card is made from: records of the run and the project, read once.

No text of the data is among them: counts, names of types, hashes and what the project says.
"""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .accounting import licence_of
from .config import Config
from .energy import Energy, device_power, estimate
from .licences import Finding, Licence, Subject, base_licence, check_use, find_licence, is_gated
from .packs import Pack, count_unreviewed, load_packs
from .report import RESULTS, data_report
from .runs import read_record
from .utils import read_json, sha256_file

OWN_WORDS = "MODEL_CARD.md"
MEMORISATION = "memorisation.json"
REVIEW = "manual_review.json"
AUDIT = "scrub_report.json"
MANIFEST = "manifest.json"
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
NO_DATA_LICENCE = "training data"

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Licences:
    """Declared use, licences of base and data, and what the check of them found."""

    use: str
    base: str
    gated: bool
    data: dict[str, int]
    found: list[Finding]

    @property
    def row(self) -> Licence | None:
        """Row of the base's licence; None: not in the table."""
        return find_licence(self.base)

    def of_level(self, level: str) -> list[str]:
        """Return the texts of the findings of one level."""
        return [one.text for one in self.found if one.level == level]


@dataclass(frozen=True, slots=True)
class Facts:
    """All that the sections of the card read.

    Attributes:
        name: of the model.
        project: version and authors, as pyproject.toml has them.
        goal: task, input and output, as the configuration says now, else as it was evaluated.
        record: training_args.json.
        results: evaluation_results.json; None: not evaluated.
        data: report of the preparation that the run was trained on; None: gone or renewed.
        manifest: of that preparation, with its hash under `sha256`; None likewise.
        audit: of the scrubber of that preparation; None: none was made since.
        memorisation: what the probe of the run found; None: it was not run.
        review: key and result of the sheet for people; None: no sheet was made.
        packs: domain packs of the configuration.
        unreviewed: how many evaluation `items` they hold, and how many nobody has signed.
        own: heading -> words of the project.
        licences: see there.
        energy: stage -> estimate; empty where the power of the device is unknown.
        adapter_only: the run holds an adapter and no whole model.
    """

    name: str
    project: Json
    goal: dict[str, str]
    record: Json
    results: Json | None
    data: Json | None
    manifest: Json | None
    audit: Json | None
    memorisation: Json | None
    review: Json | None
    packs: list[Pack]
    unreviewed: dict[str, int]
    own: dict[str, str]
    licences: Licences
    energy: dict[str, Energy]
    adapter_only: bool


def gather(config: Config, run_dir: Path) -> Facts:
    """Read everything that the card of a run states.

    Raises:
        UserError: the folder is no run, or a pack is not usable.
    """
    record = read_record(run_dir)
    results, data = _optional(run_dir / RESULTS), data_report(config, record)
    manifest = _manifest(config, record)
    licences, packs = _licences(config, record, data), load_packs(config)
    return Facts(
        name=_model_name(config.root.name, licences),
        project=_project(config.root / "pyproject.toml"),
        goal=_goal(config, record, results),
        record=record,
        results=results,
        data=data,
        manifest=manifest,
        audit=_audit(config, manifest),
        memorisation=_optional(run_dir / MEMORISATION),
        review=_optional(run_dir / REVIEW),
        packs=packs,
        unreviewed=count_unreviewed(packs),
        own=own_words(config.root / OWN_WORDS),
        licences=licences,
        energy=_energy(config, record, results),
        adapter_only=not (run_dir / "model.safetensors").is_file(),
    )


def own_words(path: Path) -> dict[str, str]:
    """Return heading -> text of the user's file; comments and empty headings are left out."""
    if not path.is_file():
        return {}
    text = COMMENT.sub("", path.read_text(encoding="utf-8"))
    parts = re.split(r"^## +(.+)$", text, flags=re.MULTILINE)
    pairs = zip(parts[1::2], parts[2::2], strict=True)
    return {title.strip(): text.strip() for title, text in pairs if text.strip()}


def _optional(path: Path) -> Json | None:
    return read_json(path) if path.is_file() else None


def _project(path: Path) -> Json:
    if not path.is_file():
        return {}
    found: Json = tomllib.loads(path.read_text(encoding="utf-8")).get("project", {})
    return found


def _goal(config: Config, record: Json, results: Json | None) -> dict[str, str]:
    now, then = config.goal.model_dump(), (results or record["config"])["goal"]
    return {name: now[name] or then.get(name, "") for name in ("task", "input", "output")}


def _manifest(config: Config, record: Json) -> Json | None:
    """Return the manifest of the data that the run was trained on, with its own hash."""
    path = config.path(config.data.prepared) / MANIFEST
    manifest = _optional(path)
    if manifest is None or manifest.get("outputs") != record.get("data", {}).get("outputs"):
        return None
    return manifest | {"sha256": sha256_file(path)}


def _audit(config: Config, manifest: Json | None) -> Json | None:
    """Return the audit of the scrubber, if it looked at the very preparation of the run."""
    audit = _optional(config.path(config.data.prepared) / AUDIT)
    if audit is None or manifest is None or audit["prepared"]["changed_since"]:
        return None
    return audit if audit["created"] >= manifest["created"] else None


def _licences(config: Config, record: Json, data: Json | None) -> Licences:
    """Check the licences that are stated now against the use that is declared now."""
    model = record["model"]["name"]
    # A licence that was stated for another base model says nothing about this one.
    same = model == config.model.model_name_or_path
    base = base_licence(model, config.model.licence if same else None)
    counts: dict[str, int] = {}
    for file in data["files"] if data else []:
        stated = licence_of(config, file["file"])
        counts[stated] = counts.get(stated, 0) + 1
    if not data:
        counts = dict.fromkeys(config.data.licences.values(), 1)
    subjects = [Subject(f"base model `{model}`", base)]
    subjects += [Subject(NO_DATA_LICENCE, stated) for stated in counts or {"": 1}]
    found = [*check_use(config.goal.use, subjects)]
    return Licences(config.goal.use, base, is_gated(model), counts, found)


def _model_name(name: str, licences: Licences) -> str:
    """Return the name of the model; some licences say how it has to begin."""
    prefix = licences.row.prefix if licences.row else ""
    return f"{prefix}-{name}" if prefix and not name.startswith(prefix) else name


def evaluated_elsewhere(record: Json, results: Json | None) -> bool:
    """Return True if the evaluation ran on another device than the training, as far as is told."""
    measured = ((results or {}).get("inference") or {}).get("tuned") or {}
    told = {"kind": measured.get("device"), "name": measured.get("device_name")}
    return any(value not in (None, record["device"][key]) for key, value in told.items())


def _energy(config: Config, record: Json, results: Json | None) -> dict[str, Energy]:
    power = device_power(record["device"], config.hardware.power_w)
    seconds = {"training": record.get("seconds", {}).get("train")}
    # The power is that of the training device.
    if results and not evaluated_elsewhere(record, results):
        seconds["evaluation"] = sum(results.get("seconds", {}).values())
    grid = config.hardware.grid_g_co2_per_kwh
    if power is None:
        return {}
    return {stage: estimate(spent, power, grid) for stage, spent in seconds.items() if spent}
