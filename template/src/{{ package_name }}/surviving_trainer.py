"""The trainer of any objective, made to survive: what it does otherwise than its library.

Checkpoints are written whole or not at all; each step is judged before it changes the weights; a
batch of the validation that does not fit is halved; SIGTERM ends training with a checkpoint.
"""

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from .checkpoint_files import STATE, UNFINISHED, clean, publish, room_in
from .divergence import LossWatch
from .errors import Interrupted, Problem, UserError
from .interruption import SigTerm
from .memory_errors import free_memory, is_out_of_memory


def surviving(trainer_class: Any) -> Any:
    """Return the trainer class with what makes its runs survive; the name stays the same."""

    class SurvivingTrainer(trainer_class):  # type: ignore[misc]
        """A trainer whose checkpoints are whole, and which stops where going on is no use."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self.sigterm = SigTerm()  # of the run that it is part of
            self.watch = LossWatch()
            self.keeps_start = False  # a checkpoint before the first step
            self.is_stepping = False  # the optimiser may have changed some of the weights
            self.step_loss: Any = None
            self.step_norm: Any = None
            self.tokens_before = 0  # the step that is being made
            self.report: Callable[..., None] | None = None  # (what, note, **values)
            self._is_saving = False
            super().__init__(*args, **kwargs)
            self.add_callback(_guard(self))

        def training_step(self, *args: Any, **kwargs: Any) -> Any:
            loss = super().training_step(*args, **kwargs)
            self.step_loss = loss if self.step_loss is None else self.step_loss + loss
            return loss

        def _get_grad_norm(self, *args: Any, **kwargs: Any) -> Any:
            self.step_norm = super()._get_grad_norm(*args, **kwargs)
            return self.step_norm

        def _get_output_dir(self, trial: Any) -> str:
            folder: str = super()._get_output_dir(trial)
            return os.path.join(folder, UNFINISHED) if self._is_saving else folder

        def _save_checkpoint(self, model: Any, trial: Any) -> None:
            """Write all files to a folder beside, then give it its name.

            Raises:
                UserError: the disk is full; what was begun is removed.
            """
            folder = Path(super()._get_output_dir(trial))
            beside = folder / UNFINISHED
            done = self.state.global_step
            name = f"checkpoint-{done}"
            if self.args.should_save:
                shutil.rmtree(beside, ignore_errors=True)
                folder.mkdir(parents=True, exist_ok=True)
            self.accelerator.wait_for_everyone()
            self._is_saving = True
            try:
                with room_in(folder, f"the checkpoint of step {done}", _size(self)):
                    super()._save_checkpoint(model, trial)
                    self.accelerator.wait_for_everyone()
                    self._name_best(folder)
                    if self.args.should_save:
                        self.state.save_to_json(str(beside / name / STATE))
                        publish(beside / name, folder / name)
            finally:
                self._is_saving = False
                if self.args.should_save:
                    shutil.rmtree(beside, ignore_errors=True)
            if self.args.should_save and not self.watch.in_doubt:
                clean(folder, self.args.save_total_limit, self.state.best_model_checkpoint)
            self.accelerator.wait_for_everyone()

        def _name_best(self, folder: Path) -> None:
            """Let the state name the best checkpoint by the place that it has, or will have."""
            step = self.state.best_global_step
            best = folder / f"checkpoint-{step}"
            if step and (step == self.state.global_step or best.is_dir()):
                self.state.best_model_checkpoint = str(best)

        def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
            """Load both; the learning rates are those that are asked for now, not those of then."""
            scheduler = self.lr_scheduler
            wanted = getattr(scheduler, "base_lrs", None)  # one for each group of weights
            super()._load_optimizer_and_scheduler(checkpoint)
            if checkpoint is None or not wanted or scheduler.base_lrs == wanted:
                return
            groups = self.optimizer.param_groups
            for group, now, then in zip(groups, wanted, scheduler.base_lrs, strict=True):
                group["initial_lr"] = now
                group["lr"] *= now / then
            scheduler.base_lrs = wanted
            scheduler._last_lr = [group["lr"] for group in groups]

        def evaluate(self, *args: Any, **kwargs: Any) -> Any:
            """Evaluate, in smaller batches where memory does not suffice.

            Raises:
                UserError: there is no memory for a single example.
            """
            while True:
                try:
                    return super().evaluate(*args, **kwargs)
                except Exception as error:
                    if not is_out_of_memory(error) or self.args.world_size > 1:
                        raise
                self._halve_validation()

        def _halve_validation(self) -> None:
            size = self.args.per_device_eval_batch_size
            if size == 1:
                fix = "a smaller train.max_length, or train.eval_strategy=no"
                raise UserError(Problem("memory", "not enough to validate one example", fix=fix))
            self.args.per_device_eval_batch_size = size // 2
            with suppress(AttributeError, KeyError):
                self._metrics["eval"].clear()  # TRL's, of the batches that did fit
            free_memory()
            if self.report is not None:
                note = f"out of memory in the validation: {size // 2} examples at once from here on"
                self.report("memory", note, per_device_eval_batch_size=size // 2)

    SurvivingTrainer.__name__ = trainer_class.__name__
    SurvivingTrainer.__qualname__ = trainer_class.__qualname__
    return SurvivingTrainer


def _guard(trainer: Any) -> Any:
    """Return the callback that looks after each step of a surviving trainer."""
    import torch
    from transformers import TrainerCallback

    class Guard(TrainerCallback):
        """Judges steps, and turns SIGTERM into a checkpoint."""

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            del control, kwargs
            trainer.step_loss, trainer.is_stepping = None, False
            trainer.tokens_before = state.num_input_tokens_seen
            trainer.watch = LossWatch()
            trainer._name_best(Path(args.output_dir))  # the run may have been moved
            _restore_counters(trainer, state)
            if hasattr(trainer, "_buffered_inputs"):  # answers that a step was to learn from
                trainer._buffered_inputs, trainer._step = None, 0
            if trainer.keeps_start and state.global_step == 0:
                trainer._save_checkpoint(trainer.model, None)

        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            del args, control, kwargs
            trainer.tokens_before = state.num_input_tokens_seen

        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            del control, kwargs
            loss, norm = trainer.step_loss, trainer.step_norm
            trainer.step_loss = None
            if args.world_size > 1:  # every process has to come to the same verdict
                loss = trainer.accelerator.reduce(loss, "mean")
            # With fp16 the scaler meets infinite gradients by design, and leaves the step out.
            size = 0.0 if args.fp16 or norm is None else float(norm)
            trainer.watch.check(state.global_step + 1, float(loss), size)
            trainer.is_stepping = True

        def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            del args, state, control, kwargs
            trainer.is_stepping = False

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            del state, kwargs
            if args.world_size > 1:  # all save after the same step, whoever heard of it first
                came = torch.tensor(float(trainer.sigterm.came), device=args.device)
                trainer.sigterm.came = bool(trainer.accelerator.reduce(came, "sum"))
            if trainer.sigterm.came:
                control.should_save = True

        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            del args, control, kwargs
            if trainer.sigterm.came:
                raise Interrupted(state.global_step)

    return Guard()


def _restore_counters(trainer: Any, state: Any) -> None:
    """Take the counters of callbacks (early stopping) from the state that training starts with."""
    for callback in trainer.callback_handler.callbacks:
        kept = state.stateful_callbacks.get(type(callback).__name__, {})
        for name, value in kept.get("attributes", {}).items():
            setattr(callback, name, value)


def _size(trainer: Any) -> int:
    """Return the bytes of a checkpoint: weights that are saved, state of the optimiser."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    has_adapter = hasattr(model, "peft_config")
    saved = [one for one in model.parameters() if one.requires_grad or not has_adapter]
    kept = [value for state in trainer.optimizer.state.values() for value in state.values()]
    return sum(getattr(one, "nbytes", 0) for one in [*saved, *kept])
