"""Settings of the techniques and objectives; a section is read by the rows that name it."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo

from .lora_presets import PRESETS
from .settings_base import Auto, Fraction, Positive, Section


def _of_preset(value: Any, info: ValidationInfo) -> Any:
    """Return what the preset says where the file says `auto`."""
    if value != "auto":
        return value
    preset = PRESETS[info.data.get("preset", "default")]  # a wrong one is a problem of its own
    found = getattr(preset, str(info.field_name))
    return list(found) if isinstance(found, tuple) else found


_RANK = BeforeValidator(_of_preset, json_schema_input_type=Positive | Auto)
_Share = Annotated[float, Field(ge=0, lt=1)]
_DROPOUT = BeforeValidator(_of_preset, json_schema_input_type=_Share | Auto)
_PLACES = BeforeValidator(
    _of_preset, json_schema_input_type=Literal["auto", "all-linear"] | list[str]
)


class Lora(Section):
    """Size and place of the low-rank adapter; `auto` is what the preset says."""

    preset: Literal["default", "conservative", "balanced", "aggressive"] = "default"
    """Values that go together (docs/techniques.md); one that is written here wins."""
    lora_r: Annotated[Positive, _RANK] = Field(default="auto", validate_default=True)
    """Rank of the update; memory and capacity grow with it."""
    lora_alpha: Annotated[Positive, _RANK] = Field(default="auto", validate_default=True)
    """Scale of the update; the effect is lora_alpha / lora_r."""
    lora_dropout: Annotated[_Share, _DROPOUT] = Field(default="auto", validate_default=True)
    """Share of adapter inputs that are dropped during training."""
    lora_target_modules: Annotated[Literal["all-linear"] | list[str], _PLACES] = Field(
        default="auto", validate_default=True
    )
    """Layers with an adapter: all-linear, or roles (query, key, value, output) or module names."""
    use_rslora: bool = False
    """Scale by lora_alpha / sqrt(lora_r) instead, which keeps large ranks stable."""
    init_lora_weights: Literal["default", "pissa"] = "default"
    """Start: default (no change at first), or pissa (the main directions of the weights, exact)."""


class Freeze(Section):
    """Which weights stay as they are (technique freeze)."""

    layers: Annotated[int, Field(ge=0)] | Auto = "auto"
    """Lowest blocks that are frozen, with the embeddings; auto: half of them."""
    pattern: str = ""
    """Regular expression of parameter names that are frozen; empty: by `layers`."""


class Prompts(Section):
    """Learned vectors before the input (prompt_tuning, prefix_tuning, p_tuning)."""

    num_virtual_tokens: Annotated[int, Field(ge=1, le=512)] = 20
    """Vectors; each takes the place of a token in the context."""
    prompt_tuning_init_text: str = ""
    """Text whose embeddings prompt tuning starts from; empty: those of random tokens."""
    encoder_hidden_size: Positive | Auto = "auto"
    """Width of the network that makes the vectors of p_tuning; auto: that of the model."""


class Bottleneck(Section):
    """Small networks behind the blocks (technique adapter)."""

    reduction_factor: Annotated[float, Field(ge=1)] = 16
    """Width of the model / width of the adapter; larger is smaller."""
    non_linearity: Literal["relu", "gelu", "silu"] = "relu"
    """Activation between the two layers of an adapter."""


class Preference(Section):
    """Learning from judged answers (dpo, orpo, kto, reward)."""

    beta: Annotated[float, Field(gt=0)] = 0.1
    """How strongly the tuned model is held near its reference; higher is nearer."""
    loss_type: Literal["sigmoid", "hinge", "ipo", "robust"] = "sigmoid"
    """Form of the loss of dpo."""
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    """Share of pairs that are thought to be judged the wrong way round (dpo)."""
    desirable_weight: Annotated[float, Field(gt=0)] = 1.0
    """Weight of good answers (kto)."""
    undesirable_weight: Annotated[float, Field(gt=0)] = 1.0
    """Weight of bad answers (kto)."""


class Reinforcement(Section):
    """Learning from rewards for answers that the model writes itself (grpo, rloo)."""

    rewards: dict[str, float] = {"exact_match": 1.0}
    """Reward -> weight: a metric, a format rule (docs/techniques.md), or `reward_model`."""
    reward_model: str = ""
    """Folder of a model that objective `reward` trained."""
    format_pattern: str = ""
    """Regular expression that a whole answer must match, for the reward `format`."""
    num_generations: Annotated[int, Field(ge=2)] = 4
    """Answers that are written to each prompt and compared with each other."""
    max_completion_length: Positive = 64
    """Longest answer in tokens."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """Spread of the answers that are drawn."""
    beta: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the divergence from the base; 0: none, and no copy of the base is asked."""


class Distill(Section):
    """Learning from a larger model (objective distill)."""

    teacher: str = ""
    """Hub id or folder of the teacher; it has the tokenizer of the base."""
    alpha: Fraction = 0.5
    """Share of the teacher's logits in the loss; the rest is the data's own answers."""
    temperature: Annotated[float, Field(gt=0)] = 2.0
    """Softness at which both distributions are compared."""


# Names of these sections in the configuration: what plans and interrupted runs depend on.
METHODS = ("lora", "freeze", "prompts", "bottleneck", "preference", "reinforcement", "distill")
