"""Values outside of which a run rarely succeeds: a warning of `make check` and of training.

A value that the plan or the technique chose (`auto`) never warns.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .arguments import learning_rate, total_steps
from .config import Config
from .errors import UserError
from .hardware import Plan
from .objectives import OBJECTIVES
from .planning import training_size
from .techniques import TECHNIQUES
from .utils import markdown_table

NO_WARM_UP = ("constant",)  # schedules that ignore train.warmup_steps


@dataclass(frozen=True, slots=True)
class Usual:
    """The usual range of one setting.

    Attributes:
        setting: dotted name.
        low: smallest usual value.
        high: largest usual value.
        unit: of both.
        source: where the range is from.
        exempt: when nothing is said about a value outside.
        value: (config, plan) -> the value in this unit; None where there is nothing to judge.
    """

    setting: str
    low: float
    high: float
    unit: str
    source: str
    exempt: str
    value: Callable[[Config, Plan], float | None]

    def holds(self, value: float) -> bool:
        """Return whether a value lies in the range, both ends included."""
        return self.low <= value <= self.high


def _rate(config: Config, plan: Plan) -> float | None:
    """Return the rate that the user set, unless the automatic one lies outside as well."""
    asked = config.train.learning_rate
    if asked == "auto":
        return None
    settings = config.train.model_copy(update={"learning_rate": "auto"})
    try:
        own, _ = learning_rate(config.model_copy(update={"train": settings}), plan)
    except UserError:  # a model of unknown size: the plan says it
        return None
    return asked if RATE.holds(own) else None


def _batch(config: Config, plan: Plan) -> float | None:  # noqa: ARG001 - one signature
    asked = config.train.per_device_train_batch_size
    return None if asked == "auto" else asked


def _epochs(config: Config, plan: Plan) -> float | None:  # noqa: ARG001 - one signature
    return None if config.train.max_steps > 0 else config.train.num_train_epochs


def _warm_up(config: Config, plan: Plan) -> float | None:
    """Return the share of the run, which steps have only once the data are prepared."""
    asked = config.train.warmup_steps
    if config.train.lr_scheduler_type in NO_WARM_UP:
        return None
    if asked < 1:
        return asked
    rows, _ = training_size(config)
    return asked / total_steps(config, plan, rows) if rows else None


def _decay(config: Config, plan: Plan) -> float | None:  # noqa: ARG001 - one signature
    return config.train.weight_decay


# Hyperparameters as their papers print them: BERT (arXiv 1810.04805, appendix A.3), LoRA
# (2106.09685, appendix D), QLoRA (2305.14314, appendix B); Alpaca: the README of its code.
RATE = Usual(
    "train.learning_rate",
    1e-5,
    5e-4,
    "peak step size",
    "all weights 2e-5 to 5e-5 (BERT); adapters 1e-4 to 2e-4 (LoRA, QLoRA)",
    "techniques and objectives whose own automatic rate lies outside",
    _rate,
)
ROWS = (
    RATE,
    Usual(
        "train.per_device_train_batch_size",
        2,
        8,
        "examples on one device",
        "4 (Alpaca) to 8 (LoRA for GPT-2)",
        "auto, which the plan decides by memory",
        _batch,
    ),
    Usual(
        "train.num_train_epochs",
        1,
        5,
        "passes over the training split",
        "2 to 4 (BERT), 3 (Alpaca), 5 (LoRA for GPT-2)",
        "runs with train.max_steps",
        _epochs,
    ),
    Usual(
        "train.warmup_steps",
        0.03,
        0.1,
        "share of the run",
        "0.03 (Alpaca), 0.06 (LoRA for RoBERTa), 0.1 (the fine-tuning code of BERT)",
        "the schedule `constant`, which has none",
        _warm_up,
    ),
    Usual(
        "train.weight_decay",
        0.01,
        0.1,
        "per step and learning rate",
        "0.01 (BERT, LoRA for GPT-2), 0.1 (LoRA for GPT-3)",
        "none",
        _decay,
    ),
)


def unusual(config: Config, plan: Plan) -> Iterator[str]:
    """Yield a sentence for each value that the user set outside its usual range."""
    for row in ROWS:
        value = row.value(config, plan)
        if value is not None and not row.holds(value):
            yield (
                f"{row.setting} is {value:g} ({row.unit}); usual values are {row.low:g} to "
                f"{row.high:g}: {row.source}"
            )


def outside() -> tuple[list[str], list[str]]:
    """Return the techniques, and the objectives with their share, whose own rate is unusual."""
    techniques = [
        name
        for name, row in TECHNIQUES.items()
        if not (RATE.holds(row.learning_rate) and RATE.holds(row.small_learning_rate))
    ]
    objectives = [name for name, row in OBJECTIVES.items() if row.rate_share < 1]
    return techniques, objectives


def usual_ranges() -> str:
    """One line per setting with a usual range."""
    rows = []
    for row in ROWS:
        exempt = row.exempt
        if row is RATE:
            techniques, objectives = (", ".join(names) for names in outside())
            exempt += f" for the size of the model (of {techniques}; of {objectives})"
        rows.append(
            [f"`{row.setting}`", f"{row.low:g} to {row.high:g}", row.unit, row.source, exempt]
        )
    header = ["setting", "usual", "unit", "source", "no warning for"]
    return markdown_table(header, rows)
