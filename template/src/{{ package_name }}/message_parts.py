"""Content of a turn as a chat template takes it: a text, or a list of texts and images."""

from typing import Any

from .images import MARK
from .plain_tokens import shield


def words_of(reader: Any) -> Any:
    """Return the tokenizer of a processor, or the tokenizer itself."""
    return reader.tokenizer if hasattr(reader, "image_processor") else reader


def content(reader: Any, text: str) -> str | list[dict[str, str]]:
    """Return the content of a turn, in which no special token can be hidden (plain_tokens).

    For a processor each mark of an image becomes a part; line breaks around one are the
    template's. A tokenizer gets a text.

    Args:
        reader: tokenizer, or the processor of a model that reads images.
        text: of a turn.
    """
    words = words_of(reader)
    if words is reader:
        return shield(words, text)
    if MARK not in text:
        return [{"type": "text", "text": shield(words, text)}]
    parts: list[dict[str, str]] = []
    for place, piece in enumerate(text.split(MARK)):
        said = piece.strip("\n")
        parts += [{"type": "image"}] * (place > 0)
        parts += [{"type": "text", "text": shield(words, said)}] * bool(said)
    return parts
