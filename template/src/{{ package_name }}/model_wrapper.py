"""How a model is loaded: class by its head, number format, quantisation, tokenizer."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .adapters import Adapter, base_problem, read_adapter
from .chat_templates import Choice, end_token
from .config import Config
from .devices import detect_device
from .errors import Problem, UserError
from .heads import HEADS, Head
from .message_parts import words_of
from .model_access import CAUSAL, MASKED, stored_kind
from .model_parts import outer_parts
from .model_readers import (
    fitting_head,
    load_reader,
    model_settings,
    with_own_template,
)
from .model_source import ModelSource, holds_model, require_weights, resolve_model
from .objectives import OBJECTIVES
from .settings import Model
from .techniques import TECHNIQUES


@dataclass(slots=True)
class LoadedModel:
    """A model in evaluation mode, with all that belongs to it.

    Attributes:
        model: of the class that its head asks for.
        tokenizer: complete.
        source: where both came from.
        labels: names of the classes, in the order of the outputs.
        note: what became of the head; "" where the stored weights are used as they are.
        template: which chat template the tokenizer has; None where it has none.
        processor: of a model that reads images, with the same tokenizer; None for others.
        head: that the model was loaded with.
    """

    model: Any
    tokenizer: Any
    source: ModelSource
    labels: tuple[str, ...] = ()
    note: str = ""
    template: Choice | None = None
    processor: Any = None
    head: Head = HEADS[CAUSAL]

    def reader(self, images: bool) -> Any:
        """Return what makes records into input: the processor where there may be images."""
        return self.processor if images and self.processor else self.tokenizer


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
    loaded = _load(source, precision, model_settings(config), quantised, device, head, options)
    loaded.labels = tuple(labels)
    return loaded


def load_tuned(path: Path, precision: str, config: Config | None = None) -> LoadedModel:
    """Load a tuned model, whatever the folder holds: whole weights, or an adapter and no more.

    An adapter lies in the folder `adapter` of a run, or is all that the folder holds; its base
    is the one that its record names.

    Args:
        path: a run folder, `fine_tuned_model/`, or a folder that peft wrote.
        precision: number format of the weights, one of fp32, bf16, fp16.
        config: says where models may come from, and names the base of an adapter that another
            tool wrote; None: the defaults.

    Raises:
        UserError: the folder holds no finished model, or the base of its adapter is not here.
    """
    require_weights(path)
    if holds_model(path):
        source = ModelSource(path.name, path, "tuned", "result of a run")
        return _load(source, precision, with_own_template(config))
    adapter = read_adapter(path)
    config = config or Config()
    loaded = load_adapter_base(adapter, precision, config)
    loaded.model = with_adapter(loaded.model, adapter).eval()
    return with_own_tokenizer(loaded, path, config)


def load_adapter_base(
    adapter: Adapter, precision: str, config: Config, device: str | None = None
) -> LoadedModel:
    """Load the base that an adapter was trained beside, as it was held then.

    Raises:
        UserError: it is not here, or what is here is another model.
    """
    based = adapter_config(adapter, config)
    source = resolve_model(based)
    if problem := base_problem(adapter, source.name, source.path):
        raise UserError(problem)
    objective = adapter.record.get("objective")
    head = HEADS[OBJECTIVES[objective].head] if objective else None
    quantised = bool(adapter.technique) and TECHNIQUES[adapter.technique].quantised
    labels = adapter.record.get("labels", ())
    return load_base(based, precision, quantised, device, head, labels)


def adapter_config(adapter: Adapter, config: Config) -> Config:
    """Return the configuration with the base that an adapter was trained beside.

    An adapter that another tool wrote does not tell how its base can be found: there the
    configuration names it.
    """
    if not adapter.record:
        return config
    update: dict[str, Any] = {"model_name_or_path": adapter.base_name}
    if adapter.base_name != config.model.model_name_or_path:
        update["revision"] = None  # of another model; its weights are checked by their mark
    if quantisation := adapter.record.get("quantisation"):
        update["quantisation"] = quantisation
    return config.model_copy(update={"model": config.model.model_copy(update=update)})


def with_adapter(
    model: Any, adapter: Adapter, trainable: bool = False, name: str = "default"
) -> Any:
    """Return a model of peft: a base with an adapter from disk on it; the base is changed.

    Args:
        model: the base, plain, or with other adapters on it.
        adapter: of this base.
        trainable: its weights are to be trained further.
        name: of the adapter inside peft.
    """
    from peft import PeftModel

    if adapter.technique == "adapter":
        from .bottleneck import register

        register()
    if isinstance(model, PeftModel):
        model.load_adapter(adapter.folder, name, is_trainable=trainable)
        return model
    return PeftModel.from_pretrained(model, adapter.folder, name, is_trainable=trainable)


def with_own_tokenizer(loaded: LoadedModel, folder: Path, config: Config) -> LoadedModel:
    """Give a model the tokenizer of the run, where there is one, in place of that of its base.

    It is the one that was completed for training: with its template, and a padding token.
    """
    if (folder / "tokenizer_config.json").is_file():
        source = ModelSource(folder.name, folder, "tuned", "result of a run")
        settings, images = with_own_template(config), loaded.processor is not None
        reader, _ = load_reader(source, settings, loaded.head, images)
        loaded.tokenizer = words_of(reader)
        loaded.processor = reader if images else None
    return loaded


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
    stored = stored_kind(known)
    head = fitting_head(head or HEADS[stored], stored)
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
    reader, template = load_reader(source, settings, head, images=head.images)
    tokenizer = words_of(reader)
    if template is not None:
        _stop_at_turns(model, tokenizer)
    if model.config.get_text_config().pad_token_id is None:
        # Heads that score a whole text look for its last token by it.
        model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    note = _head_note(missing, other)
    processor = reader if reader is not tokenizer else None
    return LoadedModel(model.eval(), tokenizer, source, (), note, template, processor, head)


def _stop_at_turns(model: Any, tokenizer: Any) -> None:
    """Let generation stop where the template ends an answer; this is saved with the model.

    A base model stops at the end of a text only, and its tokenizer calls that eos_token.
    """
    end = end_token(tokenizer)
    settings = getattr(model, "generation_config", None)
    if end is None or settings is None:
        return
    declared = settings.eos_token_id
    known = declared if isinstance(declared, list) else [declared]
    if end not in known:
        settings.eos_token_id = [*(token for token in known if token is not None), end]


def _require_head(config: Any, head: Head, loader: Any) -> None:
    """Refuse a base that cannot give out what the objective needs.

    Raises:
        UserError: transformers has no class for it, or an encoder is to write text.
    """
    own = getattr(config, "auto_map", None) or {}  # code that came with the model
    if head.auto_class not in own and type(config) not in loader._model_mapping:
        found = f"a {config.model_type} model, for which transformers has no such head"
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
