"""Architectures as counts: a row of models.toml, a config.json, or a guess from a size.

Standard library only; models.toml, devices.toml and prices.toml lie beside this file.
"""

import functools
import json
import math
import re
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or __package__:
    from .footprint import FAMILIES, GB, Shape
else:  # loaded by path, beside a script
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    from footprint import FAMILIES, GB, Shape

# `model_type` of a config.json -> row of FAMILIES that the simulation was compared on. Others are
# planned as `gemma3`, which keeps the most, and with the wider margin.
MODEL_TYPES = {
    "llama": "llama", "mistral": "llama", "mixtral": "llama", "qwen2": "llama",
    "smollm3": "llama", "qwen3": "qwen3", "qwen3_moe": "qwen3", "olmoe": "qwen3",
    "gemma": "gemma", "gemma3_text": "gemma3", "olmo2": "olmo2", "phi3": "phi3",
    "starcoder2": "starcoder2", "gpt_bigcode": "bigcode", "gpt2": "gpt2", "bert": "bert",
    "roberta": "bert", "t5": "t5", "mt5": "t5",
}  # fmt: skip
# Size -> its names in config.json, the first that is there counts
NAMES = {
    "hidden": ("hidden_size", "n_embd", "d_model"),
    "intermediate": ("moe_intermediate_size", "intermediate_size", "n_inner", "d_ff"),
    "layers": ("num_hidden_layers", "n_layer", "num_layers"),
    "heads": ("num_attention_heads", "n_head", "num_heads"),
    "kv_heads": ("num_key_value_heads", "num_kv_heads", "n_head_kv"),
    "head_dim": ("head_dim", "d_kv"),
    "vocab": ("vocab_size",),
    "experts": ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts"),
    "routed": ("num_experts_per_tok", "moe_k", "moe_top_k"),
    "positions": ("n_positions", "max_position_embeddings"),
}
# Families whose head shares the embedding unless config.json says otherwise (transformers 5.23)
TIED = frozenset(("gemma", "gemma3", "starcoder2", "bigcode", "gpt2", "bert", "t5"))
LEARNED_POSITIONS = frozenset(("gpt2", "bigcode", "bert"))
LARGEST = 2**31  # of a size in config.json; more is a mistake


@functools.cache
def table(name: str) -> dict[str, dict[str, Any]]:
    """Rows of `models`, `devices` or `prices`, by id."""
    return tomllib.loads(Path(__file__).with_name(f"{name}.toml").read_text(encoding="utf-8"))


def known_shape(model_id: str) -> Shape:
    """Shape of a row of models.toml."""
    row = table("models")[model_id]
    sizes = {"sure": "experts" not in row} | {k: row[k] for k in Shape._fields if k in row}
    return Shape(**sizes)


def typical_shape(params: float) -> Shape:
    """A Llama-like shape of `params` weights with a large vocabulary, rather too hungry."""
    layers, tied = max(36, round(17 * (params / GB) ** 0.37)), params < 4 * GB
    vocab = 262_144 if params > GB / 4 else 49_152  # else all weights would be embeddings
    slope, square = vocab * (1 if tied else 2), 12.75 * layers
    heads = max(1, round((math.sqrt(slope**2 + 4 * square * params) - slope) / (128 * square)))
    sizes = (int(params), 64 * heads, 224 * heads, layers, heads, max(1, heads // 4), 64)
    return Shape(*sizes, vocab, tied, sure=False, family="gemma3")  # keeps the most


def configured_shape(config: dict[str, Any]) -> Shape | None:
    """Shape of a transformers config.json; None where it lacks a size that is needed.

    The number of weights is that of embeddings, attention, feed-forward block, routers and norms;
    biases are left out (below 0.1 % of a Qwen2.5 or a GPT-2). Raises ValueError for a checkpoint
    whose weights are quantised.
    """
    quantised = config.get("quantization_config")
    config = config.get("text_config") or config  # the language part of a vision-language model
    if quantised or config.get("quantization_config"):
        raise ValueError(
            "the weights of this config.json are quantised: give the plain weights they came from"
        )
    kind = str(config.get("model_type", ""))
    family = MODEL_TYPES.get(kind, "gemma3")
    found = {size: _first(config, names) for size, names in NAMES.items()}
    found["intermediate"] = found["intermediate"] or 4 * (found["hidden"] or 0)
    found["kv_heads"] = found["kv_heads"] or (1 if config.get("multi_query") else found["heads"])
    if not all(found[size] for size in ("hidden", "layers", "heads", "kv_heads", "vocab")):
        return None
    sizes: dict[str, int] = {size: value or 1 for size, value in found.items()}
    sizes["head_dim"] = found["head_dim"] or sizes["hidden"] // sizes["heads"]
    if not sizes["head_dim"] or (config.get("is_encoder_decoder") is True and family != "t5"):
        return None  # an unknown kind with two halves would be counted as one
    sizes["routed"] = min(sizes["routed"], sizes["experts"])
    decoder = _first(config, ("num_decoder_layers",)) or sizes["layers"]
    even, sizes["layers"] = decoder == sizes["layers"], max(decoder, sizes["layers"])
    positions = sizes.pop("positions") * (family in LEARNED_POSITIONS)
    # an unknown kind that does not say so has a head of its own: rather too many weights
    tied = config.get("tie_word_embeddings", kind in MODEL_TYPES and family in TIED) is True
    gated = FAMILIES[family].gated or str(config.get("feed_forward_proj", "")).startswith("gated")
    sure = (
        kind in MODEL_TYPES and sizes["experts"] == 1 and gated == FAMILIES[family].gated and even
    )
    shape = Shape(0, tied=tied, sure=sure, family=family, **sizes)
    shared = _first(config, ("n_shared_experts",)) or 0  # that every token passes
    shared = _first(config, ("shared_expert_intermediate_size",)) or shared * shape.intermediate
    extra = positions * shape.hidden + 3 * shape.layers * shape.hidden * shared
    return shape._replace(params=_weights(shape, gated) + extra)


def _first(config: dict[str, Any], names: tuple[str, ...]) -> int | None:
    values = (config.get(name) for name in names)
    return next((value for value in values if type(value) is int and 0 < value < LARGEST), None)


def _weights(shape: Shape, gated: bool) -> int:
    hidden, query = shape.hidden, shape.heads * shape.head_dim
    attention = 2 * hidden * (query + shape.kv_heads * shape.head_dim)
    experts = shape.experts * (3 if gated else 2) * hidden * shape.intermediate
    block = attention + experts + 2 * hidden + (shape.experts > 1) * hidden * shape.experts
    if shape.family == "t5":  # a layer of each half, and the attention between them
        block = 2 * block + attention + hidden
    return shape.vocab * hidden * (1 if shape.tied else 2) + shape.layers * block + hidden


def _read(file: Path) -> dict[str, Any]:
    """Content of a config.json; raises ValueError where it is none."""
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        config = None
    if not isinstance(config, dict) or not isinstance(config.get("text_config") or {}, dict):
        raise ValueError(f"{file} is no configuration of a model")
    return config


def find_shape(model: str, params: float | None = None) -> tuple[Shape, str]:
    """Shape of a model and where it comes from.

    In this order: `config.json` of a folder of that name; the row of models.toml with that id or
    folder name; `params` weights; a size in the name ("360m"). Raises ValueError otherwise.
    """
    name = re.split(r"[/\\]", model.rstrip("/\\").lower())[-1]
    file = Path(model) / "config.json"
    shape = configured_shape(_read(file)) if file.is_file() else None
    if shape is not None:
        if params and not shape.sure:  # config.json may leave weights out that are not counted
            shape = shape._replace(params=max(shape.params, int(params)))
        return shape, "architecture of its config.json"
    for model_id in (known for known in table("models") if name == known.lower().split("/")[-1]):
        return known_shape(model_id), f"architecture of {model_id}"
    written = re.findall(r"(?<![\d.a-z])(\d+(?:\.\d+)?)([bm])(?![a-z\d])", name)
    if params is None and written:
        params = float(written[-1][0]) * (GB if written[-1][1] == "b" else 10**6)
    if not params:
        lacks = ", and its config.json lacks sizes" if file.is_file() else ""
        raise ValueError(
            f"model {name!r} is not in models.toml{lacks}: give its number of parameters"
        )
    return typical_shape(params), f"a typical shape of {params / GB:.3g}B, not in models.toml"
