"""The template repository itself: safety, portability, size, freshness of what is compiled."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from .conftest import ROOT

TOP_LEVEL = ["template", "domains", "hooks", "tests", "copier.yml", "README.md", "CONTRIBUTING.md"]
MODULE_LIMIT = 400  # lines; a longer file is split
NOT_ON_WINDOWS = re.compile(r'["|:<>?*\\]')


def tracked() -> list[Path]:
    answer = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if answer.returncode == 0 and answer.stdout:
        return [ROOT / name for name in answer.stdout.splitlines() if (ROOT / name).is_file()]
    return [path for path in ROOT.rglob("*") if path.is_file() and ".venv" not in path.parts]


def questionnaire() -> dict:
    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!include", lambda loader, node: loader.construct_scalar(node))
    return yaml.load((ROOT / "copier.yml").read_text(encoding="utf-8"), Loader)


def test_top_level_is_fixed() -> None:
    assert all((ROOT / name).exists() for name in TOP_LEVEL)


def test_nothing_needs_trust() -> None:
    unsafe = {"_tasks", "_jinja_extensions", "_migrations"}
    assert not unsafe & set(questionnaire())


def test_every_question_has_help_and_type() -> None:
    for name, question in questionnaire().items():
        if name.startswith("_") or question.get("when") is False:
            continue
        assert question.get("type"), name
        assert question.get("help"), name
        assert "default" in question or name == "project_name", name
        assert "validator" in question or "choices" in question, name


def test_question_names_are_frozen() -> None:
    names = set(questionnaire())
    frozen = (
        "project_name package_name profile domains objective data_format model_size base_model "
        "gpu_memory_gb num_gpus num_nodes max_seq_length technique scrub_languages tracker "
        "launcher serving ci license python_version"
    )
    assert set(frozen.split()) <= names


@pytest.mark.parametrize("script", ["build_tables.py --check", "check_packs.py"])
def test_compiled_files_are_fresh(script: str) -> None:
    command = [sys.executable, *f"hooks/{script}".split()]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_file_names_are_legal_everywhere() -> None:
    jinja = re.compile(r"\{%.*?%\}|\{\{.*?\}\}")
    for path in tracked():
        name = str(path.relative_to(ROOT))
        assert '"' not in name, name
        assert not NOT_ON_WINDOWS.search(jinja.sub("", name)), name


def test_no_python_file_is_too_long() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in tracked()
        if path.name.endswith((".py", ".py.jinja"))
        and (lines := len(path.read_text(encoding="utf-8").splitlines())) > MODULE_LIMIT
    }
    assert not long


def test_source_modules_carry_no_template_code() -> None:
    package = ROOT / "template" / "src" / "{{ package_name }}"
    parts = ("hardware", "footprint", "small_techniques", "ladder", "machines", "shapes")
    includes = {f"{name}.py.jinja" for name in parts}
    for path in package.iterdir():
        if path.suffix == ".py":
            # Braces are doubled in f-strings too, but without a blank behind them.
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"\{\{-?\s|\{%|\{#", text), path.name
        elif path.name.endswith(".py.jinja"):
            assert path.name in includes, path.name


def test_tests_and_scripts_know_only_the_package_name() -> None:
    for folder in ("tests", "scripts"):
        for path in (ROOT / "template" / folder).glob("*.jinja"):
            text = path.read_text(encoding="utf-8").replace("{{ package_name }}", "")
            assert not re.search(r"\{\{|\{%|\{#", text), path.name


def test_hooks_and_tests_are_clean() -> None:
    for command in (["check"], ["format", "--check"]):
        ruff = [str(Path(sys.executable).with_name("ruff")), *command, "hooks", "tests", "domains"]
        answer = subprocess.run(ruff, cwd=ROOT, capture_output=True, text=True)
        assert answer.returncode == 0, answer.stdout


def test_readme_has_its_commands_in_the_first_dozen_lines() -> None:
    head = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:12]
    text = "\n".join(head)
    for command in ("make demo", "make test", "uvx 'copier>=9.19' copy", "pipx run"):
        assert command in text, command


def test_readme_commands_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    project = (ROOT / "template" / "Makefile").read_text(encoding="utf-8")
    targets |= set(re.findall(r"^([a-z-]+):", project, re.MULTILINE))
    documents = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    documents += (ROOT / "template").rglob("*.md*")
    for document in documents:
        text = document.read_text(encoding="utf-8")
        for command in re.findall(r"(?:^ {4}|`)make ([a-z-]+)", text, re.MULTILINE):
            assert command in targets, f"{document.name}: make {command}"
