"""One training through all that may happen to it: too little memory, divergence, SIGTERM.

Each time something gives way, the run says so and writes it into training_args.json
(`recoveries`), so that a run that is resumed later goes on with what it had come to.
"""

import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .arguments import set_batch
from .checkpoint_files import checkpoints, damage, newest_whole, step_of
from .distributed import first_does
from .divergence import Diverged
from .errors import Interrupted, Problem, UserError
from .interruption import heard
from .launch import launched
from .memory_errors import free_memory, is_out_of_memory, smaller_batch
from .run_log import LOG_NAME, cut_log
from .run_record import Session
from .runs import CHECKPOINTS, RECORD, relocated_state
from .utils import finite, write_json

ROLLBACKS = 3  # halvings of the learning rate: to an eighth; after that it is not the cause


@dataclass(frozen=True, slots=True)
class Run:
    """What every step of a recovery needs.

    Attributes:
        session: Of the run; its record is written anew at each event.
        trainer: Of surviving_trainer.surviving().
        folder: Of the run.
    """

    session: Session
    trainer: Any
    folder: Path

    def note(self, what: str, note: str, **values: Any) -> None:
        """Show and write down one recovery."""
        entry = {"step": self.trainer.state.global_step, "what": what, "note": note, **values}
        self.session.record.setdefault("recoveries", []).append(entry)
        self.session.say(note)
        self.write()

    def write(self) -> None:
        """Write the record, in the first process."""
        if launched().first:
            write_json(self.folder / RECORD, finite(self.session.record))


def train_through(session: Session, trainer: Any, checkpoint: Path | None, folder: Path) -> None:
    """Train to the end, from a checkpoint or anew.

    Raises:
        Interrupted: SIGTERM came; a checkpoint of the last step is saved.
        UserError: memory, disk or the course of the loss do not allow to go on.
    """
    run = Run(session, trainer, folder)
    trainer.report = run.note
    trainer.keeps_start = session.config.train.on_divergence == "rollback"
    if checkpoint is not None:
        state = relocated_state(checkpoint)
        done = state["global_step"]
        first_does(lambda: cut_log(folder / LOG_NAME, done))
        last = _last_step(session, trainer, state)
        if done >= last or _stopped_early(session, state):
            # The trainer would add a step of its own to a run that is already complete.
            _load_finished(trainer, checkpoint, state)
            session.say(f"All {done} steps were done before; only the result is saved")
            return
        session.say(f"Going on after step {done} of {last}")
    try:
        with heard(trainer.sigterm):
            while (failure := _attempt(trainer, checkpoint)) is not None:
                checkpoint = _recover(run, failure)
    except (Interrupted, UserError) as error:
        session.record |= {"status": _status(error), "ended": str(error)}
        with suppress(OSError):  # the disk may be full; the error that is raised says so
            run.write()
        raise


def _status(error: Exception) -> str:
    return "interrupted" if isinstance(error, Interrupted) else "stopped"


def _attempt(trainer: Any, checkpoint: Path | None) -> Diverged | str | None:
    """Train; return how it diverged, or the kind of error for want of memory; None: to the end.

    An error is not handed on itself: its traceback holds what fills the memory.
    """
    try:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except Diverged as error:
        return Diverged(error.step, error.since, error.reason)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return type(error).__name__
    return None


def _recover(run: Run, failure: Diverged | str) -> Path | None:
    """Change what has to be changed; return the checkpoint to go on from, None for the start."""
    trainer = run.trainer
    if isinstance(failure, Diverged):
        checkpoint: Path | None = _roll_back(run, failure)
    else:
        checkpoint = _need_less(run)
    if (noise := getattr(trainer, "neftune_hook_handle", None)) is not None:
        noise.remove()  # the next start of the training adds its own
    trainer.optimizer = trainer.lr_scheduler = None  # made anew, then loaded
    trainer.model_wrapped = trainer.model
    trainer.model.zero_grad(set_to_none=True)
    free_memory()
    return checkpoint


def _need_less(run: Run) -> Path | None:
    """Halve the micro batch and double the accumulation, after the last finished step.

    Raises:
        UserError: the micro batch cannot be halved, or that would not help.
    """
    trainer, args, objective = run.trainer, run.trainer.args, run.session.objective
    micro, steps = args.per_device_train_batch_size, args.gradient_accumulation_steps
    smaller = smaller_batch(micro, steps, objective.smallest_batch)
    done = trainer.state.global_step
    if trainer.is_stepping or smaller is None or args.world_size > 1:
        raise _too_little(run, micro)
    trainer.state.num_input_tokens_seen = trainer.tokens_before
    trainer.state.train_batch_size = smaller[0]
    trainer.model.zero_grad(set_to_none=True)
    free_memory()
    place = run.folder / CHECKPOINTS / f"checkpoint-{done}"
    if done and damage(place):
        trainer._save_checkpoint(trainer.model, None)
    set_batch(trainer, *smaller)
    note = (
        f"out of memory in step {done + 1} with {micro} examples at once: {smaller[1]} x "
        f"{smaller[0]} from here on instead of {steps} x {micro}, the same effective batch"
    )
    if objective.smallest_batch > 1:
        note += "; an example is compared with fewer others, which changes the loss"
    size, count = smaller
    run.note("memory", note, per_device_train_batch_size=size, gradient_accumulation_steps=count)
    return place if done else None


def _too_little(run: Run, micro: int) -> UserError:
    """Return the error for a model whose steps do not fit, with what to change."""
    if run.trainer.is_stepping:
        found = "not enough for the state of the optimiser, which no smaller batch helps"
        fix = "train.optim=adamw_8bit (GPU), technique=lora or qlora, or a smaller model"
    elif run.trainer.args.world_size > 1:
        found = f"not enough for {micro} examples at once, on one of several devices"
        fix = f"train.per_device_train_batch_size={max(micro // 2, 1)}, then `make resume`"
    else:
        found = f"not enough for {micro} examples at once, the least that can be"
        fix = (
            "train.gradient_checkpointing=true, a smaller train.max_length, technique=lora or "
            "qlora, or a smaller model"
        )
    return UserError(Problem("memory", found, fix=fix))


def _roll_back(run: Run, failure: Diverged) -> Path:
    """Return the last checkpoint from before the divergence; the learning rate is halved.

    Raises:
        UserError: the run shall stop, or was rolled back too often, or there is no checkpoint.
    """
    trainer, rate = run.trainer, run.trainer.args.learning_rate
    folder = run.folder / CHECKPOINTS
    for doubtful in checkpoints(folder):
        if step_of(doubtful) >= failure.since:
            shutil.rmtree(doubtful)
    good = newest_whole(checkpoints(folder), run.session.say)
    past = [entry for entry in run.session.record.get("recoveries", []) if "back_to" in entry]
    rolls = trainer.keeps_start and len(past) < ROLLBACKS and trainer.args.world_size == 1
    if not rolls or good is None:
        raise _stopped(failure, rate, good, len(past))
    trainer.args.learning_rate = rate / 2
    cut_log(run.folder / LOG_NAME, step_of(good))
    note = (
        f"diverged at step {failure.step}: {failure.reason}; back to step {step_of(good)}, "
        f"with the learning rate halved to {rate / 2:g}"
    )
    values = {"learning_rate": rate / 2, "back_to": step_of(good)}
    run.note("divergence", note, **values)
    return good


def _stopped(failure: Diverged, rate: float, good: Path | None, times: int) -> UserError:
    """Return the error for a training that diverged and does not go on by itself."""
    found = f"training diverged at step {failure.step}: {failure.reason}"
    if times >= ROLLBACKS:
        found += f"; the learning rate was halved {times} times"
        fix = "look at the data (scripts/report.py) and the precision (train.precision=fp32)"
        return UserError(Problem("train.learning_rate", found, f"now {rate:g}", fix))
    fix = f"a new run with train.learning_rate={rate / 2:g}"
    if good is not None:
        fix += (
            f"; or go on from step {step_of(good)} with half of it: "
            'make resume SET="train.on_divergence=rollback"'
        )
    return UserError(Problem("train.learning_rate", found, fix=fix))


def _last_step(session: Session, trainer: Any, state: dict[str, Any]) -> int:
    """Return the step at which the run ends: as it was counted, unless settings changed."""
    if not session.record.get("changed"):
        return int(state["max_steps"])
    loader = trainer.get_train_dataloader()
    return int(trainer.set_initial_training_values(trainer.args, loader)[-1])


def _stopped_early(session: Session, state: dict[str, Any]) -> bool:
    """Say whether the run had come to its end because validation gained no more."""
    kept = state.get("stateful_callbacks", {}).get("TrainerControl", {}).get("args", {})
    return bool(kept.get("should_training_stop")) and not session.record.get("changed")


def _load_finished(trainer: Any, checkpoint: Path, state: dict[str, Any]) -> None:
    from transformers import TrainerState

    best = Path(state.get("best_model_checkpoint") or checkpoint)
    trainer._load_from_checkpoint(str(best if best.is_dir() else checkpoint))
    trainer.state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
