"""What is left of a run when training ends: tokenizer, adapter, and plain weights."""

from pathlib import Path
from typing import Any

from .adapters import PLACE, write_record
from .low_rank import save_adapter
from .model_parts import merged
from .model_wrapper import LoadedModel
from .quantised import Scored, merged_with_rounded_base, requantised
from .run_record import Session


def store_parts(session: Session, loaded: LoadedModel, model: Any, run_dir: Path) -> None:
    """Write the tokenizer (or processor), and the adapter with its record where there is one.

    Args:
        session: The run.
        loaded: The base; its reader is written.
        model: As it was trained.
        run_dir: Gets the files.
    """
    loaded.reader(images=True).save_pretrained(run_dir)
    if session.technique.trainable == "adapter":
        save_adapter(model, run_dir / PLACE)
        write_record(run_dir / PLACE, session.record)
    if not session.technique.mergeable:
        title = session.technique.title
        session.say(f"{title} cannot be merged: the result is the folder {PLACE}")


def store_weights(session: Session, model: Any, run_dir: Path) -> None:
    """Write the weights of a plain model, with its adapter folded in."""
    is_adapter = session.technique.trainable == "adapter"
    _save(merged(model) if is_adapter else model, run_dir)


def store_rounded(session: Session, labels: tuple[str, ...], before: Scored, run_dir: Path) -> None:
    """Write plain weights of a model whose base was held in 4 or 8 bit; score them rounded again.

    The trained model must be gone: base and result take its room in RAM.

    Args:
        session: The run; its record gets what rounding once more costs.
        labels: Names of the classes.
        before: Of quantised.as_trained().
        run_dir: Holds the adapter; gets the weights.
    """
    config, plan = session.config, session.plan
    session.say("The adapter is merged into the base as it was rounded, in RAM")
    _save(merged_with_rounded_base(config, plan.weights, run_dir / PLACE), run_dir)
    session.record["requantised"] = requantised(config, plan, run_dir, labels, before)
    session.say(f"Merged and rounded again: {session.record['requantised']['note']}")


def _save(model: Any, run_dir: Path) -> None:
    model.config.use_cache = True
    model.save_pretrained(run_dir, max_shard_size="1000GB")  # always one model.safetensors
