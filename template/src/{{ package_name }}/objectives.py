"""What is learned: one row per objective. Layer 0: no library is loaded."""

from dataclasses import dataclass

from .errors import Problem, UserError
from .formats import FORMATS, Format, wanted

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
            evaluation sets of questions and answers do not fit the model, or say too little.
        rate_share: share of the technique's usual step size that `auto` takes.
        smallest_batch: examples that a forward pass needs at least.
        images: its records may hold images; where the model reads them, its processor makes the
            examples.
        counts_tokens: the loss of a step is divided by the learned tokens of the whole step, so
            that parts of it in several processes add up to the same.
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
    rate_share: float = 1.0
    smallest_batch: int = 1
    images: bool = False
    counts_tokens: bool = False


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
        counts_tokens=True,
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
        counts_tokens=True,
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
        counts_tokens=True,
        doc="Learns the language of documents or conversations; every token carries loss. The "
        "model may answer prompts worse afterwards: mix in conversations (data.mixture).",
    ),
    Objective(
        name="distill",
        title="Distillation",
        reads=frozenset({"messages"}),
        head="causal_lm",
        planner_class="distilled",
        module="distillation:answers",
        options="sft",
        doc="Learns the answers of the data and what a larger model of the same tokenizer expects "
        "at each of their tokens (distill.teacher, held frozen beside the model).",
    ),
    Objective(
        name="classify",
        title="Text classification",
        reads=frozenset({"labelled"}),
        head="classifier",
        planner_class="scores",
        module="classification:one_label",
        options="plain",
        assistant_only=False,
        tests_itself=True,
        doc="Chooses one label for a text: routing, triage, coding of documents.",
    ),
    Objective(
        name="multilabel",
        title="Multi-label classification",
        reads=frozenset({"labelled"}),
        head="classifier",
        planner_class="scores",
        module="classification:any_labels",
        options="plain",
        assistant_only=False,
        tests_itself=True,
        doc="Chooses any number of labels for a text, each by a yes or no of its own.",
    ),
    Objective(
        name="token_classify",
        title="Token classification",
        reads=frozenset({"labelled"}),
        head="token_classifier",
        planner_class="scores",
        module="classification:word_labels",
        options="plain",
        assistant_only=False,
        tests_itself=True,
        doc="Chooses a label for each word: names, codes, doses and other spans of a text.",
    ),
    Objective(
        name="seq2seq",
        title="Sequence to sequence",
        reads=frozenset({"messages"}),
        head="seq2seq",
        planner_class="causal_lm",
        module="seq2seq_training:answers",
        options="plain",
        tests_itself=True,
        doc="Learns to write the last answer of a conversation with an encoder-decoder such as "
        "T5, which reads the turns before it as plain text.",
    ),
    Objective(
        name="mlm",
        title="Masked-language pre-training",
        reads=frozenset({"text", "messages", "labelled"}),
        head="masked_lm",
        planner_class="masked_lm",
        module="masked_training:documents",
        options="plain",
        assistant_only=False,
        over_length="split",
        tests_itself=True,
        doc="Learns the language of documents with an encoder such as BERT, which fills in hidden "
        "tokens: a better start for classifiers of that field.",
    ),
    Objective(
        name="dpo",
        title="Direct preference optimisation",
        reads=frozenset({"preference"}),
        head="causal_lm",
        planner_class="preference",
        module="preference_training:dpo",
        options="dpo",
        needs_reference=True,
        tests_itself=True,
        # alignment-handbook, zephyr-7b: 5e-7 after 2e-5 (full), 5e-6 after 2e-4 (LoRA)
        rate_share=1 / 40,
        doc="Learns to prefer one answer to another without a reward model; after sft, on pairs.",
    ),
    Objective(
        name="orpo",
        title="Odds-ratio preference optimisation",
        reads=frozenset({"preference"}),
        head="causal_lm",
        planner_class="pairs",
        module="preference_training:orpo",
        options="orpo",
        tests_itself=True,
        # ORPO (arXiv 2403.07691), appendix: 5e-6 for Mistral-7B, of 2e-5 for fine-tuning
        rate_share=1 / 4,
        doc="Learns the better answer and moves away from the other one in a single stage: no "
        "reference, no sft before it.",
    ),
    Objective(
        name="kto",
        title="Kahneman-Tversky optimisation",
        reads=frozenset({"unpaired", "preference"}),
        head="causal_lm",
        planner_class="unpaired",
        module="preference_training:kto",
        options="kto",
        needs_reference=True,
        tests_itself=True,
        # Advice of trl's documentation for KTO: 5e-7 to 5e-6 for full training
        rate_share=1 / 10,
        smallest_batch=2,
        doc="Learns from single answers that people rated good or bad; pairs are not needed.",
    ),
    Objective(
        name="reward",
        title="Reward model",
        reads=frozenset({"preference"}),
        head="reward",
        planner_class="reward",
        module="preference_training:reward",
        options="reward",
        tests_itself=True,
        # trl's example of a reward model: 1e-5 (full) and 1e-4 (LoRA)
        rate_share=1 / 2,
        doc="Learns to score answers as the judges of the pairs did; grpo and rloo can learn "
        "from its scores.",
    ),
    Objective(
        name="grpo",
        title="Group-relative policy optimisation",
        reads=frozenset({"prompt"}),
        head="causal_lm",
        planner_class="rollouts",
        module="reinforcement:grpo",
        options="grpo",
        best_metric="eval_reward",
        tests_itself=True,
        doc="Writes several answers to each prompt and learns from those that earn more than the "
        "others: for answers that can be checked, or with a reward model.",
    ),
    Objective(
        name="rloo",
        title="REINFORCE leave-one-out",
        reads=frozenset({"prompt"}),
        head="causal_lm",
        planner_class="rollouts",
        module="reinforcement:rloo",
        options="rloo",
        best_metric="eval_reward",
        tests_itself=True,
        doc="As grpo, but an answer is compared with the mean of the others and its reward is not "
        "divided by their spread: steadier where rewards are close to each other.",
    ),
    Objective(
        name="contrastive",
        title="Contrastive learning of images and texts",
        reads=frozenset({"image_text"}),
        head="contrastive",
        planner_class="scores",
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
    if row.kind in reads:
        return
    others = [name for name, other in OBJECTIVES.items() if row.kind in other.reads]
    fitting = [name for name, other in FORMATS.items() if other.kind in reads]
    found = (
        f"objective `{objective}` reads {' or '.join(sorted(reads))} records; "
        f"format `{row.name}` gives {row.kind}. Formats that fit: {', '.join(fitting)}. "
        f"Objectives that read {row.kind}: {', '.join(others)}."
    )
    columns = wanted(FORMATS[fitting[0]])
    fix = f"name your own rows in data.raw, for example with {columns} (docs/data.md)"
    raise UserError(Problem("data.format", found, fix=fix))


def check_readable(objective: str, kind: str) -> None:
    """Refuse to train on prepared records that the objective does not read.

    Raises:
        UserError: names the kinds.
    """
    reads = OBJECTIVES[objective].reads
    if kind not in reads:
        found = f"{kind} records; objective `{objective}` reads {' or '.join(sorted(reads))}"
        fix = "prepare data of a kind that the objective reads"
        raise UserError(Problem("prepared data", found, fix=fix))
