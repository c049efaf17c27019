"""How a model is loaded: class by its head, number format, quantisation, tokenizer."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .config import Config
from .devices import detect_device
from .errors import Problem, UserError
from .heads import HEADS, Head
from .model_access import MASKED, stored_kind
from .model_parts import outer_parts
from .model_source import ModelSource, require_weights, resolve_model
from .settings import Model

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


@dataclass(slots=True)
class LoadedModel:
    """A model in evaluation mode, with all that belongs to it.

    Attributes:
        model: of the class that its head asks for.
        tokenizer: complete.
        source: where both came from.
        labels: names of the classes, in the order of the outputs.
        note: what became of the head; "" where the stored weights are used as they are.
    """

    model: Any
    tokenizer: Any
    source: ModelSource
    labels: tuple[str, ...] = ()
    note: str = ""


def load_base(
    config: Config,
    precision: str,
    quantised: bool = False,
    device: str | None = None,
    head: Head | None = None,
    labels: Sequence[str] = (),
) -> LoadedModel:
    """Load the base model of the configuration.

    Args:
        config: names the model.
        precision: number format of the weights, one of fp32, bf16, fp16.
        quantised: hold the weights of linear layers as `model.quantisation` says, in 4 bit
            (0.516 bytes each) or in 8 bit (1 byte), and compute with them in `precision`;
            embeddings, head and norms stay in `precision`.
        device: cuda, mps or cpu; None: the one that is present.
        head: what the model must give out; None: what its configuration says. Weights that the
            stored model lacks start at random, the same in every run with one `train.seed`.
        labels: names of the classes, for a head that has an output for each.

    Raises:
        UserError: the base cannot get this head.
    """
    from transformers import set_seed

    source = resolve_model(config)
    options: dict[str, Any] = {}
    if head is not None:
        set_seed(config.train.seed)
    if labels and head is not None and head.labels:
        options["id2label"] = dict(enumerate(labels))
        options["label2id"] = {label: number for number, label in enumerate(labels)}
    elif head is not None and head.name == "reward":
        options["num_labels"] = 1
    loaded = _load(source, precision, config.model, quantised, device, head, options)
    loaded.labels = tuple(labels)
    return loaded


def load_tuned(path: Path, precision: str) -> LoadedModel:
    """Load a tuned model from a run folder or from `fine_tuned_model/`.

    Raises:
        UserError: the folder holds no finished model.
    """
    require_weights(path)
    return _load(ModelSource(path.name, path, "tuned", "result of a run"), precision, Model())


def base_kind(source: ModelSource, settings: Model) -> str:
    """Return the row of heads.HEADS that a stored model belongs to, "" if it is not here."""
    from transformers import AutoConfig

    if not source.path.joinpath("config.json").is_file():
        return ""
    trusted = {"local_files_only": True, "trust_remote_code": settings.trust_remote_code}
    return stored_kind(AutoConfig.from_pretrained(source.path, **trusted))


def load_tokenizer(source: ModelSource, settings: Model, converses: bool = True) -> Any:
    """Load a tokenizer with a padding token; with `converses` it gets a chat template as well.

    Models that read plain text need none, and many encoders have no end-of-text token.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(
        source.path, local_files_only=True, trust_remote_code=settings.trust_remote_code
    )
    if converses:
        return complete_tokenizer(tokenizer)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token  # a causal model that scores whole texts
    return tokenizer


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
    settings: Model,
    quantised: bool = False,
    device: str | None = None,
    head: Head | None = None,
    options: dict[str, Any] | None = None,
) -> LoadedModel:
    import transformers
    from transformers.utils import logging

    if not sys.stderr.isatty():
        logging.disable_progress_bar()  # a log file has no use for it
    trusted = {"local_files_only": True, "trust_remote_code": settings.trust_remote_code}
    known = transformers.AutoConfig.from_pretrained(source.path, **trusted)
    head = head or HEADS[stored_kind(known)]
    loader = getattr(transformers, head.auto_class)
    _require_head(known, head, loader)
    values: dict[str, Any] = {"dtype": torch_dtype(precision), **trusted, **(options or {})}
    other = _has_other_labels(known, head, values)
    values |= {"output_loading_info": True, "ignore_mismatched_sizes": other}
    device = device or detect_device().kind
    if quantised:
        # Placed while it is read: the plain weights are never on the device as a whole.
        plain = [] if head.generates else _outer_parts(loader, known)
        rounding = _rounding(settings.quantisation, precision, plain)
        values |= {"quantization_config": rounding, "device_map": {"": device}}
    with _quiet():
        model, found = loader.from_pretrained(source.path, **values)
    model = _one_layout(model) if quantised else model.to(device)
    missing = _new_head(model) if other else _modules(found["missing_keys"])
    model.fresh_modules = missing  # adapters are stored with them: no other file holds them
    tokenizer = load_tokenizer(source, settings, head.templated)
    if model.config.get_text_config().pad_token_id is None:
        # Heads that score a whole text look for its last token by it.
        model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    return LoadedModel(model.eval(), tokenizer, source, note=_head_note(missing, other))


def _require_head(config: Any, head: Head, loader: Any) -> None:
    """Refuse a base that cannot give out what the objective needs.

    Raises:
        UserError: transformers has no class for it, or an encoder is to write text.
    """
    own = getattr(config, "auto_map", None) or {}  # code that came with the model
    if head.auto_class not in own and type(config) not in loader._model_mapping:
        found = f"a {config.model_type} model, which transformers gives no such head"
    elif head.generates and stored_kind(config) == MASKED:
        found = "an encoder, which fills gaps and writes no text"
    else:
        return
    fix = "another model, or another objective"
    where = "model.model_name_or_path"
    raise UserError(Problem(where, found, f"a model that can give out: {head.doc}", fix))


def _has_other_labels(config: Any, head: Head, values: dict[str, Any]) -> bool:
    """Say whether the stored model has a head of this kind, for other labels or another order."""
    wanted = values.get("id2label")
    return wanted is not None and stored_kind(config) == head.name and config.id2label != wanted


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from listing weights that are new or unused; LoadedModel.note says it."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _new_head(model: Any) -> tuple[str, ...]:
    """Start everything beside the body anew and return the names of these modules."""
    body = model.base_model_prefix
    children = (name for name, part in model.named_children() if [*part.parameters()])
    names = [name for name in children if name != body]
    for name in names:
        for module in model.get_submodule(name).modules():
            for one in (module, *module.parameters(recurse=False)):
                one._is_hf_initialized = False  # the mark that transformers sets on what it read
            model._init_weights(module)
    return tuple(names)


def _modules(keys: Iterable[str]) -> tuple[str, ...]:
    """Return the modules that parameters belong to, without those that lie in one of them."""
    names = sorted({key.rpartition(".")[0] for key in keys})
    return tuple(n for n in names if not any(n.startswith(f"{other}.") for other in names))


def _head_note(missing: Sequence[str], other: bool) -> str:
    if not missing:
        return ""
    why = "the stored head is for other labels" if other else "not in the stored model"
    return f"starts at random: {', '.join(missing)} ({why})"


def _outer_parts(loader: Any, config: Any) -> list[str]:
    """Return the parts around the body, which are small, and may not be stored yet."""
    import torch

    with torch.device("meta"):
        return [*outer_parts(loader.from_config(config))]


def _rounding(kind: str, precision: str, plain: Sequence[str]) -> Any:
    """Return how a base is rounded while it is read.

    nf4: with double quantisation (QLoRA, arXiv 2305.14314, sections 3.1 and 3.2). int8: each row
    by its largest weight, inputs above 6 in full precision (LLM.int8, arXiv 2208.07339).
    `plain` names parts that are not rounded; none: only the layer that writes tokens is not.
    """
    from transformers import BitsAndBytesConfig

    if kind == "int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=[*plain] or None)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        llm_int8_skip_modules=[*plain] or None,  # it holds for 4 bit as well
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
