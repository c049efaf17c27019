"""How weights are adapted: one row per technique. Libraries are imported when a row is used."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from .block_adapters import adapter, ia3
from .freezing import freeze, frozen_note
from .heads import Head
from .low_rank import dora, lora, places_note
from .prompt_learning import p_tuning, prefix_tuning, prompt_tuning
from .settings import Settings


class Guide(NamedTuple):
    """What to know before choosing a technique, each as one phrase; see docs/techniques.md."""

    when: str
    pros: str
    cons: str
    memory: str
    speed: str
    quality: str
    complexity: str


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
        quantised: the base weights are held in 4 or 8 bit (`model.quantisation`).
        low_rank: it reads the section `lora`.
        mergeable: the result can be folded into plain weights.
        prompts: it learns vectors before the input instead of changing layers.
        fills_cache: what it learns reaches the layers as keys and values of earlier tokens.
        guide: what to know before choosing it.
        notes: (model after `apply`, config) -> what was decided on this model, by name.
    """

    name: str
    title: str
    trainable: Literal["all", "some", "adapter"]
    learning_rate: float
    small_learning_rate: float
    apply: Callable[[Any, Settings, Head], Any]
    doc: str
    guide: Guide
    quantised: bool = False
    low_rank: bool = True
    mergeable: bool = True
    prompts: bool = False
    fills_cache: bool = False
    notes: Callable[[Any, Settings], dict[str, str]] = _no_notes


def _full(model: Any, config: Settings, head: Head) -> Any:  # noqa: ARG001 - one signature
    model.requires_grad_(True)
    return model


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
        guide=Guide(
            when="the data are many and memory is there; classification with a small encoder",
            pros="most capacity; plain weights, nothing to merge",
            cons="easiest to over-train and to forget; a whole model per task",
            memory="highest: weights, gradients and two states of each",
            speed="slowest step of a model, nothing extra at use",
            quality="best with much data",
            complexity="low: no settings of its own",
        ),
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
        guide=Guide(
            when="the default: instruction following, conversation, extraction",
            pros="small file; merges without a trace; several per base",
            cons="rank and places are choices; less capacity than full",
            memory="weights of the base, and little more",
            speed="a little slower than a forward and backward of the base",
            quality="near full on most tasks",
            complexity="low: a preset",
        ),
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
        guide=Guide(
            when="LoRA of low rank falls short",
            pros="often better than LoRA at ranks below 16",
            cons="slower and larger than LoRA",
            memory="LoRA, and the output of each adapted layer once more",
            speed="a fifth slower than LoRA",
            quality="LoRA or better",
            complexity="low: as LoRA",
        ),
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
        guide=Guide(
            when="the base does not fit in 16 bit",
            pros="a quarter (nf4) or half (int8) of the base's memory",
            cons="slower steps; rounding again after the merge costs quality",
            memory="lowest of those that reach LoRA's quality",
            speed="a fifth to a half slower than LoRA",
            quality="near LoRA",
            complexity="medium: bitsandbytes, and a merge in RAM",
        ),
        doc="LoRA beside base weights in 4 or 8 bit: a quarter or half of their memory, slower "
        "steps; for models that do not fit otherwise.",
    ),
    Technique(
        name="freeze",
        title="Upper layers",
        trainable="some",
        low_rank=False,
        # As for full training: the same weights change by the same steps, only fewer of them.
        learning_rate=2e-5,
        small_learning_rate=1e-4,
        apply=freeze,
        notes=frozen_note,
        guide=Guide(
            when="a task near what the base knows, with an encoder or a small model",
            pros="less memory than full; lower layers keep what they know",
            cons="a whole model per task; how much to freeze is a guess",
            memory="between LoRA and full, by the share that is trained",
            speed="faster than full: no gradients below",
            quality="near full where the upper half is enough",
            complexity="low: a number of blocks, or a pattern",
        ),
        doc="Trains the upper blocks and keeps the lower ones: less memory than full training.",
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
        guide=Guide(
            when="one base serves many tasks in one batch",
            pros="kilobytes a task; the base is untouched",
            cons="starts away from the base; needs large models; takes context",
            memory="lowest with few tokens",
            speed="as the base with a longer input; many steps",
            quality="below LoRA for models under some billion weights",
            complexity="medium: sensitive to start and learning rate",
        ),
        doc="Learns the embeddings of a few tokens before the input: a file of kilobytes.",
    ),
    Technique(
        name="prefix_tuning",
        title="Prefix tuning",
        trainable="adapter",
        low_rank=False,
        mergeable=False,
        prompts=True,
        fills_cache=True,
        # peft, guide to prefix tuning of t5-large: 1e-2
        learning_rate=1e-2,
        small_learning_rate=1e-2,
        apply=prefix_tuning,
        guide=Guide(
            when="generation with a frozen base, more capacity than prompt tuning",
            pros="kilobytes to megabytes a task; acts in every layer",
            cons="starts away from the base; no checkpointing; not every encoder",
            memory="low: keys and values of the prefix",
            speed="near the base",
            quality="between prompt tuning and LoRA",
            complexity="medium: sensitive to the learning rate",
        ),
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
        guide=Guide(
            when="understanding tasks with a frozen base",
            pros="steadier than prompt tuning",
            cons="as prompt tuning; the network is stored only as its result",
            memory="low: a small network while training",
            speed="as prompt tuning",
            quality="prompt tuning or better",
            complexity="medium: width of the network",
        ),
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
        apply=ia3,
        guide=Guide(
            when="very little data, very small files",
            pros="the smallest adapter that merges",
            cons="little capacity",
            memory="lowest of those that merge",
            speed="near the base",
            quality="below LoRA, good with few examples",
            complexity="low: nothing to set",
        ),
        doc="Learns factors of keys, values and inner states: the smallest adapter that merges.",
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
        apply=adapter,
        guide=Guide(
            when="many tasks on one base, each a part that is switched",
            pros="non-linear; stable over a wide range of learning rates",
            cons="cannot be merged, so each call pays for it",
            memory="as LoRA",
            speed="a few per cent slower, at use as well",
            quality="near LoRA",
            complexity="low: one size",
        ),
        doc="Trains a small network behind each block: non-linear, so it stays a part of its own.",
    ),
)
TECHNIQUES: dict[str, Technique] = {row.name: row for row in ROWS}
