"""Measure ten small runs on this CPU and compare their peak memory with the planner's.

    PYTHON_WITH_TORCH tests/benchmarks/cpu_memory.py

Each run is a process of its own: a model with random weights of SmolLM2-135M's shape (the depth is
cut to keep it short), two steps of AdamW in 32 bits. The peak is that of the resident set above the
one before the model was built. glibc keeps freed blocks of up to 32 MB (its threshold grows), which
made the resident set 10 to 45 % larger than the live tensors here; so its threshold is fixed at
1 MB, and --default measures with glibc's own.

Then the loss: on whole logits, and in the tiles of trl (4,096 tokens by 32,768 entries of the
vocabulary), with the vocabularies of SmolLM2 and of Gemma 3; GiB and seconds of the second step.
The last line printed is one JSON object.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HOOKS = Path(__file__).resolve().parents[2] / "hooks"
sys.path.insert(0, str(HOOKS))

import footprint  # noqa: E402
import shapes  # noqa: E402
from footprint import GIB, Run  # noqa: E402

LAYERS = 12
LOSS_LAYERS = 2  # the head is what is compared
# (vocabulary, sequence) of the runs that compare whole logits with tiles, LoRA, micro batch 1
LOSSES = [(49_152, 1024), (49_152, 4096), (262_144, 1024), (262_144, 2048)]
THRESHOLDS = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")  # bytes
# (technique, micro batch, sequence)
RUNS = [
    ("full", 1, 256), ("full", 1, 512), ("full", 2, 512), ("full", 4, 256), ("full", 1, 1024),
    ("lora", 1, 256), ("lora", 1, 512), ("lora", 2, 512), ("lora", 4, 256), ("lora", 1, 1024),
]  # fmt: skip


def run_of(
    technique: str, batch: int, length: int, vocab: int = 49_152, tiles: bool = False
) -> Run:
    """The run as the closed form sees it."""
    shape = shapes.known_shape("HuggingFaceTB/SmolLM2-135M-Instruct")
    block = (shape.params - shape.vocab * shape.hidden - shape.hidden) // shape.layers
    layers = LAYERS if technique != "loss" else LOSS_LAYERS
    params = vocab * shape.hidden + shape.hidden + layers * block
    shape = shape._replace(layers=layers, params=params, vocab=vocab)
    return Run(
        shape, "full" if technique == "full" else "lora", "causal_lm", "fp32", "adamw_torch", False,
        length, batch, False, tiles, on_gpu=False, lora_dropout=0.0, attention="flash",
    )  # fmt: skip


def resident(field: str) -> int:
    """Bytes of VmRSS or VmHWM of this process (Linux)."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"no {field} in /proc/self/status")


def train(run: Run) -> tuple[float, float]:
    """Two steps; return the peak above the baseline in GiB, and the seconds of the second."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    shape, seconds = run.shape, 0.0

    def built(hidden: int, layers: int) -> Any:
        config = LlamaConfig(
            hidden_size=hidden, intermediate_size=shape.intermediate * hidden // shape.hidden,
            num_hidden_layers=layers, num_attention_heads=shape.heads,
            num_key_value_heads=shape.kv_heads, vocab_size=shape.vocab if layers > 1 else 512,
            tie_word_embeddings=True, use_cache=False,
        )  # fmt: skip
        model = LlamaForCausalLM(config)
        if run.chunked_loss:
            from trl.trainer.utils import add_fused_lm_head

            add_fused_lm_head(model)
        if not run.trains_all:
            model = get_peft_model(model, LoraConfig(r=run.lora_r, target_modules="all-linear"))
        return model.train()

    def steps(model: Any, ids: Any) -> float:
        options = {"fused_lm_head": True} if run.chunked_loss else {}
        trained = [p for p in model.parameters() if p.requires_grad]
        optimiser = torch.optim.AdamW(trained, foreach=True)
        for _ in range(2):
            start = time.perf_counter()
            output = model(input_ids=ids, labels=ids, **options)
            output.loss.backward()
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        return time.perf_counter() - start

    # A tiny model first: code that is loaded on first use belongs to the baseline.
    steps(built(18 * shape.heads, 1), torch.zeros((2, 8), dtype=torch.long))
    before = resident("VmRSS")
    ids = torch.randint(0, shape.vocab, (run.micro_batch, run.seq_length))
    seconds = steps(built(shape.hidden, shape.layers), ids)
    return (resident("VmHWM") - before) / GIB, seconds


def measured(*words: str | int) -> tuple[float, float]:
    """Run a process of this script; return what `train` returned."""
    fixed = {} if "--default" in sys.argv else dict.fromkeys(THRESHOLDS, "1048576")
    command = [sys.executable, __file__, *map(str, words)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env=os.environ | fixed
    )
    gib, seconds = map(float, done.stdout.split()[-2:])
    return gib, seconds


def compare_losses() -> list[dict[str, float]]:
    """Print peak and time of whole logits and of tiles, and return them."""
    found = []
    print(f"\n{'vocabulary':>10}{'length':>8}{'whole':>12}{'tiles':>12}{'saved':>10}", end="")
    print(f"{'predicted':>11}{'seconds':>9}{'tiles':>9}")
    for vocab, length in LOSSES:
        whole, tiles = (measured("loss", 1, length, vocab, kind) for kind in (0, 1))
        runs = [run_of("loss", 1, length, vocab, kind) for kind in (False, True)]
        foreseen = footprint.peak_gib(runs[0]) - footprint.peak_gib(runs[1])
        saved = whole[0] - tiles[0]
        print(f"{vocab:10}{length:8}{whole[0]:8.2f} GiB{tiles[0]:8.2f} GiB{saved:10.2f}", end="")
        print(f"{foreseen:11.2f}{whole[1]:9.1f}{tiles[1]:9.1f}", flush=True)
        row = {"vocab": vocab, "length": length, "saved_gib": saved, "predicted_gib": foreseen}
        found.append(row | {"time_ratio": tiles[1] / whole[1]})
    return found


def main() -> int:
    """Run all in turn and print the tables."""
    errors = []
    print(f"{'technique':10}{'batch':>6}{'length':>8}{'measured':>10}{'predicted':>11}{'error':>8}")
    for technique, batch, length in RUNS:
        peak, _ = measured(technique, batch, length)
        predicted = footprint.peak_gib(run_of(technique, batch, length))
        errors.append(predicted / peak - 1)
        figures = f"{peak:10.2f}{predicted:11.2f}{errors[-1]:8.1%}"
        print(f"{technique:10}{batch:6}{length:8}{figures}", flush=True)
    report = {"n": len(errors), "median": round(statistics.median(map(abs, errors)), 4)}
    report |= {"worst": round(max(map(abs, errors)), 4), "losses": compare_losses()}
    print(json.dumps(report))
    return 0


if __name__ == "__main__":
    if len(sys.argv) >= 4:
        kind, *numbers = sys.argv[1:]
        print(*train(run_of(kind, *map(int, numbers))))
        raise SystemExit(0)
    raise SystemExit(main())
