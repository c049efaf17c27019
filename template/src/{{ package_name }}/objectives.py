"""What is learned: one row per objective. Libraries are imported when a row is used."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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
        head: kind of model it needs.
        planner_class: row of the memory planner that it counts as.
        needs_reference: a frozen copy of the base is held during training.
        assistant_only: only assistant turns carry loss; otherwise every token does.
        trainer_classes: () -> (trainer class, its arguments class).
        doc: when to choose it, one sentence.
    """

    name: str
    title: str
    reads: frozenset[str]
    head: str
    planner_class: str
    needs_reference: bool
    assistant_only: bool
    trainer_classes: Callable[[], tuple[Any, Any]]
    doc: str


def _sft_classes() -> tuple[Any, Any]:
    from trl import SFTConfig, SFTTrainer

    class LanguageModelTrainer(SFTTrainer):
        """TRL's trainer with a loss that is faster where its logits need not be kept small."""

        whole_loss = False  # set from the plan

        def compute_loss(
            self,
            model: Any,
            inputs: dict[str, Any],
            return_outputs: bool = False,
            num_items_in_batch: Any = None,
        ) -> Any:
            # TRL's loss in tiles saves memory, and skips tokens without a label. It costs entropy
            # and accuracy over the whole vocabulary, which a CPU feels.
            options: Any = self.args
            plain = options.loss_type == "nll" and self.label_smoother is None
            alone = self.accelerator.num_processes == 1 and not self.aux_loss_enabled
            if self.whole_loss and plain and alone and not return_outputs:
                loss, accuracy = labelled_loss(model, inputs, num_items_in_batch)
                if not model.training:
                    # Under the name that TRL's own loss logs it with.
                    self._metrics["eval"]["mean_token_accuracy"].append(accuracy)
                return loss
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)

        def create_model_card(self, *args: Any, **kwargs: Any) -> None:
            """Write nothing: the model card comes from what was measured, at the end."""

    return LanguageModelTrainer, SFTConfig


def labelled_loss(
    model: Any, inputs: dict[str, Any], count: Any = None
) -> tuple[Any, float | None]:
    """Return the negative log-likelihood per labelled token, and the share of them got right.

    The share is that of labelled tokens which the model ranks first; None while it trains,
    because it costs a pass over the vocabulary.

    The vocabulary is scored only at positions where some row of the batch has a label.

    Args:
        model: causal language model that takes `logits_to_keep`.
        inputs: input_ids, attention_mask, labels, each of shape (batch, length).
        count: labelled tokens of the whole optimiser step; None: those of this batch.
    """
    from torch.nn.functional import cross_entropy

    labels = inputs["labels"][:, 1:]  # the token at position i is predicted at i - 1
    kept = (labels != IGNORED).any(dim=0).nonzero().flatten()
    logits = model(
        input_ids=inputs["input_ids"],
        attention_mask=inputs["attention_mask"],
        logits_to_keep=kept,
        use_cache=False,
    ).logits  # (batch, kept, vocabulary)
    targets = labels[:, kept].flatten()
    scores = logits.flatten(0, 1)  # (batch * kept, vocabulary)
    total = cross_entropy(scores.float(), targets, ignore_index=IGNORED, reduction="sum")
    labelled = (targets != IGNORED).sum().clamp(min=1)
    loss = total / (count if count is not None else labelled)
    if model.training:
        return loss, None
    return loss, ((scores.argmax(dim=-1) == targets).sum() / labelled).item()


ROWS = (
    Objective(
        name="sft",
        title="Supervised fine-tuning",
        reads=frozenset({"messages"}),
        head="causal_lm",
        planner_class="causal_lm",
        needs_reference=False,
        assistant_only=True,
        trainer_classes=_sft_classes,
        doc="Learns to answer as the assistant turns of the data do.",
    ),
    Objective(
        name="pretrain",
        title="Continued pre-training",
        reads=frozenset({"text", "messages"}),
        head="causal_lm",
        planner_class="causal_lm",
        needs_reference=False,
        assistant_only=False,
        trainer_classes=_sft_classes,
        doc="Learns the language of documents or conversations; every token carries loss.",
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
