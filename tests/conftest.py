"""Shared by the template's tests: a clean copy of the template, renders, one environment.

Renders run in this process, untrusted (`unsafe=False`) and from a folder without .git, which is
faster; tests of updates make a git clone of their own.
"""

import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from copier import run_copy

ROOT = Path(__file__).resolve().parents[1]
IGNORED = shutil.ignore_patterns(
    ".git", ".venv", "build", "__pycache__", ".pytest_cache", ".ruff_cache", ".mypy_cache"
)
Render = Callable[..., Path]


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template as a user without git history gets it."""
    target = tmp_path_factory.mktemp("template") / "template"
    shutil.copytree(ROOT, target, ignore=IGNORED)
    return target


def copy(template: Path, target: Path, answers: Mapping[str, Any], **options: Any) -> Path:
    """Run copier as `copier copy --defaults` does, without --trust."""
    options |= {"data": dict(answers), "defaults": True, "unsafe": False, "quiet": True}
    run_copy(str(template), target, **options)
    return target


@pytest.fixture(scope="session")
def render(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Render:
    """Return a function: answers -> folder of the rendered project."""

    def make(**answers: Any) -> Path:
        answers.setdefault("project_name", "Sample project")
        return copy(template, tmp_path_factory.mktemp("project") / "out", answers)

    return make


@pytest.fixture(scope="session")
def financial(render: Render) -> Path:
    """The project that `make demo` renders."""
    return render(project_name="Financial demo", domains=["financial"])


@pytest.fixture(scope="session")
def environment(financial: Path) -> Iterator[Path]:
    """The one virtual environment that all project tests share, made by the project itself."""
    venv = ROOT / "build" / "project-venv"
    command = ["make", "setup", f"VENV={venv}", "EXTRAS=dev,tensorboard,wandb"]
    subprocess.run(command, cwd=financial, check=True)
    yield venv
