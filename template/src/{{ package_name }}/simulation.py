"""Memory of one training step of the real model class, simulated without weights or a GPU.

Fake tensors carry shapes and dtypes, no numbers, so a model of any size runs its forward pass,
backward pass and optimiser step on this machine in seconds, and every storage is counted from
birth to death. Layers of a model are alike: two depths are simulated and the rest is a straight
line. CPU tensors stand for the GPU's, because fake CUDA tensors need a torch built for CUDA; the
attention kernel of either keeps the same tensors. Not simulated: 4-bit storage, masks of dropout
and padding, sharding, fragmentation, the context of the driver. The closed form has them.
"""

import contextlib
import functools
import weakref
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from .footprint import GIB, OPTIMISERS, Run, Shape

ROUNDING = 512  # bytes; blocks of torch's CUDA allocator are multiples of it
DEPTHS = (2, 4)  # layers that are simulated; the peak is linear in the depth beyond them
ATTENTION = "sdpa_without_mask"  # name under which sdpa is registered for unpadded batches
SPARE = {"bert": "SequenceClassification", "t5": "Seq2SeqLM"}  # heads of families
# Family -> configuration class of transformers, and the names of its sizes where they differ
CLASSES = {
    "llama": "LlamaConfig", "qwen3": "Qwen3Config", "gemma": "GemmaConfig",
    "gemma3": "Gemma3TextConfig", "olmo2": "Olmo2Config", "phi3": "Phi3Config",
    "starcoder2": "Starcoder2Config", "gpt2": "GPT2Config", "bert": "BertConfig",
    "t5": "T5Config",
}  # fmt: skip
NAMES = {
    "gpt2": {
        "hidden_size": "n_embd",
        "intermediate_size": "n_inner",
        "num_hidden_layers": "n_layer",
        "num_attention_heads": "n_head",
        "max_position_embeddings": "n_positions",
    },
    "t5": {
        "hidden_size": "d_model",
        "intermediate_size": "d_ff",
        "num_hidden_layers": "num_layers",
        "num_attention_heads": "num_heads",
        "head_dim": "d_kv",
    },
}
NO_DROPOUT = {
    "gpt2": ("attn_pdrop", "resid_pdrop", "embd_pdrop"), "t5": ("dropout_rate",),
    "bert": ("hidden_dropout_prob", "attention_probs_dropout_prob"),
}  # fmt: skip


def simulated_peak_gib(run: Run) -> float:
    """Return the peak of allocated memory of one optimiser step, GiB; weights not quantised."""
    points = [_peaks(configuration(run.shape._replace(layers=layers)), run) for layers in DEPTHS]
    steps = (run.shape.layers - DEPTHS[1]) / (DEPTHS[1] - DEPTHS[0])
    # The peak of the passes and that of the optimiser step grow with different slopes.
    return max(b + (b - a) * steps for a, b in zip(*points, strict=True)) / GIB


def saving_of_tiled_loss(run: Run) -> float:
    """Return the GiB that a loss in tiles saves over whole logits."""
    return simulated_peak_gib(replace(run, chunked_loss=False)) - simulated_peak_gib(
        replace(run, chunked_loss=True)
    )


def configuration(shape: Shape) -> Any:
    """Return the transformers configuration of a shape."""
    import transformers

    family = shape.family
    kind = CLASSES[family]
    sizes: dict[str, Any] = {
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim,
        "vocab_size": shape.vocab,
        "tie_word_embeddings": shape.tied,
        # rotary positions hold no memory; learned ones do
        "max_position_embeddings": {"gpt2": 1024, "bert": 512}.get(family, 2**17),
        "pad_token_id": 0,
    }
    if shape.experts > 1:
        kind = "Qwen3MoeConfig" if family == "qwen3" else "MixtralConfig"
        sizes |= {"num_experts": shape.experts, "num_local_experts": shape.experts}
        sizes |= {"num_experts_per_tok": shape.routed, "moe_intermediate_size": shape.intermediate}
    sizes = {NAMES.get(family, {}).get(name, name): value for name, value in sizes.items()}
    if family == "t5":
        sizes |= {"num_decoder_layers": shape.layers}
    sizes |= dict.fromkeys(NO_DROPOUT.get(family, ()), 0.0)
    factory = getattr(transformers, kind)
    # Configurations that do not list these take them all the same.
    known = set(factory().to_dict()) | {"num_local_experts", "num_experts", "head_dim"}
    config = factory(**{name: value for name, value in sizes.items() if name in known})
    config.decoder_start_token_id = 0
    return config


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
        # States lie there from the second step on, so they count during the passes.
        copies, fixed, temporaries = OPTIMISERS[run.optimiser]
        states = [torch.empty_like(p) for p in trained for _ in range(copies)]
        states += [torch.empty(fixed * p.numel(), dtype=torch.uint8) for p in trained if fixed]
        output = _output(model, run)  # a training loop still holds the logits here
        output.loss.backward()
        del output
        passes, counter.peak = counter.peak, counter.live
        states += [torch.empty_like(p) for p in trained for _ in range(temporaries)]
        return passes, counter.peak


def _register_attention() -> None:
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    AttentionInterface.register(ATTENTION, sdpa_attention_forward)
    AttentionMaskInterface.register(ATTENTION, lambda *_args, **_options: None)


def _model(config: Any, run: Run) -> Any:
    import torch
    import transformers

    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[run.weights]
    head = SPARE.get(run.shape.family, "CausalLM")
    factory = getattr(transformers, f"AutoModelFor{head}")
    _register_attention()
    model = factory.from_config(config, dtype=dtype, attn_implementation=ATTENTION)
    model.config.use_cache = False
    if run.chunked_loss and head == "CausalLM":
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
            task_type="SEQ_CLS" if head == "SequenceClassification" else None,
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


def _output(model: Any, run: Run) -> Any:
    import torch

    shape = (run.micro_batch, run.seq_length)
    family = run.shape.family
    inputs: dict[str, Any] = {"input_ids": torch.zeros(shape, dtype=torch.long)}
    inputs["labels"] = torch.zeros(shape[:1] if family == "bert" else shape, dtype=torch.long)
    if family not in SPARE:
        inputs["use_cache"] = False
        if run.chunked_loss:
            inputs["fused_lm_head"] = True
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=run.autocast):
        return model(**inputs)


@contextlib.contextmanager
def _without_kernels() -> Iterator[None]:
    """Replace trl's arithmetic for a CPU, which copies tiles; GPU kernels write in place."""
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
