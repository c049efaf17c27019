"""How weights are adapted: one row per technique. Libraries are imported when a row is used."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from .freezing import freeze, frozen_note
from .heads import Head
from .low_rank import dora, lora, places_note
from .model_parts import family_of, feed_forward_places, new_parts, targets
from .prompt_learning import p_tuning, prefix_tuning, prompt_tuning
from .settings import Settings


def _no_notes(model: Any, config: Settings) -> dict[str, str]:  # noqa: ARG001 - one signature
    return {}


@dataclass(frozen=True, slots=True)
class Technique:
    """One way to adapt a model.

    Attributes:
        name: value of the setting `technique`.
        title: name for people.
        trainable: `all` weights, `some` of them, or only those of an `adapter`.
        learning_rate: peak step size for `auto`, for models from 300M weights on.
        small_learning_rate: the same for smaller models.
        apply: (model, config, head of the objective) -> model with the right weights trainable.
        doc: when to choose it, one sentence.
        quantised: the base weights are held in 4 bit.
        low_rank: it reads the section `lora`.
        mergeable: the result can be folded into plain weights.
        prompts: it learns vectors before the input instead of changing layers.
        notes: (model after `apply`, config) -> what was decided on this model, by name.
    """

    name: str
    title: str
    trainable: Literal["all", "some", "adapter"]
    learning_rate: float
    small_learning_rate: float
    apply: Callable[[Any, Settings, Head], Any]
    doc: str
    quantised: bool = False
    low_rank: bool = True
    mergeable: bool = True
    prompts: bool = False
    notes: Callable[[Any, Settings], dict[str, str]] = _no_notes


def _full(model: Any, config: Settings, head: Head) -> Any:  # noqa: ARG001 - one signature
    model.requires_grad_(True)
    return model


def _ia3(model: Any, config: Settings, head: Head) -> Any:  # noqa: ARG001 - one signature
    """Scale keys, values and the inner state of feed-forward networks (arXiv 2205.05638)."""
    from peft import IA3Config, get_peft_model

    family = family_of(model)
    inner = family.feed_forward[-1:]
    ia3 = IA3Config(
        task_type=head.task_type,
        target_modules=targets(model, family.key, family.value, *inner),
        feedforward_modules=targets(model, *inner) if inner else [],
        modules_to_save=[*new_parts(model, head)] or None,
    )
    return get_peft_model(model, ia3)


def _adapter(model: Any, config: Settings, head: Head) -> Any:
    """Put a small network behind the feed-forward network of each block."""
    from peft import get_peft_model

    from .bottleneck import BottleneckConfig, register

    register()
    expression, width = feed_forward_places(model)
    given = BottleneckConfig(
        task_type=head.task_type,
        target_modules=expression,
        hidden_size=width,
        reduction_factor=config.bottleneck.reduction_factor,
        non_linearity=config.bottleneck.non_linearity,
        modules_to_save=[*new_parts(model, head)] or None,
    )
    return get_peft_model(model, given)


ROWS = (
    Technique(
        name="full",
        title="Full fine-tuning",
        trainable="all",
        low_rank=False,
        # alignment-handbook: 2e-5 for zephyr-7b; 1e-3 for SmolLM2-135M on 460,000 dialogues,
        # a tenth of it for the small data sets that are usual here
        learning_rate=2e-5,
        small_learning_rate=1e-4,
        apply=_full,
        doc="Trains every weight: most capacity, most memory, easiest to over-train.",
    ),
    Technique(
        name="lora",
        title="LoRA",
        trainable="adapter",
        # alignment-handbook: 2e-4 for zephyr-7b with LoRA. Measured on the financial sample,
        # SmolLM2-135M, fin_sentiment after 3 epochs: 0.53 with 2e-4, 0.70 with 5e-4.
        learning_rate=2e-4,
        small_learning_rate=5e-4,
        apply=lora,
        notes=places_note,
        doc="Trains small low-rank matrices beside frozen weights: the default for most tasks.",
    ),
    Technique(
        name="dora",
        title="DoRA",
        trainable="adapter",
        # NVlabs/DoRA, llama3_8B_DoRA.sh: 1e-4 for Llama-3-8B. Small models: as for LoRA.
        learning_rate=1e-4,
        small_learning_rate=5e-4,
        apply=dora,
        notes=places_note,
        doc="LoRA that trains length and direction of the weights apart: slower and larger than "
        "LoRA, sometimes better at low ranks; never taken by `auto`.",
    ),
    Technique(
        name="qlora",
        title="QLoRA",
        trainable="adapter",
        quantised=True,
        # QLoRA paper (arXiv 2305.14314), hyperparameters of the appendix: 2e-4 for 7B and 13B,
        # 1e-4 for 33B and 65B. Small models: as for LoRA.
        learning_rate=2e-4,
        small_learning_rate=5e-4,
        apply=lora,
        notes=places_note,
        doc="LoRA beside base weights in 4 bit: a quarter of their memory, slower steps; for "
        "models that do not fit otherwise.",
    ),
    Technique(
        name="freeze",
        title="Partial fine-tuning",
        trainable="some",
        low_rank=False,
        # As for full training: the same weights change by the same steps, only fewer of them.
        learning_rate=2e-5,
        small_learning_rate=1e-4,
        apply=freeze,
        notes=frozen_note,
        doc="Trains the upper blocks and keeps the lower ones: less memory than full training.",
    ),
    Technique(
        name="adapter",
        title="Bottleneck adapters",
        trainable="adapter",
        low_rank=False,
        mergeable=False,
        # Houlsby et al., arXiv 1902.00751, section 3: best of 3e-5, 3e-4, 3e-3 by task;
        # Pfeiffer et al., arXiv 2005.00247: 1e-4
        learning_rate=1e-4,
        small_learning_rate=3e-4,
        apply=_adapter,
        doc="Trains a small network behind each block: non-linear, so it stays a part of its own.",
    ),
    Technique(
        name="prompt_tuning",
        title="Prompt tuning",
        trainable="adapter",
        low_rank=False,
        mergeable=False,
        prompts=True,
        # peft, guide to prompt tuning of bloomz-560m: 3e-2 (Lester et al., arXiv 2104.08691,
        # took 0.3 with Adafactor)
        learning_rate=3e-2,
        small_learning_rate=3e-2,
        apply=prompt_tuning,
        doc="Learns the embeddings of a few tokens before the input: a file of kilobytes.",
    ),
    Technique(
        name="prefix_tuning",
        title="Prefix tuning",
        trainable="adapter",
        low_rank=False,
        mergeable=False,
        prompts=True,
        # peft, guide to prefix tuning of t5-large: 1e-2
        learning_rate=1e-2,
        small_learning_rate=1e-2,
        apply=prefix_tuning,
        doc="Learns keys and values that every layer reads before the input.",
    ),
    Technique(
        name="p_tuning",
        title="P-tuning",
        trainable="adapter",
        low_rank=False,
        mergeable=False,
        prompts=True,
        # peft, guide to p-tuning of roberta-large: 1e-3
        learning_rate=1e-3,
        small_learning_rate=1e-3,
        apply=p_tuning,
        doc="Prompt tuning through a small network, which is dropped after training.",
    ),
    Technique(
        name="ia3",
        title="IA3",
        trainable="adapter",
        low_rank=False,
        # Liu et al., arXiv 2205.05638, section 3: 3e-3
        learning_rate=3e-3,
        small_learning_rate=3e-3,
        apply=_ia3,
        doc="Learns factors of keys, values and inner states: the smallest adapter that merges.",
    ),
)
TECHNIQUES: dict[str, Technique] = {row.name: row for row in ROWS}
