"""Settings of the optimisation."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from .settings_base import Auto, Positive, Section, ShareOrSteps


class Train(Section):
    """The optimisation."""

    output_dir: Annotated[str, Field(min_length=1)] = "runs"
    """Folder that gets one subfolder for each run."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 42
    """Seed of data order, dropout and adapter start."""
    max_length: Annotated[int, Field(ge=8)] = 512
    """Longest example in tokens; longer ones are left out and counted."""
    num_train_epochs: Annotated[float, Field(gt=0)] = 3
    """Passes over the training split; ignored when max_steps is set."""
    max_steps: Annotated[int, Field(ge=-1, le=10**9)] = -1
    """Optimiser steps after which training ends; -1: num_train_epochs decides."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] | Auto = "auto"
    """Peak step size; auto: by the technique and the size of the model."""
    lr_scheduler_type: Literal[
        "cosine",
        "linear",
        "constant",
        "constant_with_warmup",
        "cosine_with_restarts",
        "polynomial",
        "inverse_sqrt",
    ] = "cosine"
    """Course of the learning rate after the warm-up."""
    warmup_steps: ShareOrSteps = 0.06
    """Rise of the learning rate: share of the run if below 1, else optimiser steps."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """Pull of the trained weights towards zero, per step and learning rate."""
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    """Gradients with a larger norm are scaled down to it."""
    optim: str = "auto"
    """Optimiser by its transformers name; auto: planned."""
    effective_batch_size: Annotated[int, Field(ge=1, le=10**6)] = 16
    """Examples per optimiser step, over all devices and accumulation steps."""
    per_device_train_batch_size: Positive | Auto = "auto"
    """Examples that one device holds at a time; auto: planned."""
    gradient_accumulation_steps: Positive | Auto = "auto"
    """Micro batches per optimiser step; auto: planned."""
    gradient_checkpointing: bool | Auto = "auto"
    """Recompute activations to save memory, about a quarter slower; auto: planned."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Number format of the computation; auto: planned."""
    eval_strategy: Literal["steps", "epoch", "no"] = "steps"
    """When the validation loss is measured and a checkpoint is written."""
    eval_steps: Annotated[float, Field(gt=0)] = 0.2
    """Distance of two validations: share of the run if below 1, else optimiser steps."""
    save_total_limit: Positive = 2
    """Checkpoints that are kept; the best one is always among them."""
    logging_steps: Positive = 1
    """Optimiser steps between two lines of training_log.jsonl."""
    metric_for_best_model: Literal["auto", "eval_loss", "eval_mean_token_accuracy"] = "auto"
    """Picks the best checkpoint and stops a run; auto: as the objective says, mostly eval_loss."""
    packing: bool | Auto = "auto"
    """Put several short examples into one row, kept apart; auto: where documents are learned."""
    train_sampling_strategy: Literal["auto", "random", "group_by_length"] = "auto"
    """Order of the rows; group_by_length: batches of one length; auto: where it saves padding."""
    use_liger_kernel: bool | Auto = "auto"
    """Kernels of the package liger-kernel; auto: on CUDA, where it knows the architecture."""
    torch_compile: bool = False
    """Compile the model; the first steps take minutes, and a C++ compiler is needed."""
    early_stopping_patience: Positive | None = 3
    """Validations without a gain before training stops; null: never."""
    forgetting: Literal["none", "l2", "ewc"] = "none"
    """Penalty for moving away from the base (docs/troubleshooting.md); ewc reads data.mixture."""
    forgetting_strength: Annotated[float, Field(gt=0)] = 0.1
    """Its factor: strength / 2 * squared distance of the weights (weighed by ewc), in nats."""
    resume_from_checkpoint: str | None = None
    """latest, or a checkpoint folder to go on from; null: a new run."""
    parallel: Literal["auto", "ddp", "fsdp"] = "auto"
    """How several processes share a model: ddp whole, fsdp (FSDP2) in parts; auto: as it fits."""
    allow_changed: bool = False
    """Go on although data, model or settings changed since the run began; what did is printed."""
    on_divergence: Literal["stop", "rollback"] = "stop"
    """Loss is NaN or jumps: stop, or go back to a checkpoint with half the learning rate."""
    extra: dict[str, Any] = {}
    """More arguments of the Hugging Face trainer, passed on as they are."""

    @field_validator("warmup_steps", "eval_steps")
    @classmethod
    def _share_or_whole(cls, value: float) -> float:
        if value >= 1 and value != int(value):
            raise ValueError("no share and no whole number|below 1: a share, else whole steps")
        return value

    @field_validator("max_steps")
    @classmethod
    def _not_zero(cls, value: int) -> int:
        if value == 0:
            raise ValueError("a run without steps|-1 or a whole number >= 1")
        return value
