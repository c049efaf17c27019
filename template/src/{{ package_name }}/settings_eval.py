"""Settings of the comparison of the tuned model with its base."""

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, field_validator

from .settings_base import Positive, Section


class Judge(Section):
    """A model behind an OpenAI-compatible address; the key is in FINETUNE_JUDGE_API_KEY."""

    base_url: Annotated[str, Field(min_length=1)]
    """Base address, such as https://host/v1 (plain http to this machine only)."""
    model: Annotated[str, Field(min_length=1)]
    """Name of the model there."""
    workers: Annotated[int, Field(ge=1, le=32)] = 4
    """Requests at a time."""


class KShot(Section):
    """The base model with solved items of the same set before the question."""

    kind: Literal["k_shot"]
    """What is compared with."""
    k: Annotated[int, Field(ge=1, le=16)] = 3
    """Solved items."""


class Passage(Section):
    """The base model with the nearest passage of the training data before the question."""

    kind: Literal["passage"]
    """What is compared with."""


class OtherModel(Section):
    """Another model, asked as base and tuned are."""

    kind: Literal["model"]
    """What is compared with."""
    path: Annotated[str, Field(min_length=1)]
    """Folder of the model."""


class EndpointModel(Section):
    """A model behind an OpenAI-compatible address; the key is in FINETUNE_API_KEY."""

    kind: Literal["endpoint"]
    """What is compared with."""
    base_url: str
    """Base address, such as https://host/v1 (plain http to this machine only)."""
    model: str
    """Name of the model there."""


Baseline = Annotated[KShot | Passage | OtherModel | EndpointModel, Field(discriminator="kind")]


class Eval(Section):
    """The comparison of the tuned model with its base."""

    sets: Literal["all"] | Annotated[list[str], Field(min_length=1)] = "all"
    """Ids of evaluation sets, or all that the packs bring."""
    benchmarks: list[str | dict[str, str | list[str]]] = []
    """Public benchmarks (docs/evaluation.md): ids, or {id: .., path: FILE} for a local file."""
    max_items: Positive | None = None
    """Items taken from each set; null: all."""
    batch_size: Positive = 16
    """Items scored at a time; changes speed and memory, not scores."""
    max_new_tokens: Positive = 24
    """Longest generated answer in tokens."""
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """Level of the intervals."""
    baselines: list[Baseline] = []
    """Further models to compare with (docs/evaluation.md): k_shot, passage, model, endpoint."""
    held_out_tokens: Annotated[int, Field(ge=0)] = 8192
    """Tokens of the test split that perplexity is measured on; 0: it is not measured."""
    gates: dict[str, float] = {}
    """Gate -> threshold that replaces the one of the pack; a missed gate exits with 3."""
    judge: Judge | None = None
    """Model that grades rubrics (docs/evaluation.md); it is sent items and answers. null: none."""

    @field_validator("baselines", mode="wrap")
    @classmethod
    def _known_baselines(cls, value: Any, check: ValidatorFunctionWrapHandler) -> Any:
        try:  # a list of unlike blocks would otherwise be said to be no list
            return check(value)
        except ValidationError:
            allowed = "{kind: k_shot}, {kind: passage}, {kind: model, path}, {kind: endpoint, ..}"
            raise ValueError(f"a baseline that is not understood|a list of {allowed}") from None
