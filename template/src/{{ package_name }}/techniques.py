"""How weights are adapted: one row per technique. Libraries are imported when a row is used."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from .heads import Head
from .language_layers import language_layers
from .settings import Settings


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


def _full(model: Any, config: Settings, head: Head) -> Any:  # noqa: ARG001 - one signature
    model.requires_grad_(True)
    return model


def _lora(model: Any, config: Settings, head: Head, use_dora: bool = False) -> Any:
    from peft import LoraConfig, get_peft_model

    lora = LoraConfig(
        task_type=head.task_type,
        r=config.lora.lora_r,
        lora_alpha=config.lora.lora_alpha,
        lora_dropout=config.lora.lora_dropout,
        target_modules=language_layers(model, head, config.lora.lora_target_modules),
        use_rslora=config.lora.use_rslora,
        use_dora=use_dora,
    )
    return get_peft_model(model, lora)


def _dora(model: Any, config: Settings, head: Head) -> Any:
    return _lora(model, config, head, use_dora=True)


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
        apply=_lora,
        doc="Trains small low-rank matrices beside frozen weights: the default for most tasks.",
    ),
    Technique(
        name="dora",
        title="DoRA",
        trainable="adapter",
        # NVlabs/DoRA, llama3_8B_DoRA.sh: 1e-4 for Llama-3-8B. Small models: as for LoRA.
        learning_rate=1e-4,
        small_learning_rate=5e-4,
        apply=_dora,
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
        apply=_lora,
        doc="LoRA beside base weights in 4 bit: a quarter of their memory, slower steps; for "
        "models that do not fit otherwise.",
    ),
)
TECHNIQUES: dict[str, Technique] = {row.name: row for row in ROWS}
