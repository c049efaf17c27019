"""Memory of one training step as a closed form: what is held, what is kept, where the peak is.

Standard library only. Every coefficient is a count of tensors that transformers 5.23, peft 0.21.2,
trl 1.16 and torch 2.13 keep for the backward pass, times the bytes of an element; `simulation.py`
counts the same tensors on the real model classes, and a test compares the two. Published runs
(tests/data) check the result and set no coefficient.
"""

import functools
import math
import sys
from collections import namedtuple
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING or __package__:
    from .small_techniques import SMALL
else:  # loaded by path, beside a script
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    from small_techniques import SMALL

GIB, GB, BYTES = 2**30, 10**9, {"fp32": 4, "bf16": 2, "fp16": 2}
LOSS_ROWS, LOSS_COLUMNS = 4096, 32768  # tile in which trl computes logits and loss
# Architecture in counts; `sure` is False where the formula extrapolates
Shape = namedtuple(
    "Shape",
    "params hidden intermediate layers heads kv_heads head_dim vocab tied experts routed sure "
    "family",
    defaults=(1, 1, True, "llama"),
)


class Family(NamedTuple):
    """Bytes that a 16-bit layer keeps of a token, per unit of (hidden, query, key, inner) width.

    Inner is the width between the matrices of the feed-forward block. `frozen` base weights need
    no inputs of matrices; `trained` ones do. `layers` of width `hidden` read by an adapter each.
    """

    frozen: tuple[float, float, float, float]
    trained: tuple[float, float, float, float]
    matrices: tuple[str, ...]  # that an adapter can sit on; see `matrix`
    gated: bool = True
    bias: float = 0.0  # bytes per attention score: T5 adds a learned bias to every one
    dropouts: float = 0.0  # bytes of masks per hidden unit: models whose own dropout is on


SPLIT = ("q", "k", "v", "o", "gate", "up", "down")
PLAIN = ("q", "k", "v", "o", "up", "down")
# A layer norm in 32 bits keeps its input: 4 h each, 2 h more where its weight is trained; flash
# attention keeps q, k, v and its output: 2 each; SwiGLU keeps gate, activation and up: 6 m. With
# trained weights the inputs of the matrices follow: 2 h behind each norm, 2 m before `down`.
FAMILIES = {
    "llama": Family((8, 4, 4, 6), (16, 4, 4, 8), SPLIT),
    "qwen3": Family((8, 8, 8, 6), (16, 10, 10, 8), SPLIT),  # norms on queries and keys
    "gemma": Family((8, 4, 4, 6), (20, 4, 4, 8), SPLIT),  # norm scaled in 32 bits
    "gemma3": Family((16, 8, 8, 6), (36, 12, 12, 8), SPLIT),  # four norms, and on queries, keys
    "olmo2": Family((8, 8, 8, 6), (20, 12, 12, 8), SPLIT),
    "phi3": Family((8, 6, 6, 6), (16, 8, 6, 8), ("qkv", "o", "gate_up", "down")),
    "starcoder2": Family((4, 4, 4, 2), (8, 4, 4, 4), PLAIN, gated=False),
    "bigcode": Family((4, 4, 4, 2), (8, 4, 4, 4), ("qkv", "o", "up", "down"), gated=False),
    "gpt2": Family((4, 4, 4, 8), (8, 4, 4, 10), ("qkv", "o", "up", "down"), False, dropouts=2),
    "bert": Family((4, 4, 4, 2), (8, 4, 4, 4), PLAIN, gated=False, dropouts=2),
    "t5": Family((27, 12, 12, 4), (54, 12, 24, 4), (*PLAIN, "q", "k", "v", "o", *PLAIN), False, 4),
}
# Name -> (states in copies of the weights, states in bytes, temporary copies during the step)
OPTIMISERS = {"adamw_torch": (2, 0, 1), "adamw_torch_fused": (2, 0, 0), "sgd": (0, 0, 0)}
# DeepSpeed: 32-bit weights and two states, 12 bytes (ZeRO paper), a 32-bit copy of gradients
OPTIMISERS["deepspeed"] = (0, 12, 1)
OPTIMISERS |= dict.fromkeys(("adamw_bnb_8bit", "adamw_8bit", "paged_adamw_8bit"), (0, 2, 0))
# Bytes per logit at the peak. whole: the 16-bit logits that the model returned, and in 32 bits the
# log probabilities, their gradient and that of the logits; freed: the same without the returned
# ones. in_place: 16-bit logits, a 32-bit copy that its gradient overwrites, and that gradient in
# 16 bits; in_place_held: with the returned ones. half: all of `whole` in 16 bits, as models did
# that cast nothing; half_in_place likewise. split: the rest in pieces. tiled, fused: no logits.
LOSSES = {"whole": 14, "freed": 12, "in_place": 8, "in_place_held": 10}
LOSSES |= {"half": 8, "half_in_place": 6, "split": 4, "tiled": 0, "fused": 0}
# Distillation, measured on a CPU with 1,500 x 49,152 logits: 28 to 32 bytes a logit at the peak. In
# tiles: the logits of both models, and the gradient twice, and 30 bytes for each logit of a tile.
DISTILLED, DISTILLED_TILED, DISTILLED_TILE = 32, 30, 2**23


@dataclass(frozen=True)
class Run:
    """One fully decided run, as the memory formula sees it; adapters are fp32 (peft)."""

    shape: Shape
    technique: str
    objective_class: str
    weights: str
    optimiser: str
    autocast: bool
    seq_length: int
    micro_batch: int = 1
    checkpointing: bool = True
    chunked_loss: bool = True
    on_gpu: bool = True
    sharding: str = "none"
    world: int = 1
    lora_r: int = 16
    lora_targets: tuple[str, ...] = ()
    lora_dropout: float = 0.05  # 0: the dropout of the model itself is off as well
    loss: str = ""  # row of LOSSES; empty: tiled or whole by `chunked_loss`
    attention: str = "masked"  # "masked": sdpa with padding, "flash", "eager"
    held_bytes: float = 0.0  # of a frozen linear weight; 0: as the technique or dtype says
    upcast: str = ""  # prepare_model_for_kbit_training: "all" that is not 4-bit becomes fp32;
    # "norms": trl casts embeddings and head back, so that only norms and activations are
    embeddings: bool = False  # copies of embeddings and head are trained beside the adapters
    teacher: Shape | None = None  # a frozen model beside it, whole on every device
    reference: bool = True  # False: settings make the one of OBJECTIVE_CLASSES superfluous

    @property
    def trains_all(self) -> bool:
        """Whether every weight is trained."""
        return TECHNIQUES[self.technique].trains_all

    def target_names(self) -> list[str]:
        """Matrices with an adapter; unrecognised names mean all. For experts see below."""
        return [name for name, _, _ in _adapted(self.shape, self.lora_targets)]

    def targets(self) -> list[tuple[int, int]]:
        """(inputs, outputs) of each adapted matrix of a block."""
        return [(inputs, outputs) for _, inputs, outputs in _adapted(self.shape, self.lora_targets)]

    @property
    def adapts_experts(self) -> bool:
        """Whether the experts get adapters: peft gives them some unless attention is named."""
        attention = {"q", "k", "v", "o", "qkv"}
        named = {name.removesuffix("_proj") for name in self.lora_targets}
        open_to = not named or not named <= attention
        return self.shape.experts > 1 and not self.trains_all and open_to


@functools.lru_cache(maxsize=64)
def _adapted(shape: Shape, wanted: tuple[str, ...]) -> list[tuple[str, int, int]]:
    """Name, inputs and outputs of the matrices of a block that get an adapter."""
    wide, inner = shape.hidden, shape.intermediate
    query, key = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    sizes = {
        "q": (wide, query), "k": (wide, key), "v": (wide, key), "o": (query, wide),
        "qkv": (wide, query + 2 * key), "gate": (wide, inner), "up": (wide, inner),
        "gate_up": (wide, 2 * inner), "down": (inner, wide),
    }  # fmt: skip
    known = FAMILIES[shape.family].matrices
    if shape.experts > 1:
        known = tuple(name for name in known if name in ("q", "k", "v", "o", "qkv"))
    named = {name.removesuffix("_proj") for name in wanted} or set(known)
    return [(name, *sizes[name]) for name in known if name in named or not named <= set(known)]


# `base_bytes` per frozen linear weight, 0: as its dtype; `rungs`: (dtype, optimiser), best first;
# `share` of the peak rate that a step reaches: published tokens per second on A100, 4090 and 3090,
# DoRA by 5941 to 7174 tokens/s of LoRA (peft, method_comparison/MetaMathQA)
# `auto` may take it; `blocks`: share of the blocks that is trained, where not all of them are
Technique = namedtuple(
    "Technique",
    "title trains_all base_bytes saves_outputs offered share rungs auto blocks",
    defaults=(True, 1.0),
)
HALF_RUNG = (("bf16", "adamw_torch"),)
FULL_RUNGS = (("fp32", "adamw_torch"), ("bf16", "adamw_torch"), ("bf16", "adamw_bnb_8bit"))
# Ways of sharing a run where a device holds whole only two layers, the embeddings and a layer's
# gradients; the rest is spread over the devices, for offload over RAM. ddp: every device holds all.
SHARED = frozenset(("fsdp2", "zero3", "offload"))
# Best first. DoRA needs more than LoRA, so `auto`, which takes the first that fits, never takes it.
# nf4 in blocks of 64, scales quantised again: 1/2 + 1/64 + 4/64/256 bytes
TECHNIQUES = {
    "full": Technique("Full fine-tuning", True, 0, False, True, 0.40, FULL_RUNGS),
    "lora": Technique("LoRA", False, 0, False, True, 0.45, HALF_RUNG),
    "dora": Technique("DoRA", False, 0, True, True, 0.37, HALF_RUNG),
    "qlora": Technique("QLoRA", False, 0.516, False, True, 0.35, HALF_RUNG),
    "freeze": Technique("Upper layers", True, 0, False, True, 0.40, FULL_RUNGS, False, 0.5),
    "prompt_tuning": Technique("Prompt tuning", False, 0, False, True, 0.45, HALF_RUNG, False),
    "prefix_tuning": Technique("Prefix tuning", False, 0, False, True, 0.45, HALF_RUNG, False),
    "p_tuning": Technique("P-tuning", False, 0, False, True, 0.45, HALF_RUNG, False),
    "ia3": Technique("IA3", False, 0, False, True, 0.45, HALF_RUNG, False),
    "adapter": Technique("Bottleneck adapters", False, 0, False, True, 0.45, HALF_RUNG, False),
}


# Class -> (sequences of one example in a batch, frozen copies of the model beside it). A reference
# is a copy only where all weights are trained: an adapter is switched off instead (trl does so).
# reward: one score a sequence, no logits. rollouts: keys and values of the answers written count.
OBJECTIVE_CLASSES = {"causal_lm": (1, 0), "preference": (2, 1), "unpaired": (1, 1)}
# scores: classes or one vector. masked_lm: logits of all positions, never in chunks.
# distilled: a teacher of its own size, and its logits beside the model's.
OBJECTIVE_CLASSES |= {"pairs": (2, 0), "reward": (2, 0), "rollouts": (1, 1)}
OBJECTIVE_CLASSES |= {"scores": (1, 0), "masked_lm": (1, 0), "distilled": (1, 0)}
FEW_SCORES = ("reward", "scores")


def _mode(run: Run) -> str:
    """Dtypes of what is kept: all 16-bit, 32-bit with 16-bit matrix products, all 32-bit."""
    wide = run.weights == "fp32" or run.upcast
    return ("mixed" if run.autocast else "fp32") if wide else "half"


def _kept_per_token(run: Run) -> float:
    """Bytes that one layer keeps of one token for the backward pass."""
    shape, technique, mode = run.shape, TECHNIQUES[run.technique], _mode(run)
    family = FAMILIES[shape.family]
    query, key = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    widths = [shape.hidden, query, key, shape.intermediate * shape.routed]
    hidden, *others = family.trained if technique.trains_all else family.frozen
    if mode != "half":
        others = [count * (2 if mode == "fp32" else 1) for count in others]
        # norms of the llama kind are 32-bit anyway; layer norms double like everything else
        wider = {"mixed": 1.625, "fp32": 1.5 if family.frozen[0] >= 8 else 2}[mode]
        hidden *= wider if technique.trains_all else 1
    if run.upcast and mode == "mixed":
        others[-1] *= 2  # a 4-bit matrix returns the dtype that it was given
    hidden += 4 * shape.routed * (shape.experts > 1) * technique.trains_all  # gathered, returned
    hidden += family.dropouts * run.on_gpu * (run.lora_dropout > 0)
    kept = sum(map(math.prod, zip([hidden, *others], widths, strict=True)))
    bias = family.bias * (2 if technique.trains_all else 1)
    if run.attention == "eager":  # probabilities in 32 bits, and their copy in 16
        bias += 4 if mode == "fp32" else 6
    kept += bias * shape.heads * run.seq_length
    if run.attention == "masked" and run.on_gpu:  # keys repeated for the mask, and the mask itself
        kept += 4 * (query - key) + 2 * run.seq_length
    if not run.on_gpu and run.attention == "masked":  # a CPU keeps the scores under a mask
        kept += 6 * shape.heads * run.seq_length
    return kept + (0 if technique.trains_all else _adapters_per_token(run, mode))


def _adapters_per_token(run: Run, mode: str) -> float:
    """Bytes that the adapters of one layer keep of one token."""
    copies = {"half": 2 if run.autocast else 4, "mixed": 2, "fp32": 0}[mode]
    dropout = (run.lora_dropout > 0) * (1 if run.on_gpu else 8)  # a CPU's mask is fp32
    if run.technique in SMALL:
        widths = (run.shape.hidden, run.shape.kv_heads * run.shape.head_dim, run.shape.intermediate)
        return sum(map(math.prod, zip(SMALL[run.technique].kept, widths, strict=True)))
    total = 0.0
    for inputs, outputs in run.targets():
        total += (copies + dropout) * inputs + (2 if run.autocast else 4) * run.lora_r
        total += 6 * outputs * TECHNIQUES[run.technique].saves_outputs  # in 32 and in 16 bits
    if mode == "fp32":  # the inputs are 32-bit already: kept once, whoever reads them
        names = run.target_names()
        readers = (("q", "k", "v", "qkv"), ("gate", "up", "gate_up"))
        total += 4 * run.shape.hidden * sum(any(n in names for n in group) for group in readers)
        total += 4 * run.shape.intermediate * ("down" in names)
    return total


def _backward_per_token(run: Run) -> float:
    """Bytes of gradients at the widest point of a layer's backward pass, per token."""
    shape, mode = run.shape, _mode(run)
    hidden, inner, names = shape.hidden, shape.intermediate * shape.routed, run.target_names()
    width = 2 if mode == "fp32" else 1
    if run.trains_all:
        wide = width * (4 * hidden + 4 * inner)
    elif not {"up", "gate_up", "down"} & set(names):
        wide = width * (4 * hidden + 6 * inner)
    elif mode == "half" and not run.autocast:
        wide = (14 if FAMILIES[shape.family].gated else 8) * hidden + 4 * inner
    else:
        wide = 12 * hidden + 6 * inner
    if run.attention != "eager":
        return wide
    scores = (8 if mode == "fp32" else 6) * shape.heads * run.seq_length
    return max(wide, scores - 6 * inner)  # by then the feed-forward block is done


def teacher_bytes(run: Run) -> int:
    """Bytes of a frozen model: a teacher as computed, a reward model in 32 bits at most."""
    each = 2 if run.autocast and run.objective_class == "distilled" else 4
    return each * run.teacher.params if run.teacher else 0


def _loss_bytes(run: Run, tokens: int) -> float:
    """Peak in head and loss, with the last hidden state around it: 4 h of its norm, 2 h itself."""
    vocab, hidden = run.shape.vocab, run.shape.hidden
    wide = 2 if _mode(run) == "fp32" else 0  # a 32-bit head returns 32-bit logits
    around = (6 + wide) * hidden * tokens
    if run.objective_class == "distilled":  # of every token: at worst all are answers
        logits = vocab * tokens
        if not run.chunked_loss:
            return DISTILLED * logits + around
        return (8 + 4 * wide) * logits + DISTILLED_TILED * min(logits, DISTILLED_TILE) + around
    loss = run.loss or ("tiled" if run.chunked_loss else "whole")
    loss = "half" if run.shape.family == "t5" else loss  # its loss casts nothing
    if run.objective_class == "masked_lm":
        loss = "whole"
    elif run.shape.family == "bert" or run.objective_class in FEW_SCORES:
        return around
    if LOSSES[loss]:
        return (
            LOSSES[loss] + wide * {"whole": 1, "half": 4}.get(loss, 0)
        ) * vocab * tokens + around
    head = 6 * vocab * hidden if run.trains_all else 0  # gradient: fp32 sum, then its copy
    if loss == "fused":  # liger: logits of a chunk of tokens, as many chunks as vocab / hidden
        rows = max(1, math.ceil(tokens / math.ceil(vocab / hidden)))
        return 6 * vocab * rows + around + head
    # A CPU copies a tile: 33 bytes for each of its logits (tests/benchmarks/cpu_memory.py)
    tile = (2 if run.on_gpu else 33) * min(tokens, LOSS_ROWS) * min(vocab, LOSS_COLUMNS)
    return tile + 16 * hidden * tokens + head  # and the states and their gradient, copied twice


def trained_weights(run: Run) -> float:
    """Number of weights that a step changes, without copies of the embeddings."""
    shape, technique = run.shape, TECHNIQUES[run.technique]
    if technique.blocks < 1:  # embeddings, and a head that shares their weights, are frozen
        embedding, heads = shape.vocab * shape.hidden, 0 if shape.tied else 1
        return (shape.params - (1 + heads) * embedding) * technique.blocks + heads * embedding
    if run.trains_all:
        return shape.params
    if small := SMALL.get(run.technique):
        return small.once(shape) + shape.layers * small.layer(shape)
    lengths = technique.saves_outputs  # of the outputs: what DoRA trains beside LoRA
    of_layer = sum(run.lora_r * (inputs + out) + lengths * out for inputs, out in run.targets())
    if run.adapts_experts:  # a rank for each expert, twice for gate and up: one tensor
        of_layer += run.lora_r * shape.experts * (3 * shape.hidden + 5 * shape.intermediate)
    return shape.layers * of_layer


def parts_gib(run: Run) -> dict[str, float]:
    """Bytes by cause in GiB, and `peak`: the highest of the step's phases."""
    shape, technique, full = run.shape, TECHNIQUES[run.technique], run.trains_all
    sequences, references = OBJECTIVE_CLASSES[run.objective_class]
    virtual = SMALL[run.technique].virtual if run.technique in SMALL else 0
    tokens = run.micro_batch * (run.seq_length + virtual) * sequences
    dtype, trained_dtype = BYTES[run.weights], BYTES[run.weights] if full else 4
    copies, fixed, temporaries = OPTIMISERS.get(run.optimiser, OPTIMISERS["adamw_torch"])
    embedding = shape.vocab * shape.hidden * (1 if shape.tied else 2)
    rest = embedding + (2 * shape.layers + 1) * shape.hidden
    held = run.held_bytes or technique.base_bytes or dtype
    rest_dtype = 4 if run.upcast == "all" else dtype
    # transformers 5 keeps the experts of a layer in one tensor, which bitsandbytes leaves as it is
    fused = 3 * shape.hidden * shape.intermediate * shape.experts * shape.layers
    fused *= shape.experts > 1 and not run.held_bytes
    weights = (shape.params - rest - fused) * held + fused * dtype + rest * rest_dtype
    weights *= 1 + references * full * run.reference
    merged = 0.0
    if run.adapts_experts and run.technique not in SMALL:  # the step adds them to the weights
        merged = 3 * shape.hidden * shape.intermediate * shape.experts * dtype
    trained = trained_weights(run)
    if run.embeddings:  # kept in the dtype of the model
        trained += 2 * shape.vocab * shape.hidden * dtype / trained_dtype
    gradients = trained * trained_dtype
    states = trained * (copies * trained_dtype + fixed)
    static = weights + (0 if full else trained * trained_dtype) + states
    cast = 2.0 * shape.params if run.autocast and run.weights == "fp32" else 0
    cast = cast if full or not run.checkpointing else cast / shape.layers  # frozen: used, dropped
    if run.sharding in SHARED:
        layer, cast = (shape.params - rest) / shape.layers, 0.0
        whole = 2 * layer * min(held, 2) + 2 * embedding + (2 * layer if full else 0)
        part = 0 if run.sharding == "offload" else 1 / run.world
        static, gradients = static * part + whole, gradients * part
        temporaries = max(temporaries, 1)
    static += teacher_bytes(run)
    step = static + gradients * (1 + temporaries)
    gradients *= 2 if run.sharding == "ddp" else 1  # buckets that are exchanged
    layer_bytes = _kept_per_token(run) * tokens
    boundary = (4 if _mode(run) != "half" else 2) * shape.hidden * tokens
    boundary *= 2 if shape.family == "t5" else 1  # a layer there is one of each half
    one_layer = layer_bytes + _backward_per_token(run) * tokens
    largest = max(map(math.prod, run.targets()))
    copy_of_weight = largest * (2 * (held < 2) + 4 * technique.saves_outputs)
    kept = boundary if run.checkpointing else layer_bytes + merged
    kept = cast + shape.layers * technique.blocks * kept  # nothing is kept below what is trained
    spare = 20 * shape.hidden * tokens  # five 32-bit copies in the backward pass of a norm
    inside = one_layer if run.checkpointing else max(spare, one_layer - layer_bytes)
    inside += merged / 3 + merged * run.checkpointing  # and the gradient of a third of them
    backward = static + kept + inside + copy_of_weight
    loss = static + kept + _loss_bytes(run, tokens)
    late = static + gradients + one_layer if full else backward + gradients
    peak = max(loss, backward, late, step)
    if run.objective_class == "rollouts":  # 16-bit keys and values of every layer
        cache = 4 * shape.kv_heads * shape.head_dim * shape.layers * tokens
        peak = max(peak, static + cache + 6 * shape.vocab * run.micro_batch)
    found = {"weights": static - states, "optimiser": states, "gradients": gradients}
    found |= {"kept": kept, "loss": _loss_bytes(run, tokens), "peak": peak}
    return {name: size / GIB for name, size in found.items()}


def host_gib(run: Run) -> float:
    """Weights, gradients and optimiser states of a run in GiB: what an offload puts into RAM."""
    found = parts_gib(replace(run, sharding="none", world=1))
    return found["weights"] + found["optimiser"] + found["gradients"]


def peak_gib(run: Run) -> float:
    """Predicted peak of allocated memory of one device, GiB."""
    return parts_gib(run)["peak"]
