"""Techniques of the planner: those that projects offer, and which of them `auto` takes."""

import re
import sys
from dataclasses import replace
from pathlib import Path

HOOKS = Path(__file__).resolve().parent.parent / "hooks"
sys.path.insert(0, str(HOOKS))

import build_tables  # noqa: E402
import footprint  # noqa: E402
import machines  # noqa: E402
import shapes  # noqa: E402
from footprint import Run  # noqa: E402
from planner import plan  # noqa: E402

QWEN_7B = "Qwen/Qwen2.5-7B-Instruct"


def test_techniques_of_the_planner_are_those_of_the_project() -> None:
    rows = build_tables.project_rows("techniques").TECHNIQUES
    assert list(rows) == list(build_tables.OFFERED)
    for name, row in rows.items():
        planned = footprint.TECHNIQUES[name]
        assert planned.title == row.title
        assert planned.trains_all == (row.trainable != "adapter")
        assert bool(planned.base_bytes) == row.quantised


def test_auto_never_takes_dora_and_quantises_only_what_does_not_fit_otherwise() -> None:
    for model in shapes.table("models"):
        for gb in (0, 6, 8, 12, 16, 24, 48, 80):
            for rows in (None, 300):
                result = plan(model, "sft", "auto", machines.usable_gib(gb), 1, 1024, rows=rows)
                assert result.technique != "dora"
                if result.technique == "qlora" and result.fits:
                    lora = plan(model, "sft", "lora", machines.usable_gib(gb), 1, 1024)
                    assert not lora.fits
                    assert result.quantisation == "nf4"


def test_fused_experts_are_not_quantised() -> None:
    mixtral = shapes.known_shape("mistralai/Mixtral-8x7B-Instruct-v0.1")
    run = Run(mixtral, "qlora", "causal_lm", "bf16", "adamw_torch", True, 512)
    experts = 3 * mixtral.hidden * mixtral.intermediate * mixtral.experts * mixtral.layers
    assert footprint.peak_gib(run) > 2 * experts / 2**30
    dense = shapes.known_shape("mistralai/Mistral-7B-Instruct-v0.3")
    assert footprint.peak_gib(replace(run, shape=dense)) < 0.6 * 2 * dense.params / 2**30


def test_auto_quantises_only_where_the_library_runs() -> None:
    for device, taken in (("4090", "qlora"), ("mi300x", "lora")):
        result = plan(QWEN_7B, "sft", "auto", 12, 1, 1024, device=device)
        assert result.technique == taken


def test_four_bits_are_proposed_where_lora_does_not_fit() -> None:
    assert plan(QWEN_7B, "sft", "lora", 12, 1, 2048).fixes[0] == "technique qlora"


def test_slower_techniques_take_longer() -> None:
    hours = [
        plan(QWEN_7B, "sft", name, None, 1, 2048, device="h100", tokens=1e7, micro_batch=1).hours
        for name in ("lora", "dora", "qlora")
    ]
    assert hours == sorted(hours)


def test_the_readme_offers_every_technique_and_objective() -> None:
    readme = (HOOKS.parent / "README.md").read_text(encoding="utf-8")
    techniques = build_tables.project_rows("techniques").TECHNIQUES
    objectives = build_tables.project_rows("objectives").OBJECTIVES
    for title, rows in (("technique", ["auto", *techniques]), ("objective", [*objectives])):
        assert f"| {title} | {', '.join(rows)} |" in readme
    said = re.search(r"any of (\d+) techniques .* with any of (\d+) objectives", readme)
    assert said
    assert [int(said[1]), int(said[2])] == [len(techniques), len(objectives)]
