"""What is written down while a run trains: one row per figure, its unit and how it is measured.

The names are those of training_log.jsonl, and every tracker gets them unchanged.
"""

from dataclasses import dataclass

TRAINER = "the trainer"
PROCESS = "this process"
SINCE = "since the line before, without validation and saving"


@dataclass(frozen=True, slots=True)
class RunMetric:
    """One figure of a line of the training log.

    Attributes:
        name: In training_log.jsonl and in every tracker.
        unit: "" for a ratio or a figure without one.
        how: How it is measured.
        source: What it is read from.
        always: Every line has it, null where it does not apply; else only lines with a value.
    """

    name: str
    unit: str
    how: str
    source: str
    always: bool = True


RUN_METRICS: dict[str, RunMetric] = {
    row.name: row
    for row in (
        RunMetric("loss", "nats a token", "mean over the steps since the line before", TRAINER),
        RunMetric("eval_loss", "nats a token", "mean over the validation split", TRAINER),
        RunMetric(
            "eval_mean_token_accuracy", "share", "learned tokens that score highest", TRAINER
        ),
        RunMetric("learning_rate", "", "of the step", TRAINER),
        RunMetric("grad_norm", "", "L2 norm of all gradients before they are clipped", TRAINER),
        # Of answers that the model wrote itself.
        RunMetric("reward", "", "mean of the answers", TRAINER),
        RunMetric("eval_reward", "", "mean of the answers to the validation split", TRAINER),
        RunMetric(
            "frac_reward_zero_std", "share", "groups whose answers all earn the same", TRAINER
        ),
        # Of objectives that have them.
        RunMetric("eval_accuracy", "share", "validation split", TRAINER, always=False),
        RunMetric("eval_macro_f1", "", "validation split", TRAINER, always=False),
        RunMetric("eval_micro_f1", "", "validation split", TRAINER, always=False),
        RunMetric("eval_exact_match", "share", "validation split", TRAINER, always=False),
        RunMetric("eval_entity_f1", "", "validation split", TRAINER, always=False),
        RunMetric("eval_perplexity", "", "validation split", TRAINER, always=False),
        # Of the machine, on lines with a training loss.
        RunMetric(
            "tokens_per_second",
            "tokens/s",
            f"tokens without padding {SINCE}",
            f"{TRAINER}'s count, the clock",
        ),
        RunMetric(
            "loader_wait_seconds", "s", f"waited for the next batch {SINCE}", "the data loader"
        ),
        RunMetric(
            "memory_gib",
            "GiB",
            "resident memory; on a GPU what PyTorch holds of it",
            f"{PROCESS}, torch.cuda",
        ),
        RunMetric(
            "cpu_percent",
            "%",
            f"CPU time {SINCE}; 100: all cores that may be used; workers are not counted",
            PROCESS,
        ),
        RunMetric(
            "gpu_percent",
            "%",
            "share of the last second with a kernel at work",
            "NVML",
            always=False,
        ),
        RunMetric(
            "power_watts",
            "W",
            f"mean {SINCE}: of the GPU, without one of the CPU packages",
            "NVML, RAPL in /sys/class/powercap",
            always=False,
        ),
    )
}
LOGGED = tuple(name for name, row in RUN_METRICS.items() if row.always and row.source == TRAINER)
MEASURED = tuple(name for name, row in RUN_METRICS.items() if row.always and row.source != TRAINER)
SCORES = tuple(
    name for name, row in RUN_METRICS.items() if not row.always and row.source == TRAINER
)
