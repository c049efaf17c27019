"""Answers for the render matrix: every pair of values of two questions occurs in one render."""

from collections.abc import Iterator
from itertools import combinations
from typing import Any

NAME_1 = "q"
NAME_30 = "a2345678901234567890123456789z"  # 30 characters, the longest allowed
LAUNCHERS = [
    "python", "slurm", "ray", "skypilot", "kubernetes", "sagemaker", "vertex", "azureml", "colab",
]  # fmt: skip
FACTORS: dict[str, list[Any]] = {
    "profile": ["recommended", "minimal", "everything"],
    "domains": [[], ["financial"], ["medical", "legal"], ["financial", "legal", "medical"]],
    "objective": ["sft", "pretrain"],
    "model": [
        ("small", "HuggingFaceTB/SmolLM2-135M-Instruct"),
        ("medium", "Qwen/Qwen2.5-1.5B-Instruct"),
        ("8B", "meta-llama/Llama-3.1-8B-Instruct"),
        ("large", "custom"),
    ],
    "gpu_memory_gb": [0, 8, 24, 80],
    "technique": ["auto", "full", "lora"],
    "package_name": [NAME_1, NAME_30, "credit_letters"],
    "tracker": ["none", "tensorboard", "wandb", "trackio", "mlflow"],
    "license": ["Apache-2.0", "MIT", "proprietary"],
    "ci": ["github", "none"],
    "python_version": ["3.11", "3.14"],
    "launcher": [["python"], ["slurm", "kubernetes", "ray"], LAUNCHERS],
}


def pairwise() -> Iterator[dict[str, Any]]:
    """Yield few combinations that together hold every pair (greedy, deterministic)."""
    names = list(FACTORS)
    open_pairs = {
        (a, i, b, j)
        for a, b in combinations(names, 2)
        for i in range(len(FACTORS[a]))
        for j in range(len(FACTORS[b]))
    }
    while open_pairs:
        row: dict[str, int] = {}
        a, i, b, j = min(open_pairs)
        row[a], row[b] = i, j
        for name in names:
            if name not in row:
                row[name] = max(
                    range(len(FACTORS[name])),
                    key=lambda value, name=name: _gain(open_pairs, row, name, value),
                )
        open_pairs -= {(x, row[x], y, row[y]) for x, y in combinations(names, 2)}
        yield _answers({name: FACTORS[name][value] for name, value in row.items()})


def _gain(open_pairs: set, row: dict[str, int], name: str, value: int) -> int:
    names = list(FACTORS)
    count = 0
    for other, index in row.items():
        first, second = sorted([(name, value), (other, index)], key=lambda x: names.index(x[0]))
        count += (*first, *second) in open_pairs
    return count


def _answers(values: dict[str, Any]) -> dict[str, Any]:
    size, model = values.pop("model")
    values |= {"project_name": "Sample project", "model_size": size, "base_model": model}
    if model == "custom":
        values |= {"custom_model": "/models/our-own-12b", "custom_model_billions": 12.0}
    return values


# Name given -> words of the refusal, or None where it is rendered as it stands.
HOSTILE: list[tuple[dict[str, str], str | None]] = [
    ({"project_name": "The \"quoted\" 'name'"}, None),
    ({"project_name": "C:\\temp\\new \\u0041"}, None),
    ({"project_name": "{{ 7 * 7 }} {% raw %} {# x #} ${HOME}"}, None),
    ({"project_name": "Müller & Söhne 🏦 <b>株式会社</b>"}, None),
    ({"project_name": "../../etc/passwd"}, None),
    ({"project_name": "two\nlines"}, "one line without control characters"),
    ({"project_name": "x" * 61}, "at most 60 characters"),
    ({"project_name": "Fine", "package_name": "torch"}, "library of this project"),
    ({"project_name": "Fine", "package_name": "../evil"}, "lower-case letters"),
    ({"project_name": "Fine", "package_name": "class"}, "Python keyword"),
    ({"project_name": "Fine", "author_name": '"]\nversion = "9'}, "control characters"),
    ({"project_name": "# [x](javascript:1) `rm`", "author_name": 'O\'Neil "Bo" \\ Sons'}, None),
]
