"""Techniques that hold the base in 4 or 8 bit: what they need, and the way to plain weights."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .adapters import read_adapter
from .config import Config
from .devices import Device, machine_memory
from .errors import Problem, UserError
from .footprint import BYTES, GIB
from .footprint import TECHNIQUES as COUNTED
from .hardware import Plan
from .heads import HEADS
from .image_tokens import PATHS
from .low_rank import PISSA
from .model_parts import merged
from .model_wrapper import load_adapter_base, load_base, with_adapter
from .objectives import OBJECTIVES
from .planning import planned_shape, quantised_bytes
from .techniques import TECHNIQUES

PACKAGE = "bitsandbytes"
KINDS = ("cuda", "cpu")  # Apple's GPUs: bitsandbytes has operators, training was not tried
# RAM of a process that merges, beside the weights in both forms: libraries and a few matrices
# (measured: 0.83 GiB in all for weights of 0.50 GiB in fp32, peft 0.21.2)
SPARE_GIB = 1.0
EXAMPLES = 32  # of the validation split, on which rounding once more is judged


class Scored(NamedTuple):
    """Tokenised examples and the mean of their losses; None where they have none."""

    rows: list[Any]
    loss: float | None


def require_quantisation(config: Config, plan: Plan, device: Device) -> None:
    """Refuse a technique with a quantised base where it cannot be trained or saved.

    Raises:
        UserError: bitsandbytes is missing, the device is not supported, or the RAM does not
            hold the plain weights into which the adapter is merged at the end.
    """
    if not TECHNIQUES[plan.technique].quantised:
        return
    plain = ", ".join(name for name, row in TECHNIQUES.items() if not row.quantised)
    problems = []
    if device.kind not in KINDS:
        found = f"{plan.technique} holds the base rounded, which was not tried on {device.kind}"
        problems.append(Problem("technique", found, plain))
    elif importlib.util.find_spec(PACKAGE) is None:
        found = f"{plan.technique} needs {PACKAGE}, which is not installed"
        problems.append(Problem("technique", found, plain, f"make setup, or pip install {PACKAGE}"))
    if config.lora.init_lora_weights == PISSA:
        found = "pissa takes directions out of the weights, which rounded weights cannot give"
        problems.append(Problem("lora.init_lora_weights", found, "default", "or technique=lora"))
    if plan.quantisation != config.model.quantisation:
        found = f"{config.model.quantisation}, but `auto` plans with {plan.quantisation}"
        fix = f"technique={plan.technique}, or model.quantisation={plan.quantisation}"
        problems.append(Problem("model.quantisation", found, fix=fix))
    need, memory = merge_gib(config, plan), machine_memory() / GIB
    if need > memory:
        found = f"merging the adapter needs {need:.1f} GiB of RAM, {memory:.1f} GiB are there"
        problems.append(Problem("technique", found, fix="a smaller model, or more RAM"))
    if problems:
        raise UserError(problems)


def merge_gib(config: Config, plan: Plan) -> float:
    """Return the RAM in GiB that merging takes: weights rounded and expanded, and the process."""
    each = BYTES[plan.weights] + (quantised_bytes(config) or COUNTED[plan.technique].base_bytes)
    return planned_shape(config).params * each / GIB + SPARE_GIB


def merged_with_rounded_base(config: Config, precision: str, adapter: Path) -> Any:
    """Return the model that was trained in plain weights, with its adapter merged, on the CPU.

    The base is rounded as in training and expanded: the adapter learned beside these values.
    Merged into the exact weights it would be another model than the one that was validated
    (SmolLM2-135M, 10 steps, loss on 18 rows: trained 0.554, this one 0.554, exact 0.600).

    Args:
        config: names the base.
        precision: number format of the result, one of fp32, bf16, fp16.
        adapter: folder with its record, which tells head and classes.
    """
    trained = read_adapter(adapter)
    base = load_adapter_base(trained, precision, config, device="cpu").model.dequantize()
    return merged(with_adapter(base, trained))


def as_trained(model: Any, rows: Any) -> Scored:
    """Return the loss of the model that was trained, on the first examples of a split.

    Args:
        model: with its adapter beside the rounded weights.
        rows: tokenised examples; those of some objectives (pairs, for example) have no labels.
    """
    chosen = [rows[number] for number in range(min(len(rows), EXAMPLES))]
    # The loss of an answer about an image needs the image, which is no part of the row.
    chosen = [r for r in chosen if "labels" in r and "input_ids" in r and not r.get(PATHS)]
    return Scored(chosen, mean_loss(model, chosen) if chosen else None)


def requantised(
    config: Config, plan: Plan, run_dir: Path, labels: Sequence[str], before: Scored
) -> dict[str, Any]:
    """Score merged weights that are rounded once more, as a server with little memory holds them.

    The adapter is part of the weights by then, and what training gained can be rounded away.

    Args:
        config: names the way of rounding.
        plan: of the run.
        run_dir: holds the merged weights.
        labels: names of the classes.
        before: of as_trained().

    Returns:
        examples, trained (loss before), loss (after), difference, in nats, and a note.
    """
    if before.loss is None:
        return {"note": "not scored: no validation example carries labels of its own"}
    update = {"model_name_or_path": str(run_dir), "source": "local", "revision": None}
    merged = config.model_copy(update={"model": config.model.model_copy(update=update)})
    head = HEADS[OBJECTIVES[config.objective].head]
    model = load_base(merged, plan.weights, quantised=True, head=head, labels=labels).model
    after = mean_loss(model, before.rows)
    difference, count = after - before.loss, len(before.rows)
    return {
        "examples": count,
        "trained": before.loss,
        "loss": after,
        "difference": difference,
        "note": f"validation loss {after:.4f} on {count} examples, {difference:+.4f} to the model "
        f"that was trained ({config.model.quantisation})",
    }


def mean_loss(model: Any, rows: Sequence[Any]) -> float:
    """Return the mean of the losses of single tokenised examples, in nats.

    Args:
        model: of transformers or peft; computes the loss of its head.
        rows: each with `input_ids` (tokens) and `labels`.
    """
    import torch

    names = ("input_ids", "attention_mask", "token_type_ids", "labels")
    was_training, total = model.training, 0.0
    model.eval()
    with torch.no_grad():
        for row in rows:
            batch = {n: torch.tensor([row[n]], device=model.device) for n in names if n in row}
            total += float(model(**batch).loss)
    model.train(was_training)
    return total / len(rows)
