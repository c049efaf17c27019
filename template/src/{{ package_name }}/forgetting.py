"""What keeps a model from forgetting what its base knows: one row per remedy.

Layer of tables: no library is loaded. Penalties are computed in weight_penalty.py.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .config import Config
from .errors import Problem, UserError
from .low_rank import lora
from .mixture import REPLAY
from .mixture import SETTING as MIXTURE
from .objectives import OBJECTIVES, Objective
from .settings_train import Train
from .techniques import TECHNIQUES, Technique

NONE, L2, EWC = "none", "l2", "ewc"
SETTING, STRENGTH = "train.forgetting", "train.forgetting_strength"


def _always(_technique: Technique) -> bool:
    return True


def _own_weights(technique: Technique) -> bool:
    """Say whether weights of the base itself are trained."""
    return technique.trainable in ("all", "some")


def _distance_known(technique: Technique) -> bool:
    """Say whether what is trained gives the distance to the base: weights, or a product B A."""
    return _own_weights(technique) or technique.apply is lora


@dataclass(frozen=True, slots=True)
class Remedy:
    """One way to forget less.

    Attributes:
        name: as people call it; the value of `train.forgetting` where it is a penalty.
        change: what to write into the configuration.
        doc: what it does, one sentence.
        cost: what it takes.
        source: where it comes from.
        fits: whether it changes anything for a technique.
        next_token: it is for models that learn the next token from rows.
    """

    name: str
    change: str
    doc: str
    cost: str
    source: str
    fits: Callable[[Technique], bool] = _always
    next_token: bool = False


ROWS = (
    Remedy(
        name="replay",
        change=REPLAY,
        doc="Mixes rows of what must stay into the training split.",
        cost="time for these rows; they must be had",
        source="Robins 1995, Catastrophic forgetting, rehearsal and pseudorehearsal",
    ),
    Remedy(
        name="layer freezing",
        change="technique=freeze",
        doc="Trains the upper blocks only; `freeze.layers` says how many stay.",
        cost="none, it saves memory; the model can learn less",
        source="Howard and Ruder 2018, arXiv 1801.06146, section 3.3",
        fits=lambda technique: technique.trainable == "all",
    ),
    Remedy(
        name=L2,
        change=f"{SETTING}={L2}",
        doc="Adds strength / 2 * the squared distance of the weights from their start to the "
        "loss. With LoRA and QLoRA that is the size of the update itself, scale * B A.",
        cost="a copy of what is trained",
        source="L2-SP: Li, Grandvalet and Davoine 2018, arXiv 1802.01483, equation 2",
        fits=_distance_known,
    ),
    Remedy(
        name=EWC,
        change=f"{SETTING}={EWC}",
        doc="As l2, but each weight counts by its Fisher information on the rows of "
        "`data.mixture`, divided by the mean of all: what those rows need moves less.",
        cost="two copies of the trained weights, and a pass over some rows before training",
        source="Kirkpatrick et al. 2017, arXiv 1612.00796, equation 3",
        fits=_own_weights,
        next_token=True,
    ),
)
REMEDIES: dict[str, Remedy] = {row.name: row for row in ROWS}


def suits(remedy: Remedy, objective: Objective) -> bool:
    """Say whether a remedy can be had for an objective.

    Replayed rows are learned as the objective learns its own, so that EWC, which asks what they
    need of the model, is for the loss of the next token.
    """
    kind = (objective.head, objective.planner_class)
    return not remedy.next_token or kind == ("causal_lm", "causal_lm")


def fitting(objective: Objective, technique: Technique) -> list[Remedy]:
    """Return the remedies that change anything in such a run."""
    return [row for row in ROWS if row.fits(technique) and suits(row, objective)]


def check_forgetting(config: Config, technique: str) -> None:
    """Refuse a penalty that cannot work.

    Args:
        config: names objective and penalty.
        technique: of the plan.

    Raises:
        UserError: every reason.
    """
    settings = config.train
    if settings.forgetting == NONE:
        if settings.forgetting_strength != Train.model_fields["forgetting_strength"].default:
            found = f"{SETTING} is {NONE}, so that nothing reads it"
            raise UserError(Problem(STRENGTH, found, fix=f"{SETTING}={L2}, or leave it out"))
        return
    if problems := [*_problems(config, TECHNIQUES[technique])]:
        raise UserError(problems)


def _problems(config: Config, technique: Technique) -> Iterator[Problem]:
    remedy, objective = REMEDIES[config.train.forgetting], OBJECTIVES[config.objective]
    if not remedy.fits(technique):
        able = [row.name for row in TECHNIQUES.values() if remedy.fits(row)]
        found = f"{remedy.name} needs weights whose distance to the base `{technique.name}` lacks"
        if remedy.name == EWC and _distance_known(technique):
            found = f"ewc weighs every weight of the base, which `{technique.name}` does not train"
        fix = f"{SETTING}={L2 if _distance_known(technique) else NONE}, or {MIXTURE}"
        yield Problem(SETTING, found, f"with technique {', '.join(able)}", fix)
    if not suits(remedy, objective):
        able = [row.name for row in OBJECTIVES.values() if suits(remedy, row)]
        found = f"{remedy.name} is for a loss of the next token, not for `{objective.name}`"
        yield Problem(SETTING, found, f"with objective {', '.join(able)}", f"{SETTING}={L2}")
    if remedy.name == EWC and not config.data.mixture:
        found = "ewc weighs weights by rows of what must stay, and none are named"
        yield Problem(MIXTURE, found, fix=f"{REPLAY}, or {SETTING}={L2}")
