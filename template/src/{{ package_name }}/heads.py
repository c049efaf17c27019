"""What a model gives out: one row per kind of head. Layer 0: no library is loaded.

An objective needs one of these heads; the head decides which class of transformers loads the
model, and how peft must call it.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Head:
    """One kind of model.

    Attributes:
        name: as objectives name it.
        auto_class: class of transformers that loads it.
        task_type: peft's name of the task; None where peft has none, which is enough for
            techniques that change layers and too little for those that learn prompts.
        labels: the head has an output for each label of the data.
        generates: it writes text, so that it can be asked questions.
        doc: what comes out.
        bases: kinds of published model that it can be put on, the usual one first; () its own.
        converses: it reads conversations, so that its tokenizer needs a chat template.
        last_token: its output is read at the last token of a text, which transformers looks for
            in the token ids.
        images: it reads images, for which a processor is loaded beside the tokenizer.
    """

    name: str
    auto_class: str
    task_type: str | None
    labels: bool
    generates: bool
    doc: str
    bases: tuple[str, ...] = ()
    converses: bool = False
    last_token: bool = False
    images: bool = False

    @property
    def templated(self) -> bool:
        """Its tokenizer writes conversations by a chat template; others read plain text."""
        return self.converses or (self.generates and self.task_type != "SEQ_2_SEQ_LM")


ROWS = (
    Head("causal_lm", "AutoModelForCausalLM", "CAUSAL_LM", False, True, "the next token"),
    Head("seq2seq", "AutoModelForSeq2SeqLM", "SEQ_2_SEQ_LM", False, True, "a text for a text"),
    Head("masked_lm", "AutoModelForMaskedLM", None, False, False, "tokens that were hidden"),
    Head(
        "classifier",
        "AutoModelForSequenceClassification",
        "SEQ_CLS",
        True,
        False,
        "a score for each label of a text",
        bases=("masked_lm", "causal_lm"),
    ),
    Head(
        "token_classifier",
        "AutoModelForTokenClassification",
        "TOKEN_CLS",
        True,
        False,
        "a score for each label of every word",
        bases=("masked_lm", "causal_lm"),
    ),
    Head(
        "reward",
        "AutoModelForSequenceClassification",
        "SEQ_CLS",
        False,
        False,
        "one score: how good an answer is",
        bases=("causal_lm",),
        converses=True,
        last_token=True,
    ),
    Head(
        "vision_lm",
        "AutoModelForImageTextToText",
        "CAUSAL_LM",
        False,
        True,
        "the next token, after text and images",
        images=True,
    ),
    Head(
        "contrastive",
        "AutoModelForZeroShotImageClassification",
        None,
        False,
        False,
        "a vector for an image, one for a text",
        images=True,
    ),
)
HEADS: dict[str, Head] = {row.name: row for row in ROWS}
