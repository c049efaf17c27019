"""Architectures and devices: tables, config.json, and what is guessed from a size."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

HOOKS = Path(__file__).resolve().parent.parent / "hooks"
sys.path.insert(0, str(HOOKS))

import build_tables  # noqa: E402
import footprint  # noqa: E402
import ladder  # noqa: E402
import shapes  # noqa: E402
from planner import plan  # noqa: E402

SMOL = "HuggingFaceTB/SmolLM2-135M-Instruct"


def test_free_form_memory_and_models() -> None:
    for memory in (0.001, 5.3, 17.77, 1e4):
        assert plan(SMOL, "sft", "auto", memory, 1, 777).technique in build_tables.OFFERED
    assert shapes.find_shape("/models/SmolLM2-135M-Instruct")[0] == shapes.known_shape(SMOL)
    assert shapes.find_shape(r"D:\models\my-360m-v2")[0].params == 360_000_000
    own = plan("local/own", "sft", "lora", 24, 1, 2048, params=1.5e9)
    assert own.fits
    assert "not yet validated" in own.error_band
    assert "a typical shape of 1.5B" in own.reasons["need_gib"]
    for bad in ({"model": "local/own"}, {"objective": "knit"}, {"technique": "magic"}):
        asked: dict[str, Any] = {"model": SMOL, "objective": "sft", "technique": "lora"} | bad
        with pytest.raises(ValueError, match=r"unknown|parameters"):
            plan(**asked, gpu_memory_gib=24, num_gpus=1, seq_length=512)


def test_a_size_alone_is_planned_with_more_than_its_model_needs() -> None:
    for model, row in shapes.table("models").items():
        shape = shapes.known_shape(model)
        if shape.sure and "head" not in row:
            for technique in build_tables.OFFERED:
                for length in (512, 2048, 8192):
                    known = ladder.least_need_gib(shape, [technique], "causal_lm", length)
                    guess = shapes.typical_shape(row["params"])
                    wide = ladder.least_need_gib(guess, [technique], "causal_lm", length)
                    # DoRA keeps more where more of the weights lie in blocks than is typical, and
                    # IA3 where keys are as wide as the model (GPT-2)
                    assert wide >= 0.95 * known, (model, technique, length)


GATED = ("answerdotai/ModernBERT-base", "google/flan-t5-base")


def test_model_rows_agree_with_their_counts() -> None:
    models = shapes.table("models")
    assert len(models) >= 20
    for model, row in models.items():
        shape = shapes.known_shape(model)
        query, key = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        # GeGLU of ModernBERT and FLAN-T5: a third matrix that their family does not have
        gated = footprint.FAMILIES[shape.family].gated or model in GATED
        matrices = 3 if gated else 2
        block = 2 * shape.hidden * (query + key)
        block += matrices * shape.hidden * shape.intermediate * shape.experts
        if shape.family == "t5":  # a layer of each half, and the attention between them
            block = 2 * block + 2 * shape.hidden * (query + key)
        count = shape.vocab * shape.hidden * (1 if shape.tied else 2) + shape.layers * block
        assert count == pytest.approx(row["params"], rel=0.015), model
        assert shape.heads % shape.kv_heads == 0
        assert row["source"] and row["licence"] and row["title"]
        assert row["use"] in ("", "edge", "balanced", "quality", "maximum")


def test_devices_and_prices_are_complete() -> None:
    for row in shapes.table("devices").values():
        assert row["memory_gb"] > 0 <= row["bf16_tflops"]
        assert row["power_w"] >= 0
        assert row["source"]
    for name, row in shapes.table("prices").items():
        assert name in shapes.table("devices")
        assert 0 < row["low"] <= row["high"]
        assert re.fullmatch(r"20\d\d-[01]\d", row["as_of"])
        assert row["source"]


def test_a_config_goes_before_a_name(tmp_path: Path) -> None:
    folder = tmp_path / "SmolLM2-135M-Instruct"
    folder.mkdir()
    sizes = {
        "model_type": "llama", "hidden_size": 2048, "intermediate_size": 8192,
        "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8,
        "vocab_size": 128_256, "tie_word_embeddings": True,
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(sizes), encoding="utf-8")
    shape, origin = shapes.find_shape(str(folder))
    assert shape == shapes.known_shape("meta-llama/Llama-3.2-1B-Instruct")
    assert origin == "architecture of its config.json"
    seen = plan(str(folder), "sft", "lora", 24, 1, 2048)
    assert "config.json" in seen.reasons["need_gib"]
    (folder / "config.json").write_text('{"text_config": ' + json.dumps(sizes) + "}", "utf-8")
    assert shapes.find_shape(str(folder))[0] == shape
    (folder / "config.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(ValueError, match="no configuration of a model"):
        shapes.find_shape(str(folder))
    (folder / "config.json").write_text('{"model_type": "x"}', encoding="utf-8")
    assert shapes.find_shape(str(folder))[0] == shapes.known_shape(SMOL)


def test_an_unknown_kind_of_model_gets_the_wide_margin() -> None:
    sizes = {"n_embd": 1024, "n_layer": 24, "n_head": 16, "vocab_size": 50_000}
    unknown = shapes.configured_shape({"model_type": "new", **sizes})
    assert unknown is not None
    assert not unknown.sure
    assert unknown.family == "gemma3"
    assert unknown.intermediate == 4096
    known = shapes.configured_shape({"model_type": "gpt2", **sizes})
    assert known is not None
    assert known.sure
    assert shapes.configured_shape({"model_type": "gpt2"}) is None


LLAMA = {
    "model_type": "llama", "hidden_size": 2048, "intermediate_size": 8192,
    "num_hidden_layers": 16, "num_attention_heads": 32, "vocab_size": 128_256,
}  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"hidden_size": "2048"}, {"hidden_size": True}, {"num_hidden_layers": -3},
        {"vocab_size": 10**400}, {"num_attention_heads": 4096}, {"num_attention_heads": None},
        {"model_type": "whisper", "is_encoder_decoder": True},
    ],
)  # fmt: skip
def test_a_config_without_usable_sizes_asks_for_the_number(
    change: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA | change), encoding="utf-8")
    with pytest.raises(ValueError, match="lacks sizes: give its number of parameters"):
        shapes.find_shape(str(tmp_path))
    assert plan(str(tmp_path), "sft", "lora", 24, 1, 512, params=1e9).fits


def test_odd_configs_are_never_counted_too_small(tmp_path: Path) -> None:
    """Experts under other names, halves of different depth, heads of unknown kinds."""
    deepseek = shapes.configured_shape({
        "model_type": "deepseek_v3", "hidden_size": 7168, "intermediate_size": 18432,
        "moe_intermediate_size": 2048, "n_routed_experts": 256, "n_shared_experts": 1,
        "num_experts_per_tok": 8, "num_hidden_layers": 61, "num_attention_heads": 128,
        "vocab_size": 129_280,
    })  # fmt: skip
    assert deepseek is not None
    assert 671e9 <= deepseek.params <= 1.1 * 671e9  # as its authors state
    t5 = {"model_type": "t5", "d_model": 768, "num_layers": 4, "num_decoder_layers": 24}
    uneven = shapes.configured_shape(t5 | {"num_heads": 12, "vocab_size": 32_128})
    assert uneven is not None
    assert (uneven.layers, uneven.sure) == (24, False)
    unknown = shapes.configured_shape(LLAMA | {"model_type": "new"})
    assert unknown is not None
    assert not unknown.tied
    stated = tmp_path / "config.json"
    stated.write_text(json.dumps(LLAMA | {"model_type": "new"}), encoding="utf-8")
    assert shapes.find_shape(str(tmp_path), 9e9)[0].params == 9e9
    stated.write_text(json.dumps(LLAMA | {"quantization_config": {"bits": 4}}), encoding="utf-8")
    with pytest.raises(ValueError, match="are quantised"):
        shapes.find_shape(str(tmp_path))
    stated.write_text("[" * 100_000, encoding="utf-8")
    with pytest.raises(ValueError, match="no configuration of a model"):
        shapes.find_shape(str(tmp_path))
