"""Record: one training example, whatever file or format it came from."""

import json
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from typing import Any

ROLES = ("system", "user", "assistant")
KINDS = ("text", "messages", "preference", "unpaired", "labelled", "prompt", "image_text")


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation; `role` is one of ROLES."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Record:
    """One example. Which fields are filled depends on `kind`.

    Attributes:
        kind: One of KINDS; an objective says which kinds it reads.
        messages: The conversation; for `preference`, `unpaired` and `prompt` the turns before
            the answer.
        chosen: The preferred answer turns (`preference`), or those rated good (`unpaired`).
        rejected: The other answer turns (`preference`), or those rated bad (`unpaired`).
        text: Free text (`text`, `labelled`), or what is said of the image (`image_text`).
        tokens: The words of a text with one label each (`labelled`); `text` is empty then.
        labels: Class names (`labelled`): a closed vocabulary, not user text.
        reference: The verifiable answer (`prompt`).
        images: Paths relative to the folder of the raw data, in memory only: they may name whom
            an image shows. Images are not scrubbed.
        image_keys: For each image the keyed hash of its content, once the row was examined.
        group: What must stay in one split, as a keyed hash once the record is prepared.
        day: Days since 1970-01-01 for splits by time.
    """

    kind: str
    messages: tuple[Message, ...] = ()
    chosen: tuple[Message, ...] = ()
    rejected: tuple[Message, ...] = ()
    text: str = ""
    tokens: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    reference: str | None = None
    images: tuple[str, ...] = ()
    image_keys: tuple[str, ...] = ()
    group: str | None = None
    day: int | None = None

    def texts(self) -> tuple[str, ...]:
        """Return all user text in a fixed order: turns, chosen, rejected, text, reference.

        Tokens are one text, joined by blanks: an identifier may span several of them.
        """
        turns = (*self.messages, *self.chosen, *self.rejected)
        text = (self.text,) if self.text else ()
        tokens = (" ".join(self.tokens),) if self.tokens else ()
        reference = () if self.reference is None else (self.reference,)
        return (*(turn.content for turn in turns), *text, *tokens, *reference)

    def with_texts(self, texts: tuple[str, ...]) -> "Record":
        """Return a copy whose texts() are `texts`; the inverse of texts().

        The number of tokens stays, because each has a label: every token of a stretch that
        changed becomes the whole replacement.
        """
        assert len(texts) == len(self.texts()), "one text for each text of the record"
        rest = iter(texts)

        def refill(turns: tuple[Message, ...]) -> tuple[Message, ...]:
            return tuple(Message(turn.role, next(rest)) for turn in turns)

        # Keyword arguments are evaluated in the order written, which is that of texts().
        return replace(
            self,
            messages=refill(self.messages),
            chosen=refill(self.chosen),
            rejected=refill(self.rejected),
            text=next(rest) if self.text else "",
            tokens=_realigned(self.tokens, next(rest)) if self.tokens else (),
            reference=None if self.reference is None else next(rest),
        )

    def prompt(self) -> tuple[str, ...]:
        """Return what the model is asked: images, the turns before the first answer, or the text.

        The system turn is left out, because it is the same in most rows. The first answer
        is the limit, so that a conversation and its longer continuation have one prompt.
        """
        if self.kind in ("text", "labelled"):
            return (" ".join(self.tokens) or self.text,)
        asked = [*self.image_keys]
        for turn in self.messages:
            if turn.role == "assistant":
                break
            if turn.role != "system":
                asked.append(turn.content)
        return tuple(asked)

    def to_json(self) -> dict[str, Any]:
        """Return the row of a prepared JSONL file; fields that are not filled are left out."""
        row: dict[str, Any] = {"kind": self.kind}
        for name in ("messages", "chosen", "rejected"):
            if turns := getattr(self, name):
                row[name] = [{"role": turn.role, "content": turn.content} for turn in turns]
        if self.text:
            row["text"] = self.text
        for name in ("tokens", "labels", "image_keys"):
            if values := getattr(self, name):
                row[name] = list(values)
        for name in ("reference", "group", "day"):
            if (value := getattr(self, name)) is not None:
                row[name] = value
        return row

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> "Record":
        """Read a row that to_json() made; other keys of the row are ignored."""
        assert row["kind"] in KINDS, "a prepared row has a known kind"

        def turns(name: str) -> tuple[Message, ...]:
            return tuple(Message(turn["role"], turn["content"]) for turn in row.get(name, ()))

        return cls(
            kind=row["kind"],
            messages=turns("messages"),
            chosen=turns("chosen"),
            rejected=turns("rejected"),
            text=row.get("text", ""),
            tokens=tuple(row.get("tokens", ())),
            labels=tuple(row.get("labels", ())),
            reference=row.get("reference"),
            image_keys=tuple(row.get("image_keys", ())),
            group=row.get("group"),
            day=row.get("day"),
        )


def _realigned(tokens: tuple[str, ...], text: str) -> tuple[str, ...]:
    """Return `tokens` as they stand in their changed text.

    Both texts are compared word by word (split at blanks; a token may hold several words), so
    every word that is returned stands in the new text. Words that were added between two
    unchanged ones belong to no token and are left out.
    """
    if text == " ".join(tokens):
        return tokens
    owners = [i for i, token in enumerate(tokens) for _ in token.split(" ")]
    old, new = " ".join(tokens).split(" "), text.split(" ")
    parts: list[list[str]] = [[] for _ in tokens]
    for tag, start, end, left, right in SequenceMatcher(None, old, new, False).get_opcodes():
        if tag == "equal":
            for position in range(start, end):
                parts[owners[position]].append(old[position])
        else:
            for owner in dict.fromkeys(owners[start:end]):
                parts[owner].append(" ".join(new[left:right]))
    return tuple(" ".join(words) for words in parts)


def canonical(value: Any) -> str:
    """Return JSON with sorted keys, no blanks and ASCII only.

    ASCII, because half a surrogate pair in a raw row could not be encoded otherwise.
    Values that JSON does not know (dates of a parquet file) are written as text.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)


def effective_policy(over_length: str, kind: str, auto: str = "drop") -> str:
    """Return what happens to a record that is too long.

    Args:
        over_length: setting `data.over_length`.
        kind: kind of the record.
        auto: what the objective asks for where the setting is auto; documents are split then.
    """
    if over_length != "auto":
        return over_length
    return "split" if kind == "text" else auto
