"""Train with one process and with two over gloo; compare the losses and the memory of each process.

    python tests/benchmarks/two_processes.py --project DIR [--steps 6] [--techniques full,lora]

DIR is a rendered project; its environment runs this script, in a copy that is removed at the end.
The model has random weights (hidden 512, 12 layers: 38 million weights in 32 bits), no dropout, and
short rows, so that weights, gradients and the states of AdamW are most of what a process holds. A
way of training is a launch of its own, with one thread a process. Memory is counted twice: the
largest resident set above the one after all imports (glibc is told to give blocks of 1 MB back, see
cpu_memory.py), up to the end of the last step and of the whole run, and the bytes of the tensors
that are alive when the last step ends. Prints two tables and, as the last line, one JSON object.
Linux only.
"""

import argparse
import gc
import importlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

MIB = 2**20
LEFT_OUT = shutil.ignore_patterns(".venv", "prepared", "runs", "fine_tuned_model", "checkpoints")
THRESHOLDS = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")  # bytes
ROWS, BATCH = 45, 8  # the last step of an epoch is a short one
WAYS = (("auto", 1), ("ddp", 2), ("fsdp", 2))  # train.parallel, processes


def resident(field: str) -> int:
    """Bytes of VmRSS or VmHWM of this process (Linux)."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"no {field} in /proc/self/status")


def tensor_bytes() -> int:
    """Bytes of all tensors of this process, what they share counted once."""
    import torch
    from torch.distributed.tensor import DTensor

    found = {}
    for thing in gc.get_objects():
        if not isinstance(thing, torch.Tensor):
            continue
        for one in (thing, thing.grad if thing.is_leaf else None):
            if one is None:
                continue
            plain = one.to_local() if isinstance(one, DTensor) else one
            storage = plain.untyped_storage()
            found[storage.data_ptr()] = storage.nbytes()
    return sum(found.values())


def work(package: str, config_path: str, target: str, settings: list[str]) -> None:
    """Train in this process, one of a launch; write down what it held."""

    def part(name: str) -> Any:
        return importlib.import_module(f"{package}.{name}")

    config = part("config").load_config(Path(config_path), settings)
    trainer, launch = part("trainer"), part("launch").launched()
    objective = part("objectives").OBJECTIVES[config.objective]
    part("training").training_of(objective).trainer_classes()
    import peft  # noqa: F401
    import torch.distributed.checkpoint
    import torch.distributed.fsdp  # noqa: F401 - read here, so that it counts with the imports
    from torch.optim.optimizer import register_optimizer_step_post_hook

    plan, _, _ = part("planning").resolve_plan(config, write=launch.first)
    before, held = resident("VmRSS"), {}

    def after_step(*_: Any) -> None:
        held["tensors"], held["trained"] = tensor_bytes(), resident("VmHWM") - before

    register_optimizer_step_post_hook(after_step)
    start = time.perf_counter()
    trainer.train(config, plan)
    found = held | {"whole": resident("VmHWM") - before, "before": before}
    found["seconds"] = round(time.perf_counter() - start, 1)
    Path(f"{target}.{launch.rank}.json").write_text(json.dumps(found), encoding="utf-8")


def make_model(project: Path, folder: Path, layers: int) -> int:
    """Save a model with random weights and the project's tiny tokenizer; return its weights."""
    sys.path.insert(0, str(project / "tests"))
    from tiny_models import tiny_llama
    from transformers import LlamaConfig, LlamaForCausalLM, set_seed

    tokenizer = tiny_llama()[1]
    set_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=512, intermediate_size=1408,
        num_hidden_layers=layers, num_attention_heads=8, num_key_value_heads=8,
        max_position_embeddings=256, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model.num_parameters()


def write_rows(path: Path) -> None:
    """Write short questions and answers, none of them personal."""
    lines = []
    for number in range(ROWS):
        asked = {"role": "user", "content": f"What is item {number}?"}
        answer = {"role": "assistant", "content": f"It is {number * 7 % 10} " * (1 + number % 3)}
        lines.append(json.dumps({"messages": [asked, answer]}) + "\n")
    path.write_text("".join(lines), encoding="utf-8")


def started(project: Path, words: list[str], processes: int = 1) -> None:
    """Run a script in the project, in one process or by torchrun."""
    launcher = ["-m", "torch.distributed.run", "--nproc_per_node", str(processes)]
    launcher += ["--rdzv_backend", "c10d", "--rdzv_endpoint", "127.0.0.1:0"]
    command = [sys.executable, *(launcher if processes > 1 else []), *words]
    more = {"PYTHONPATH": str(project / "src"), "OMP_NUM_THREADS": "1"}
    more |= dict.fromkeys(THRESHOLDS, str(MIB))
    done = subprocess.run(
        command, cwd=project, env=os.environ | more, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}\n{done.stdout[-1500:]}{done.stderr[-3000:]}")


def measured(
    project: Path, package: str, settings: list[str], technique: str, way: str, processes: int
) -> dict[str, Any]:
    """Train once; return the losses, what each process held, and the class that wrapped it."""
    name = f"{technique}-{way}-{processes}"
    mine = [*settings, f"technique={technique}", f"train.parallel={way}"]
    mine += [f"train.output_dir=runs/{name}"]
    config, target = project / "configs" / "default_config.yaml", project / name
    words = [__file__, "--work", package, str(config), str(target), *mine]
    started(project, words, processes)
    (folder,) = (project / "runs" / name).iterdir()
    log = (folder / "training_log.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in log]
    record = json.loads((folder / "training_args.json").read_text(encoding="utf-8"))
    held = [json.loads(Path(f"{target}.{n}.json").read_text()) for n in range(processes)]
    return {
        "name": name,
        "class": record.get("parallel", {}).get("class", "none"),
        "losses": [row["loss"] for row in rows if row["loss"] is not None],
        "held": held,
    }


def show(found: dict[str, Any], whole: dict[str, Any]) -> dict[str, float]:
    """Print a line of memory; return the figures, each of the process with most."""
    largest = {name: max(one[name] for one in found["held"]) for name in whole or found["held"][0]}
    line = f"{found['name']:14} {found['class']:24}"
    for name in ("trained", "whole", "tensors"):
        share = f"{largest[name] / whole[name]:.2f}" if whole else ""
        line += f"{largest[name] / MIB:9.0f} {share:>5}"
    print(f"{line}{largest['seconds']:9.1f}", flush=True)
    return largest


def compare(
    project: Path, package: str, settings: list[str], techniques: list[str]
) -> dict[str, Any]:
    """Train in each way, print both tables and return what they say."""
    report: dict[str, Any] = {}
    lines = []
    print("MiB of the process that held most, with its share of DDP's; MiB of tensors; seconds")
    print(f"{'run':14} {'class':24}{'training':>9} {'':5}{'whole':>9} {'':5}{'tensors':>9}")
    for technique in techniques:
        single, ddp, fsdp = (measured(project, package, settings, technique, *way) for way in WAYS)
        show(single, {})
        whole = show(ddp, {})
        parts = show(fsdp, whole)
        for pair in (ddp, fsdp):
            gaps = [abs(a - b) for a, b in zip(single["losses"], pair["losses"], strict=True)]
            shown = " ".join(f"{loss:.6f}" for loss in pair["losses"])
            lines.append(f"{pair['name']:14} {max(gaps):9.1e}  {shown}")
            report[f"{pair['name']} loss"] = max(gaps)
        shown = " ".join(f"{loss:.6f}" for loss in single["losses"])
        lines.append(f"{single['name']:14} {'':9}  {shown}")
        report |= {
            f"{technique} fsdp / ddp {name}": round(parts[name] / whole[name], 3)
            for name in ("trained", "whole", "tensors")
        }
    print("\nlosses, and the largest difference from one process")
    print("\n".join(lines))
    return report


def main() -> int:
    """Make model and data, train in each way, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--project", type=Path, required=True, help="a rendered project")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--techniques", default="full,lora")
    parser.add_argument("--layers", type=int, default=12)
    args = parser.parse_args()
    (source,) = [path.parent for path in (args.project / "src").glob("*/__init__.py")]
    with TemporaryDirectory() as name:
        project = Path(name) / "project"
        shutil.copytree(args.project, project, ignore=LEFT_OUT)
        weights = make_model(project, project / "model", args.layers)
        raw = project / "data" / "raw" / "pair.jsonl"
        raw.parent.mkdir(parents=True, exist_ok=True)
        write_rows(raw)
        settings = [f"model.model_name_or_path={project / 'model'}", f"data.raw={raw}"]
        settings += ["domains=[]", "data.group_by=null", "objective=sft", "tracker=none"]
        settings += ["scrub.nlp_model=none", "lora.lora_dropout=0.0", "train.precision=fp32"]
        settings += ["train.max_length=128", f"train.effective_batch_size={BATCH}"]
        settings += ["train.per_device_train_batch_size=1", "train.gradient_checkpointing=false"]
        settings += [f"train.max_steps={args.steps}", f"train.eval_steps={args.steps}"]
        settings += ["train.learning_rate=1e-4"]
        started(project, ["scripts/prepare_data.py", *settings])
        print(f"{weights / 1e6:.1f} million weights: {weights * 4 / MIB:.0f} MiB in 32 bits")
        report = compare(project, source.name, settings, args.techniques.split(","))
    print(json.dumps({"weights": weights, "steps": args.steps} | report))
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(*sys.argv[2:5], sys.argv[5:])
        sys.exit()
    sys.exit(main())
