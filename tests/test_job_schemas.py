"""Job files against the schemas of the services they are for, offline. No job is started.

The schemas are packages of tests/requirements-jobs.txt: `make test-jobs`. A test whose package is
missing is skipped, and says so.
"""

import gzip
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from .answers import NAME_30
from .conftest import ROOT, Render

LAUNCHERS = yaml.safe_load((ROOT / "hooks/launchers.yaml").read_text(encoding="utf-8"))
NAMES = [row["name"] for row in LAUNCHERS]
MACHINES = yaml.safe_load((ROOT / "hooks/cloud_machines.yaml").read_text(encoding="utf-8"))
LARGE = {"model_size": "8B", "base_model": "meta-llama/Llama-3.1-8B-Instruct"}
CASES: dict[str, dict[str, Any]] = {
    "cpu": {},
    "one": {"gpu_memory_gb": 24, "package_name": NAME_30},
    "many": {"gpu_memory_gb": 80, "num_gpus": 8, "num_nodes": 2, "technique": "full", **LARGE},
    "unknown": {"gpu_memory_gb": 288, "num_gpus": 16, **LARGE},
}
SHARED = {"jobs/train.sh", "jobs/stage.sh"}
IMAGE = {"Dockerfile", ".dockerignore"}
SBATCH = {
    "job-name", "nodes", "ntasks-per-node", "gpus-per-node", "cpus-per-task", "mem", "time",
    "signal", "requeue", "open-mode", "output",
}  # fmt: skip


@pytest.fixture(scope="module")
def projects(render: Render) -> dict[str, Path]:
    return {name: render(launcher=NAMES, **answers) for name, answers in CASES.items()}


@pytest.fixture(params=CASES)
def project(request: pytest.FixtureRequest, projects: dict[str, Path]) -> Path:
    return projects[request.param]


def content(project: Path, name: str) -> Any:
    return yaml.safe_load((project / "jobs" / name).read_text(encoding="utf-8"))


def hardware(project: Path) -> dict[str, Any]:
    config = (project / "configs/default_config.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(config)["hardware"]


def present(project: Path) -> set[str]:
    found = {str(path.relative_to(project)) for path in project.glob("jobs/*")}
    return found | {name for name in IMAGE if (project / name).exists()}


@pytest.mark.parametrize("launcher", [None, "slurm", "colab"])
def test_only_the_files_of_the_chosen_launchers_are_there(
    render: Render, launcher: str | None
) -> None:
    rows = [row for row in LAUNCHERS if row["name"] == launcher]
    project = render(launcher=f"python, {launcher}" if launcher else "python")
    expected = {row["file"] for row in rows} | (SHARED if rows else set())
    expected |= IMAGE if any(row["container"] for row in rows) else set()
    assert present(project) == expected
    guide = (project / "docs/jobs.md").read_text(encoding="utf-8")
    assert f"In this project: {launcher or 'none so far'}." in guide
    for row in LAUNCHERS:
        assert f"`{row['file']}`" in guide


def test_resources_are_those_of_the_answers(project: Path) -> None:
    asked = hardware(project)
    processes, nodes = str(max(asked["num_gpus"], 1)), asked["num_nodes"]
    for path in (project / "jobs").glob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        assert re.search(rf'NPROC"?[:,] (value: )?"{processes}"', text), path.name
        assert "CHECK" in text
    script = (project / "jobs/slurm.sbatch").read_text(encoding="utf-8")
    assert f"#SBATCH --nodes={nodes}\n" in script
    assert (f"--gpus-per-node={asked['num_gpus']}\n" in script) == (asked["num_gpus"] > 0)
    assert content(project, "skypilot.yaml")["num_nodes"] == nodes
    assert content(project, "azureml.yaml")["resources"]["instance_count"] == nodes


def test_slurm_script(project: Path) -> None:
    path = project / "jobs/slurm.sbatch"
    subprocess.run(["bash", "-n", str(path)], check=True)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "#!/usr/bin/env bash"
    directives = [line for line in lines if line.startswith("#SBATCH")]
    first_command = next(i for i, line in enumerate(lines) if line and line[0] != "#")
    assert not [line for line in lines[first_command:] if line.startswith("#SBATCH")]
    options = {}
    for line in directives:
        found = re.fullmatch(r"#SBATCH --([a-z-]+)(?:=(\S+))?", line)
        assert found, line
        options[found[1]] = found[2]
    assert set(options) <= SBATCH
    assert options["signal"] == "TERM@300"
    assert "requeue" in options
    assert re.fullmatch(r"\d+:00:00", options["time"])
    assert "scontrol requeue" in lines[-3]


@pytest.mark.parametrize(("code", "queued"), [(0, False), (1, False), (2, False), (143, True)])
def test_slurm_script_queues_again_what_was_cut_off(
    projects: dict[str, Path], tmp_path: Path, code: int, queued: bool
) -> None:
    """No cluster is at hand: srun is replaced by one that ends with a code, scontrol by a log."""
    commands = {"srun": f"exit {code}", "scontrol": 'echo "$@" >> "$CALLS"; echo node1'}
    for name, line in commands.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    settings = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "CALLS": str(tmp_path / "calls"),
        "SLURM_JOB_ID": "12",
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_JOB_NUM_NODES": "2",
        "SLURM_SUBMIT_DIR": str(tmp_path),
    }
    script = projects["many"] / "jobs/slurm.sbatch"
    assert subprocess.run(["bash", str(script)], env=settings).returncode == code
    calls = (tmp_path / "calls").read_text(encoding="utf-8").splitlines()
    assert calls == ["show hostnames node[1-2]", *(["requeue 12"] if queued else [])]


def test_kubernetes_objects(project: Path) -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="make test-jobs")
    documents = list(yaml.safe_load_all((project / "jobs/kubernetes.yaml").read_text("utf-8")))
    kinds = [document["kind"] for document in documents]
    more = ["Service"] if hardware(project)["num_nodes"] > 1 else []
    assert kinds == ["NetworkPolicy", *more, "Job"]
    for document in documents:
        kubernetes_validate.validate(document, "1.36", strict=True)
        assert re.fullmatch(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", document["metadata"]["name"])
    spec = documents[-1]["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert {v["name"] for v in spec["volumes"]} == {m["name"] for m in container["volumeMounts"]}
    wrong = documents[-1] | {"spec": documents[-1]["spec"] | {"paralelism": 1}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, "1.36", strict=True)


def sagemaker_faults(value: Any, name: str, shapes: dict[str, Any]) -> Iterator[str]:
    """Yield what the service model does not allow: fields, types, choices, patterns, ranges."""
    shape = shapes[name]
    kind = shape["type"]
    if kind == "structure":
        for missing in set(shape.get("required", [])) - set(value):
            yield f"{name}.{missing} is missing"
        for key, inner in value.items():
            if key in shape["members"]:
                yield from sagemaker_faults(inner, shape["members"][key]["shape"], shapes)
            else:
                yield f"{name}.{key} is unknown"
    elif kind == "list":
        for inner in value:
            yield from sagemaker_faults(inner, shape["member"]["shape"], shapes)
    elif kind == "map":
        for key, inner in value.items():
            yield from sagemaker_faults(key, shape["key"]["shape"], shapes)
            yield from sagemaker_faults(inner, shape["value"]["shape"], shapes)
    elif kind == "string":
        if not isinstance(value, str):
            yield f"{name}: {value!r} is no text"
        elif shape.get("enum") and value not in shape["enum"]:
            yield f"{name}: {value} is no choice"
        elif not re.fullmatch(shape.get("pattern", "(?s:.*)"), value):
            yield f"{name}: {value} does not match"
        elif not shape.get("min", 0) <= len(value) <= shape.get("max", 10**9):
            yield f"{name}: {value} is too short or too long"
    elif kind in {"integer", "long"}:
        if type(value) is not int or not shape.get("min", 0) <= value <= shape.get("max", 10**9):
            yield f"{name}: {value!r} is out of range"
    elif type(value) is not bool:
        yield f"{name}: {value!r} is not true or false"


@pytest.fixture(scope="module")
def sagemaker() -> dict[str, Any]:
    botocore = pytest.importorskip("botocore", reason="make test-jobs")
    path = Path(botocore.__path__[0]) / "data/sagemaker/2017-07-24/service-2.json.gz"
    return json.loads(gzip.decompress(path.read_bytes()))["shapes"]


def test_sagemaker_request(project: Path, sagemaker: dict[str, Any]) -> None:
    request = content(project, "sagemaker.yaml")
    assert list(sagemaker_faults(request, "CreateTrainingJobRequest", sagemaker)) == []
    time = request["StoppingCondition"]
    assert time["MaxWaitTimeInSeconds"] >= time["MaxRuntimeInSeconds"]
    assert request["EnableNetworkIsolation"] is True
    wrong = request | {"ResourceConfig": {"InstanceType": "ml.none", "InstanceCount": 1}}
    faults = list(sagemaker_faults(wrong, "CreateTrainingJobRequest", sagemaker))
    assert any("ml.none is no choice" in fault for fault in faults)


def vertex_faults(value: Any, schema: dict[str, Any], schemas: dict[str, Any]) -> Iterator[str]:
    """Yield what the discovery document does not allow: fields, types, choices."""
    schema = schemas[schema["$ref"]] if "$ref" in schema else schema
    kind = schema["type"]
    if kind == "object":
        for key, inner in value.items():
            if key in schema["properties"]:
                yield from vertex_faults(inner, schema["properties"][key], schemas)
            else:
                yield f"{schema.get('id')}.{key} is unknown"
    elif kind == "array":
        for inner in value:
            yield from vertex_faults(inner, schema["items"], schemas)
    elif kind == "boolean" or kind == "integer" or schema.get("format") == "int64":
        if type(value) is not (bool if kind == "boolean" else int):
            yield f"{value!r} is no {kind}"
    elif not isinstance(value, str):
        yield f"{value!r} is no text"
    elif schema.get("format") == "google-duration" and not re.fullmatch(r"\d+s", value):
        yield f"{value} is no duration"
    elif schema.get("enum") and value not in schema["enum"]:
        yield f"{value} is no choice"


@pytest.fixture(scope="module")
def vertex() -> dict[str, Any]:
    client = pytest.importorskip("googleapiclient", reason="make test-jobs")
    path = Path(client.__path__[0]) / "discovery_cache/documents/aiplatform.v1.json"
    return json.loads(path.read_text(encoding="utf-8"))["schemas"]


def test_vertex_job(project: Path, vertex: dict[str, Any]) -> None:
    spec = content(project, "vertex.yaml")
    schema = {"$ref": "GoogleCloudAiplatformV1CustomJobSpec"}
    assert list(vertex_faults(spec, schema, vertex)) == []
    assert list(vertex_faults(spec | {"worker": []}, schema, vertex))
    assert len(spec["workerPoolSpecs"][0]["nfsMounts"]) == 1


def test_machines_exist(sagemaker: dict[str, Any], vertex: dict[str, Any]) -> None:
    kinds = vertex["GoogleCloudAiplatformV1MachineSpec"]["properties"]["acceleratorType"]["enum"]
    for row in MACHINES:
        if row["cloud"] == "sagemaker":
            assert row["type"] in sagemaker["TrainingInstanceType"]["enum"], row
        elif row["cloud"] == "vertex" and row["gpus"]:
            assert row["accelerator"] in kinds, row
    for cloud in {row["cloud"] for row in MACHINES}:
        sizes = [(row["gpus"], row["gpu_gb"]) for row in MACHINES if row["cloud"] == cloud]
        assert sizes == sorted(sizes), "the first that is enough is taken"


def test_azure_command_job(project: Path) -> None:
    ml = pytest.importorskip("azure.ai.ml", reason="make test-jobs")
    job = ml.load_job(project / "jobs/azureml.yaml")
    assert job.type == "command"
    assert "${{outputs.job}}" in job.command
    assert job.inputs["job"].mode == "ro_mount"
    with pytest.raises(Exception, match="unknown_field"):
        ml.load_job(project / "jobs/azureml.yaml", params_override=[{"unknown_field": "1"}])


def test_skypilot_task(project: Path) -> None:
    schemas = pytest.importorskip("sky.utils.schemas", reason="make test-jobs")
    task = content(project, "skypilot.yaml")
    checks: list[tuple[Any, Callable[[], dict[str, Any]]]] = [
        (task, schemas.get_task_schema),
        (task["resources"], schemas.get_resources_schema),
        (task["file_mounts"]["/job"], schemas.get_storage_schema),
    ]
    for value, schema in checks:
        jsonschema.validate(value, schema())
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(value | {"unknown_field": 1}, schema())
    subprocess.run(["bash", "-n"], input=task["run"], text=True, check=True)


def test_notebook(project: Path) -> None:
    nbformat = pytest.importorskip("nbformat", reason="make test-jobs")
    notebook = nbformat.read(project / "jobs/colab.ipynb", as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    assert ("accelerator" in notebook.metadata) == (hardware(project)["num_gpus"] > 0)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            python = [line for line in cell.source.splitlines() if not line.startswith("!")]
            compile("\n".join(python), "cell", "exec")


def test_every_launcher_has_its_row_and_its_file() -> None:
    for row in LAUNCHERS:
        assert (ROOT / "template" / f"{row['file']}.jinja").is_file(), row["name"]
        assert all(isinstance(row[key], str) for key in row if key != "container")
    assert len(set(NAMES)) == len(NAMES)
    assert "python" not in NAMES
