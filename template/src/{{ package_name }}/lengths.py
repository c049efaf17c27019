"""Length of a record in tokens, and what becomes of one that is too long.

| policy | document | conversation | any other record |
|---|---|---|---|
| drop | left out | left out | left out |
| truncate | its end is cut off | later exchanges are cut off | left out |
| split | cut into parts at blanks | cut into parts of whole exchanges | left out |
| error | the run stops | the run stops | the run stops |

An exchange is a user turn with its answer. One that is too long by itself is never cut: half a
question or half an answer teaches something else than what was written. `auto` splits documents
and drops the others.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from .config import Config
from .data_loader import count_tokens, system_prompt
from .errors import Problem, UserError
from .heads import HEADS
from .image_tokens import expansion
from .manifest import image_folder
from .message_parts import words_of
from .model_readers import load_reader, model_settings
from .model_source import find_installed
from .objectives import OBJECTIVES
from .records import Message, Record, effective_policy

OVER_LENGTH = "over train.max_length"
CHARACTERS_PER_TOKEN = 4  # of English text, rule of thumb of the tokenizers' makers
SEPARATORS = ("\n\n", "\n", ". ", " ")
TOKENS, ESTIMATED = "tokens", "characters / 4"


class Lengths:
    """Measures records as training will see them, with chat template and system prompt.

    Attributes:
        unit: TOKENS, or ESTIMATED where the base model is not on this disk: then nothing is
            left out or cut, and the trainer applies its own limit.
        tokenizer: Name of the model whose tokenizer counts, or "".
    """

    def __init__(self, config: Config) -> None:
        source = find_installed(config)
        self._reader: Any = None
        self._tokenizer: Any = None
        self._folder = image_folder(config)
        self.unit, self.tokenizer = ESTIMATED, ""
        if source is not None:
            row = OBJECTIVES[config.objective]
            settings, head = model_settings(config), HEADS[row.head]
            self._reader, _ = load_reader(source, settings, head, row.images)
            self._tokenizer = words_of(self._reader)
            self.unit, self.tokenizer = TOKENS, source.name
        self._objective = OBJECTIVES[config.objective]
        self._prompt = system_prompt(config) if self._objective.assistant_only else ""
        self._limit = config.train.max_length
        self._policy = config.data.over_length

    def measure(self, record: Record) -> int:
        """Return the length of a record in tokens, or estimated from its characters."""
        if self._tokenizer is None:
            return -(-sum(map(len, record.texts())) // CHARACTERS_PER_TOKEN)
        count = count_tokens(self._reader, record, self._objective, self._prompt)
        if record.kind != "messages" or self._reader is self._tokenizer:
            return count
        files = [self._folder / name for name in record.images]
        return count + sum(len(expansion(self._reader, path)) - 1 for path in files)

    def fit(self, record: Record, place: str) -> tuple[list[Record], int]:
        """Return the records to train on instead of one, and its length before.

        No record: it is too long and is left out.

        Raises:
            UserError: the record is too long, and the policy is `error`.
        """
        length = self.measure(record)
        if length <= self._limit or self._tokenizer is None:
            return [record], length
        policy = effective_policy(self._policy, record.kind, self._objective.over_length)
        if policy == "error":
            found = f"a record of {length} tokens"
            fix = "shorten it, raise train.max_length, or choose another data.over_length"
            raise UserError(Problem(place, found, f"at most {self._limit} tokens", fix))
        # The parts of a conversation would not hold the images that belong to them.
        if policy == "drop" or record.kind not in ("text", "messages") or record.image_keys:
            return [], length
        parts = self._pieces(record) if record.kind == "text" else self._exchanges(record)
        return (parts if policy == "split" else parts[:1]), length

    def _pieces(self, record: Record) -> list[Record]:
        """Cut a document before words, each piece within the limit (one is for the end token)."""
        pieces, rest = [], record.text
        while rest:
            cut = self._cut(rest)
            if rest[:cut].strip():
                pieces.append(replace(record, text=rest[:cut].strip()))
            rest = rest[cut:]
        return pieces

    def _cut(self, text: str) -> int:
        """Return how many characters of a text fit, if possible up to the end of a word."""
        if getattr(self._tokenizer, "is_fast", False):
            # No token is longer than 100 characters often enough to tokenise more than this.
            window = text[: 100 * self._limit]
            coded = self._tokenizer(window, add_special_tokens=False, return_offsets_mapping=True)
            ends = [end for _, end in coded["offset_mapping"]]
            fitting = ends[self._limit - 2] if len(ends) > self._limit - 1 else len(window)
        else:
            fitting = self._limit  # a token is at least one character
        if fitting >= len(text):
            return len(text)
        blank = max(text.rfind(blank, 1, fitting) for blank in (" ", "\n", "\t"))
        return blank if blank > 0 else max(fitting, 1)

    def _exchanges(self, record: Record) -> list[Record]:
        """Pack whole exchanges into as few conversations as fit; none if one does not fit."""
        turns = list(record.messages)
        system = [turns.pop(0)] if turns[0].role == "system" else []
        parts: list[Record] = []
        held: list[Message] = []
        for exchange in _pairs(turns):
            longer = replace(record, messages=(*system, *held, *exchange))
            if held and self.measure(longer) > self._limit:
                parts.append(replace(record, messages=(*system, *held)))
                held = []
                longer = replace(record, messages=(*system, *exchange))
            if self.measure(longer) > self._limit:
                return parts if self._policy == "truncate" else []
            held += exchange
        return [*parts, replace(record, messages=(*system, *held))]


def _pairs(turns: Sequence[Message]) -> Iterator[list[Message]]:
    for start in range(0, len(turns), 2):
        yield [*turns[start : start + 2]]


def pieces_of(text: str, limit: int) -> list[str]:
    """Cut a long text between paragraphs, lines, sentences or words, in this order of liking.

    Args:
        text: of any length.
        limit: characters of a piece.

    Returns:
        Pieces that make up the text when they are joined.
    """
    pieces = []
    while len(text) > limit:
        ends = (text.rfind(mark, limit // 2, limit) + len(mark) for mark in SEPARATORS)
        cut = next((end for end in ends if end > limit // 2), limit)
        pieces.append(text[:cut])
        text = text[cut:]
    return [*pieces, text]


def policy_note(policy: str, over: int, limit: int, unit: str) -> str:
    """Return the policy that holds and its consequence, as one sentence."""
    if unit == ESTIMATED:
        return (
            f"{over} records are probably over {limit} tokens (estimated, the base model is not "
            "on this disk); the trainer leaves out what is really longer"
        )
    done = {
        "drop": "left out",
        "truncate": "cut to whole exchanges or words that fit",
        "split": "cut into several",
        "error": "an error",
    }[policy]
    return f"length policy {policy}: records over {limit} tokens are {done}; {over} were longer"
