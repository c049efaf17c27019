"""What makes records into the input of a model: its tokenizer, or its processor for images."""

from typing import Any

from .chat_templates import AUTO, OWN, Choice, choose_template, with_images
from .config import Config
from .errors import Problem, UserError
from .heads import HEADS, Head
from .message_parts import words_of
from .model_access import CAUSAL, VISION, stored_kind
from .model_source import ModelSource
from .settings import Model


def with_own_template(config: Config | None) -> Model:
    """Return the section `model` for a tuned model: its template is that of its training."""
    settings = config.model if config else Model()
    return settings.model_copy(update={"chat_template": OWN})


def model_settings(config: Config) -> Model:
    """Return the section `model`; a chat template that lies in the project by its full path."""
    wanted = config.model.chat_template
    path = config.path(wanted)
    return config.model.model_copy(update={"chat_template": str(path)} if path.is_file() else {})


def base_kind(source: ModelSource, settings: Model) -> str:
    """Return the row of heads.HEADS that a stored model belongs to, "" if it is not here."""
    from transformers import AutoConfig

    if not source.path.joinpath("config.json").is_file():
        return ""
    trusted = {"local_files_only": True, "trust_remote_code": settings.trust_remote_code}
    return stored_kind(AutoConfig.from_pretrained(source.path, **trusted))


def fitting_head(head: Head, stored: str) -> Head:
    """Return the head that a model is loaded with: language models may read images as well."""
    return HEADS[VISION] if (head.name, stored) == (CAUSAL, VISION) else head


def load_reader(
    source: ModelSource, settings: Model, head: Head, images: bool
) -> tuple[Any, Choice | None]:
    """Load the processor of a model where it reads images, else its tokenizer.

    Args:
        source: of the model.
        settings: section `model`.
        head: what the model must give out.
        images: there may be images.

    Returns:
        What was loaded, and which chat template was chosen.
    """
    if images and fitting_head(head, base_kind(source, settings)).images:
        return load_processor(source, settings, head.templated)
    return open_tokenizer(source, settings, head.templated)


def load_processor(
    source: ModelSource, settings: Model, converses: bool = True
) -> tuple[Any, Choice | None]:
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
    words = words_of(processor)
    if words is processor:
        found = "its folder holds no processor of images (preprocessor_config.json)"
        raise UserError(Problem("model.model_name_or_path", found, fix="complete the folder"))
    words.chat_template = processor.chat_template or words.chat_template
    choice = _complete(words, source, settings, converses)
    if choice is not None:
        words.chat_template = with_images(words, choice.text, processor.image_token)
        processor.chat_template = words.chat_template
    return processor, choice


def load_tokenizer(source: ModelSource, settings: Model, converses: bool = True) -> Any:
    """Load a tokenizer as open_tokenizer() does, without the reasons."""
    return open_tokenizer(source, settings, converses)[0]


def open_tokenizer(
    source: ModelSource, settings: Model, converses: bool = True
) -> tuple[Any, Choice | None]:
    """Load a tokenizer with a padding token; with `converses` it gets a chat template as well.

    Models that read plain text need none, and many encoders have no end-of-text token.

    Returns:
        The tokenizer, and which template was chosen for it.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(
        source.path, local_files_only=True, trust_remote_code=settings.trust_remote_code
    )
    return tokenizer, _complete(tokenizer, source, settings, converses)


def _complete(
    tokenizer: Any, source: ModelSource, settings: Model, converses: bool
) -> Choice | None:
    if not converses:
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token  # a causal model that scores whole texts
        return None
    bare = settings.chat_template == OWN and not tokenizer.chat_template
    # A run saves its template. A folder that somebody names as a baseline may have none.
    wanted = AUTO if bare and source.origin == "tuned" else settings.chat_template
    return complete_tokenizer(tokenizer, wanted)


def complete_tokenizer(tokenizer: Any, template: str = "auto") -> Choice:
    """Add what training needs: a padding token and a chat template (saved with the model).

    Args:
        tokenizer: is changed.
        template: setting `model.chat_template`.

    Returns:
        The template that was chosen, and why.

    Raises:
        UserError: there is no end-of-text token, or the template does not fit.
    """
    if tokenizer.eos_token is None:
        fix = "choose a model whose tokenizer defines eos_token"
        raise UserError(Problem("tokenizer", "it has no end-of-text token", fix=fix))
    if tokenizer.pad_token is None:
        # Safe here: labels are written by us, so no real end token is masked as padding.
        tokenizer.pad_token = tokenizer.eos_token
    choice = choose_template(tokenizer, template)
    tokenizer.chat_template = choice.text
    return choice
