"""Train SmolLM2-135M on three tasks of the packs with every technique that is named, and score it.

    python tests/benchmarks/technique_gain.py --project DIR [--techniques full,lora] [--steps 30]

DIR is a rendered project with the packs financial, legal and medical, whose environment runs this
script. Rows to learn from are made by the packs' own generators with other seeds than the sets
that score (fin_sentiment: the sample data); preparation leaves out what a set holds as well.
Each line is one training and one evaluation by the project's scripts, with one thread. Minutes are
those of CPU time, so that other programs do not change them. Finished lines are kept in DIR/gain
and not repeated. The last line is one JSON object. `--save FILE` writes the same as TOML, of which
docs/techniques.md of every project is made: template/src/<package>/technique_gain.toml.
"""

import argparse
import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "hooks"))

import build_items  # noqa: E402

TECHNIQUES = ("full", "lora", "dora", "qlora", "prompt_tuning", "adapter")
# Evaluation set -> (pack, seeds of the training rows); no seeds: the pack's sample data
TASKS: dict[str, tuple[str, range]] = {
    "fin_sentiment": ("financial", range(0)),
    "legal_clause": ("legal", range(1, 9)),
    "med_section": ("medical", range(1, 8)),
}
BATCH = 8  # examples of an optimiser step


def rows(pack: str, task: str, seeds: range) -> Iterator[dict[str, Any]]:
    """Conversations that ask as the evaluation set does."""
    for seed in seeds:
        for line in build_items.lines(build_items.DOMAINS / pack, seed):
            item = json.loads(line)
            if item["task"] == task:
                question = "\n\n".join(x for x in (item.get("context"), item["question"]) if x)
                asked = {"role": "user", "content": question}
                yield {"messages": [asked, {"role": "assistant", "content": item["answer"]}]}


def run(project: Path, script: str, *words: str) -> float:
    """Run a script of the project; return its CPU time in minutes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(project / "src")}
    done = subprocess.run(
        [sys.executable, f"scripts/{script}.py", *words],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode not in (0, 3):  # 3: a gate was missed, which is a result
        raise SystemExit(f"{script} {' '.join(words)}\n{done.stdout[-1500:]}{done.stderr[-1500:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / 60


def prepare(project: Path, task: str) -> list[str]:
    """Make the data of a task; return the settings that name it."""
    pack, seeds = TASKS[task]
    raw = project / "data" / "raw" / "gain" / f"{task}.jsonl"
    source = f"data/raw/gain/{task}.jsonl" if seeds else f"data/raw/sample/{pack}.jsonl"
    settings = [f"data.raw={source}", "data.group_by=null"]
    settings += [f"data.prepared=data/gain/{task}", f"domains=[{pack}]"]
    settings += ["objective=sft"]
    if not (project / "data" / "gain" / task / "manifest.json").is_file():
        if seeds:
            raw.parent.mkdir(parents=True, exist_ok=True)
            raw.write_text("".join(json.dumps(row) + "\n" for row in rows(pack, task, seeds)))
        run(project, "prepare_data", *settings)
    return settings


def measured(project: Path, task: str, technique: str, steps: int) -> dict[str, Any]:
    """Train and score once."""
    settings = prepare(project, task)
    settings += [f"train.output_dir=runs/gain/{task}/{technique}", f"technique={technique}"]
    settings += [f"train.max_steps={steps}", f"train.effective_batch_size={BATCH}"]
    settings += [f"train.per_device_train_batch_size={BATCH}"]
    minutes = run(project, "train", *settings)
    (folder,) = (project / "runs" / "gain" / task / technique).iterdir()
    evaluation = [*settings, f"eval.sets=[{task}]", "eval.held_out_tokens=0"]
    run(project, "evaluate", "--run", str(folder), *evaluation)
    record = json.loads((folder / "training_args.json").read_text(encoding="utf-8"))
    (result,) = json.loads((folder / "evaluation_results.json").read_text(encoding="utf-8"))["sets"]
    kept = folder / "adapter"
    files = kept.iterdir() if kept.is_dir() else [folder / "model.safetensors"]
    return {
        "task": task,
        "technique": technique,
        "n": result["n"],
        "base": result["base"],
        "tuned": result["tuned"],
        "interval": result["tuned_interval"],
        "majority": result["majority"],
        "verdict": result["verdict"],
        "cpu_minutes": round(minutes, 1),
        "peak_rss_gib": record["peak_memory_gib"],
        "trained_share": record["trainable_parameters"] / record["parameters"],
        "megabytes": round(sum(file.stat().st_size for file in files) / 1e6, 2),
        "steps": record["steps"],
        "learning_rate": record["arguments"]["learning_rate"],
    }


def line(row: dict[str, Any]) -> str:
    """One line of the table."""
    low, high = row["interval"]
    return (
        f"{row['task']:14} {row['technique']:14} {row['base']:6.3f} {row['tuned']:6.3f} "
        f"[{low:.3f}, {high:.3f}] {row['verdict']:12} {row['cpu_minutes']:6.1f} "
        f"{row['peak_rss_gib']:6.2f} {row['megabytes']:8.2f} {row['trained_share']:9.4%}"
    )


def save(path: Path, asked: argparse.Namespace, found: list[dict[str, Any]]) -> None:
    """Write the rows as TOML, one a line, with the command and the machine."""
    command = "python tests/benchmarks/technique_gain.py --project DIR"
    facts = {
        "command": f"{command} --steps {asked.steps}",
        "machine": f"one thread of {machine()}",
        "model": "SmolLM2-135M-Instruct",
        "steps": asked.steps,
        "batch": BATCH,
    }
    lines = [f"{name} = {json.dumps(value)}" for name, value in facts.items()]
    lines += ["rows = ["]
    for row in found:
        cells = ", ".join(f"{name} = {json.dumps(value)}" for name, value in row.items())
        lines.append(f"  {{ {cells} }},")
    made = "# Written by tests/benchmarks/technique_gain.py of the template; do not edit.\n"
    path.write_text(made + "\n".join([*lines, "]"]) + "\n", encoding="utf-8", newline="\n")


def machine() -> str:
    """Name the processor, and whether it computes in bf16."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    name = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    unit = " with bf16 units" if re.search(r"\b(avx512_bf16|amx_bf16)\b", text) else ""
    return f"{name[1] if name else 'a CPU'}{unit}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--project", type=Path, required=True)
    parser.add_argument("--techniques", default=",".join(TECHNIQUES))
    parser.add_argument("--tasks", default=",".join(TASKS))
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--save", type=Path, help="write the rows as TOML as well")
    asked = parser.parse_args()
    project = asked.project.resolve()
    kept = project / "gain"
    kept.mkdir(exist_ok=True)
    print(
        f"{'task':14} {'technique':14} {'base':>6} {'tuned':>6} {'interval':14} {'verdict':12}",
        end="",
    )
    print(f" {'CPU min':>6} {'GiB':>6} {'MB':>8} {'trained':>9}")
    found = []
    for technique in asked.techniques.split(","):
        for task in asked.tasks.split(","):
            path = kept / f"{task}-{technique}-{asked.steps}.json"
            if not path.is_file():
                row = measured(project, task, technique, asked.steps)
                path.write_text(json.dumps(row), encoding="utf-8")
            found.append(json.loads(path.read_text(encoding="utf-8")))
            print(line(found[-1]), flush=True)
    if asked.save:
        save(asked.save, asked, found)
    print(json.dumps({"steps": asked.steps, "batch": BATCH, "rows": found}))


if __name__ == "__main__":
    main()
