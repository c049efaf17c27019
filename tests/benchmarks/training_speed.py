"""Time training by a rendered project, by the TRL CLI, by LLaMA-Factory and by a bare loop.

    python tests/benchmarks/training_speed.py --project DIR --model DIR [--llamafactory VENV]

DIR is a rendered project whose environment runs this script and holds TRL. All tools train the
same model in fp32 with LoRA (rank 8, alpha 16, no dropout) on all linear layers, on the same rows,
on the same number of threads, without gradient checkpointing. Tools take turns within a round, so
that a machine whose speed drifts is fair to all; the tables show medians over the rounds.

sft: rows of about 232 tokens, batch 2, loss on every token. dpo: pairs whose prompt and answers are
80 and 150 tokens, batch 2. mixed: rows of 16 to 400 tokens, batch 4, one pass, by the project
alone: padded in random order, by length, packed.

Tokens per second are those of the steps after the first: from the line in which a tool reports its
first step to that of its last; where steps are not alike (mixed), those of the whole training.
Start-up is the time from the start of the process to the first report, less one step. The last
line is one JSON object.
"""

import argparse
import json
import math
import os
import random
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WORDS = ("river", "stone", "window", "garden", "letter", "market", "forest", "bridge", "silver")
LORA = {"lora_r": 8, "lora_alpha": 16, "lora_dropout": 0.0}
RATE, BATCH, MIXED_BATCH = 2e-4, 2, 4
SFT_WORDS, PROMPT_WORDS, ANSWER_WORDS = (60, 130), 62, 138
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
OFFLINE |= {"TOKENIZERS_PARALLELISM": "false", "PYTHONUNBUFFERED": "1"}
STEP = re.compile(r"'loss': '?([0-9.e+-]+)")  # not 'train_loss', of the last line
SEEN = re.compile(r"'(?:num_tokens|num_input_tokens_seen)': '?([0-9.e+-]+)")


@dataclass
class Timed:
    """One process of one tool; times in seconds of one clock."""

    started: float
    ended: float = 0.0
    steps: list[float] = field(default_factory=list)  # when each step was reported
    losses: list[float] = field(default_factory=list)
    tokens: float = 0.0
    seconds: float = 0.0  # of the training as a whole, where its steps are not alike

    def speed(self) -> float:
        """Tokens per second after the first step, or of the whole."""
        if self.seconds:
            return self.tokens / self.seconds
        later = len(self.steps) - 1
        return self.tokens * later / (later + 1) / (self.steps[-1] - self.steps[0])

    def start_up(self) -> float:
        """Seconds before the first step."""
        step = (self.steps[-1] - self.steps[0]) / (len(self.steps) - 1)
        return self.steps[0] - self.started - step


@dataclass(frozen=True)
class Work:
    """What all tools are given."""

    folder: Path
    project: Path
    model: Path
    threads: int
    llamafactory: Path | None


def text(draw: random.Random, count: int) -> str:
    """Some words."""
    return " ".join(draw.choice(WORDS) for _ in range(count))


def chat_row(draw: random.Random, asked: int, answered: int) -> dict[str, Any]:
    """A conversation of one question and one answer."""
    question = {"role": "user", "content": text(draw, asked)}
    return {"messages": [question, {"role": "assistant", "content": text(draw, answered)}]}


def pair_row(draw: random.Random) -> dict[str, Any]:
    """A question with a better and a worse answer."""
    # As turns: TRL applies the chat template to nothing else.
    row = {"prompt": [{"role": "user", "content": text(draw, PROMPT_WORDS)}]}
    for side in ("chosen", "rejected"):
        row[side] = [{"role": "assistant", "content": text(draw, ANSWER_WORDS)}]
    return row


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def timed(
    work: Work, command: list[str], where: Path, log: Callable[[], Path | None] | None = None
) -> Timed:
    """Run a process and note when its steps are reported: in its output, or in a file."""
    environment = {**os.environ, **OFFLINE, "OMP_NUM_THREADS": str(work.threads)}
    environment["PYTHONPATH"] = str(work.project / "src") if log else ""
    found, said = Timed(time.perf_counter()), []
    process = subprocess.Popen(
        command, cwd=where, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    watcher = threading.Thread(target=_watch, args=(process, log, found)) if log else None
    if watcher:
        watcher.start()
    assert process.stdout is not None
    for line in process.stdout:
        said.append(line)
        if not log:
            _note(line, found)
    process.wait()
    found.ended = time.perf_counter()
    if watcher:
        watcher.join()
    if process.returncode or len(found.steps) < 2:
        raise SystemExit(f"{' '.join(command)}\n{''.join(said)[-3000:]}")
    return found


def _note(line: str, found: Timed) -> None:
    """Note a line of a tool that tells its steps in its output."""
    if step := STEP.search(line):
        found.steps.append(time.perf_counter())
        found.losses.append(float(step[1]))
    if seen := SEEN.search(line):
        found.tokens = float(seen[1])


def _watch(process: "subprocess.Popen[str]", log: Callable[[], Path | None], found: Timed) -> None:
    """Note when lines appear in the log of a run of the project."""
    done = False
    while not done:
        done = process.poll() is not None
        path = log()
        rows = path.read_text(encoding="utf-8").splitlines() if path else []
        for row in rows[len(found.steps) :]:
            found.steps.append(time.perf_counter())
            found.losses.append(json.loads(row)["loss"])
        time.sleep(0.02)


def trained(work: Work, name: str, steps: int, *settings: str) -> Timed:
    """Train by the project's own script."""
    output = work.folder / "runs" / f"{name}-{time.time_ns()}"

    def log() -> Path | None:
        return next(output.glob("*/training_log.jsonl"), None)

    command = [sys.executable, "scripts/train.py", *base_settings(work, name), *settings]
    command += [f"train.output_dir={output}", f"train.max_steps={steps}"]
    # The checkpoint, the only one, is written behind the last step that is timed.
    command += [f"train.eval_steps={max(steps, 1) if steps > 0 else 10_000}"]
    found = timed(work, command, work.project, log)
    (record,) = output.glob("*/training_args.json")
    told = json.loads(record.read_text(encoding="utf-8"))
    found.tokens = told["tokens_seen"]
    found.seconds = told["seconds"]["train"] if name == "mixed" else 0.0
    return found


def base_settings(work: Work, name: str) -> list[str]:
    """Settings of the project for one kind of work."""
    objective, batch = {"sft": ("pretrain", BATCH), "dpo": ("dpo", BATCH)}.get(
        name, ("pretrain", MIXED_BATCH)
    )
    return [
        f"objective={objective}", "technique=lora", "tracker=none", "domains=[]",
        f"model.model_name_or_path={work.model}", f"data.raw={work.folder / name}/train.jsonl",
        f"data.prepared={work.folder / 'prepared' / name}", "data.group_by=null",
        f"data.quarantine={work.folder / 'quarantine' / name}", "data.near_duplicates=null",
        "scrub.nlp_model=none", "data.split={train: 0.8, validation: 0.1, test: 0.1}",
        *(f"lora.{key}={value}" for key, value in LORA.items()), "train.max_length=512",
        f"train.learning_rate={RATE}", "train.precision=fp32", "train.gradient_checkpointing=false",
        f"train.effective_batch_size={batch}", f"train.per_device_train_batch_size={batch}",
        "train.eval_strategy=no", "train.num_train_epochs=1",
    ] + (["train.packing=false"] if name == "sft" else [])  # fmt: skip


def prepare(work: Work, name: str, rows: list[dict[str, Any]]) -> None:
    """Write the rows for all tools, and let the project prepare them; not timed."""
    write_rows(work.folder / name / "train.jsonl", rows)
    command = [sys.executable, "scripts/prepare_data.py", *base_settings(work, name)]
    environment = os.environ | OFFLINE | {"PYTHONPATH": str(work.project / "src")}
    done = subprocess.run(
        command, cwd=work.project, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{done.stdout[-2000:]}{done.stderr[-2000:]}")


def trl(work: Work, name: str, steps: int) -> Timed:
    """Train by the command line of TRL."""
    settings = {
        "model_name_or_path": str(work.model), "dtype": "float32",
        "dataset_name": str(work.folder / name), "use_peft": True, **LORA,
        "lora_target_modules": "all-linear", "max_length": 512,
        "per_device_train_batch_size": BATCH, "gradient_accumulation_steps": 1,
        "max_steps": steps, "learning_rate": RATE, "logging_steps": 1,
        "gradient_checkpointing": False, "bf16": False, "use_cpu": True, "report_to": "none",
        "save_strategy": "no", "eval_strategy": "no", "seed": 42, "disable_tqdm": True,
        "output_dir": str(work.folder / f"trl-{name}-{time.time_ns()}"),
    }  # fmt: skip
    path = work.folder / f"trl_{name}.yaml"
    path.write_text(json.dumps(settings), encoding="utf-8")  # JSON is YAML
    command = [str(Path(sys.executable).parent / "trl"), name, "--config", str(path)]
    command += ["--num_cpu_threads_per_process", str(work.threads)]
    return timed(work, command, work.folder)


def llamafactory(work: Work, steps: int) -> Timed:
    """Train by LLaMA-Factory's command line, which has an environment of its own."""
    assert work.llamafactory is not None
    source = {"file_name": str(work.folder / "sft" / "train.jsonl"), "formatting": "sharegpt"}
    source |= {"columns": {"messages": "messages"}}  # type: ignore[dict-item]
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user"}
    source |= {"tags": tags | {"assistant_tag": "assistant"}}  # type: ignore[dict-item]
    (work.folder / "dataset_info.json").write_text(json.dumps({"rows": source}))
    settings = {
        "model_name_or_path": str(work.model), "stage": "sft", "do_train": True,
        "finetuning_type": "lora", "lora_rank": LORA["lora_r"], "lora_alpha": LORA["lora_alpha"],
        "lora_dropout": 0.0, "lora_target": "all", "dataset_dir": str(work.folder),
        "dataset": "rows", "template": "chatml", "train_on_prompt": True, "cutoff_len": 512,
        "overwrite_cache": True, "preprocessing_num_workers": 1,
        "disable_gradient_checkpointing": True, "include_num_input_tokens_seen": True,
        "per_device_train_batch_size": BATCH, "gradient_accumulation_steps": 1,
        "max_steps": steps, "learning_rate": RATE, "logging_steps": 1, "bf16": False,
        "use_cpu": True, "report_to": "none", "save_strategy": "no", "seed": 42,
        "disable_tqdm": True, "output_dir": str(work.folder / f"llamafactory-{time.time_ns()}"),
    }  # fmt: skip
    path = work.folder / "llamafactory.yaml"
    path.write_text(json.dumps(settings), encoding="utf-8")
    command = [str(work.llamafactory / "bin" / "llamafactory-cli"), "train", str(path)]
    return timed(work, command, work.folder)


def bare(work: Work, steps: int) -> Timed:
    """Train by this script's own loop of torch and peft."""
    command = [sys.executable, str(Path(__file__).resolve()), "--bare", str(work.model)]
    command += [str(work.folder / "sft" / "train.jsonl"), str(steps)]
    return timed(work, command, work.folder)


def bare_loop(model_path: str, rows_path: str, steps: int) -> None:
    """The least that trains: batches of padded rows, loss of the model, AdamW, clipped norm."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(42)
    tokenizer = AutoTokenizer.from_pretrained(model_path)
    model = AutoModelForCausalLM.from_pretrained(model_path, dtype=torch.float32)
    lora = {"r": LORA["lora_r"], "lora_alpha": LORA["lora_alpha"], "lora_dropout": 0.0}
    model = get_peft_model(
        model, LoraConfig(target_modules="all-linear", task_type="CAUSAL_LM", **lora)
    ).train()
    rows = [json.loads(line) for line in Path(rows_path).read_text(encoding="utf-8").splitlines()]
    ids = [tokenizer.apply_chat_template(r["messages"], return_dict=False) for r in rows]
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=RATE)
    seen = 0
    for step in range(steps):
        some = [torch.tensor(ids[(step * BATCH + k) % len(ids)]) for k in range(BATCH)]
        pad = torch.nn.utils.rnn.pad_sequence
        inputs = pad(some, batch_first=True, padding_value=tokenizer.pad_token_id)
        mask = pad([torch.ones_like(one) for one in some], batch_first=True)
        labels = inputs.masked_fill(mask == 0, -100)
        loss = model(input_ids=inputs, attention_mask=mask, labels=labels, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        seen += int(mask.sum())
        print({"loss": loss.item(), "num_tokens": seen}, flush=True)


def rows_of(name: str, steps: int) -> list[dict[str, Any]]:
    """Rows for a kind of work: a quarter more than are trained, for the splits of the project."""
    draw = random.Random(0)
    if name == "dpo":
        return [pair_row(draw) for _ in range(max(20, math.ceil(steps * BATCH / 0.7)))]
    if name == "sft":
        count = max(20, math.ceil(steps * BATCH / 0.7))
        return [chat_row(draw, *SFT_WORDS) for _ in range(count)]
    sizes = [math.exp(draw.uniform(math.log(4), math.log(370))) for _ in range(50)]
    return [chat_row(draw, 4, math.ceil(size)) for size in sizes]


def compared(
    tools: dict[str, Callable[[], Timed]], rounds: int, title: str
) -> dict[str, dict[str, float]]:
    """Run the tools in turn, print a table, and return medians by tool."""
    runs: dict[str, list[Timed]] = {name: [] for name in tools}
    for _ in range(rounds):
        for name, tool in tools.items():
            runs[name].append(tool())
    print(f"\n{title}\n{'tool':16}{'tokens/s':>10}{'ratio':>8}{'start-up s':>12}", end="")
    print(f"{'process s':>11}{'first loss':>12}{'tokens':>9}  of each round")
    found: dict[str, dict[str, float]] = {}
    for name, some in runs.items():
        found[name] = {
            "tokens_per_second": statistics.median(one.speed() for one in some),
            "start_up": statistics.median(one.start_up() for one in some),
            "process": statistics.median(one.ended - one.started for one in some),
            # Of pairs: ours of the same round against this one
            "ratio": statistics.median(
                ours.speed() / one.speed() for ours, one in zip(runs["ours"], some, strict=True)
            ),
            "first_loss": some[0].losses[0],
            "tokens": some[0].tokens,
        }
        row, each = found[name], " ".join(f"{one.speed():.1f}" for one in some)
        print(f"{name:16}{row['tokens_per_second']:10.1f}{row['ratio']:8.2f}", end="")
        print(f"{row['start_up']:12.1f}{row['process']:11.1f}{row['first_loss']:12.3f}", end="")
        print(f"{row['tokens']:9.0f}  {each}", flush=True)
    return found


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--project", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True, help="folder of SmolLM2-135M-Instruct")
    parser.add_argument("--llamafactory", type=Path, help="its virtual environment")
    parser.add_argument("--work", type=Path, required=True, help="folder for data and runs")
    parser.add_argument("--parts", default="sft,dpo,mixed")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--dpo-steps", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def main() -> None:
    """Print the tables."""
    asked = parse()
    venv = asked.llamafactory.resolve() if asked.llamafactory else None
    work = Work(
        asked.work.resolve(), asked.project.resolve(), asked.model.resolve(), asked.threads, venv
    )
    report: dict[str, Any] = {"steps": asked.steps, "rounds": asked.rounds}
    for part in asked.parts.split(","):
        prepare(work, part, rows_of(part, asked.steps if part == "sft" else asked.dpo_steps))
    if "sft" in asked.parts:
        tools: dict[str, Callable[[], Timed]] = {"ours": lambda: trained(work, "sft", asked.steps)}
        if work.llamafactory:
            tools["LLaMA-Factory"] = lambda: llamafactory(work, asked.steps)
        tools |= {"TRL": lambda: trl(work, "sft", asked.steps)}
        tools |= {"bare loop": lambda: bare(work, asked.steps)}
        report["sft"] = compared(tools, asked.rounds, "SFT")
    if "dpo" in asked.parts:
        tools = {"ours": lambda: trained(work, "dpo", asked.dpo_steps)}
        tools |= {"TRL": lambda: trl(work, "dpo", asked.dpo_steps)}
        report["dpo"] = compared(tools, asked.rounds, "DPO")
    if "mixed" in asked.parts:
        order = "train.train_sampling_strategy"
        ways = {
            "ours": ("train.packing=false", f"{order}=group_by_length"),
            "packed": ("train.packing=true",),
            "padded": ("train.packing=false", f"{order}=random"),
        }
        tools = {
            name: lambda settings=settings: trained(work, "mixed", -1, *settings)  # type: ignore[misc]
            for name, settings in ways.items()
        }
        title = "Mixed lengths (ours: by length, one pass)"
        report["mixed"] = compared(tools, 1, title)
    print(json.dumps(report))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--bare"]:
        bare_loop(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        main()
