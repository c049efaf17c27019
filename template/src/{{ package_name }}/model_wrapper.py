"""How a model is loaded: class by its head, number format, quantisation, tokenizer."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .config import Config
from .devices import detect_device
from .errors import Problem, UserError
from .heads import HEADS, Head
from .model_access import CAUSAL, SEQ2SEQ, VISION, stored_kind
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


# The same for a content of parts, some of them images.
_PLAIN_CONTENT = (
    "[% for part in message.content %]"
    "[% if part.type == 'image' %]IMAGE[% else %][[ part.text ]][% endif %]"
    "[% endfor %][[ '' ]]"  # a line break right behind a block would be lost
)


def parts_template(image_token: str) -> str:
    """Return the plain template for contents of parts; an image becomes the token."""
    content = _PLAIN_CONTENT.replace("IMAGE", image_token)
    whole = _PLAIN_TEMPLATE.replace("[[ message.content ]]", content)
    return whole.replace("[", "{").replace("]", "}")


@dataclass(slots=True)
class LoadedModel:
    """A model in evaluation mode, its tokenizer, where they came from, names of its classes.

    A model that reads images has a processor, which holds the same tokenizer.
    """

    model: Any
    tokenizer: Any
    source: ModelSource
    labels: tuple[str, ...] = ()
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
        quantised: hold the weights of linear layers in 4 bit (0.516 bytes each) and compute
            with them in `precision`; embeddings, head and norms stay in `precision`.
        device: cuda, mps or cpu; None: the one that is present.
        head: what the model must give out; None: what its configuration says. A head that the
            weights lack starts at random.
        labels: names of the classes, for a head that has an output for each.
    """
    source = resolve_model(config)
    options: dict[str, Any] = {}
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


def load_tokenizer(source: ModelSource, settings: Model, converses: bool = True) -> Any:
    """Load a tokenizer; with `converses` it gets a padding token and a chat template.

    Models that read plain text keep theirs as it is: many encoders have no end-of-text token.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(
        source.path, local_files_only=True, trust_remote_code=settings.trust_remote_code
    )
    return complete_tokenizer(tokenizer) if converses else tokenizer


def load_processor(source: ModelSource, settings: Model, converses: bool = True) -> Any:
    """Load tokenizer and image processor of a model that reads images.

    Raises:
        UserError: the folder holds none, or it needs a library that is not installed.
    """
    from transformers import AutoProcessor

    try:
        processor = AutoProcessor.from_pretrained(
            source.path, local_files_only=True, trust_remote_code=settings.trust_remote_code
        )
    except (ImportError, OSError, ValueError) as error:
        found = f"its processor of images cannot be loaded ({type(error).__name__})"
        fix = "complete the model's folder; processors that also read videos need torchvision: "
        fix += "pip install torchvision"
        raise UserError(Problem("model.model_name_or_path", found, fix=fix)) from None
    if not hasattr(processor, "image_processor"):
        found = "its folder holds no processor of images (preprocessor_config.json)"
        raise UserError(Problem("model.model_name_or_path", found, fix="complete the folder"))
    if converses:
        template = processor.chat_template or processor.tokenizer.chat_template
        processor.tokenizer.chat_template = template or parts_template(processor.image_token)
        processor.chat_template = processor.tokenizer.chat_template
        complete_tokenizer(processor.tokenizer)
    return processor


def load_reader(source: ModelSource, settings: Model, head: Head, images: bool) -> Any:
    """Return what makes records into input, without the model: see LoadedModel.reader()."""
    from transformers import AutoConfig

    trusted = {"local_files_only": True, "trust_remote_code": settings.trust_remote_code}
    stored = stored_kind(AutoConfig.from_pretrained(source.path, **trusted))
    converses = head.generates and stored != SEQ2SEQ
    if images and fitting_head(head, stored).images:
        return load_processor(source, settings, converses)
    return load_tokenizer(source, settings, converses)


def fitting_head(head: Head, stored: str) -> Head:
    """Return the head that a model is loaded with: language models may read images as well."""
    return HEADS[VISION] if (head.name, stored) == (CAUSAL, VISION) else head


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
    stored = stored_kind(transformers.AutoConfig.from_pretrained(source.path, **trusted))
    head = fitting_head(head or HEADS[stored], stored)
    loader = getattr(transformers, head.auto_class)
    values: dict[str, Any] = {"dtype": torch_dtype(precision), **trusted, **(options or {})}
    device = device or detect_device().kind
    if quantised:
        # Placed while it is read: the plain weights are never on the device as a whole.
        four_bit = _four_bit(precision)
        values |= {"quantization_config": four_bit, "device_map": {"": device}}
        model: Any = _one_layout(loader.from_pretrained(source.path, **values))
    else:
        model = loader.from_pretrained(source.path, **values).to(device)
    converses = head.generates and stored != SEQ2SEQ
    processor = load_processor(source, settings, converses) if head.images else None
    tokenizer = processor.tokenizer if processor else load_tokenizer(source, settings, converses)
    if model.config.get_text_config().pad_token_id is None:
        # Heads that score a whole text look for its last token by it.
        model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    return LoadedModel(model.eval(), tokenizer, source, (), processor, head)


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
