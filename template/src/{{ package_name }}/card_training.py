"""The section of the model card about training: what was done, with which hyperparameters."""

from collections.abc import Iterator
from typing import Any

from .card_facts import Facts
from .card_results import table
from .diagnosis import summary
from .techniques import TECHNIQUES

LORA = (
    *("preset", "lora_r", "lora_alpha", "lora_dropout", "lora_target_modules"),
    *("use_rslora", "init_lora_weights"),
)
ROUNDED = {"nf4": "4 bit (NF4)", "int8": "8 bit (LLM.int8)"}  # model.quantisation -> in words
# Of the trainer's arguments: those that no reader needs.
UNSHOWN = {"disable_tqdm", "report_to", "dataset_kwargs", "use_cpu", "dataloader_pin_memory"}
UNSHOWN |= {"data_seed", "include_num_input_tokens_seen", "save_steps", "save_strategy"}


def training(facts: Facts) -> Iterator[str]:
    """Yield technique, outcome and the hyperparameters that the trainer really got."""
    record = facts.record
    yield f"- Technique `{record['technique']}`, objective `{record['objective']}`,"
    yield f"  effective batch {record['effective_batch_size']}, {record.get('steps', 'unknown')}"
    yield f"  optimiser steps, {record.get('tokens_seen', 'unknown')} tokens seen."
    if "trainable_parameters" in record:
        share = record["trainable_parameters"] / record["parameters"]
        yield f"- Trained parameters: {record['trainable_parameters']:,} ({share:.2%} of"
        yield f"  {record['parameters']:,})."
    if TECHNIQUES[record["technique"]].quantised:
        bits = ROUNDED[record["config"]["model"].get("quantisation", "nf4")]
        yield f"- The adapter was trained beside base weights rounded to {bits} and merged into"
        yield "  these rounded weights: this model is the one that was validated."
        again = record.get("requantised", {})
        if "loss" in again:
            yield f"- Loaded with weights rounded to {bits} again, its loss on {again['examples']}"
            yield f"  validation examples is {again['loss']:.4f}, {again['difference']:+.4f}"
            yield "  against the model that was trained."
    if record.get("best_metric") is not None:
        name = record["config"]["train"]["metric_for_best_model"]
        yield f"- Best checkpoint: step {record['best_step']}, {name} {record['best_metric']:.4f}"
        yield "  (these weights were kept)."
    yield from (f"- Diagnosis: {text}." for text in summary(record, facts.results))
    if held := record.get("forgetting"):
        yield f"- Held near the base by {held['method']}, strength {held['strength']:g}; the"
        yield f"  weights ended {held['distance']:.3g} away from their start."
    yield f"- Versions: {', '.join(f'{k} {v}' for k, v in record['versions'].items())}."
    yield ""
    yield from table(("hyperparameter", "value", "set in"), [*_hyperparameters(record)])
    yield ""
    yield "Planned for the device:"
    yield ""
    for name, reason in record["reasons"].items():
        value = record["plan"].get(name)
        yield f"- {name}{'' if value is None else f' = {value}'}: {reason}"


def _hyperparameters(record: dict[str, Any]) -> Iterator[list[str]]:
    train, sources = record["config"]["train"], record["sources"]
    # Runs of older versions recorded the settings only, where `auto` may stand.
    given = record.get("arguments") or {k: v for k, v in train.items() if k != "extra"}
    for name, value in given.items():
        if name not in UNSHOWN and value is not None:
            planned = train.get(name, "auto") == "auto"
            where = "planned" if planned else sources.get(f"train.{name}", "default")
            yield [f"train.{name}", str(value), where]
    if TECHNIQUES[record["technique"]].low_rank:
        lora = record["config"]["lora"]
        for name in LORA:
            if name in lora:  # older versions had fewer
                yield [f"lora.{name}", str(lora[name]), sources.get(f"lora.{name}", "default")]
