"""Measure ten small runs on this CPU and compare their peak memory with the planner's.

    PYTHON_WITH_TORCH tests/benchmarks/cpu_memory.py

Each run is a process of its own: a model with random weights of SmolLM2-135M's shape (the depth is
cut to keep it short), two steps of AdamW in 32 bits. The peak is that of the resident set above the
one before the model was built. glibc keeps freed blocks of up to 32 MB (its threshold grows), which
made the resident set 10 to 45 % larger than the live tensors here; so its threshold is fixed at
1 MB, and --default measures with glibc's own. The last line printed is one JSON object.
"""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

HOOKS = Path(__file__).resolve().parents[2] / "hooks"
sys.path.insert(0, str(HOOKS))

import planner  # noqa: E402
import shapes  # noqa: E402
from footprint import GIB, Run  # noqa: E402

LAYERS = 12
THRESHOLDS = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")  # bytes
# (technique, micro batch, sequence)
RUNS = [
    ("full", 1, 256), ("full", 1, 512), ("full", 2, 512), ("full", 4, 256), ("full", 1, 1024),
    ("lora", 1, 256), ("lora", 1, 512), ("lora", 2, 512), ("lora", 4, 256), ("lora", 1, 1024),
]  # fmt: skip


def run_of(technique: str, batch: int, length: int) -> Run:
    """The run as the closed form sees it."""
    shape = shapes.known_shape("HuggingFaceTB/SmolLM2-135M-Instruct")
    block = (shape.params - shape.vocab * shape.hidden - shape.hidden) // shape.layers
    shape = shape._replace(layers=LAYERS, params=shape.params - (shape.layers - LAYERS) * block)
    return Run(
        shape, technique, "causal_lm", "fp32", "adamw_torch", False, length, batch, False, False,
        on_gpu=False, lora_dropout=0.0, attention="flash",
    )  # fmt: skip


def resident(field: str) -> int:
    """Bytes of VmRSS or VmHWM of this process (Linux)."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"no {field} in /proc/self/status")


def train(technique: str, batch: int, length: int) -> float:
    """Two steps; return the peak above the baseline, GiB."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    run = run_of(technique, batch, length)
    shape = run.shape

    def built(hidden: int, layers: int) -> Any:
        config = LlamaConfig(
            hidden_size=hidden, intermediate_size=shape.intermediate * hidden // shape.hidden,
            num_hidden_layers=layers, num_attention_heads=shape.heads,
            num_key_value_heads=shape.kv_heads, vocab_size=shape.vocab if layers > 1 else 512,
            tie_word_embeddings=True, use_cache=False,
        )  # fmt: skip
        model = LlamaForCausalLM(config)
        if technique == "lora":
            model = get_peft_model(model, LoraConfig(r=run.lora_r, target_modules="all-linear"))
        return model.train()

    def steps(model: Any, ids: Any) -> None:
        trained = [p for p in model.parameters() if p.requires_grad]
        optimiser = torch.optim.AdamW(trained, foreach=True)
        for _ in range(2):
            output = model(input_ids=ids, labels=ids)
            output.loss.backward()
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)

    # A tiny model first: code that is loaded on first use belongs to the baseline.
    steps(built(18 * shape.heads, 1), torch.zeros((2, 8), dtype=torch.long))
    before = resident("VmRSS")
    ids = torch.randint(0, shape.vocab, (batch, length))
    steps(built(shape.hidden, shape.layers), ids)
    return (resident("VmHWM") - before) / GIB


def main() -> int:
    """Run all in turn and print the table."""
    errors = []
    fixed = {} if "--default" in sys.argv else dict.fromkeys(THRESHOLDS, "1048576")
    print(f"{'technique':10}{'batch':>6}{'length':>8}{'measured':>10}{'predicted':>11}{'error':>8}")
    for technique, batch, length in RUNS:
        command = [sys.executable, __file__, technique, str(batch), str(length)]
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, env=os.environ | fixed
        )
        measured = float(done.stdout.split()[-1])
        predicted = planner.peak_gib(run_of(technique, batch, length))
        errors.append(predicted / measured - 1)
        figures = f"{measured:10.2f}{predicted:11.2f}{errors[-1]:8.1%}"
        print(f"{technique:10}{batch:6}{length:8}{figures}", flush=True)
    report = {"n": len(errors), "median": round(statistics.median(map(abs, errors)), 4)}
    print(json.dumps(report | {"worst": round(max(map(abs, errors)), 4)}))
    return 0


if __name__ == "__main__":
    if len(sys.argv) == 4:
        print(train(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
        raise SystemExit(0)
    raise SystemExit(main())
