"""Memory of one training step of the real model class, simulated without weights or a GPU.

Fake tensors carry shapes and dtypes, no numbers, so a model of any size runs its forward pass,
backward pass and optimiser step on this machine in seconds, and every storage is counted from
birth to death. Layers of a model are alike: two depths are simulated and the rest is a straight
line. CPU tensors stand for the GPU's, because fake CUDA tensors need a torch built for CUDA; the
attention kernel of either keeps the same tensors. Not simulated: 4-bit storage (stands in the
closed form), fragmentation, the context of the driver.
"""

import contextlib
import functools
import weakref
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from .footprint import BYTES, GIB, Run

ROUNDING = 512  # bytes; blocks of torch's CUDA allocator are multiples of it
DEPTHS = (2, 4)  # layers that are simulated; the peak is linear in the depth beyond them
# Names of the depth in the configurations of transformers; T5 has one for each half.
DEPTH_FIELDS = ("num_hidden_layers", "n_layer", "num_layers", "num_decoder_layers")


def simulated_peak_gib(config: Any, run: Run) -> float:
    """Return the peak of allocated memory of one optimiser step, GiB.

    Args:
        config: configuration of transformers; its depth decides how far is extrapolated.
        run: the run as the closed form sees it; weights must not be quantised.
    """
    depth = int(getattr(config, _depth_fields(config)[0]))
    points = [_peaks(_with_depth(config, layers), run) for layers in DEPTHS]
    steps = (depth - DEPTHS[1]) / (DEPTHS[1] - DEPTHS[0])
    # The forward and backward peak and that of the optimiser step grow with different slopes.
    return max(b + (b - a) * steps for a, b in zip(*points, strict=True)) / GIB


def saving_of_tiled_loss(config: Any, run: Run) -> float:
    """Return the GiB that a loss in tiles saves over whole logits."""
    whole, tiled = replace(run, chunked_loss=False), replace(run, chunked_loss=True)
    return simulated_peak_gib(config, whole) - simulated_peak_gib(config, tiled)


def _depth_fields(config: Any) -> list[str]:
    return [name for name in DEPTH_FIELDS if name in config.to_dict()]


def _with_depth(config: Any, layers: int) -> Any:
    values = config.to_dict() | dict.fromkeys(_depth_fields(config), layers)
    if values.get("layer_types"):
        values["layer_types"] = values["layer_types"][:layers]
    return type(config).from_dict(values)


def _peaks(config: Any, run: Run) -> tuple[int, int]:
    """Return the bytes at the highest point of the passes, and of the optimiser step."""
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode

    with torch.device("meta"):
        model = _model(config, run)
    counter = _counter()
    with _without_kernels(), FakeTensorMode(allow_non_fake_inputs=True), counter:
        _materialise(model)
        model.train()
        trained = [p for p in model.parameters() if p.requires_grad]
        optimiser = _optimiser(trained, run)
        # Its states lie there from the second step on, so they count during the passes.
        states = [torch.empty_like(p) for p in trained for _ in range(_copies(run))]
        loss = _loss(model, config, run)
        loss.backward()
        del loss
        passes, counter.peak = counter.peak, counter.live
        if run.optimiser.startswith("adamw_torch"):
            del states
        optimiser()
        return passes, counter.peak


def _model(config: Any, run: Run) -> Any:
    import torch
    import transformers

    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[run.weights]
    names = {"causal_lm": "CausalLM", "classify": "SequenceClassification", "seq2seq": "Seq2SeqLM"}
    factory = getattr(transformers, f"AutoModelFor{names[run.head]}")
    model = factory.from_config(config, dtype=dtype, attn_implementation="sdpa")
    model.config.use_cache = False
    if run.chunked_loss and run.head == "causal_lm":
        from trl.trainer.utils import add_fused_lm_head

        add_fused_lm_head(model)
    if run.checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    if run.trains_all:
        return model
    if run.checkpointing:
        model.enable_input_require_grads()
    from peft import LoraConfig, get_peft_model

    return get_peft_model(
        model,
        LoraConfig(
            r=run.lora_r,
            # A CPU keeps masks as fp32, a GPU as bytes: the closed form adds the difference.
            lora_dropout=0.0,
            target_modules=list(run.lora_targets) or "all-linear",
            use_dora=run.technique == "dora",
        ),
    )


def _materialise(model: Any) -> None:
    """Give every parameter and buffer of a model on `meta` a fake storage that is counted."""
    import torch

    done: dict[int, Any] = {}
    kept: list[Any] = []  # an id is only unique while its object lives
    for module in model.modules():
        for values in (module._parameters, module._buffers):
            for name, value in values.items():
                if value is None:
                    continue
                if id(value) not in done:
                    fresh = torch.empty(value.shape, dtype=value.dtype, device="cpu")
                    if isinstance(value, torch.nn.Parameter):
                        fresh = torch.nn.Parameter(fresh, requires_grad=value.requires_grad)
                    done[id(value)] = done[id(fresh)] = fresh
                    kept += [value, fresh]
                values[name] = done[id(value)]


def _loss(model: Any, config: Any, run: Run) -> Any:
    import torch

    rows, length = run.micro_batch * run.sequences, run.seq_length
    inputs = {"input_ids": torch.zeros((rows, length), dtype=torch.long)}
    if run.head == "classify":
        inputs["labels"] = torch.zeros((rows,), dtype=torch.long)
    else:
        inputs["labels"] = torch.zeros((rows, length), dtype=torch.long)
    if run.head == "causal_lm":
        inputs["use_cache"] = False
        if run.chunked_loss:
            inputs["fused_lm_head"] = True
    if getattr(config, "model_type", "") in ("bert", "roberta"):
        inputs["attention_mask"] = torch.ones((rows, length), dtype=torch.long)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=run.autocast):
        return model(**inputs).loss


def _copies(run: Run) -> int:
    return 2 if run.optimiser.startswith("adamw_torch") else 0


def _optimiser(trained: list[Any], run: Run) -> Any:
    """Return one step, as a function: gradients clipped, then AdamW as the Trainer runs it."""
    import torch

    def step() -> None:
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        if not run.optimiser.startswith("adamw_torch"):
            return  # 8-bit and SGD hold what the closed form says
        fused = run.optimiser == "adamw_torch_fused"
        states = [torch.empty_like(p) for p in trained for _ in range(2)]
        if not fused:  # the default implementation takes one temporary copy of all gradients
            temporaries = [torch.empty_like(p) for p in trained]
            del temporaries
        del states

    return step


@contextlib.contextmanager
def _without_kernels() -> Iterator[None]:
    """Replace trl's tile arithmetic for a CPU, which copies tiles; the GPU kernels write in place."""
    from trl.kernels import chunked_logprob

    def nothing(*_args: Any, **_options: Any) -> None:
        return None

    names = ("_forward_tile", "_backward_tile", "_addmm_fp32")
    before = {name: getattr(chunked_logprob, name) for name in names}
    for name in names:
        setattr(chunked_logprob, name, nothing)
    try:
        yield
    finally:
        for name, function in before.items():
            setattr(chunked_logprob, name, function)


@functools.cache
def _counter_class() -> type:
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_iter

    class Counter(TorchDispatchMode):
        """Bytes of live storages, and their highest sum."""

        def __init__(self) -> None:
            super().__init__()
            self.live = self.peak = 0
            self.known: dict[int, int] = {}

        def _forget(self, key: int) -> None:
            self.live -= self.known.pop(key)

        def __torch_dispatch__(
            self, function: Any, _types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            result = function(*args, **(kwargs or {}))
            for tensor in tree_iter(result):
                if isinstance(tensor, torch.Tensor) and tensor.device.type == "cpu":
                    self._count(tensor.untyped_storage())
            return result

        def _count(self, storage: Any) -> None:
            key = storage._cdata
            if key in self.known:
                return
            size = -(-storage.nbytes() // ROUNDING) * ROUNDING
            self.known[key] = size
            self.live += size
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self._forget, key)

    return Counter


def _counter() -> Any:
    return _counter_class()()


__all__ = ["BYTES", "saving_of_tiled_loss", "simulated_peak_gib"]
