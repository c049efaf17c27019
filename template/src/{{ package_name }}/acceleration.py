"""What makes training faster or smaller and leaves alone what is learned: rows, and choices.

Each choice is made once for a run and returned with its reason. docs/speed.md is made of the rows.
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .config import Config
from .devices import Device
from .errors import Problem, UserError
from .hardware import Plan
from .model_access import base_model
from .model_source import find_installed
from .objectives import OBJECTIVES
from .utils import read_json

FLASH = "flash_attention_2"
ATTENTION, LIGER, COMPILE = (
    "model.attn_implementation",
    "train.use_liger_kernel",
    "train.torch_compile",
)
AMPERE = 8  # compute capability from which flash-attn 2 has kernels
COMPILERS = ("g++", "clang++", "c++")


@dataclass(frozen=True, slots=True)
class Means:
    """One way of training faster, or with less memory.

    Attributes:
        title: Name for people.
        setting: That decides it; "" where nothing but the machine does.
        automatic: What is done unless it is set.
        doc: What it gains, and what it costs.
    """

    title: str
    setting: str
    automatic: str
    doc: str


MEANS = (
    Means(
        "mixed precision",
        "train.precision",
        "bf16 where the device computes in it, fp16 on older GPUs, fp32 on other CPUs",
        "Half the memory of activations and twice the speed or more; a CPU without bf16 units "
        "imitates them at a nineteenth of its speed.",
    ),
    Means(
        "gradient checkpointing",
        "train.gradient_checkpointing",
        "on where the activations do not fit",
        "Keeps the input of each layer alone and computes the rest anew: about a quarter slower.",
    ),
    Means(
        "gradient accumulation",
        "train.gradient_accumulation_steps",
        "effective_batch_size / micro batch",
        "The loss of a large batch with the memory of a small one.",
    ),
    Means(
        "packing",
        "train.packing",
        "on where documents are learned and the model keeps them apart, which is tried out",
        "Several short examples fill a row: no padding. Examples do not see each other.",
    ),
    Means(
        "batches by length",
        "train.train_sampling_strategy",
        "on where a tenth or more of random batches would be padding",
        "Rows of about one length share a batch. Seed and epoch decide the order, so an "
        "interrupted run goes on as if it had not stopped.",
    ),
    Means(
        "whole or chunked loss",
        "",
        "whole on a CPU unless the logits are large, chunked on a GPU",
        "Whole logits are faster on a CPU; in chunks they are never held as a whole, which "
        "decides with a vocabulary of 100,000 and more.",
    ),
    Means(
        "loss where it is learned",
        "",
        "on a CPU: sft, chat, pretrain, dpo",
        "The vocabulary is scored only where some row has a label: prompts cost no logits. dpo "
        "computes a prompt once for both of its answers, where the model scores them alike then.",
    ),
    Means(
        "attention kernel",
        ATTENTION,
        "flash_attention_2 where package, GPU (compute capability 8) and model have it, and rows "
        "are not packed; else what the model brings, mostly sdpa",
        "Memory of attention grows with the length and not with its square.",
    ),
    Means(
        "Liger kernels",
        LIGER,
        "on where liger-kernel is installed, on CUDA, for architectures that it knows",
        "Norms, rotary positions and activations in one kernel each: less memory, faster.",
    ),
    Means(
        "torch.compile",
        COMPILE,
        "off",
        "Fuses small operations; compiling takes minutes, and again for new shapes. Needs a C++ "
        "compiler. Worth it for runs of hours.",
    ),
    Means(
        "8-bit optimisers",
        "train.optim",
        "adamw_8bit where 32-bit states do not fit",
        "A quarter of the memory of the states: adamw_8bit, lion_8bit and others by their "
        "transformers names. Embeddings and tensors of less than 4,096 weights stay in 32 bits.",
    ),
    Means(
        "paged optimisers",
        "train.optim",
        "no",
        "paged_adamw_8bit, paged_adamw_32bit: states move to the RAM when a GPU is full. "
        "A CPU keeps them as the optimisers without paging do.",
    ),
    Means(
        "freed memory is kept",
        "",
        "on a CPU with glibc and twice the planned memory",
        "The allocator keeps what a step frees. MALLOC_ variables or another allocator in "
        "LD_PRELOAD are left alone.",
    ),
    Means(
        "schedule",
        "train.lr_scheduler_type",
        "cosine, after a warm-up of train.warmup_steps",
        "linear, cosine, constant, constant_with_warmup and others by their transformers names; "
        "loss_curve.png of a run shows the planned rate beside the one that was taken.",
    ),
)


def set_attention(config: Config, plan: Plan, device: Device, model: Any) -> str:
    """Give a loaded base model its attention kernel; return which and why.

    Raises:
        UserError: the one that the user set cannot be had.
    """
    wanted, own = config.model.attn_implementation, base_model(model).config._attn_implementation
    hindrance = flash_hindrance(config, plan, device, model)
    if wanted == "auto":
        if hindrance:
            return f"{own}: {hindrance}"
        model.set_attn_implementation(FLASH)
        return f"{FLASH}: the fastest that GPU and model have"
    if wanted == FLASH and hindrance:
        raise UserError(Problem(ATTENTION, hindrance, fix=f"{ATTENTION}=auto"))
    try:
        model.set_attn_implementation(wanted)
    except (ValueError, ImportError):
        found = f"{type(base_model(model)).__name__} has no {wanted}"
        raise UserError(Problem(ATTENTION, found, fix=f"{ATTENTION}=auto")) from None
    return f"{wanted}, set by the user"


def flash_hindrance(config: Config, plan: Plan, device: Device, model: Any) -> str:
    """Return why flash attention 2 cannot be used; "" if it can."""
    if device.kind != "cuda":
        return "flash attention needs a CUDA GPU"
    if plan.precision == "fp32":
        return "flash attention computes in 16 bits only"
    import torch
    from transformers.utils import is_flash_attn_2_available

    if torch.cuda.get_device_capability()[0] < AMPERE:
        return "flash attention needs a newer GPU (compute capability 8)"
    if not is_flash_attn_2_available():
        return "the package flash-attn is not installed"
    if not base_model(model)._supports_flash_attn:
        return "flash attention is not there for this architecture"
    packing, packs = config.train.packing, not OBJECTIVES[config.objective].assistant_only
    if packing is True or (packing == "auto" and packs):
        # transformers sees the borders of examples only in a batch of one row.
        return "flash attention does not keep the examples of packed rows apart"
    return ""


def choose_liger(config: Config, device: Device) -> tuple[bool, str]:
    """Return whether Liger's kernels are used, and why.

    Raises:
        UserError: true, and it cannot be done.
    """
    wanted = config.train.use_liger_kernel
    if wanted is False:
        return False, "off, set by the user"
    reason = _liger_hindrance(config, device)
    if reason and wanted is True:
        raise UserError(Problem(LIGER, reason, fix=f"{LIGER}=auto"))
    if reason:
        return False, f"off: {reason}"
    return True, "on, set by the user" if wanted is True else "on: the package is installed"


def _liger_hindrance(config: Config, device: Device) -> str:
    from transformers.utils import is_liger_kernel_available

    if device.kind != "cuda":
        return "its kernels need a CUDA GPU"
    if not is_liger_kernel_available():
        return "the package liger-kernel is not installed"
    if OBJECTIVES[config.objective].options != "sft":
        return f"objective `{config.objective}` has a loss of its own"
    from liger_kernel.transformers.monkey_patch import MODEL_TYPE_TO_APPLY_LIGER_FN as KNOWN

    source = find_installed(config)
    kind = read_json(source.path / "config.json").get("model_type", "") if source else ""
    return "" if kind in KNOWN else f"it does not know the architecture {kind or 'of this model'}"


def check_compiler(config: Config, environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether the model is compiled.

    Raises:
        UserError: it is wanted, and there is no C++ compiler, which torch.compile calls.
    """
    if not config.train.torch_compile:
        return False
    path = environment.get("PATH")
    named = environment.get("CXX")
    if not any(shutil.which(name, path=path) for name in ((named,) if named else COMPILERS)):
        found = f"no C++ compiler ({named or ', '.join(COMPILERS)})"
        raise UserError(Problem(COMPILE, found, fix=f"install one, or {COMPILE}=false"))
    return True


def speed_arguments(config: Config, device: Device) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the arguments of the Hugging Face trainer for kernels, and the reasons.

    Raises:
        UserError: what the user set cannot be had.
    """
    liger, reason = choose_liger(config, device)
    arguments = {"use_liger_kernel": liger, "torch_compile": check_compiler(config)}
    reasons = {"liger": reason} if device.kind == "cuda" or liger else {}
    if arguments["torch_compile"]:
        reasons["torch.compile"] = "on, set by the user; the first steps compile and are slow"
    return arguments, reasons
