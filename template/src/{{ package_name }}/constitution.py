"""Constitutional pairs: a model answers, criticises its answer under a principle, and revises it.

Bai et al. 2022 (arXiv 2212.08073), section 3.1: a principle is drawn for each prompt. The pair
prefers the revision to the first answer. That the revision is better is the model's own claim:
look at some pairs before training on them.
"""

import random
import tomllib
from collections.abc import Sequence
from pathlib import Path

from .config import Config
from .errors import Problem, UserError
from .generated_data import Made, Prompt, Recipe
from .packs import GENERAL, load_packs
from .records import Message
from .utils import sha256_json
from .writers import Conversation, Writer

PRINCIPLES = Path(__file__).with_name("principles.toml")
CRITIQUE = """\
Read your last answer again under this principle: %s
Say in one to three sentences where the answer breaks the principle or falls short of it. Do not \
write a new answer yet."""
REVISION = """\
Write the answer again so that it keeps the principle and mends what you found. Keep what was \
right. Reply with the new answer only, without a word about the change."""


def read_principles(config: Config, path: Path | None = None) -> list[str]:
    """Return the principles of a run.

    Args:
        config: names the packs, whose files `principles.yaml` count beside the general principles.
        path: a text file of one's own with one principle a line (# opens a comment), or None.

    Raises:
        UserError: the file cannot be used.
    """
    if path is None:
        general = tomllib.loads(PRINCIPLES.read_text(encoding="utf-8"))[GENERAL]["principles"]
        return [*general, *(text for pack in load_packs(config) for text in pack.principles)]
    fix = "a text file with one principle a line"
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").split("\n")]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(Problem("--principles", type(error).__name__, fix=fix)) from None
    if found := [line for line in lines if line and not line.startswith("#")]:
        return found
    raise UserError(Problem("--principles", "the file holds no principle", fix=fix))


def preferences(writer: Writer, principles: Sequence[str], seed: int) -> Recipe:
    """Return the recipe of constitutional pairs.

    Args:
        writer: answers, criticises and revises.
        principles: one is drawn for each prompt.
        seed: of the draw; a prompt keeps its principle whatever else is asked.
    """

    def drawn(prompt: Prompt) -> str:
        return random.Random(f"{seed} {prompt.key}").choice(principles)

    def make(prompts: Sequence[Prompt], start: int) -> list[Made]:
        return _pairs(writer, [(prompt, drawn(prompt)) for prompt in prompts], start)

    hashed = sha256_json([*principles, CRITIQUE, REVISION])
    details = {"principles": len(principles), "principles_sha256": hashed}
    return Recipe("preferences", "preference", make, details)


def _pairs(writer: Writer, tasks: Sequence[tuple[Prompt, str]], seed: int) -> list[Made]:
    """Go through the three steps with all prompts that are still usable."""
    faults: dict[int, str] = {}
    texts: list[list[str]] = [[] for _ in tasks]
    for step in ("first answer", "critique", "revision"):
        going = [place for place in range(len(tasks)) if place not in faults]
        asked = [_conversation(*tasks[place], texts[place]) for place in going]
        replies = writer.reply(asked, seed)
        for place, reply in zip(going, replies, strict=True):
            texts[place].append(reply.text)
            if reply.fault:
                faults[place] = f"{step}: {reply.fault}"
    made = []
    for place, (prompt, _) in enumerate(tasks):
        if place not in faults and _same(texts[place][0], texts[place][2]):
            faults[place] = "revision equals the first answer"
        made.append(Made(None, faults[place]) if place in faults else _row(prompt, texts[place]))
    return made


def _conversation(prompt: Prompt, principle: str, texts: Sequence[str]) -> Conversation:
    """Return what is asked after these texts: the prompt, its criticism, or its revision."""
    turns = [*prompt.asked]
    for text, request in zip(texts, (CRITIQUE % principle, REVISION), strict=False):
        turns += [Message("assistant", text), Message("user", request)]
    return turns


def _same(one: str, other: str) -> bool:
    return one.split() == other.split()


def _row(prompt: Prompt, texts: Sequence[str]) -> Made:
    first, _, revised = texts
    turns = [{"role": turn.role, "content": turn.content} for turn in prompt.turns]
    return Made({"prompt": turns, "chosen": revised, "rejected": first})
