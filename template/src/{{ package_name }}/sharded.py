"""FSDP2: weights, gradients and states of the optimiser in parts, one part a process.

`torch.distributed.fsdp.fully_shard` is applied here, not by accelerate: accelerate 1.15 turns its
FSDP plug-in on for launches on GPUs only (state.AcceleratorState: the list of distributed types
holds MULTI_GPU and others, not MULTI_CPU), so that a launch on CPUs with `fsdp` in the arguments of
the trainer trains with DistributedDataParallel and says nothing.

Checkpoints are written by torch.distributed.checkpoint: each process writes its part, and any
number of processes reads them, one alone included.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .model_parts import block_lists

WEIGHTS = "sharded_weights"  # folders of a checkpoint
OPTIMISER = "sharded_optimizer"
GROUPS = "groups.pt"  # learning rates and other numbers of the optimiser


def shard(model: Any, kind: str) -> None:
    """Shard a model in place over all processes: block by block, then what is around them.

    Weights are gathered for the pass through their block and freed behind it, those around the
    blocks as well, so that outside of a pass each process holds its part alone.

    Args:
        model: Plain, the same in all processes.
        kind: Of the device, cpu or cuda.

    Raises:
        UserError: it has no stack of blocks.
    """
    import torch
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FSDPModule, fully_shard

    mesh = init_device_mesh(kind, (torch.distributed.get_world_size(),))
    for _, blocks in block_lists(model):
        for block in blocks:
            fully_shard(block, mesh=mesh, reshard_after_forward=True)
    fully_shard(model, mesh=mesh, reshard_after_forward=True)
    if kind == "cpu":
        for module in model.modules():
            if isinstance(module, FSDPModule):
                module.set_force_sum_reduction_for_comms(True)  # gloo sums, and has no mean


def is_sharded(model: Any) -> bool:
    """Say whether a model is wrapped by FSDP2."""
    from torch.distributed.fsdp import FSDPModule

    return isinstance(model, FSDPModule)


def holds_shards(checkpoint: str | Path | None) -> bool:
    """Say whether a checkpoint was written in parts."""
    return checkpoint is not None and (Path(checkpoint) / WEIGHTS).is_dir()


def save_weights(model: Any, checkpoint: Path) -> None:
    """Write the trained weights; all processes call this."""
    import torch.distributed.checkpoint as dcp

    dcp.save(dict(_trained(model)), checkpoint_id=checkpoint / WEIGHTS)


def load_weights(model: Any, checkpoint: Path) -> None:
    """Read trained weights into a model, sharded or plain; all processes call this."""
    _read(dict(_trained(model)), checkpoint / WEIGHTS)


def _trained(model: Any) -> Iterator[tuple[str, Any]]:
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            yield name, weight.detach()


def _read(tensors: dict[str, Any], folder: Path) -> None:
    """Fill tensors in place; parts are read together, whole tensors by each process itself."""
    import torch.distributed.checkpoint as dcp
    from torch.distributed.tensor import DTensor

    parts = any(isinstance(tensor, DTensor) for tensor in tensors.values())
    dcp.load(tensors, checkpoint_id=folder, no_dist=not parts)


def load_plain_weights(model: Any, checkpoint: Path) -> None:
    """Read the safetensors of a checkpoint that one process wrote into a sharded model."""
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors import safe_open
    from torch.distributed.tensor import distribute_tensor

    weights = dict(model.named_parameters())
    if isinstance(model, PeftModel):
        names = get_peft_model_state_dict(model, state_dict=weights, save_embedding_layers=False)
        weights, file = names, "adapter_model.safetensors"
    else:
        file = "model.safetensors"
    with safe_open(checkpoint / file, framework="pt") as stored:
        for name in stored.keys():  # noqa: SIM118 - it is no dictionary
            part = weights[name]
            whole = stored.get_tensor(name).to(part.dtype)
            mesh, places = part.device_mesh, part.placements
            part.detach().copy_(distribute_tensor(whole, mesh, places, src_data_rank=None))


def save_optimiser(optimizer: Any, model: Any, checkpoint: Path, first: bool) -> None:
    """Write the states of the optimiser under the names of their weights.

    Args:
        optimizer: Of a sharded model.
        model: Whose weights it changes.
        checkpoint: Gets a folder.
        first: Whether this process writes what is the same in all.
    """
    import torch
    import torch.distributed.checkpoint as dcp

    state, names = optimizer.state_dict(), _names(optimizer, model)
    tensors = {
        f"{names[number]}/{key}": value
        for number, values in state["state"].items()
        for key, value in values.items()
    }
    dcp.save(tensors, checkpoint_id=checkpoint / OPTIMISER)
    if first:
        torch.save(state["param_groups"], checkpoint / OPTIMISER / GROUPS)


def load_optimiser(optimizer: Any, model: Any, checkpoint: Path) -> None:
    """Read the states of an optimiser that was saved in parts; it may be whole now."""
    import torch
    from torch.distributed.checkpoint import FileSystemReader

    folder, weights = checkpoint / OPTIMISER, dict(model.named_parameters())
    tensors, listed = {}, FileSystemReader(folder).read_metadata().state_dict_metadata
    stored: Any  # of a tensor: nothing else was saved there
    for key, stored in listed.items():
        weight = weights[key.rpartition("/")[0]].detach()
        alike = stored.size == weight.shape
        tensors[key] = torch.zeros_like(weight) if alike else torch.zeros(stored.size)
    _read(tensors, folder)
    numbers = {name: number for number, name in enumerate(_names(optimizer, model))}
    state: dict[int, dict[str, Any]] = {}
    for key, tensor in tensors.items():
        name, _, part = key.rpartition("/")
        state.setdefault(numbers[name], {})[part] = tensor
    groups = torch.load(folder / GROUPS, weights_only=True)
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def load_plain_optimiser(optimizer: Any, file: Path) -> None:
    """Read the states that one process wrote, and keep the part of this process."""
    import torch
    from torch.distributed.tensor import distribute_tensor

    stored = torch.load(file, map_location="cpu", weights_only=True)
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    for number, values in stored["state"].items():
        part = weights[number]
        for key, value in values.items():
            if value.shape == part.shape:
                mesh, places = part.device_mesh, part.placements
                values[key] = distribute_tensor(value, mesh, places, src_data_rank=None)
    optimizer.load_state_dict(stored)


def _names(optimizer: Any, model: Any) -> list[str]:
    """Return the name of each weight of an optimiser, in its order."""
    names = {id(weight): name for name, weight in model.named_parameters()}
    return [names[id(weight)] for group in optimizer.param_groups for weight in group["params"]]


def gather(model: Any, keep: bool) -> None:
    """Make a sharded model plain again where `keep`; all processes call this.

    A weight is gathered at a time, and only the process that keeps it holds it afterwards. The
    others are left with their parts, and must not compute with the model again.
    """
    from torch.distributed.fsdp import FSDPModule
    from torch.distributed.tensor import DTensor
    from torch.nn import Parameter

    whole: dict[int, tuple[Any, Any]] = {}  # part -> (part, whole): tied weights stay tied
    for module in model.modules():
        for name, weight in module._parameters.items():
            if not isinstance(weight, DTensor):
                continue
            if id(weight) not in whole:
                part: Any = weight.detach()
                full = part.full_tensor()
                kept = Parameter(full, weight.requires_grad) if keep else weight
                whole[id(weight)] = weight, kept
            module._parameters[name] = whole[id(weight)][1]
    if keep:
        for module in model.modules():
            if isinstance(module, FSDPModule):
                module.__class__ = type(module).__bases__[1]  # fully_shard put its own before it
