"""Chat templates: which one a tokenizer gets, and the ones that are shipped.

The files of `chat_templates/` were written from the layouts that the makers document. Each marks
what an assistant turn learns, its end token included, by `generation` blocks: the mask that
transformers makes of them is the one of data_loader.label_conversation. Saved tokenizers get the
template without these marks, which other tools do not know.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from .errors import Problem, UserError
from .plain_tokens import special_ids

FOLDER = Path(__file__).parent / "chat_templates"
AUTO, OWN, PLAIN = "auto", "own", "plain"
SETTING = "model.chat_template"
# Stands before a template of a model that can think.
NO_THINKING = (FOLDER / "no_thinking.j2").read_text(encoding="utf-8").rstrip("\n")
# Stands before a template of texts, for a model that reads images: contents may be lists of parts.
PARTS = (FOLDER / "parts.j2").read_text(encoding="utf-8").rstrip("\n")
_MARKS = re.compile(
    r"^[ \t]*[{]%-?\s*(?:end)?generation\s*-?%[}]\n|[{]%-?\s*(?:end)?generation\s*-?%[}]",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Shipped:
    """One file of `chat_templates/`.

    Attributes:
        name: value of the setting `model.chat_template`, and of the file.
        families: models that were made with this layout.
        end: what ends an assistant turn; "" for the tokenizer's eos_token.
        needs: tokens that its vocabulary must hold, the end token included.
        thinking: answers open with an empty thinking block, as the family does when it is told
            not to think; the block is part of the prompt and carries no loss.
    """

    name: str
    families: str
    end: str
    needs: tuple[str, ...] = ()
    thinking: bool = False


# The first row whose tokens a vocabulary holds is taken; `plain` fits every one.
ROWS = (
    Shipped("phi4", "Phi-4", "<|im_end|>", ("<|im_start|>", "<|im_sep|>", "<|im_end|>")),
    Shipped(
        "qwen3",
        "Qwen3",
        "<|im_end|>",
        ("<|im_start|>", "<|im_end|>", "<think>", "</think>"),
        thinking=True,
    ),
    Shipped("chatml", "SmolLM2, Qwen2.5", "<|im_end|>", ("<|im_start|>", "<|im_end|>")),
    Shipped(
        "llama3",
        "Llama 3",
        "<|eot_id|>",
        ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    ),
    Shipped("gemma", "Gemma", "<end_of_turn>", ("<start_of_turn>", "<end_of_turn>")),
    Shipped("phi3", "Phi-3", "<|end|>", ("<|user|>", "<|assistant|>", "<|system|>", "<|end|>")),
    Shipped("mistral", "Mistral 7B v0.3, Mixtral", "", ("[INST]", "[/INST]")),
    Shipped(PLAIN, "GPT-2, GPT-NeoX, StarCoder and other models without turns", ""),
)
SHIPPED: dict[str, Shipped] = {row.name: row for row in ROWS}

_QUESTION = {"role": "user", "content": "What is it?"}
_ANSWER = {"role": "assistant", "content": "It is one."}
ONE_EXCHANGE = (_QUESTION, _ANSWER)
TWO_EXCHANGES = (*ONE_EXCHANGE, _QUESTION, _ANSWER)


@dataclass(frozen=True, slots=True)
class Choice:
    """The template that a tokenizer gets, without marks, and why."""

    name: str
    reason: str
    text: str

    def as_dict(self) -> dict[str, str]:
        """Return what training_args.json says; the text lies beside the tokenizer."""
        return {"name": self.name, "reason": self.reason}


def template_text(name: str) -> str:
    """Return a shipped template with its `generation` blocks."""
    return (FOLDER / f"{name}.j2").read_text(encoding="utf-8")


def without_marks(text: str) -> str:
    """Return a template without its `generation` blocks; it renders the same text."""
    return _MARKS.sub("", text)


def choose_template(tokenizer: Any, wanted: str) -> Choice:
    """Return the template that a tokenizer is to have.

    Args:
        tokenizer: with an end-of-text token.
        wanted: setting `model.chat_template`: auto, own, a name of SHIPPED, or a file.

    Raises:
        UserError: no such template, or the tokenizer or our loss cannot work with it.
    """
    if wanted == AUTO:
        return _automatic(tokenizer)
    if wanted == OWN:
        own = own_template(tokenizer)
        if not own:
            raise UserError(Problem(SETTING, "the tokenizer has none of its own", fix="auto"))
        return Choice(OWN, "set by the user", own)
    if wanted in SHIPPED:
        if missing := missing_tokens(tokenizer, SHIPPED[wanted]):
            found = f"the vocabulary of this model lacks {', '.join(missing)}"
            raise UserError(Problem(SETTING, found, ", ".join(_fitting(tokenizer))))
        return Choice(wanted, "set by the user", without_marks(template_text(wanted)))
    return _from_file(tokenizer, Path(wanted))


def own_template(tokenizer: Any) -> str:
    """Return the template that a tokenizer brings; "" if it brings none.

    One that can think is told not to, once and for all: training and every tool that reads the
    saved template then ask in the same way.
    """
    own = tokenizer.chat_template
    own = own.get("default", "") if isinstance(own, dict) else own or ""
    if not own:
        return ""
    fixed = NO_THINKING + own
    try:
        plain, told = (
            render(tokenizer, [_QUESTION], True, own, **options)
            for options in ({}, {"enable_thinking": False})
        )
        if plain != told and render(tokenizer, [_QUESTION], True, fixed) == told:
            own = fixed
        bare = without_marks(own)
        same = render(tokenizer, TWO_EXCHANGES, False, bare) == render(
            tokenizer, TWO_EXCHANGES, False, own
        )
    except TemplateError:
        return own
    return bare if same else own


def render(
    tokenizer: Any,
    turns: Sequence[dict[str, Any]],
    add_generation_prompt: bool,
    template: str | None = None,
    **options: Any,
) -> str:
    """Return the text of a conversation; `template` None: the tokenizer's own.

    Contents are texts or lists of parts; where a template reads lists only, texts become lists.

    Raises:
        TemplateError: the template refuses the conversation.
    """
    if wants_parts(tokenizer, str(template or tokenizer.chat_template)):
        turns = [turn | {"content": _listed(turn["content"])} for turn in turns]
    text: str = tokenizer.apply_chat_template(
        list(turns),
        chat_template=template,
        tokenize=False,
        add_generation_prompt=add_generation_prompt,
        **options,
    )
    return text


@lru_cache(maxsize=64)
def wants_parts(tokenizer: Any, template: str) -> bool:
    """Say whether a template loses or refuses a content that is a text, but writes a list."""
    return not _writes(tokenizer, template, "probe") and writes_parts(tokenizer, template)


def writes_parts(tokenizer: Any, template: str) -> bool:
    """Say whether a template writes contents that are lists of parts."""
    return _writes(tokenizer, template, _listed("probe"))


def _writes(tokenizer: Any, template: str, content: str | list[dict[str, str]]) -> bool:
    turns = [{"role": "user", "content": content}]
    try:
        text = tokenizer.apply_chat_template(turns, chat_template=template, tokenize=False)
    except (TemplateError, TypeError):  # a list is added to a text
        return False
    return "probe" in text and "'probe'" not in text  # a list is not spelled out


def _listed(content: str | list[dict[str, str]]) -> list[dict[str, str]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def with_images(tokenizer: Any, template: str, image_token: str) -> str:
    """Return a template that writes lists of texts and images; an image is one token."""
    if writes_parts(tokenizer, template):
        return template
    named = f"%- set image_token = {image_token!r} %"  # in braces that no source may hold
    return "{" + named + "}\n" + PARTS + template


def fault(tokenizer: Any, template: str, turns: Sequence[dict[str, str]]) -> str:
    """Return why a template cannot be trained with; "" if it can.

    Args:
        tokenizer: whose special tokens end a turn.
        template: text of a template.
        turns: a conversation that it is tried on.
    """
    done = ""
    for place, turn in enumerate(turns):
        if turn["role"] != "assistant":
            continue
        try:
            before = render(tokenizer, turns[:place], True, template)
            after = render(tokenizer, turns[: place + 1], False, template)
        except TemplateError:
            return "it refuses user and assistant turns in this order"
        if not before.startswith(done) or not after.startswith(before):
            return "it writes earlier turns in another way when one is added"
        done = after.rstrip()
        last = tokenizer(done, add_special_tokens=False)["input_ids"][-1]
        if len(done) <= len(before) or last not in special_ids(tokenizer):
            return "no special token ends an answer"
    return ""


def missing_tokens(tokenizer: Any, row: Shipped) -> list[str]:
    """Return the tokens that a template writes and the vocabulary lacks."""
    vocabulary = tokenizer.get_vocab()
    return [token for token in row.needs if token not in vocabulary]


def end_token(tokenizer: Any) -> int | None:
    """Return the id that ends an answer under the tokenizer's template; None without one."""
    if not tokenizer.chat_template:
        return None
    try:
        text = render(tokenizer, ONE_EXCHANGE, False).rstrip()
    except TemplateError:
        return None
    last: int = tokenizer(text, add_special_tokens=False)["input_ids"][-1]
    return last if last in special_ids(tokenizer) else None


def _automatic(tokenizer: Any) -> Choice:
    own = own_template(tokenizer)
    wrong = fault(tokenizer, own, TWO_EXCHANGES) if own else "the tokenizer brings none"
    if not wrong:
        thinks = own.startswith(NO_THINKING)
        note = "the tokenizer's own" + (", told not to think" if thinks else "")
        return Choice(OWN, note, own)
    found = f"the tokenizer's own was not taken: {wrong}" if own else wrong
    for row in ROWS:
        if row.needs and not missing_tokens(tokenizer, row):
            reason = f"{found}; its vocabulary has the turns of {row.families}"
            return Choice(row.name, reason, without_marks(template_text(row.name)))
    if own and not fault(tokenizer, own, ONE_EXCHANGE):
        return Choice(OWN, f"the tokenizer's own, for single exchanges only: {wrong}", own)
    reason = f"{found}; its vocabulary has the turns of no template that is shipped"
    return Choice(PLAIN, reason, without_marks(template_text(PLAIN)))


def _from_file(tokenizer: Any, path: Path) -> Choice:
    if not path.is_file():
        allowed = ", ".join((AUTO, OWN, *SHIPPED, "or a file"))
        raise UserError(Problem(SETTING, "no such template or file", allowed))
    text = without_marks(path.read_text(encoding="utf-8"))
    if wrong := fault(tokenizer, text, ONE_EXCHANGE):
        raise UserError(Problem(SETTING, f"it cannot be trained with: {wrong}", fix="auto"))
    return Choice(path.name, "a file of the user", text)


def _fitting(tokenizer: Any) -> list[str]:
    return [AUTO, *(row.name for row in ROWS if not missing_tokens(tokenizer, row))]
