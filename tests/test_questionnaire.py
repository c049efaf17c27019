"""Each objective is asked for the models, formats and techniques that it can have."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import ROOT, copy
from .test_plan_fixes import ladder, planner
from .test_techniques import build_tables, plan

TABLE = json.loads((ROOT / "hooks/plan_table.json").read_text(encoding="utf-8"))
MODELS = {model["id"]: model for model in TABLE["models"]}
OBJECTIVES = build_tables.project_rows("objectives").OBJECTIVES
ONLY = ["*", "!configs", "!configs/default_config.yaml", "!.copier-answers.yml"]
SMOL = "HuggingFaceTB/SmolLM2-135M-Instruct"
BERT = "google-bert/bert-base-uncased"


def asked(template: Path, target: Path, **answers: Any) -> dict[str, Any]:
    """Answers as they are stored, from a render of little more than the configuration."""
    project = copy(template, target / "out", {"project_name": "Asked", **answers}, exclude=ONLY)
    return yaml.safe_load((project / ".copier-answers.yml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_defaults_of_an_objective_make_a_run(
    template: Path, tmp_path: Path, objective: str
) -> None:
    answers = asked(template, tmp_path, objective=objective)
    model = MODELS[answers["base_model"]]
    assert model["class"] == "small"
    assert not model["gated"]
    assert model["licence"] in build_tables.PERMISSIVE
    text = (tmp_path / "out/configs/default_config.yaml").read_text(encoding="utf-8")
    config = build_tables.project_rows("settings").Settings.model_validate(yaml.safe_load(text))
    assert (config.objective, config.model.model_name_or_path) == (objective, model["id"])
    for memory in (0, 24):
        found = plan(model["id"], objective, "auto", memory, int(memory > 0), 512)
        assert found.fits
        assert found.technique not in TABLE["objectives"][objective]["refused"]


def test_each_objective_offers_models_of_its_head() -> None:
    heads = {name: row["models"] for name, row in TABLE["objectives"].items()}
    assert SMOL in heads["sft"] and BERT not in heads["sft"]
    assert {MODELS[name]["head"] for name in heads["mlm"]} == {"masked_lm"}
    assert {MODELS[name]["head"] for name in heads["seq2seq"]} == {"seq2seq"}
    assert heads["classify"][0] == BERT and SMOL in heads["classify"]
    assert "allenai/OLMoE-1B-7B-0924-Instruct" not in heads["reward"]
    offered = {name for models in heads.values() for name in models}
    assert offered == set(MODELS)


def test_tables_of_the_questionnaire_are_those_of_the_project() -> None:
    combinations = build_tables.project_rows("combinations")
    refused = {(o, t): text for o, t, text in combinations.illegal()}
    assert refused
    table = {
        (name, technique): text
        for name, row in TABLE["objectives"].items()
        for technique, text in row["refused"].items()
    }
    assert table == refused
    assert list(TABLE["objectives"]) == list(OBJECTIVES)
    for name, row in OBJECTIVES.items():
        planned = planner.OBJECTIVES[name]
        assert planned == row.planner_class
        assert ladder.SMALLEST_BATCH.get(planned, 1) == row.smallest_batch
    assert list(TABLE["techniques"]) == list(build_tables.project_rows("techniques").TECHNIQUES)


REFUSED = [
    ({"objective": "mlm", "base_model": SMOL}, f"{SMOL} is of another kind: objective mlm"),
    ({"objective": "sft", "base_model": BERT}, f"gives the next token, for example {SMOL}"),
    ({"base_model": "no/such-model"}, "not in the table: base_model=custom with custom_model"),
    ({"objective": "mlm", "technique": "p_tuning"}, "learned vectors before the input"),
    ({"objective": "reward", "technique": "prompt_tuning"}, "cannot find the last token"),
    ({"objective": "dpo", "data_format": "text"}, "objective dpo reads preference: preference or"),
]


@pytest.mark.parametrize(("answers", "message"), REFUSED, ids=[str(a) for a, _ in REFUSED])
def test_an_illegal_answer_is_one_sentence(
    template: Path, tmp_path: Path, answers: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match="Invalid choice") as caught:
        asked(template, tmp_path, **answers)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_model_of_another_size_stays_of_the_kind(template: Path, tmp_path: Path) -> None:
    for place, size in enumerate(("medium", "large", "8B")):
        answers = asked(template, tmp_path / str(place), objective="seq2seq", model_size=size)
        assert MODELS[answers["base_model"]]["head"] == "seq2seq"
