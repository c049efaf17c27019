"""What the questionnaire offers, refuses and remembers; one run through a real terminal."""

import json
import keyword
import re
import sys
from pathlib import Path
from typing import Any

import pexpect
import pytest
import yaml
from jinja2 import Environment, FileSystemLoader

from .conftest import ROOT, Render

sys.path.insert(0, str(ROOT / "hooks"))

import build_tables

TABLE = json.loads((ROOT / "hooks/plan_table.json").read_text(encoding="utf-8"))
LLAMA_8B = "meta-llama/Llama-3.1-8B-Instruct"


def stored(project: Path) -> dict[str, Any]:
    return yaml.safe_load((project / ".copier-answers.yml").read_text(encoding="utf-8"))


def test_reserved_names_cover_this_python() -> None:
    reserved = set(yaml.safe_load((ROOT / "hooks/reserved_names.yaml").read_text("utf-8")))
    public = {name for name in sys.stdlib_module_names if not name.startswith("_")}
    assert {name for name in public if name.islower() and len(name) <= 30} <= reserved
    assert {name for name in keyword.kwlist if name.islower()} <= reserved
    assert {"torch", "evaluate", "scripts", "transformers", "conftest", "com2"} <= reserved
    lock = (ROOT / "template/requirements.lock").read_text(encoding="utf-8")
    pinned = {re.sub(r"[-.]", "_", name) for name in re.findall(r"^([a-z][\w.-]*)==", lock, re.M)}
    assert {name for name in pinned if len(name) <= 30} <= reserved


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("Credit letters assistant", "credit_letters_assistant"),
        ("2024 Q3 report", "q3_report"),
        ("株式会社", "finetune"),
        ("torch", "torch_project"),
        ("A name that is much longer than thirty characters", "a_name_that_is_much_longer_tha"),
    ],
)
def test_package_name_is_derived(render: Render, name: str, package: str) -> None:
    assert stored(render(project_name=name))["package_name"] == package


REFUSED = [
    ({"project_name": "  "}, "Give the project a name"),
    ({"domains": ["finacial"]}, "Invalid choice"),
    ({"model_size": "huge"}, "small, medium, large, or a count"),
    ({"base_model": "no/such-model"}, "Invalid choice"),
    ({"base_model": "custom"}, "custom_model"),
    ({"model_size": "0B"}, "small, medium, large, or a count"),
    ({"gpu_memory_gb": -1}, "Between 0"),
    ({"gpu_memory_gb": 24, "num_gpus": 0}, "Between 1 and 64"),
    ({"num_gpus": 2}, "gpu_memory_gb is 0"),
    ({"max_seq_length": 100_000}, "the context of SmolLM2"),
    ({"max_seq_length": 8}, "Between 32"),
    ({"objective": "sft", "data_format": "text"}, "Invalid choice"),
    ({"scrub_languages": []}, "at least one language"),
    ({"launcher": "slrum"}, "one or more of python, slurm"),
    ({"launcher": ["python", "k8s"]}, "one or more of python, slurm"),
    ({"python_version": "3.9"}, "Invalid choice"),
    ({"technique": "lorra"}, "Invalid choice"),
]


@pytest.mark.parametrize(("answers", "message"), REFUSED, ids=[str(a) for a, _ in REFUSED])
def test_refusals_say_what_is_allowed(render: Render, answers: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        render(**answers)


def test_default_model_is_free_and_of_the_size(render: Render) -> None:
    models = {model["id"]: model for model in TABLE["models"]}
    for size in ("small", "medium", "large"):
        chosen = models[stored(render(model_size=size))["base_model"]]
        assert chosen["class"] == size
        assert not chosen["gated"]
    for size, low, high in (("8B", 4e9, 16e9), ("70B", 20e9, 140e9), ("30M", 0, 140e6)):
        chosen = models[stored(render(model_size=size))["base_model"]]
        assert low <= chosen["params"] <= high


def test_models_reach_from_135m_to_70b() -> None:
    sizes = [model["params"] for model in TABLE["models"]]
    assert min(sizes) < 140e6
    assert max(sizes) > 69e9
    assert len(sizes) >= 20


def test_explicit_technique_is_kept_for_make_check_to_judge(render: Render) -> None:
    answers = {"model_size": "8B", "base_model": LLAMA_8B, "gpu_memory_gb": 8, "technique": "full"}
    assert stored(render(**answers))["technique"] == "full"


class Terminal:
    """copier copy in a pseudo-terminal of 200 columns."""

    def __init__(self, template: Path, target: Path, *options: str) -> None:
        copier = str(Path(sys.executable).with_name("copier"))
        arguments = ["copy", *options, str(template), str(target)]
        self.child = pexpect.spawn(
            copier, arguments, dimensions=(60, 200), encoding="utf-8", timeout=30
        )

    def answer(self, question: str, keys: str = "\r") -> None:
        self.child.expect(question)
        self.child.send(keys)

    def see(self, text: str) -> None:
        self.child.expect(text)


def test_interactive_run_asks_about_eight_questions(template: Path, tmp_path: Path) -> None:
    target = tmp_path / "project"
    terminal = Terminal(template, target)
    terminal.answer("What is the project called", "Terminal run\r")
    terminal.answer("How many questions")
    terminal.answer("Which domain packs", " \r")  # the first pack of the list
    terminal.answer("What is learned")
    terminal.answer("How are the rows")
    terminal.answer("Size of the base model", "\b" * 5 + "8B\r")
    terminal.answer("Which base model")
    terminal.answer("Memory of one GPU", "\b" * 3 + "8\r")
    terminal.see("How are the weights adapted")
    terminal.see(r"needs about [0-9.]+ GiB")
    terminal.see(r"8 GB have 7\.\d GiB")  # full is disabled, with the reason
    terminal.child.send("\r")
    terminal.see("make setup")
    terminal.child.expect(pexpect.EOF)
    terminal.child.close()
    assert terminal.child.exitstatus == 0
    answers = stored(target)
    assert answers["project_name"] == "Terminal run"
    packs = sorted(path.parent.name for path in (template / "domains").glob("*/pack.yaml"))
    assert answers["domains"] == packs[:1]
    assert answers["gpu_memory_gb"] == 8
    assert answers["technique"] == "auto"
    assert answers["license"] == "Apache-2.0"  # not asked, but saved


def test_minimal_profile_asks_name_and_domains_only(template: Path, tmp_path: Path) -> None:
    target = tmp_path / "project"
    terminal = Terminal(template, target)
    terminal.answer("What is the project called", "Short run\r")
    terminal.answer("How many questions", "\x1b[B\r")  # one down: minimal
    terminal.answer("Which domain packs")
    terminal.see("make setup")
    terminal.child.expect(pexpect.EOF)
    terminal.child.close()
    assert terminal.child.exitstatus == 0
    assert stored(target)["profile"] == "minimal"
    assert stored(target)["technique"] == "auto"


def test_one_card_decides_until_a_launcher_is_offered(render: Render) -> None:
    """Eight cards do not make a technique fit that one card cannot hold."""
    answers = {"model_size": "8B", "base_model": LLAMA_8B, "gpu_memory_gb": 24, "num_gpus": 8}
    need = TABLE["need"][LLAMA_8B]["full"][TABLE["seq"].index(2048)][0]
    assert need > TABLE["usable_factor"] * 24
    assert stored(render(**answers))["technique"] == "auto"


def test_sizes_and_lengths_of_the_questionnaire_are_planned() -> None:
    assert max(TABLE["seq"]) >= max(model["context"] for model in TABLE["models"])
    assert max(float(size) for size in TABLE["custom"]) >= 2000


def test_relative_template_path_is_warned_of(
    template: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.chdir(template)
    from copier import run_copy

    run_copy(".", tmp_path / "a", data={"project_name": "Relative"}, defaults=True)
    assert "relative path" in capfd.readouterr().err
    run_copy(str(template), tmp_path / "b", data={"project_name": "Absolute"}, defaults=True)
    message = capfd.readouterr().err
    assert "make setup" in message
    assert "relative path" not in message


def test_formats_are_those_the_objective_reads() -> None:
    for row in TABLE["objectives"].values():
        assert any(entry["kind"] in row["reads"] for entry in TABLE["formats"].values())


def test_the_example_row_of_the_readme_fits_its_objective() -> None:
    """Read back by the project's own recognition of layouts."""
    source = Environment(
        loader=FileSystemLoader(ROOT),
        extensions=["jinja2_ansible_filters.AnsibleCoreFiltersExtension"],
    )
    example = source.get_template("hooks/macros.jinja").module.example_row
    formats = build_tables.project_rows("formats")
    for name, row in TABLE["objectives"].items():
        found, _ = formats.detect([json.loads(example(name, row["reads"]))], {}, name)
        assert formats.FORMATS[found].kind in row["reads"], name


@pytest.mark.parametrize(
    ("objective", "sample", "asked"),
    [
        ("sft", True, True),
        ("dpo", False, True),
        ("mlm", True, False),
        ("contrastive", False, False),
    ],
)
def test_a_project_says_what_runs_and_whether_the_sample_fits(
    render: Render, objective: str, sample: bool, asked: bool
) -> None:
    project = render(objective=objective)
    readme = (project / "README.md").read_text(encoding="utf-8")
    config = (project / "configs/default_config.yaml").read_text(encoding="utf-8")
    assert "    make all " in readme
    assert ("name your own rows in `data.raw`" in readme) is not sample
    assert ("name your own rows above" in config) is not sample
    assert ("on the sample data at first" in readme) is sample
    assert ("No evaluation set" in readme) is not asked
