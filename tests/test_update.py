"""`copier update` from one release to the next keeps every answer and every edit."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from copier import run_copy, run_update

from .conftest import IGNORED, ROOT

ANSWERS = {
    "project_name": "Update check",
    "domains": ["financial"],
    "model_size": "8B",
    "base_model": "meta-llama/Llama-3.1-8B-Instruct",
    "gpu_memory_gb": 24,
    "technique": "lora",
}


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=Test", "-c", "user.email=test@example.org", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def commit(folder: Path, message: str, tag: str | None = None) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", message)
    if tag:
        git(folder, "tag", tag)


@pytest.fixture
def released(tmp_path: Path) -> Path:
    """The template as a git repository with one tag, 1.0.0."""
    target = tmp_path / "template"
    shutil.copytree(ROOT, target, ignore=IGNORED)
    git(target, "init", "--quiet")
    commit(target, "First release", tag="1.0.0")
    return target


@pytest.fixture
def project(released: Path, tmp_path: Path) -> Path:
    target = tmp_path / "project"
    run_copy(str(released), target, data=ANSWERS, defaults=True, quiet=True, vcs_ref="1.0.0")
    git(target, "init", "--quiet")
    commit(target, "New project")
    return target


def answers_of(project: Path) -> dict[str, Any]:
    stored = yaml.safe_load((project / ".copier-answers.yml").read_text(encoding="utf-8"))
    return {name: value for name, value in stored.items() if not name.startswith("_")}


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{path.name} lacks {old!r}"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def update(project: Path, **options: Any) -> None:
    run_update(project, defaults=True, overwrite=True, unsafe=False, quiet=True, **options)


def test_edits_and_news_meet(released: Path, project: Path) -> None:
    """User edits in a config, a pack, the README and a new file; news in the same files."""
    before = answers_of(project)
    replace(project / "configs/default_config.yaml", "num_train_epochs: 3", "num_train_epochs: 7")
    with (project / "domains/financial/README.md").open("a", encoding="utf-8") as handle:
        handle.write("\nOur own note.\n")
    (project / "domains/custom/deny.txt").write_text("Project Falcon\n", encoding="utf-8")
    (project / "MODEL_CARD.md").write_text("# Ours\n", encoding="utf-8")
    (project / "notes.md").write_text("ours\n", encoding="utf-8")
    commit(project, "Our edits")

    config = released / "template/configs/default_config.yaml.jinja"
    replace(config, "seed: 42", "seed: 43")
    replace(released / "domains/financial/README.md", "#", "# Revised\n\n#")
    (released / "template/docs/news.md").write_text("# News\n", encoding="utf-8")
    commit(released, "Second release", tag="1.1.0")
    update(project)

    merged = yaml.safe_load((project / "configs/default_config.yaml").read_text(encoding="utf-8"))
    assert merged["train"]["num_train_epochs"] == 7
    assert merged["train"]["seed"] == 43
    pack = (project / "domains/financial/README.md").read_text(encoding="utf-8")
    assert "Our own note." in pack
    assert "Revised" in pack
    assert (project / "domains/custom/deny.txt").read_text(encoding="utf-8") == "Project Falcon\n"
    assert (project / "MODEL_CARD.md").read_text(encoding="utf-8") == "# Ours\n"
    assert (project / "notes.md").exists()
    assert (project / "docs/news.md").exists()
    assert answers_of(project) == before
    assert "<<<<<<<" not in pack
    assert not list(project.rglob("*.rej"))


def test_updated_tree_equals_fresh_render(released: Path, project: Path, tmp_path: Path) -> None:
    replace(released / "template/docs/updating.md", "# Updating", "# Bringing in news:")
    commit(released, "Second release", tag="1.1.0")
    update(project)
    fresh = tmp_path / "fresh"
    run_copy(str(released), fresh, data=ANSWERS, defaults=True, quiet=True, vcs_ref="1.1.0")

    def tree(folder: Path) -> dict[str, bytes]:
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file() and ".git" not in path.relative_to(folder).parts
        }

    assert tree(project) == tree(fresh)


def test_tightened_table_and_removed_model_change_no_answer(released: Path, project: Path) -> None:
    """A stored technique that no longer fits, and a model that left the table, stay."""
    before = answers_of(project)
    path = released / "hooks/plan_table.json"
    table = json.loads(path.read_text(encoding="utf-8"))
    gone = ANSWERS["base_model"]
    table["models"] = [model for model in table["models"] if model["id"] != gone]
    del table["need"][gone]
    for size in table["custom"].values():
        for name, rows in size.items():
            size[name] = [[999.0 for _ in row] for row in rows]
    path.write_text(json.dumps(table), encoding="utf-8")
    commit(released, "Tables tightened", tag="1.1.0")
    update(project)
    assert answers_of(project) == before


def test_retired_pack_changes_no_answer(released: Path, project: Path) -> None:
    """A retired pack stays a choice; its files leave, the answer does not."""
    before = answers_of(project)
    replace(released / "domains/financial/pack.yaml", "retired: false", "retired: true")
    commit(released, "Financial retired", tag="1.1.0")
    update(project)
    assert answers_of(project) == before
    assert not (project / "domains/financial/pack.yaml").exists()


def test_domain_is_added_by_an_update(project: Path) -> None:
    update(project, data={"domains": ["financial", "legal"]}, vcs_ref="1.0.0")
    assert (project / "domains/legal/pack.yaml").is_file()
    assert answers_of(project)["domains"] == ["financial", "legal"]
