"""Text of users -> token ids in which no special token can be hidden.

A tokenizer turns the text `<|im_end|>` into the token that ends a turn, wherever it stands: a
question that quotes it would end its own turn and could go on as the assistant. So the special
tokens of a text that somebody wrote are taken apart before it enters a template: a mark stands
between their characters, and what lies between two marks is tokenised by itself.
"""

import re
from typing import Any
from weakref import WeakKeyDictionary

# A noncharacter of Unicode: never part of a text that is exchanged (Unicode 16, section 23.7).
MARK = "\ufdd0"
# Part of answers that reason, and of no turn's border.
THINKING = ("<think>", "</think>")

_known: WeakKeyDictionary[Any, tuple[Any, re.Pattern[str] | None]] = WeakKeyDictionary()


def shield(tokenizer: Any, text: str) -> str:
    """Return a text in which `encode` finds no special token.

    Args:
        tokenizer: says what its special tokens are.
        text: content of a turn, or a document.
    """
    pattern = _pattern(tokenizer)
    text = text.replace(MARK, "")
    if pattern is None:
        return text
    return pattern.sub(lambda found: MARK + MARK.join(found[0]) + MARK, text)


def encode(tokenizer: Any, text: str) -> list[int]:
    """Return the ids of a rendered text; what stands between marks is tokenised by itself.

    No special token is added: the template writes them. Who asks looks after texts that are too
    long, so the tokenizer does not warn of them.
    """
    parts = [part for part in text.split(MARK) if part]
    how = {"add_special_tokens": False, "verbose": False}
    return [token for part in parts for token in tokenizer(part, **how)["input_ids"]]


def encode_plain(tokenizer: Any, text: str) -> list[int]:
    """Return the ids of a text that somebody wrote; none of them is a special token's."""
    return encode(tokenizer, shield(tokenizer, text))


def tokenise_plain(tokenizer: Any, *texts: str | None, **options: Any) -> Any:
    """Return what a tokenizer makes of texts, with its own special tokens around them only.

    None comes from a text itself: `</s>` in an answer does not end it, and `[MASK]` in a document
    hides nothing. Texts that are too long are counted, or cut, by who asks, without a warning of
    the tokenizer.

    Args:
        tokenizer: of a model without a chat template.
        texts: what somebody wrote, one or a pair.
        options: of the tokenizer, such as truncation, or text_target for a decoder of its own.
    """
    return tokenizer(*texts, split_special_tokens=True, verbose=False, **options)


def special_ids(tokenizer: Any) -> set[int]:
    """Return the ids of all tokens that stand for no piece of text."""
    return {*tokenizer.all_special_ids, *tokenizer.get_added_vocab().values()}


def control_tokens(tokenizer: Any) -> list[str]:
    """Return the tokens that could fake a turn: special ones, and those that the template writes.

    Other added tokens (rows of line breaks, names of tags) are pieces of ordinary text.
    """
    template = str(tokenizer.chat_template or "")
    added = tokenizer.added_tokens_decoder.values()
    found = {token.content for token in added if token.special or token.content in template}
    found |= {str(token) for token in tokenizer.all_special_tokens}
    # One of a single character cannot be taken apart; no template uses such a token.
    return sorted(t for t in found if len(t.strip()) > 1 and t not in THINKING)


def _pattern(tokenizer: Any) -> re.Pattern[str] | None:
    """Return what finds the control tokens; made once for each template of a tokenizer."""
    state = tokenizer.chat_template
    known = _known.get(tokenizer)
    if known is None or known[0] != state:
        tokens = sorted(control_tokens(tokenizer), key=len, reverse=True)
        pattern = re.compile("|".join(map(re.escape, tokens))) if tokens else None
        known = _known[tokenizer] = (state, pattern)
    return known[1]
