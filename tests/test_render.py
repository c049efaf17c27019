"""Every kind of project that the questionnaire allows renders into clean, complete files."""

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from .answers import HOSTILE, pairwise
from .conftest import ROOT, Render

MATRIX = list(pairwise())
# Rendering 517 to 543 files takes 2.2 s of CPU in copier, some 4 ms a file (286 files: 1.5 s).
# Objectives and techniques are a module and a test file each; all launchers are a dozen files.
MAX_FILES = 560
ASKED_FOR = [
    "src/{package}/trainer.py",
    "src/{package}/data_loader.py",
    "src/{package}/model_wrapper.py",
    "src/{package}/evaluation.py",
    "src/{package}/utils.py",
    "configs/default_config.yaml",
    "configs/model_configs",
    "scripts/train.py",
    "scripts/evaluate.py",
    "scripts/inference.py",
    "tests/test_trainer.py",
    "tests/test_data_loader.py",
    "tests/test_evaluation.py",
    "README.md",
    "MODEL_CARD.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "Makefile",
    "pyproject.toml",
    "LICENSE",
    ".github/ISSUE_TEMPLATE/fine-tuning-request.md",
    "data/raw/sample",
    "domains/custom",
    "domains/general",
    "docs/hardware.md",
    "docs/data.md",
    "docs/techniques.md",
    "docs/hyperparameters.md",
    "docs/evaluation.md",
    "docs/troubleshooting.md",
    "docs/serving.md",
    "docs/updating.md",
    "docs/jobs.md",
    "configs/deepspeed",
]


def files(project: Path) -> list[Path]:
    return sorted(path for path in project.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def matrix(render: Render) -> dict[int, Path]:
    return {index: render(**answers) for index, answers in enumerate(MATRIX)}


@pytest.fixture(params=range(len(MATRIX)))
def cell(request: pytest.FixtureRequest, matrix: dict[int, Path]) -> tuple[dict, Path]:
    return MATRIX[request.param], matrix[request.param]


def test_files_parse(cell: tuple[dict[str, Any], Path]) -> None:
    _, project = cell
    assert len(files(project)) <= MAX_FILES
    for path in files(project):
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".py":
            ast.parse(text, str(path))
        elif path.suffix in {".yaml", ".yml"}:
            list(yaml.safe_load_all(text))
        elif path.suffix == ".toml":
            tomllib.loads(text)
        elif path.suffix == ".json":
            json.loads(text)
        elif path.suffix == ".jsonl" and "sample" not in path.parts:
            [json.loads(line) for line in text.split("\n") if line]


def test_no_template_code_is_left(cell: tuple[dict[str, Any], Path]) -> None:
    _, project = cell
    for path in files(project):
        text = path.read_text(encoding="utf-8")
        if ".github" in path.parts:
            text = text.replace("${{", "")
        for token in ("{{ ", "{% ", "{# ", "{%-"):
            written_so = path.parent.name == "chat_templates"  # templates of the models
            assert written_so or token not in text, f"{path.name} holds {token!r}"
        assert not path.name.endswith(".jinja")


def test_structure_that_was_asked_for(cell: tuple[dict[str, Any], Path]) -> None:
    answers, project = cell
    for name in ASKED_FOR:
        path = project / name.format(package=answers["package_name"])
        assert path.exists(), name
    assert (project / ".github/workflows").exists() == (answers["ci"] == "github")
    assert list((project / "configs/model_configs").glob("*.yaml"))


def test_answers_reach_the_config(cell: tuple[dict[str, Any], Path]) -> None:
    answers, project = cell
    config = yaml.safe_load((project / "configs/default_config.yaml").read_text(encoding="utf-8"))
    assert config["objective"] == answers["objective"]
    assert config["technique"] == answers["technique"]
    assert config["tracker"] == answers["tracker"]
    assert config["domains"] == ["general", *sorted(answers["domains"])]
    model = answers.get("custom_model") or answers["base_model"]
    assert config["model"]["model_name_or_path"] == model
    assert (project / config["data"]["raw"]).is_file()


def test_packs_are_byte_identical(matrix: dict[int, Path]) -> None:
    compared = 0
    for index, project in matrix.items():
        for pack in ["general", *MATRIX[index]["domains"]]:
            source = ROOT / "domains" / pack
            declared = yaml.safe_load((source / "pack.yaml").read_text(encoding="utf-8"))
            for name in declared["files"]:
                rendered = project / "domains" / pack / name
                assert rendered.read_bytes() == (source / name).read_bytes(), f"{pack}/{name}"
                compared += 1
            rendered = project / "data/raw/sample" / f"{pack}.jsonl"
            if rendered.exists():
                assert rendered.read_bytes() == (source / declared["sample"]).read_bytes()
        assert len(list((project / "data/raw/sample").iterdir())) == 1
    assert compared > len(matrix)


def test_rendered_python_is_clean(matrix: dict[int, Path]) -> None:
    """One run over all renders, at package names of 1 and 30 characters among them."""
    ruff = Path(sys.executable).with_name("ruff")
    for command in (["check", "--no-cache"], ["format", "--check", "--no-cache"]):
        paths = [str(project) for project in matrix.values()]
        answer = subprocess.run([ruff, *command, *paths], capture_output=True, text=True)
        assert answer.returncode == 0, answer.stdout[-3000:] + answer.stderr[-1000:]


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)
    elif isinstance(value, str):
        yield value


@pytest.mark.parametrize(("answers", "refusal"), HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_answers(render: Render, answers: dict[str, str], refusal: str | None) -> None:
    if refusal is not None:
        with pytest.raises(ValueError, match=re.escape(refusal)):
            render(**answers)
        return
    project = render(**answers, license="MIT")
    stored = yaml.safe_load((project / ".copier-answers.yml").read_text(encoding="utf-8"))
    package = stored["package_name"]
    assert re.fullmatch(r"[a-z][a-z0-9_]{0,29}", package)
    assert (project / "src" / package / "trainer.py").is_file()
    assert stored["project_name"] == answers["project_name"]
    metadata = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
    if "author_name" in answers:
        assert metadata["project"]["authors"] == [{"name": answers["author_name"]}]
    for path in files(project):
        if path.suffix in {".yaml", ".yml"}:
            assert list(strings(yaml.safe_load(path.read_text(encoding="utf-8")))), path.name
    heading = (project / "README.md").read_text(encoding="utf-8").splitlines()[0]
    assert heading.startswith("# ")
    assert not re.search(r"(?<!\\)[\[`<]", heading[2:].replace("&lt;", ""))


def test_answers_arrive_where_they_belong(render: Render) -> None:
    """Sentinel answers are found in their files, names of hidden questions in none."""
    project = render(
        project_name="Sentinel Kestrel",
        project_description="Sentinel sentence about quails.",
        author_name="Sentinel Heron",
        license="MIT",
        profile="everything",
    )
    expected = {
        "README.md": ["Sentinel Kestrel", "Sentinel sentence about quails."],
        "pyproject.toml": ["Sentinel sentence about quails.", "Sentinel Heron"],
        "LICENSE": ["Sentinel Heron", "MIT License"],
    }
    for name, sentinels in expected.items():
        text = (project / name).read_text(encoding="utf-8")
        assert all(sentinel in text for sentinel in sentinels), name
    hidden = ("model_entry", "sample_pack", "plan_table", "model_slug", "_copier_conf", "Undefined")
    for path in files(project):
        text = path.read_text(encoding="utf-8")
        assert not [name for name in hidden if name in text], path.name
