"""What can be wrong with a run: one row each, with its rule, its meaning and what to change.

Rules are read while a run trains (watch.py) and when it was evaluated. A finding says its figures,
what they mean, and lines for `make train SET="..."`, computed from the settings of the run.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from . import curve_rules as rules
from .curve_rules import Evidence, Row
from .forgetting import NONE, SETTING, STRENGTH, fitting
from .mixture import REPLAY
from .objectives import OBJECTIVES
from .techniques import TECHNIQUES

KEPT_PASSES = 4  # over the same rows, about as good as new ones (arXiv 2305.16264)
GENTLE, GENTLEST = 5e-5, 1e-5  # learning rates that keep what the base knows
MOST_DROPOUT = 0.5
STRONG_DECAY = 0.1
WARM_UP = 0.1  # share of the run


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One thing that can be wrong.

    Attributes:
        name: as people call it.
        rule: (evidence) -> its figures as a sentence; "" where it does not hold.
        sign: what the rule looks at, for the documentation.
        meaning: what the figures say, one sentence.
        changes: (evidence) -> settings with the value to try, the first one first.
        settings: those that may be named, for the documentation.
        source: where the threshold comes from.
    """

    name: str
    rule: Callable[[Evidence], str]
    sign: str
    meaning: str
    changes: Callable[[Evidence], Iterator[str]]
    settings: str
    source: str


def _rate(value: float) -> str:
    return f"train.learning_rate={value:.2g}"


def _shorter(seen: Evidence, step: int, epoch: float) -> str:
    """Return the line that ends the run at a step, in the unit that it was given in."""
    if seen.argument("max_steps", -1) > 0:
        return f"train.max_steps={max(step, 1)}"
    return f"train.num_train_epochs={max(round(epoch, 1), 0.1):g}"


def _against_overfitting(seen: Evidence) -> Iterator[str]:
    best = seen.best
    yield _shorter(seen, best["step"], best.get("epoch") or 0.0)
    if TECHNIQUES[seen.record["technique"]].low_rank:
        dropout = seen.record["config"]["lora"]["lora_dropout"]
        if dropout < MOST_DROPOUT:
            yield f"lora.lora_dropout={min(max(2 * dropout, 0.1), MOST_DROPOUT):g}"
    elif seen.argument("weight_decay", 0.0) < STRONG_DECAY:
        yield f"train.weight_decay={STRONG_DECAY:g}"


def _against_underfitting(seen: Evidence) -> Iterator[str]:
    technique = TECHNIQUES[seen.record["technique"]]
    rate, usual = seen.argument("learning_rate"), technique.learning_rate
    if rate < 1:
        yield _rate(usual if rate < usual / 2 else min(2 * rate, 1.0))
    if technique.low_rank:
        lora = seen.record["config"]["lora"]
        # alpha as well, so that the scale of the update stays
        yield f"lora.lora_r={2 * lora['lora_r']} lora.lora_alpha={2 * lora['lora_alpha']}"
    if seen.argument("max_steps", -1) > 0:
        yield f"train.max_steps={2 * seen.argument('max_steps')}"
    else:
        yield f"train.num_train_epochs={2 * seen.argument('num_train_epochs'):g}"


def _against_instability(seen: Evidence) -> Iterator[str]:
    lost = rules.not_finite(seen) or rules.diverged(seen)
    yield _rate(seen.argument("learning_rate") / (10 if lost else 2))
    warm_up = seen.argument("warmup_steps", 0)
    if warm_up < WARM_UP:
        yield f"train.warmup_steps={WARM_UP:g}"
    if seen.argument("max_grad_norm", 1.0) > 1:
        yield "train.max_grad_norm=1"
    if seen.argument("fp16", False):
        yield "train.precision=bf16"


def _against_forgetting(seen: Evidence) -> Iterator[str]:
    config, rate = seen.record["config"], seen.argument("learning_rate")
    if rate > GENTLEST:
        yield _rate(GENTLE if rate > GENTLE else max(rate / 2, GENTLEST))
    held = config["train"].get("forgetting", NONE)
    if held != NONE:
        yield f"{STRENGTH}={10 * config['train']['forgetting_strength']:g}"
    for row in fitting(OBJECTIVES[seen.record["objective"]], TECHNIQUES[seen.record["technique"]]):
        in_use = config["data"].get("mixture") if row.change == REPLAY else held != NONE
        if not (in_use and row.change.startswith((REPLAY, f"{SETTING}="))):
            yield row.change


def _against_exhaustion(seen: Evidence) -> Iterator[str]:
    if seen.epoch > KEPT_PASSES and seen.argument("max_steps", -1) <= 0:
        yield f"train.num_train_epochs={KEPT_PASSES}"
    elif seen.epoch > KEPT_PASSES:
        share = KEPT_PASSES / seen.epoch
        yield f"train.max_steps={max(round(share * seen.step), 1)}"
    else:
        yield _shorter(seen, seen.step, seen.epoch)


ROWS = (
    Diagnosis(
        name="overfitting",
        rule=rules.overfitting,
        sign=f"validation loss {rules.RISE:.0%} over its lowest {rules.IN_A_ROW} times in a row, "
        f"training loss {rules.RISE:.0%} below what it was there",
        meaning="The model learns the training rows by heart. The best checkpoint is kept, the "
        "time after it is lost.",
        changes=_against_overfitting,
        settings="`train.num_train_epochs` (to the best step), `lora.lora_dropout` or "
        "`train.weight_decay`",
        source="Prechelt 1998, Early Stopping - But When?: GL_5 and UP_2",
    ),
    Diagnosis(
        name="underfitting",
        rule=rules.underfitting,
        sign=f"training and validation loss within {rules.FLAT:.0%} of their start after half of "
        f"the run, and above {rules.HIGH:g}",
        meaning="The model learns next to nothing: steps or adapter are too small, or the rows do "
        "not tell the answer.",
        changes=_against_underfitting,
        settings="`train.learning_rate`, `lora.lora_r`, `train.num_train_epochs`",
        source="own choice: a guess between two answers has a loss of 0.69",
    ),
    Diagnosis(
        name="instability",
        rule=rules.instability,
        sign=f"a loss or gradient norm that is no number, {rules.FEW} losses {rules.DIVERGED:g} "
        f"times the first, or one {rules.SPIKE:g} robust standard deviations over those before",
        meaning="Steps are too large for the weights that they start from; what was learned may "
        "be lost.",
        changes=_against_instability,
        settings="`train.learning_rate`, `train.warmup_steps`, `train.max_grad_norm`, "
        "`train.precision`",
        source="own choice; spread by the median absolute deviation (Hampel 1974), spikes as in "
        "Chowdhery et al. 2022, arXiv 2204.02311, section 5.1",
    ),
    Diagnosis(
        name="forgetting",
        rule=rules.forgetting,
        sign="guard sets worse than with the base: the whole interval of the difference",
        meaning="The tuned model lost what the base could do and nobody asked it to unlearn.",
        changes=_against_forgetting,
        settings=f"`train.learning_rate` ({GENTLEST:g} to {GENTLE:g}), and the table below",
        source="paired interval of the evaluation; learning rates of Devlin et al. 2019, "
        "arXiv 1810.04805, appendix A.3",
    ),
    Diagnosis(
        name="data exhausted",
        rule=rules.exhausted,
        sign=f"training loss below {rules.NEAR_ZERO:g}, or rows seen more than {rules.PASSES} "
        "times",
        meaning="The training rows have nothing left to teach: more time changes nothing, more "
        "rows do.",
        changes=_against_exhaustion,
        settings="`train.num_train_epochs`, more rows in `data.raw`",
        source="Muennighoff et al. 2023, arXiv 2305.16264: 4 passes are about as good as new "
        "rows, past 16 little is gained; the loss is an own choice",
    ),
)
DIAGNOSES: dict[str, Diagnosis] = {row.name: row for row in ROWS}


def finding(row: Diagnosis, seen: Evidence) -> Row | None:
    """Return what a diagnosis says now, as training_args.json keeps it; None: nothing."""
    figures = row.rule(seen)
    if not figures:
        return None
    changes = [*dict.fromkeys(row.changes(seen))]
    return {"name": row.name, "step": seen.step, "figures": figures, "changes": changes}


def findings(record: Row, results: Row | None) -> list[Row] | None:
    """Return what was found in a run: while it trained, and by its guard sets.

    Args:
        record: training_args.json.
        results: evaluation_results.json; None: not evaluated.

    Returns:
        None for a run that nobody watched, of an older version.
    """
    if "findings" not in record:
        return None
    row = DIAGNOSES["forgetting"]
    forgotten = finding(row, Evidence(record, results=results)) if results else None
    found = record["findings"]
    return [*found, forgotten | {"step": record.get("steps")}] if forgotten else found


def told(found: dict[str, Any]) -> str:
    """Return a finding as a paragraph: figures, meaning, what to change."""
    changes = "; or ".join(found["changes"])
    text = f"{found['name']}: {found['figures']}. {DIAGNOSES[found['name']].meaning}"
    return f"{text} Try {changes}" if changes else text


def summary(record: Row, results: Row | None) -> list[str]:
    """Return what a report says: each finding, or that there is none; [] for an older run."""
    found = findings(record, results)
    if found is None:
        return []
    said = [f"step {one['step']}, {told(one)}" for one in found]
    guarded = results and any(row.get("guard") for row in results.get("sets") or [])
    looked = [row.name for row in ROWS if row.name != "forgetting" or guarded]
    unknown = "" if guarded else "; forgetting is unknown, no guard set was evaluated"
    return said or [f"no sign of {', '.join(looked)}{unknown}"]
