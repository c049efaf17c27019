"""What is learned: one row per objective. Layer 0: no library is loaded."""

from dataclasses import dataclass

from .errors import Problem, UserError
from .formats import FORMATS, Format

IGNORED = -100  # label of a token that carries no loss


@dataclass(frozen=True, slots=True)
class Objective:
    """One training objective.

    Attributes:
        name: value of the setting `objective`.
        title: name for people.
        reads: kinds of record it can train on.
        head: row of heads.HEADS, the kind of model it needs.
        planner_class: row of the memory planner that it counts as.
        module: `module:function`; the function returns its training.Training.
        options: row of arguments.OPTIONS, what only its trainer takes.
        doc: when to choose it, one sentence.
        needs_reference: a frozen copy of the base is held during training.
        assistant_only: conversations get the system prompt of the packs, and only answers carry
            loss; otherwise every token does.
        over_length: what `auto` does with a conversation that is too long, split or drop.
        best_metric: what `auto` picks the best checkpoint by; smaller is better for a loss.
        tests_itself: the test split is scored by the trainer before and after training, because
            evaluation sets of questions and answers do not fit the model.
        images: its records may hold images; where the model reads them, its processor makes the
            examples.
    """

    name: str
    title: str
    reads: frozenset[str]
    head: str
    planner_class: str
    module: str
    options: str
    doc: str
    needs_reference: bool = False
    assistant_only: bool = True
    over_length: str = "drop"
    best_metric: str = "eval_loss"
    tests_itself: bool = False
    images: bool = False


ROWS = (
    Objective(
        name="sft",
        title="Supervised fine-tuning",
        reads=frozenset({"messages"}),
        head="causal_lm",
        planner_class="causal_lm",
        module="language_training:conversations",
        options="sft",
        images=True,
        doc="Learns to answer as the assistant turns of the data do.",
    ),
    Objective(
        name="chat",
        title="Multi-turn chat",
        reads=frozenset({"messages"}),
        head="causal_lm",
        planner_class="causal_lm",
        module="language_training:conversations",
        options="sft",
        over_length="split",
        images=True,
        doc="As sft, for long conversations: those that are too long are cut into whole "
        "exchanges instead of being left out.",
    ),
    Objective(
        name="pretrain",
        title="Continued pre-training",
        reads=frozenset({"text", "messages"}),
        head="causal_lm",
        planner_class="causal_lm",
        module="language_training:documents",
        options="sft",
        assistant_only=False,
        over_length="split",
        doc="Learns the language of documents or conversations; every token carries loss. The "
        "model may answer prompts worse afterwards: mix in conversations (data.mixture).",
    ),
    Objective(
        name="contrastive",
        title="Contrastive learning of images and texts",
        reads=frozenset({"image_text"}),
        head="contrastive",
        planner_class="reward",
        module="contrastive:pairs",
        options="contrastive",
        assistant_only=False,
        tests_itself=True,
        images=True,
        doc="Moves an image and the text that fits it together, others apart (CLIP): for search "
        "and for classes that are named by a text.",
    ),
)
OBJECTIVES: dict[str, Objective] = {row.name: row for row in ROWS}


def check_combination(objective: str, row: Format) -> None:
    """Refuse a format whose records another objective reads, but not this one.

    Raises:
        UserError: names both kinds, the formats that fit and the objectives that read this
            one, derived from the tables.
    """
    reads = OBJECTIVES[objective].reads
    if row.kind in reads or unread_note(row.kind):
        return
    others = [name for name, other in OBJECTIVES.items() if row.kind in other.reads]
    fitting = [name for name, other in FORMATS.items() if other.kind in reads]
    found = (
        f"objective `{objective}` reads {' or '.join(sorted(reads))} records; "
        f"format `{row.name}` gives {row.kind}. Formats that fit: {', '.join(fitting)}. "
        f"Objectives that read {row.kind}: {', '.join(others)}."
    )
    raise UserError(Problem("data.format", found))


def unread_note(kind: str) -> str:
    """Return what to say about records that no objective trains on; "" where one does."""
    if any(kind in row.reads for row in ROWS):
        return ""
    return f"no objective of this version trains on {kind} records; they are for other tools"


def check_readable(objective: str, kind: str) -> None:
    """Refuse to train on prepared records that the objective does not read.

    Raises:
        UserError: names the kinds.
    """
    reads = OBJECTIVES[objective].reads
    if kind not in reads:
        found = f"{kind} records; objective `{objective}` reads {' or '.join(sorted(reads))}"
        fix = unread_note(kind) or "prepare data of a kind that the objective reads"
        raise UserError(Problem("prepared data", found, fix=fix))
