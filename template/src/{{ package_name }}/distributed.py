"""Several processes train one model: who writes, who computes which rows, how it is wrapped.

Every process holds all rows and takes its part of each optimiser step, so that the steps are those
of a single process with the same `train.effective_batch_size`. DDP keeps the whole model in each
process, FSDP2 a part of it (sharded.py). The class that wraps the model is checked before the first
step: libraries fall back to fewer processes, or to the other way, without an error.
"""

import atexit
import resource
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .config import Config
from .devices import Device
from .errors import Problem, UserError
from .forgetting import NONE
from .forgetting import SETTING as FORGETTING
from .hardware import Plan
from .launch import COMMAND, Launch, check_batch, launched
from .objectives import IGNORED, OBJECTIVES, Objective
from .sharded import (
    gather,
    holds_shards,
    is_sharded,
    load_optimiser,
    load_plain_optimiser,
    load_plain_weights,
    load_weights,
    save_optimiser,
    save_weights,
    shard,
)
from .techniques import TECHNIQUES, Technique

FSDP = "fsdp2"  # Plan.sharding
# Names of optimisers whose states have the shape of their weight, or are one number
SHAREABLE = frozenset(("adamw_torch", "adamw_torch_fused", "sgd"))


def start(config: Config, plan: Plan, device: Device) -> Launch:
    """Join the processes of a launch, if there are several, after a check that they can train.

    Raises:
        UserError: lists what several processes cannot do, or says that only one was started.
    """
    launch, wanted = launched(), config.train.parallel
    if launch.alone:
        if wanted != "auto":
            found = f"{wanted}, and this process is alone"
            fix = f"start by {COMMAND}, or set train.parallel=auto"
            raise UserError(Problem("train.parallel", found, fix=fix))
        return launch
    reasons = refusals(config, plan, OBJECTIVES[config.objective], TECHNIQUES[plan.technique])
    if problems := [Problem(where, reason) for where, reason in reasons]:
        raise UserError(problems)
    check_batch(
        config.train.effective_batch_size,
        plan.per_device_train_batch_size,
        plan.gradient_accumulation_steps,
        launch.processes,
    )
    import torch

    if not torch.distributed.is_initialized():
        if device.kind == "cuda":
            torch.cuda.set_device(launch.local_rank)
        # gloo beside nccl: what is not on the GPU (which folder, which counts) is sent as well.
        backend = "cuda:nccl,cpu:gloo" if device.kind == "cuda" else "gloo"
        torch.distributed.init_process_group(backend)
        atexit.register(torch.distributed.destroy_process_group)
    return launch


def refusals(
    config: Config, plan: Plan, objective: Objective, technique: Technique
) -> Iterator[tuple[str, str]]:
    """Yield (setting, sentence) for each reason why several processes cannot do a run."""
    if not objective.counts_tokens:
        allowed = ", ".join(row.name for row in OBJECTIVES.values() if row.counts_tokens)
        yield (
            "objective",
            f"`{objective.name}` does not weigh its rows by learned tokens, so that parts of a "
            f"step in several processes would not add up to it: choose one of {allowed}, or "
            "train in one process.",
        )
    if technique.quantised:
        yield (
            "technique",
            f"`{technique.name}` rounds the base as it is read, which was not tried with several "
            "processes: choose lora, or train in one process.",
        )
    if plan.sharding == FSDP:
        yield from _unshareable(config, plan, technique)


def _unshareable(config: Config, plan: Plan, technique: Technique) -> Iterator[tuple[str, str]]:
    """Yield what FSDP2 cannot do."""
    if technique.prompts:
        yield (
            "technique",
            f"`{technique.name}` reads its vectors outside of the pass through the model, where "
            "FSDP2 holds parts of them: set train.parallel=ddp.",
        )
    if config.train.forgetting != NONE:
        yield (
            FORGETTING,
            f"`{config.train.forgetting}` holds copies of whole weights, and FSDP2 has them in "
            "parts: set train.parallel=ddp.",
        )
    if plan.precision == "fp16":
        yield (
            "train.precision",
            "fp16 scales the loss by a check of all gradients, which are in parts here: "
            "bf16, fp32, or train.parallel=ddp.",
        )
    optim = plan.optim if config.train.optim == "auto" else config.train.optim
    if optim not in SHAREABLE:
        yield (
            "train.optim",
            f"states of `{optim}` cannot be held in parts: choose one of "
            f"{', '.join(sorted(SHAREABLE))}, or train.parallel=ddp.",
        )


def first_does(action: Callable[[], Any]) -> Any:
    """Run an action in the first process alone; return its result in all of them."""
    launch = launched()
    if launch.alone:
        return action()
    import torch

    box = [action() if launch.first else None]
    torch.distributed.broadcast_object_list(box, src=0)
    return box[0]


def all_say(value: Any) -> list[Any]:
    """Return a value of each process, in their order; all of them call this."""
    launch = launched()
    if launch.alone:
        return [value]
    import torch

    said: list[Any] = [None] * launch.processes
    torch.distributed.all_gather_object(said, value)
    return said


def check_same(counts: dict[str, Any]) -> None:
    """Refuse to train where the processes tokenised other rows.

    Raises:
        UserError: for example, one machine of several has older prepared data.
    """
    if any(other != counts for other in all_say(counts)):
        found = "not the same in all processes"
        raise UserError(Problem("prepared data", found, fix="prepare once, and share the folder"))


def check_wrapped(model: Any, sharding: str) -> str:
    """Return the name of the class that holds a model together over processes.

    Raises:
        RuntimeError: it is another one than planned.
    """
    from torch.distributed.fsdp import FSDPModule
    from torch.nn.parallel import DistributedDataParallel

    wanted: Any = FSDPModule if sharding == FSDP else DistributedDataParallel
    if not isinstance(model, wanted):
        raise RuntimeError(f"{type(model).__name__} is not the planned {wanted.__name__}")
    return str(wanted.__name__)


def shared_trainer(trainer_class: Any, plan: Plan, device: Device) -> Any:
    """Return a trainer class for this launch, which reads the checkpoints of any launch.

    Args:
        trainer_class: Of the objective, for one process.
        plan: Names the way of sharing.
        device: That each process computes on.
    """
    launch = launched()
    sharing = not launch.alone and plan.sharding == FSDP

    class SharedTrainer(trainer_class):  # type: ignore[misc]
        """A trainer whose steps are those of one process, whatever the number of processes."""

        wrapped = ""  # class that holds the model together, once it trains

        def get_train_dataloader(self) -> Any:
            loader = super().get_train_dataloader()
            return loader if launch.alone else shared_loader(loader, launch)

        def _prepare_for_training(self, *args: Any, **kwargs: Any) -> Any:
            if sharing and not is_sharded(self.model):
                shard(self.model, device.kind)
                # Autocast only; it also counts as prepared then, and is not wrapped in DDP.
                self.accelerator.prepare_model(
                    self.model, device_placement=False, evaluation_mode=True
                )
            model, loader = super()._prepare_for_training(*args, **kwargs)
            if not launch.alone:
                import torch

                self.wrapped = check_wrapped(model, plan.sharding)
                # Else all would drop the same inputs; the order of the rows has its own seed.
                torch.manual_seed(self.args.seed + launch.rank)
            return model, loader

        def _track_num_input_tokens(self, inputs: Any) -> None:
            if not launch.alone and bool((inputs["labels"] == IGNORED).all()):
                # No row was left for this process: what it computes on belongs to no step.
                inputs = {**inputs, "attention_mask": inputs["labels"].new_zeros(1)}
            super()._track_num_input_tokens(inputs)

        def save_model(self, output_dir: Any = None, _internal_call: bool = False) -> None:
            if not is_sharded(self.model):
                return super().save_model(output_dir, _internal_call)
            save_weights(self.model, Path(output_dir))

        def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
            if not is_sharded(self.model):
                return super()._save_optimizer_and_scheduler(output_dir)
            import torch

            folder = Path(output_dir)
            save_optimiser(self.optimizer, self.model, folder, launch.first)
            if launch.first:
                torch.save(self.lr_scheduler.state_dict(), folder / "scheduler.pt")

        def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
            # Before the model is sharded, so that other checkpoints need nothing here.
            if not holds_shards(resume_from_checkpoint):
                return super()._load_from_checkpoint(resume_from_checkpoint, model)
            load_weights(self.model, Path(resume_from_checkpoint))

        def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
            parts = holds_shards(checkpoint)
            if checkpoint is None or not (parts or is_sharded(self.model)):
                return super()._load_optimizer_and_scheduler(checkpoint)
            import torch

            folder = Path(checkpoint)
            if parts:
                load_optimiser(self.optimizer, self.model, folder)
            else:
                load_plain_optimiser(self.optimizer, folder / "optimizer.pt")
            state = torch.load(folder / "scheduler.pt", weights_only=True)
            self.lr_scheduler.load_state_dict(state)

        def _load_best_model(self) -> None:
            best = Path(self.state.best_model_checkpoint)
            if holds_shards(best):
                load_weights(self.model, best)
            elif is_sharded(self.model):
                load_plain_weights(self.model, best)
            else:
                super()._load_best_model()

    return SharedTrainer


class OwnBatches:
    """The part of each batch that one process computes.

    A round is a micro batch for each process. The last round of an epoch may be short: its rows
    are dealt out one by one, and a process that gets none computes on a row without labels, because
    all processes must take part in each pass.

    Args:
        whole: Batches in the order in which one process would take them.
        launch: Which process this is, of how many.
    """

    def __init__(self, whole: Any, launch: Launch) -> None:
        self.batch_sampler = whole  # under this name the trainer tells it the epoch
        self.batch_size = whole.batch_size
        self.launch = launch

    def __len__(self) -> int:
        """Return the rounds of an epoch."""
        batches, processes = len(self.batch_sampler), self.launch.processes
        return batches // processes if self.batch_sampler.drop_last else -(-batches // processes)

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the numbers of the rows; none of them: take part with a row without labels."""
        rank, processes = self.launch.rank, self.launch.processes
        batches: list[list[int]] = []
        for batch in self.batch_sampler:
            batches.append(batch)
            if len(batches) == processes and len(batch) == self.batch_size:
                yield batches[rank]
                batches = []
        if batches and not self.batch_sampler.drop_last:
            yield [row for batch in batches for row in batch][rank::processes]


def shared_loader(loader: Any, launch: Launch) -> Any:
    """Return a loader of this process's part of what `loader` was to give out.

    accelerate deals out whole batches and fills the last round up with rows of the first: the last
    step of each epoch would be another one than that of a single process.
    """
    from accelerate.data_loader import DataLoaderShard

    collate, rows = loader.collate_fn, loader.dataset

    def part(found: list[Any]) -> Any:
        if found:
            return collate(found)
        batch = collate([rows[0]])
        batch["labels"] = batch["labels"].new_full(batch["labels"].shape, IGNORED)
        return batch

    return DataLoaderShard(
        rows,
        device=loader.device,
        rng_types=loader.rng_types,
        synchronized_generator=loader.synchronized_generator,
        _drop_last=True,  # nothing to cut off what is gathered at the end: no row came twice
        batch_sampler=OwnBatches(loader.batch_sampler.batch_sampler, launch),
        collate_fn=part,
        num_workers=loader.num_workers,
        pin_memory=loader.pin_memory,
        worker_init_fn=loader.worker_init_fn,
    )


def finish(trainer: Any, plan: Plan) -> dict[str, Any]:
    """Make the trained model whole in the first process; return what the record says of them all.

    Returns:
        Nothing for a process that is alone, else the number of processes, how the model was held
        together, and the largest resident memory of each process in GiB.
    """
    launch = launched()
    if launch.alone:
        return {}
    peaks = all_say(round(_resident_peak() / 2**30, 3))
    if is_sharded(trainer.model):
        trainer.optimizer = trainer.lr_scheduler = None  # room for what is gathered
        trainer.accelerator.free_memory()
        gather(trainer.model, launch.first)
    found = {"processes": launch.processes, "sharding": plan.sharding, "class": trainer.wrapped}
    return {"parallel": found | {"peak_resident_gib": peaks}}


def _resident_peak() -> int:
    """Return the largest resident set of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024)  # Linux counts in KiB
