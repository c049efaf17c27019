"""What a run writes down about itself: training_args.json from its first step to its outcome."""

import datetime
import importlib.metadata
import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .config import Config
from .data_loader import check_prepared
from .devices import Device
from .hardware import Plan
from .launch import launched
from .mixture import mixture_identity
from .objectives import OBJECTIVES, Objective
from .quantised import PACKAGE
from .runs import code_state
from .techniques import TECHNIQUES, Technique

PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "tokenizers")


@dataclass(slots=True)
class Session:
    """One call of `train`: what was asked, and what is written down of it so far.

    Attributes:
        config: The run, with the settings that a start adapter fixes.
        plan: Of the device.
        device: That it runs on.
        say: Shows a line of progress.
        record: Content of training_args.json.
        seconds: Of each stage.
        before: training_args.json of the run that goes on; empty for a new one.
    """

    config: Config
    plan: Plan
    device: Device
    say: Callable[[str], None]
    record: dict[str, Any]
    seconds: dict[str, float] = field(default_factory=dict)
    before: dict[str, Any] = field(default_factory=dict)

    @property
    def objective(self) -> Objective:
        """Return the row of the objective."""
        return OBJECTIVES[self.config.objective]

    @property
    def technique(self) -> Technique:
        """Return the row of the technique that the plan took."""
        return TECHNIQUES[self.plan.technique]

    def decide(self, name: str, reason: str) -> None:
        """Show and write down why something is as it is."""
        self.record["reasons"][name] = reason
        self.say(f"{name}: {reason}")


def start_record(config: Config, plan: Plan, device: Device) -> dict[str, Any]:
    """Return what training_args.json says before the first step."""
    manifest = check_prepared(config)
    batch = plan.per_device_train_batch_size * plan.gradient_accumulation_steps
    return {
        "schema": 1,
        "status": "running",
        "run": "",
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "objective": config.objective,
        "technique": plan.technique,
        "seed": config.train.seed,
        "effective_batch_size": batch * launched().processes,
        "config": config.as_dict(),
        "sources": config.source,
        "plan": plan.as_dict(),
        "reasons": dict(plan.reasons),
        "device": device.as_dict(),
        "versions": _versions(TECHNIQUES[plan.technique].quantised),
        "code": code_state(config.root),
        "data": {key: manifest[key] for key in ("outputs", "config_sha256", "scrubber")}
        | {"mixed": mixture_identity(config)},
    }


def count_weights(model: Any) -> dict[str, int]:
    """Return how many weights a model has, and how many of them are trained."""
    sizes = [(_weights(p), p.requires_grad) for p in model.parameters()]
    return {
        "parameters": sum(size for size, _ in sizes),
        "trainable_parameters": sum(size for size, trained in sizes if trained),
    }


def _weights(parameter: Any) -> int:
    """Return how many weights a parameter holds: a 4-bit one packs two into a byte."""
    state = getattr(parameter, "quant_state", None)
    return parameter.numel() if state is None else state.shape.numel()


def outcome(trainer: Any, device: Device) -> dict[str, Any]:
    """Return steps, the best checkpoint and the peak of memory (GiB) of a finished training."""
    import torch

    state = trainer.state
    best = state.best_model_checkpoint
    if device.kind == "cuda":
        peak = torch.cuda.max_memory_allocated()
    else:
        # Linux counts in KiB, macOS in bytes.
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        peak *= 1 if sys.platform == "darwin" else 1024
    return {
        "steps": state.global_step,
        "epochs": round(state.epoch or 0.0, 3),
        "tokens_seen": int(state.num_input_tokens_seen),
        "best_step": int(best.rpartition("-")[2]) if best else None,
        "best_metric": state.best_metric,
        "peak_memory_gib": round(peak / 2**30, 2),
    }


def _versions(quantised: bool) -> dict[str, str]:
    names = (*PACKAGES, PACKAGE) if quantised else PACKAGES
    found = {name: importlib.metadata.version(name) for name in names}
    return {"python": sys.version.split()[0], **found}
