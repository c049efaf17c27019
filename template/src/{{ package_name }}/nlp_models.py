"""NLP models on this machine: found without a network, identified by hash; none is loaded."""

import importlib.util
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import Problem, UserError
from .ner_labels import GLINER_LABELS, PERSON, not_read, types_of
from .utils import sha256_file, sha256_json

NO_MODEL = "none"
WHERE = "scrub.nlp_model"
SPACY, TRANSFORMERS, GLINER = "spacy", "transformers", "gliner"
# Released weights by the name that everybody knows: hashes of wheels and files, copies on PyPI.
RELEASES: dict[str, dict[str, Any]] = tomllib.loads(
    Path(__file__).with_name("nlp_models.toml").read_text(encoding="utf-8")
)
# Package -> release: the one of that name, and its copy.
PACKAGES = {name: name for name in RELEASES} | {
    row["copy"]["package"]: name for name, row in RELEASES.items() if "copy" in row
}
META, CONFIG, GLINER_CONFIG = "meta.json", "config.json", "gliner_config.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
CODE = '"auto_map"'
HEAVY = {"README.md", "LICENSE", "LICENSES_SOURCES"}  # no part of what is computed
WHOLE, PARTS = "model.safetensors", "model.safetensors.index.json"
WEIGHTS = {TRANSFORMERS: (WHOLE, PARTS), GLINER: (WHOLE,)}
PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json", "model.pt", "tf_model.h5")
HEAD = "ForTokenClassification"


class MissingModel(UserError):
    """The model is not on this machine."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model on the disk.

    Attributes:
        folder: Holds config.cfg, config.json or gliner_config.json.
        name: For messages.
        kind: SPACY, TRANSFORMERS or GLINER: which library reads it.
        language: Two letters; empty if its files do not say.
        identity: Hash of its files.
        known: The files are those of a release that RELEASES lists.
        notices: What a user has to know about it.
    """

    folder: Path
    name: str
    kind: str
    language: str
    identity: str
    known: bool
    notices: tuple[str, ...] = ()

    def reads(self, languages: Sequence[str]) -> bool:
        """Return whether it is of use for data in `languages`."""
        return not self.language or self.language in languages


def find_model(name: str) -> Model:
    """Return the model of the setting `scrub.nlp_model`.

    Args:
        name: A name of RELEASES, an installed spaCy package, or the folder of a model of spaCy,
            transformers or GLiNER.

    Raises:
        MissingModel: it is not there.
        UserError: no model that finds persons, its weights are pickles, or it is not what a known
            release holds.
    """
    root = _root(name)
    configs = sorted(path.parent for path in root.rglob("config.cfg"))
    if len(configs) == 1:
        return _spacy(name, configs[0])
    if (root / GLINER_CONFIG).is_file():
        return _gliner(root)
    if (root / CONFIG).is_file():
        return _transformers(root)
    found = f"{len(configs)} files config.cfg, no {CONFIG} and no {GLINER_CONFIG}"
    raise UserError(Problem(WHERE, found, "a folder with one model"))


def known_digests(release: str) -> dict[str, set[str]]:
    """Return for each file of a release the hashes that it may have: the original's, the copy's."""
    row = RELEASES[release]
    copied: Mapping[str, str] = row.get("copy", {}).get("files", {})
    return {file: {digest, copied.get(file, digest)} for file, digest in row["files"].items()}


def wrong_files(release: str, folder: Path) -> list[str]:
    """Return the files in a model's folder that are not those of the release."""
    return [
        file
        for file, digests in known_digests(release).items()
        if not (folder / file).is_file() or sha256_file(folder / file) not in digests
    ]


def _spacy(name: str, folder: Path) -> Model:
    meta = _json(folder / META)
    if not {"lang", "name"} <= meta.keys():
        found = f"{META} names no model"
        raise UserError(Problem(WHERE, found, fix="install the model again"))
    language, title = str(meta["lang"]), f"{meta['lang']}_{meta['name']}"
    release = PACKAGES.get(name) or PACKAGES.get(title)
    if not release:
        labels = meta.get("labels")
        of_names = labels.get("ner") if isinstance(labels, dict) else None
        return _unknown(folder, title, SPACY, language, not_read(map(str, of_names or ())))
    if wrong := wrong_files(release, folder):
        found = f"not the released model, these files differ: {', '.join(wrong)}"
        fix = f"make nlp-model NAME={release}"
        raise UserError(Problem(WHERE, found, f"release {RELEASES[release]['version']}", fix))
    # Not of the files at hand: the copy is the same model.
    return Model(folder, title, SPACY, language, sha256_json(RELEASES[release]["files"]), True)


def _transformers(root: Path) -> Model:
    config = _json(root / CONFIG)
    heads = [str(name) for name in config.get("architectures") or ()]
    if not any(name.endswith(HEAD) for name in heads):
        found = f"{CONFIG} names no architecture that ends with {HEAD}"
        raise UserError(Problem(WHERE, found, "a model that gives each token a label"))
    labels = [str(label) for label in dict(config.get("id2label") or {}).values()]
    if PERSON not in types_of(labels).values():
        shown = ", ".join(sorted(labels)[:12]) or "none"
        found = f"the model finds no persons; its labels: {shown}"
        raise UserError(Problem(WHERE, found, "labels as in ner_labels.py, such as PER or PATIENT"))
    return _other(root, TRANSFORMERS, not_read(labels))


def _gliner(root: Path) -> Model:
    _json(root / GLINER_CONFIG)
    if not (root / TOKENIZER_CONFIG).is_file():
        found = f"{TOKENIZER_CONFIG} is missing, and nothing is fetched"
        raise UserError(Problem(WHERE, found, "a folder that holds the tokenizer as well"))
    if importlib.util.find_spec("gliner") is None:
        fix = "pip install --no-deps gliner==0.2.29 sentencepiece (docs/data.md, NLP models)"
        raise UserError(Problem(WHERE, "a GLiNER model, and gliner is not installed", fix=fix))
    return _other(root, GLINER, [], f"{root.name}: asked for {', '.join(GLINER_LABELS)}")


def _other(root: Path, kind: str, unread: Sequence[str], *more: str) -> Model:
    """Return a model that spaCy does not read.

    Raises:
        UserError: loading it would run code that came with it.
    """
    for name in (CONFIG, GLINER_CONFIG, TOKENIZER_CONFIG):
        # A part of a configuration can ask for it too, and gliner would run it.
        if (root / name).is_file() and CODE in json.dumps(_json(root / name)):
            found = f"{name} asks for Python code of its own (auto_map)"
            raise UserError(Problem(WHERE, found, "a model that the library knows by itself"))
    if not any((root / name).is_file() for name in WEIGHTS[kind]):
        pickles = [name for name in PICKLES if (root / name).is_file()]
        found = f"no {WEIGHTS[kind][0]}"
        if pickles:
            found += f", and loading {pickles[0]} could run code that is hidden in it"
        fix = "convert them where no data is: save_pretrained(folder, safe_serialization=True)"
        raise UserError(Problem(WHERE, found, "weights as safetensors", fix))
    notices = (f"{root.name}: its files name no language; it reads all texts", *more)
    return _unknown(root, root.name, kind, "", unread, notices)


def _unknown(
    folder: Path,
    name: str,
    kind: str,
    language: str,
    unread: Sequence[str],
    more: Sequence[str] = (),
) -> Model:
    """Return a model that no release vouches for, and say so."""
    identity = _identity(folder)
    notices = [f"{name}: no release that is known here; SHA-256 of its files {identity}", *more]
    if unread:
        notices.append(f"{name}: these labels are not known and not used: {', '.join(unread)}")
    return Model(folder, name, kind, language, identity, False, tuple(notices))


def _identity(folder: Path) -> str:
    """Return the hash of all files of a model, by their names; hidden folders are no part of it."""
    files = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in HEAVY
    }
    visible = {name: path for name, path in files.items() if not name.startswith(".")}
    return sha256_json({name: sha256_file(path) for name, path in visible.items()})


def _json(path: Path) -> dict[str, Any]:
    """Return a JSON object that belongs to a model."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict):
        wrong = f"{path.name} is missing or cannot be read"
        raise UserError(Problem(WHERE, wrong, fix="install the model again"))
    return found


def _root(name: str) -> Path:
    """Return the folder of an installed package, or of a path, without importing it."""
    if not name.isidentifier():
        folder = Path(name).expanduser()
        if folder.is_dir():
            return folder
        raise MissingModel(Problem(WHERE, "this folder does not exist", "a folder with one model"))
    release = PACKAGES.get(name)
    same = [package for package, row in PACKAGES.items() if release and row == release]
    for package in (name, *same):
        if root := _package(package):
            return root
    fix = f"make nlp-model NAME={release}" if release else "install it"
    fix += ", or set scrub.nlp_model to `none` for patterns only"
    allowed = f"{', '.join(RELEASES)}, another installed spaCy model, or a folder"
    raise MissingModel(Problem(WHERE, "this model is not installed", allowed, fix))


def _package(name: str) -> Path | None:
    found = importlib.util.find_spec(name)
    places = found.submodule_search_locations if found else None
    return Path(places[0]) if places else None
