"""The manifest: proof of what the prepared data was made from, and that it was scrubbed."""

import datetime
import importlib.metadata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from .config import Config
from .errors import Problem, UserError
from .hub import PREFIX, dataset_folder
from .model_source import find_installed
from .nlp_models import NO_MODEL, MissingModel, find_model
from .packs import load_packs
from .policies import chosen_policy
from .readers import find_files
from .utils import read_json, sha256_file, sha256_json, write_json

NAME = "manifest.json"
SCHEMA = 1
SECTIONS = ("data", "scrub", "domains", "objective")
# Of section `data`: how fast rows are prepared, and what is only said about them.
FREE = {"workers", "engine", "licences", "task", "mixture"}
FIX = "make prepare"
HUB_FOLDER = "data/raw/hub"  # of data sets that are fetched
# What decides which identifiers are found, besides rules and settings.
SCRUBBER_MODULES = (
    "checksums",
    "crypto_addresses",
    "date_text",
    "detection",
    "gliner_names",
    "grammars",
    "greedy_ner",
    "invented",
    "language_model",
    "languages",
    "literals",
    "national_ids",
    "ner_labels",
    "nlp_models",
    "places",
    "policies",
    "prefilter",
    "recognizers",
    "scrub",
    "spacy_names",
    "spans",
    "surrogates",
    "table_cells",
    "transformer_names",
    "unfolding",
)
OUTPUTS = ("train.jsonl", "validation.jsonl", "test.jsonl", "report.json")
SCRUBBER_LIBRARIES = ("presidio-analyzer", "spacy", "regex")


def manifest_path(config: Config) -> Path:
    """Return where the manifest stands."""
    return config.path(config.data.prepared) / NAME


def raw_path(config: Config) -> Path:
    """Return the raw file or folder, where a data set of the hub lies once it was fetched."""
    if config.data.raw.startswith(PREFIX):
        return dataset_folder(config.data.raw, config.path(HUB_FOLDER))
    return config.path(config.data.raw)


def image_folder(config: Config) -> Path:
    """Return the folder that paths of images are relative to: that of the raw data."""
    raw = raw_path(config)
    return raw if raw.is_dir() else raw.parent


def shown_name(config: Config, path: Path) -> str:
    """Return a path relative to the project where it lies inside, else as it is."""
    inside = path.is_relative_to(config.root)
    name = (path.relative_to(config.root) if inside else path).as_posix()
    return name.encode("utf-8", "replace").decode()  # bytes that are no characters


def hash_files(config: Config, paths: Sequence[Path]) -> dict[str, str]:
    """Return name -> SHA-256 of each file."""
    return {shown_name(config, path): sha256_file(path) for path in paths}


def recognizer_files(config: Config) -> list[Path]:
    """Return the rule files of all packs of the run, in the order the scrubber reads them."""
    return [path for pack in load_packs(config) for path in pack.recognizers]


def scrub_policy(config: Config) -> str:
    """Return the scrubbing policy of a run: that of the settings, or the strictest of the packs.

    Raises:
        UserError: a pack is not usable, or there is no such policy.
    """
    wanted = [pack.policy for pack in load_packs(config)]
    return chosen_policy(config.scrub.policy, wanted)


def scrubber_code() -> str:
    """Return the hash of what finds identifiers, rules apart: our modules and the libraries."""
    folder = Path(__file__).parent
    modules = {name: sha256_file(folder / f"{name}.py") for name in SCRUBBER_MODULES}
    modules["names.toml"] = sha256_file(folder / "names.toml")
    versions = {name: importlib.metadata.version(name) for name in SCRUBBER_LIBRARIES}
    return sha256_json([modules, versions])


def model_identity(config: Config) -> str:
    """Return the hash of the files of the NLP model.

    Raises:
        UserError: it is not installed, or not what it should be.
    """
    name = config.scrub.nlp_model
    return name if name == NO_MODEL else find_model(name).identity


def preparation_identity(config: Config, inputs: Mapping[str, str], key: str) -> dict[str, Any]:
    """Return all that the scrubbed rows depend on, but the evaluation items.

    Any change of our code counts: it is not known which module a row went through.

    Args:
        config: The run.
        inputs: Hashes of the raw files.
        key: Identity of the HMAC key.
    """
    code = sorted(Path(__file__).parent.glob("*.py"))
    source = find_installed(config)
    return {
        "inputs": dict(inputs),
        "config": _sections(config),
        "length": [config.train.max_length, str(source.path) if source else None],
        "recognizers": hash_files(config, recognizer_files(config)),
        "code": {path.name: sha256_file(path) for path in code},
        "libraries": scrubber_code(),
        "nlp_model": model_identity(config),
        "key": key,
    }


def write_manifest(
    config: Config,
    inputs: Mapping[str, str],
    outputs: Sequence[Path],
    key: str,
    kind: str,
    over: int,
) -> None:
    """Write the manifest, as the last step of a preparation.

    Args:
        config: The run.
        inputs: Hashes of the raw files, taken before they were read.
        outputs: The prepared files, complete.
        key: Identity of the HMAC key; another key means other splits.
        kind: Of the records.
        over: Rows that were left out or cut because they are over train.max_length.
    """
    sections = _sections(config)
    rules = hash_files(config, recognizer_files(config))
    manifest = {
        "schema": SCHEMA,
        "scrubbed": True,
        "inputs": dict(inputs),
        "config_sha256": sha256_json(sections),
        "config": sections,
        "kind": kind,
        "max_length": config.train.max_length,
        "over_max_length": over,
        "scrubber": sha256_json([sections["scrub"], rules, scrubber_code()]),
        "scrubber_code": scrubber_code(),
        "nlp_model": model_identity(config),
        "recognizers": rules,
        "key": key,
        "outputs": {path.name: sha256_file(path) for path in outputs},
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
    write_json(manifest_path(config), manifest)


def check_manifest(config: Config) -> dict[str, Any]:
    """Return the manifest if the prepared data is what a preparation would give now.

    Raw files that are not on this machine are not compared: data may be prepared on one
    machine and trained on another.

    Raises:
        UserError: no manifest, data not scrubbed, or something changed since; all is listed.
    """
    manifest = _read_manifest(config)
    changes = [*_changed_inputs(config, manifest), *_changed_settings(config, manifest)]
    changes += [*_changed_recognizers(config, manifest), *_changed_outputs(config, manifest)]
    changes += _missed_rows(config, manifest)
    changes += _changed_scrubber(config, manifest)
    if changes:
        raise UserError([Problem(name, found, fix=FIX) for name, found in changes])
    return manifest


def check_mixed(config: Config) -> dict[str, Any]:
    """Return the manifest of a folder that is mixed into the training data of another run.

    It must have been scrubbed as this project scrubs now, and not altered since. What its rows
    were made from, and for which objective, is its own affair.

    Args:
        config: The run, with `data.prepared` naming the folder.

    Raises:
        UserError: as check_manifest().
    """
    manifest = _read_manifest(config)
    own = ("data.", "objective")
    changes = [
        (n, what) for n, what in _changed_settings(config, manifest) if not n.startswith(own)
    ]
    changes += [*_changed_recognizers(config, manifest), *_changed_outputs(config, manifest)]
    changes += _changed_scrubber(config, manifest)
    there = {name: config.path(name) for name in manifest["inputs"] if config.path(name).is_file()}
    known = {name: manifest["inputs"][name] for name in there}
    changes += _differences(hash_files(config, list(there.values())), known, "raw file")
    if changes:
        where = config.data.prepared
        fix = (
            "prepare that folder again with the settings of section scrub and the packs of this run"
        )
        raise UserError([Problem(where, f"{name}: {found}", fix=fix) for name, found in changes])
    return manifest


def _read_manifest(config: Config) -> dict[str, Any]:
    """Return a manifest of this version that says that the rows were scrubbed."""
    where = shown_name(config, manifest_path(config))
    try:
        manifest = read_json(manifest_path(config))
    except FileNotFoundError:
        raise UserError(Problem(where, "no prepared data", fix=FIX)) from None
    except ValueError:
        raise UserError(Problem(where, "not valid JSON", fix=FIX)) from None
    parts = ("inputs", "config", "recognizers", "outputs")
    whole = isinstance(manifest, dict) and all(isinstance(manifest.get(p), dict) for p in parts)
    whole = whole and isinstance(manifest.get("kind"), str)
    if not whole or manifest.get("schema") != SCHEMA:
        raise UserError(Problem(where, "not a manifest of this version", fix=FIX))
    if manifest.get("scrubbed") is not True:
        raise UserError(Problem(where, "the data was not scrubbed", fix=FIX))
    return manifest


def _changed_scrubber(config: Config, manifest: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if manifest.get("scrubber_code") != scrubber_code():
        yield "scrubber", "its code or a library changed since the data was prepared"
    if _other_model(config, manifest):
        yield "scrub.nlp_model", "its files changed since the data was prepared"


def _sections(config: Config) -> dict[str, Any]:
    """Return the settings that decide about the prepared rows."""
    settings = config.as_dict()
    settings["data"] = {k: v for k, v in settings["data"].items() if k not in FREE}
    # What holds, not `auto`: a pack may come to name another policy.
    settings["scrub"]["policy"] = scrub_policy(config)
    return {name: settings[name] for name in SECTIONS}


def _other_model(config: Config, manifest: dict[str, Any]) -> bool:
    """Return whether the NLP model is another one; data may be prepared on another machine."""
    try:
        return bool(manifest.get("nlp_model") != model_identity(config))
    except MissingModel:
        return False  # training does not need it


def _changed_inputs(config: Config, manifest: dict[str, Any]) -> Iterator[tuple[str, str]]:
    files, _ = find_files(raw_path(config))
    if files:
        yield from _differences(hash_files(config, files), manifest["inputs"], "raw file")


def _changed_recognizers(config: Config, manifest: dict[str, Any]) -> Iterator[tuple[str, str]]:
    now = hash_files(config, recognizer_files(config))
    yield from _differences(now, manifest["recognizers"], "scrubbing rules")


def _differences(
    now: Mapping[str, str], then: Mapping[str, str], what: str
) -> Iterator[tuple[str, str]]:
    for name in sorted({*now, *then}):
        if name not in then:
            yield name, f"{what} added since the data was prepared"
        elif name not in now:
            yield name, f"{what} removed since the data was prepared"
        elif now[name] != then[name]:
            yield name, f"{what} changed since the data was prepared"


def _changed_settings(config: Config, manifest: dict[str, Any]) -> Iterator[tuple[str, str]]:
    now, then = _sections(config), manifest["config"]
    if sha256_json(then) != manifest["config_sha256"]:
        yield NAME, "the manifest was edited"
        return
    old, new = dict(_leaves(then)), dict(_leaves(now))
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            yield name, "setting changed since the data was prepared"


def _missed_rows(config: Config, manifest: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield that rows were left out or cut that fit the length that is allowed now."""
    over, limit = manifest.get("over_max_length", 0), manifest.get("max_length", 0)
    if over and config.train.max_length > limit:
        now = f"it is {config.train.max_length} now"
        yield "train.max_length", f"{over} rows were left out or cut at {limit} tokens; {now}"


def _leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for name, inner in value.items():
            yield from _leaves(inner, f"{prefix}.{name}" if prefix else name)
    else:
        yield prefix, value


def _changed_outputs(config: Config, manifest: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name in sorted({*OUTPUTS} - manifest["outputs"].keys()):
        yield name, "the manifest does not vouch for it"
    for name, digest in manifest["outputs"].items():
        path = config.path(config.data.prepared) / name
        if not path.is_file():
            yield shown_name(config, path), "prepared file is missing"
        elif sha256_file(path) != digest:
            yield shown_name(config, path), "prepared file was altered"
