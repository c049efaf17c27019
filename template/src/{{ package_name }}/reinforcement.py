"""Learning from rewards for answers that the model writes itself: GRPO and RLOO.

GRPO: arXiv 2402.03300, with the token-level loss of DAPO (arXiv 2503.14476). RLOO: arXiv
2402.14740. Prompts are rendered by the template function of training and inference, and the
trainers get their token ids.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any

from .config import Config
from .data_loader import check_dropped, prepared_rows, render_prompt, with_system
from .errors import Problem, UserError
from .model_access import is_prompt_learning
from .records import Message, Record
from .rewards import REWARDS, Scorer, Written, reward_problems
from .rollout_rows import measure_by_length, placed, write_by_length
from .training import Job, Start, Tokenised, Training

# Prompts of a split that is answered as a whole: writing takes a pass over the model per token.
MOST_PROMPTS = {"validation": 64, "test": 256}
FIRST_STEPS = 5  # after which a lack of differences is reported
MOST_FLAT = 0.9  # share of groups whose answers may all be worth the same


def grpo() -> Training:
    """Compare the answers of a group with its mean and spread (objective grpo)."""
    return _training(_grpo_classes)


def rloo() -> Training:
    """Compare each answer with the mean of the others (objective rloo)."""
    return _training(_rloo_classes)


def _training(classes: Callable[[], tuple[Any, Any]]) -> Training:
    return Training(_tokenised, classes, _extras, _score, _check)


def _check(config: Config) -> None:
    """Refuse settings that cannot work, before a model is loaded.

    Raises:
        UserError: all of them.
    """
    problems = reward_problems(config, prepared_rows(config))
    settings, train = config.reinforcement, config.train
    if settings.max_completion_length >= train.max_length:
        found = f"{settings.max_completion_length} tokens leave no room for a prompt"
        where = "reinforcement.max_completion_length"
        problems.append(Problem(where, found, f"below train.max_length, {train.max_length}"))
    moved = {
        "lora.init_lora_weights": config.lora.init_lora_weights == "pissa",
        "model.adapter": bool(config.model.adapter),
    }
    for name in [name for name, set_so in moved.items() if set_so and settings.beta]:
        found = f"with {name} as it is, the base without the adapter is not where training starts"
        problems.append(Problem("reinforcement.beta", found, "0", f"leave {name} out, or beta 0"))
    if problems:
        raise UserError(problems)


def _tokenised(records: Sequence[Record], job: Job) -> Tokenised:
    """Return prompts as token ids, with what the rewards look at.

    Raises:
        UserError: too many prompts leave no room for an answer.
    """
    from datasets import Dataset

    records = _some(records, job.split)
    room = job.config.train.max_length - job.config.reinforcement.max_completion_length
    rows: list[dict[str, Any]] = []
    dropped = 0
    for record in records:
        turns = with_system(record.messages, job.prompt)
        ids = render_prompt(job.tokenizer, turns)
        if len(ids) > room:
            dropped += 1
            continue
        pairs = [{"role": turn.role, "content": turn.content} for turn in turns]
        rows.append({"prompt": ids, "turns": pairs, "reference": record.reference})
    check_dropped(dropped, len(records), room, job.split)
    if not rows and job.split == "train":
        fix = "look at data/prepared/report.json for what became of the rows"
        raise UserError(Problem("train split", "it holds no prompt", fix=fix))
    tokens = sum(len(row["prompt"]) for row in rows)
    return Tokenised(Dataset.from_list(rows), dropped, tokens, 0)


def _some(records: Sequence[Record], split: str) -> Sequence[Record]:
    most = MOST_PROMPTS.get(split, len(records))
    if len(records) <= most:
        return records
    print(f"{split}: {most} of {len(records)} prompts are answered, evenly spread: writing is slow")
    return [records[place * len(records) // most] for place in range(most)]


def _extras(start: Start) -> dict[str, Any]:
    scorers = make_scorers(start.config, str(start.model.device))
    return {"reward_funcs": [reward_function(name, each) for name, each in scorers.items()]}


def make_scorers(config: Config, device: str) -> dict[str, Scorer]:
    """Return the chosen rewards, ready to judge; a reward model is loaded on the device."""
    return {name: REWARDS[name].make(config, device) for name in config.reinforcement.rewards}


def reward_function(name: str, scorer: Scorer) -> Callable[..., list[float]]:
    """Return a reward as trl's trainers call it; answers that cannot be judged count as 0.

    Their share is logged as `rewards/NAME/invalid`.
    """
    from .generation import without_reasoning

    def reward(
        *,
        completions: list[str],
        turns: list[list[dict[str, str]]],
        reference: list[str | None],
        log_metric: Callable[[str, float], None],
        **_others: Any,
    ) -> list[float]:
        answers = [
            Written(tuple(Message(**turn) for turn in before), without_reasoning(text), right)
            for before, text, right in zip(turns, completions, reference, strict=True)
        ]
        points = scorer(answers)
        log_metric(f"rewards/{name}/invalid", _share_missing(points))
        return [each or 0.0 for each in points]

    reward.__name__ = name
    return reward


def _share_missing(points: Sequence[float | None]) -> float:
    return sum(each is None for each in points) / len(points)


def _score(trainer: Any, dataset: Any) -> dict[str, float]:
    """Return the mean reward of greedy answers, written as in evaluation and chat.

    `reward` is the weighted sum; `rewards/NAME` each one; `rewards/NAME/invalid` the share of
    answers that could not be judged.
    """
    from .generation import generate

    trainer.model.eval()
    texts = generate(
        trainer.model,
        trainer.processing_class,
        dataset["prompt"],
        trainer.args.max_completion_length,
        trainer.args.per_device_eval_batch_size,
    ).texts
    scores: dict[str, float] = {}
    found = {"turns": dataset["turns"], "reference": dataset["reference"]}
    total = 0.0
    for function, weight in zip(trainer.reward_funcs, trainer.reward_weights, strict=True):
        points = function(completions=texts, log_metric=scores.__setitem__, **found)
        mean = sum(points) / len(points)
        scores[f"rewards/{function.__name__}"] = mean
        total += mean * float(weight)
    return {"reward": total, **scores}


def _grpo_classes() -> tuple[Any, Any]:
    from trl import GRPOConfig, GRPOTrainer

    return _rollouts(GRPOTrainer), GRPOConfig


def _rloo_classes() -> tuple[Any, Any]:
    from trl import RLOOConfig, RLOOTrainer

    return _rollouts(RLOOTrainer), RLOOConfig


def _rollouts(base: Any) -> Any:
    """Return trl's trainer with our prompts, greedy validation, and no text left behind."""

    class RolloutTrainer(base):  # type: ignore[misc]
        """Trainer of answers that the model writes itself."""

        generation_config: Any  # of the answers, made by trl

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            model = kwargs["model"]
            _check_head(model)
            super().__init__(*args, **kwargs)
            if "ref" in getattr(model, "peft_config", {}):
                # A copy of the adapter as it starts; the reference is the base without one.
                model.delete_adapter("ref")
            self.flat: list[float] = []

        def _tokenize_prompts(self, prompts: list[list[int]]) -> tuple[Any, None, dict[str, Any]]:
            return prompts, None, {}  # ids of our template function, nothing to tokenise

        def _generate_single_turn(self, prompts: list[list[int]], *rest: Any) -> Any:
            drawn = self.generation_config
            if not self.model.training:
                self.generation_config = _greedy(drawn)
            write = super()._generate_single_turn
            try:
                if not is_prompt_learning(self.model):
                    return write(prompts, *rest)
                return write_by_length(lambda some: write(some, *rest), prompts)
            finally:
                self.generation_config = drawn

        def _get_per_token_logps_and_entropies(
            self, model: Any, ids: Any, mask: Any, kept: int, *args: Any, **kwargs: Any
        ) -> Any:
            measure = super()._get_per_token_logps_and_entropies
            if not is_prompt_learning(self.model):
                return measure(placed(model), ids, mask, kept, *args, **kwargs)
            return measure_by_length(
                lambda ids, mask: measure(model, ids, mask, kept, *args, **kwargs), ids, mask, kept
            )

        def _generate_and_score_completions(self, inputs: Any) -> Any:
            found = super()._generate_and_score_completions(inputs)
            for name in ("prompt", "completion"):
                self._logs[name].clear()
            return found

        def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
            """Log, and say once where the rewards give nothing to learn from."""
            super().log(logs, start_time)
            if "loss" not in logs or len(self.flat) >= FIRST_STEPS:
                return
            self.flat.append(logs["frac_reward_zero_std"])
            share = sum(self.flat) / len(self.flat)
            if len(self.flat) == FIRST_STEPS and share > MOST_FLAT:
                print(
                    f"warning: in {share:.0%} of the groups every answer earns the same, and "
                    "nothing is learned from those: raise reinforcement.temperature or "
                    "reinforcement.num_generations, add a reward that gives parts of a point, or "
                    "use easier prompts"
                )

        def create_model_card(self, *args: Any, **kwargs: Any) -> None:
            """Write nothing: the model card comes from what was measured, at the end."""

    return RolloutTrainer


def _greedy(drawn: Any) -> Any:
    greedy = copy.deepcopy(drawn)
    greedy.do_sample = False
    greedy.temperature = greedy.top_k = greedy.top_p = greedy.min_p = None
    return greedy


def _check_head(model: Any) -> None:
    """Refuse an adapter on the output layer, which trl's log-probabilities pass by."""
    if not hasattr(model, "peft_config"):
        return
    from peft.tuners.tuners_utils import BaseTunerLayer

    if isinstance(model.get_output_embeddings(), BaseTunerLayer):
        found = "the output layer has an adapter, which this objective could not train"
        raise UserError(Problem("lora.lora_target_modules", found, "all-linear"))
