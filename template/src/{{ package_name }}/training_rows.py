"""Prepared splits -> the rows of a run: tokenised, mixed with other folders, packed."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from .config import Config
from .data_loader import load_split, system_prompt
from .errors import Problem, UserError
from .few_shot import SETTING as FEW_SHOT
from .hardware import Plan
from .image_tokens import PATHS
from .mixture import SETTING as MIXTURE
from .mixture import Source, load_mixture, mixed_objective
from .objectives import OBJECTIVES
from .packing import choose_packing, pack
from .records import Record
from .techniques import TECHNIQUES
from .training import Job, Tokenised, Training, training_of

FITTED = ("train", "validation")  # splits that a run looks at while it trains


def tokenise_splits(
    config: Config,
    tokenizer: Any,
    labels: tuple[str, ...] = (),
    names: Sequence[str] = FITTED,
    say: Callable[[str], None] = print,
) -> dict[str, Tokenised]:
    """Return splits of the prepared data as the objective learns them.

    The training split also holds what `data.mixture` draws from other folders. Solved examples
    (`few_shot_k`) come from the training rows of the same folder.

    Args:
        config: names the data and the objective.
        tokenizer: of the base.
        labels: names of the classes, in the order of the model's outputs.
        names: the splits.
        say: shows a line of progress.

    Raises:
        UserError: rows that cannot be learned from, or settings that the objective does not know.
    """
    objective = OBJECTIVES[config.objective]
    training = training_of(objective)
    if config.few_shot_k and not training.shots:
        found = f"objective `{objective.name}` learns without solved examples"
        raise UserError(Problem(FEW_SHOT, found, fix=f"{FEW_SHOT}=0"))
    prompt = system_prompt(config) if objective.assistant_only else ""
    pool = tuple(load_split(config, "train")) if config.few_shot_k else ()
    splits = {}
    for name in names:
        job = Job(config, objective, tokenizer, prompt, labels, name, pool)
        splits[name] = training.tokenise(load_split(config, name), job)
        if name == "train":
            splits[name] = _with_mixture(splits[name], training, job, say)
    return splits


def packed_splits(
    config: Config, plan: Plan, splits: dict[str, Tokenised], model: Any
) -> tuple[dict[str, Tokenised], dict[str, str]]:
    """Return the splits, packed where that is wanted and possible, and the reason.

    Args:
        config: The run.
        plan: Names the technique.
        splits: Tokenised.
        model: The base; None: not loaded, so it is not tried whether it keeps examples apart.
    """
    objective = OBJECTIVES[config.objective]
    training = training_of(objective)
    packs, reason = choose_packing(config, objective, training, TECHNIQUES[plan.technique], model)
    if packs:
        splits = {name: pack(split, config.train.max_length) for name, split in splits.items()}
    return splits, {"packing": reason} if training.packs else {}


def counts(split: Tokenised) -> dict[str, Any]:
    """Return what training_args.json says about a split."""
    found: dict[str, Any] = {
        "examples": len(split.dataset),
        "dropped_over_length": split.dropped,
        "tokens": split.tokens,
        "label_tokens": split.label_tokens,
    }
    if split.missing_shots:
        found["missing_solved_examples"] = split.missing_shots
    return found


def replayed_examples(config: Config, tokenizer: Any) -> list[dict[str, Any]]:
    """Return the examples of text that `data.mixture` draws, as the objective learns them."""
    objective = OBJECTIVES[config.objective]
    training = training_of(objective)
    job = Job(config, objective, tokenizer)
    parts = [
        training.tokenise(source.records, _job_of(source, job)) for source in load_mixture(config)
    ]
    return [row for part in parts for row in part.dataset if PATHS not in row]


def _with_mixture(
    main: Tokenised, training: Training, job: Job, say: Callable[[str], None]
) -> Tokenised:
    """Return the training split with the rows of other folders behind its own."""
    parts, rows = [main], []
    for source in load_mixture(job.config):
        say(source.line())
        try:
            part = training.tokenise(source.records, _job_of(source, job))
        except UserError as error:
            raise UserError([_in_folder(problem, source) for problem in error.problems]) from None
        parts.append(part)
        rows.append(source.as_dict() | {"examples": len(part.dataset)})
    if not rows:
        return main
    say(f"Training split: {len(main.dataset)} examples of {job.config.data.prepared}, and these")
    return Tokenised(
        _together([part.dataset for part in parts if len(part.dataset)]),
        sum(part.dropped for part in parts),
        sum(part.tokens for part in parts),
        sum(part.label_tokens for part in parts),
        sum(part.missing_shots for part in parts),
        tuple(rows),
    )


def _in_folder(problem: Problem, source: Source) -> Problem:
    """Return a problem that says in which folder of the mixture it lies."""
    return replace(problem, where=f"{MIXTURE} ({source.setting.prepared}), {problem.where}")


def _together(datasets: Sequence[Any]) -> Any:
    """Return one data set; those that mask their rows anew in each pass join themselves."""
    from datasets import Dataset, concatenate_datasets

    first, *rest = datasets
    return concatenate_datasets(datasets) if isinstance(first, Dataset) else first.joined(rest)


def _job_of(source: Source, job: Job) -> Job:
    objective = mixed_objective(job.objective, source.kind)
    pool: tuple[Record, ...] = tuple(source.records) if job.examples else ()
    prompt = system_prompt(job.config) if objective.assistant_only else ""
    return replace(job, objective=objective, prompt=prompt, examples=pool)
