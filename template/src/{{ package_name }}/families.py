"""What the matrices of a block are called, per family of models. Layer 0: no library is loaded.

Names are the ends of module names in transformers 5, regular expressions where a plain end would
match more than is meant. Matrices that hold several roles (`c_attn` is query, key and value) stand
for each of them.
"""

from dataclasses import dataclass

ATTENTION = ("query", "key", "value", "output")


@dataclass(frozen=True, slots=True)
class Family:
    """Names of the matrices in the blocks of one family.

    Attributes:
        types: values of `model_type` in config.json.
        query, key, value, output: matrices of the attention.
        feed_forward: matrices of the feed-forward network, its output last; empty where they
            are no layers of their own (experts that share one tensor).
        network: module around the feed-forward network, for families with experts.
        within: part of a model's name that a layer must have, for models of several parts.
    """

    types: tuple[str, ...]
    query: str
    key: str
    value: str
    output: str
    feed_forward: tuple[str, ...]
    network: str = ""
    within: str = ""


_SPLIT = ("q_proj", "k_proj", "v_proj", "o_proj")
_GATED = ("gate_proj", "up_proj", "down_proj")
LLAMA = ("llama", "smollm3", "mistral", "ministral", "qwen2", "qwen3", "olmo", "olmo2", "cohere")
GEMMA = ("gemma", "gemma2", "gemma3_text")
MOE = ("mixtral", "qwen2_moe", "qwen3_moe", "olmoe")
VISION = (
    *("llava", "llava_next", "idefics3", "smolvlm", "gemma3", "mistral3", "paligemma"),
    *("qwen2_vl", "qwen2_5_vl", "qwen3_vl"),
)

ROWS = (
    Family((*LLAMA, *GEMMA), *_SPLIT, _GATED),
    Family(MOE, *_SPLIT, (), network="mlp"),
    Family(("phi",), "q_proj", "k_proj", "v_proj", "dense", ("fc1", "fc2")),
    Family(("phi3",), *3 * ("qkv_proj",), "o_proj", ("gate_up_proj", "down_proj")),
    Family(("gpt2",), *3 * ("c_attn",), "attn.c_proj", ("c_fc", "mlp.c_proj")),
    Family(("gpt_bigcode",), *3 * ("c_attn",), "attn.c_proj", ("c_fc", "mlp.c_proj")),
    Family(("starcoder2",), *_SPLIT, ("c_fc", "c_proj")),
    Family(
        ("gpt_neox",),
        *3 * ("query_key_value",),
        "attention.dense",
        ("dense_h_to_4h", "dense_4h_to_h"),
    ),
    Family(
        ("bert", "roberta", "xlm-roberta", "camembert", "electra"),
        *("query", "key", "value", "attention.output.dense"),
        ("intermediate.dense", r"layer\.\d+\.output\.dense"),
    ),
    Family(("modernbert",), *3 * ("Wqkv",), "attn.Wo", ("mlp.Wi", "mlp.Wo")),
    Family(("t5", "mt5", "umt5"), "q", "k", "v", "o", ("wi", "wi_0", "wi_1", "wo")),
    Family(
        ("clip", "clip_text_model", "clip_vision_model"),
        *("q_proj", "k_proj", "v_proj", "out_proj"),
        ("fc1", "fc2"),
    ),
    # Adapters of vision-language models sit in the part that writes; the eye stays as it is.
    Family(VISION, *_SPLIT, _GATED, within=r"(language_model|text_model)"),
)
FAMILIES: dict[str, Family] = {name: row for row in ROWS for name in row.types}
