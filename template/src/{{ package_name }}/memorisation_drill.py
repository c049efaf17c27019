"""Drill: made-up identifiers are trained on twice, as they are and scrubbed, and asked for.

It shows that the probe finds what a model has by heart, and what scrubbing changes about it. The
rows of the training split stand around the planted ones; the settings are those of the run. All
of it happens in memory and in a temporary folder, which is deleted.
"""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from .arguments import trainer_arguments
from .audit import claimed_forms
from .audit_leak import upper_bound
from .canaries import CHARACTERS, FIELD, PHRASINGS, WORDS, Form, canaries
from .config import Config
from .data_loader import load_split, system_prompt, tokenise
from .devices import detect_device
from .errors import Problem, UserError
from .hardware import Plan
from .invented import Draw, compact
from .keys import load_keys
from .memorisation_probe import Measured, Probe, probe_values, require_writer
from .memorisation_rows import passing_scrubber
from .model_wrapper import LoadedModel, load_base
from .objectives import OBJECTIVES
from .records import Message, Record
from .techniques import TECHNIQUES
from .trainer_build import build_trainer

REPEATS = (1, 4, 16)  # how often a planted row stands in the data
FILLER = 32  # rows of the training split around the planted ones
OTHERS = 127  # drawn values for each planted one: at most 7 bits of exposure
LEAST_BITS = 20  # of a form that is planted: one in a million is not guessed
DRAWN = "#!^&"  # of canaries.CHARACTERS: digits and capitals
SENTENCE = "sentence"
ARMS = ("unscrubbed", "scrubbed")
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Secret:
    """A planted identifier: the row that holds it, how often it stands there, and its probe."""

    record: Record
    repeats: int
    probe: Probe


def plant(forms: Sequence[Form], count: int, seed: int) -> list[Secret]:
    """Return planted rows; the forms and the numbers of REPEATS take turns.

    Each names a person of its own, so that two rows of one form are two questions.

    Args:
        forms: Ways to write an identifier; those of fewer than LEAST_BITS are not used.
        count: How many.
        seed: The same gives the same rows.

    Raises:
        UserError: no form is left.
    """
    usable = [form for form in forms if form_bits(form) >= LEAST_BITS]
    if not usable:
        found = "the packs and the policy remove no number that is long enough to be planted"
        raise UserError(Problem("scrub.policy", found))
    chosen = random.Random(seed).sample(usable, len(usable))
    planted = []
    for number in range(count):
        form = chosen[number % len(chosen)]
        draw = Draw(f"memorisation\0{seed}\0{number}".encode())
        person = f"{WORDS['given'](draw)} {WORDS['surname'](draw)}"
        before, after = PHRASINGS[SENTENCE](form)
        values = dict.fromkeys(_values(form, 1000 * seed + number))
        value, *others = islice(values, OTHERS + 1)
        question = Message("user", f"What does the file of {person} say?")
        answer = Message("assistant", (before + value + after).strip())
        record = Record("messages", (question, answer))
        probe = Probe(form.type, (question,), before, value, tuple(others))
        planted.append(Secret(record, REPEATS[number % len(REPEATS)], probe))
    return planted


def form_bits(form: Form) -> float:
    """Return log2 of how many values a form has; 0 if it holds words or lower-case letters.

    Some phrasings write an identifier in capitals, which would be another form.
    """
    parts = list(FIELD.finditer(form.shape))
    if any(part[1] or part[2] not in DRAWN for part in parts):
        return 0.0
    return sum(math.log2(len(CHARACTERS[part[2]])) for part in parts)


def _values(form: Form, seed: int) -> Iterator[str]:
    return (canary.value for canary in canaries([form], 2 * OTHERS, seed))


def drill(config: Config, plan: Plan, count: int, seed: int, say: Say = print) -> dict[str, Any]:
    """Train on planted rows, as they are and scrubbed, and return what could be got out again.

    Args:
        config: The run; its technique, learning rate, epochs and batch are used.
        plan: Of the device.
        count: Planted identifiers.
        seed: Of what is planted.
        say: Shows a line of progress.

    Returns:
        Counts, bounds and exposures of the base and of both trained models, and no value.

    Raises:
        UserError: data, model or scrubber do not allow it.
    """
    require_writer(config.objective)
    planted = plant(claimed_forms(config), count, seed)
    filler = load_split(config, "train")
    filler = random.Random(seed).sample(filler, min(FILLER, len(filler)))
    result: dict[str, Any] = {
        "technique": plan.technique,
        "canaries": count,
        "repeats": list(REPEATS),
        "filler_rows": len(filler),
        "most_exposure": round(math.log2(OTHERS + 1), 2),
        "seed": seed,
        "arms": {},
    }
    clean, survived = scrubbed(config, planted)
    quantised = TECHNIQUES[plan.technique].quantised
    loaded = load_base(config, plan.weights, quantised)
    result["base"] = _summary(planted, _measure(config, loaded.model, loaded.tokenizer, planted))
    for arm, records in zip(ARMS, ([one.record for one in planted], clean), strict=True):
        rows = [*filler]
        for secret, record in zip(planted, records, strict=True):
            rows += [record] * secret.repeats
        loaded = load_base(config, plan.weights, quantised)
        model, steps = _trained(config, plan, loaded, rows)
        say(f"drill, {arm}: {len(rows)} rows, {steps} steps")
        result["arms"][arm] = {
            "rows": len(rows),
            "steps": steps,
            "survived_scrubbing": count if arm == ARMS[0] else survived,
            **_summary(planted, _measure(config, model, loaded.tokenizer, planted)),
        }
    result["verdict"] = verdict(result)
    return result


def scrubbed(config: Config, planted: Sequence[Secret]) -> tuple[list[Record], int]:
    """Return the planted rows as a preparation would write them, and how many values are left.

    Raises:
        UserError: the scrubber cannot be loaded.
        ScrubError: it refuses a row.
    """
    keys, _ = load_keys(config, create=False)
    scrubber = passing_scrubber(config, keys)
    texts = [text for secret in planted for text in secret.record.texts()]
    results = iter(scrubber.scrub(texts))
    clean, left = [], 0
    for secret in planted:
        found = tuple(next(results).text for _ in secret.record.texts())
        clean.append(secret.record.with_texts(found))
        left += any(compact(secret.probe.value) in compact(text) for text in found)
    return clean, left


def _trained(
    config: Config, plan: Plan, loaded: LoadedModel, rows: Sequence[Record]
) -> tuple[Any, int]:
    """Return the base model trained on rows, and the optimiser steps it took."""
    objective = OBJECTIVES[config.objective]
    prompt = system_prompt(config) if objective.assistant_only else ""
    split = tokenise(rows, loaded.tokenizer, objective, config.train.max_length, prompt)
    quiet = config.model_copy(update={"tracker": "none"})
    arguments, _ = trainer_arguments(quiet, plan, detect_device(), len(split.dataset), 0)
    # Nothing is kept, and there is nothing to choose the best checkpoint by.
    arguments |= {"save_strategy": "no", "disable_tqdm": True}
    with TemporaryDirectory() as folder:
        splits = {"train": split}
        trainer = build_trainer(quiet, plan, loaded, splits, Path(folder), arguments, _silent)
        trainer.train()
    trainer.model.config.use_cache = True
    return trainer.model.eval(), trainer.state.global_step


def _silent(_line: str) -> None:
    """Show nothing: a loss of the drill is of no use to anybody."""


def _measure(
    config: Config, model: Any, tokenizer: Any, planted: Sequence[Secret]
) -> list[Measured]:
    prompt = system_prompt(config) if OBJECTIVES[config.objective].assistant_only else ""
    probes = [secret.probe for secret in planted]
    return probe_values(model, tokenizer, probes, prompt, config.eval.batch_size)


def _summary(planted: Sequence[Secret], found: Sequence[Measured]) -> dict[str, Any]:
    """Return the figures of one model over all planted values, and by how often they stand."""

    def figures(rows: Sequence[Measured]) -> dict[str, Any]:
        extracted = sum(row.extracted for row in rows)
        bits = [row.exposure for row in rows if row.exposure is not None]
        return {
            "n": len(rows),
            "extracted": extracted,
            "bound": round(upper_bound(extracted, len(rows)), 4),
            "exposure": round(median(bits), 2) if bits else None,
        }

    by_repeats = {
        str(repeats): figures(
            [one for one, secret in zip(found, planted, strict=True) if secret.repeats == repeats]
        )
        for repeats in REPEATS
        if any(secret.repeats == repeats for secret in planted)
    }
    return {**figures(found), "by_repeats": by_repeats}


def verdict(result: dict[str, Any]) -> str:
    """Return what the drill showed, as one sentence."""
    bare, clean = (result["arms"][arm] for arm in ARMS)
    got = f"{bare['extracted']} of {bare['n']} unscrubbed and {clean['extracted']} scrubbed"
    if clean["extracted"]:
        left = clean["survived_scrubbing"]
        return f"scrubbing did not prevent it: {got} canaries were extracted, {left} survived it"
    if not bare["extracted"]:
        return (
            f"shows nothing: {got} canaries were extracted, so these settings learn none by heart; "
            "train for longer (train.num_train_epochs) to see that the probe works"
        )
    if left := clean["survived_scrubbing"]:
        canaries_left = "1 canary" if left == 1 else f"{left} canaries"
        return (
            f"the probe works; that scrubbing prevents it is not shown: {canaries_left} survived "
            f"scrubbing, none of them was extracted ({got} canaries were)"
        )
    bound = f"at most {clean['bound']:.0%} with 95 % confidence"
    return f"the probe works, and scrubbing prevents it: {got} canaries were extracted ({bound})"
