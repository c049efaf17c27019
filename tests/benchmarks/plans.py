"""Print the plans of twelve real situations, as a user of the planner sees them.

    python tests/benchmarks/plans.py [--words]

Tokens are those of one epoch. --words prints only the line that sums a plan up.
"""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "hooks"))

from planner import Plan, plan

LLAMA_8B, LLAMA_70B = "meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-70B-Instruct"
SMOL, LLAMA_3B = "HuggingFaceTB/SmolLM2-135M-Instruct", "meta-llama/Llama-3.2-3B-Instruct"
MEDIUM = {"tokens": 5e6, "epochs": 3}
# Title, (model, objective, technique, GiB of a GPU, GPUs, tokens of an example), further arguments
SITUATIONS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("135M on a laptop, a few hundred rows", (SMOL, "sft", "auto", 0, 0, 512),
     {"cpu_threads": 8, "rows": 300, "tokens": 6e4, "epochs": 3}),
    ("0.5B on an 8 GB card of a laptop",
     ("Qwen/Qwen2.5-0.5B-Instruct", "sft", "auto", 7.6, 1, 1024), MEDIUM),
    ("3B on a T4", (LLAMA_3B, "sft", "auto", None, 1, 1024), {"device": "t4"} | MEDIUM),
    ("DPO of 3B on 16 GB", (LLAMA_3B, "dpo", "auto", 14.9, 1, 1024), {}),
    ("8B on an RTX 4090", (LLAMA_8B, "sft", "auto", None, 1, 2048), {"device": "4090"} | MEDIUM),
    ("8B on an RTX 3060", (LLAMA_8B, "sft", "auto", None, 1, 1024), {"device": "3060"} | MEDIUM),
    ("8B, 16,384 tokens, on an A100", (LLAMA_8B, "sft", "auto", None, 1, 16384),
     {"device": "a100-80"} | MEDIUM),
    ("14B on an L40S", ("Qwen/Qwen2.5-14B-Instruct", "sft", "auto", None, 1, 2048),
     {"device": "l40s"} | MEDIUM),
    ("70B on 8 x 80 GB", (LLAMA_70B, "sft", "auto", None, 8, 4096), {"device": "h100"} | MEDIUM),
    ("70B in full on two machines of 8 x H100", (LLAMA_70B, "sft", "full", None, 8, 4096),
     {"device": "h100", "num_nodes": 2, "sharding": "zero3"} | MEDIUM),
    ("70B in full on one 80 GB card", (LLAMA_70B, "sft", "full", None, 1, 2048),
     {"device": "h100"}),
    ("a mixture of experts (30B, 3B active) on an H200",
     ("Qwen/Qwen3-30B-A3B-Instruct-2507", "sft", "auto", None, 1, 2048),
     {"device": "h200"} | MEDIUM),
]  # fmt: skip


def words(found: Plan) -> str:
    """Sum a plan up in one line."""
    fits = "fits" if found.fits else "does not fit"
    hours = f", {found.hours[0]:.2g} to {found.hours[1]:.2g} h" if found.hours else ""
    cost = f", {found.cost[0]:.2g} to {found.cost[1]:.2g} USD" if found.cost else ""
    batch = f"{found.per_device_train_batch_size} x {found.gradient_accumulation_steps}"
    return (
        f"{found.technique} {found.weights} {found.optim}, batch {batch}, {found.sharding}: "
        f"peak {found.peak_gib} GiB, needs {found.need_gib} GiB: {fits}{hours}{cost}"
    )


def main() -> int:
    """Print every plan."""
    for title, asked, more in SITUATIONS:
        found = plan(*asked, **more)
        print(f"{title}\n  {words(found)}")
        for fix in found.fixes:
            print(f"  would fit with: {fix}")
        if "--words" not in sys.argv:
            print("\n".join(f"    {line}" for line in found.table().splitlines()) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
