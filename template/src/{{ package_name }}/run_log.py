"""What a run leaves behind while it trains: one JSON line per log step, and the loss curve."""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .run_metrics import LOGGED, MEASURED, SCORES
from .usage import Meter
from .utils import write_text

LOG_NAME = "training_log.jsonl"
CURVE_NAME = "loss_curve.png"


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a training log; none if it does not exist.

    A last line without an end was cut off by a full disk or a crash, and is left out.
    """
    if not path.is_file():
        return []
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip() and line.endswith("\n")]


def cut_log(path: Path, step: int) -> None:
    """Drop the rows after `step`, which a resumed run will write again."""
    kept = [row for row in read_log(path) if row["step"] <= step]
    write_text(path, "".join(json.dumps(row) + "\n" for row in kept))


def make_callback(path: Path, say: Callable[[str], None], meter: Meter) -> Any:
    """Return the trainer callback that writes the log; `say` gets a line per validation.

    A line has every figure of run_metrics.RUN_METRICS that there is for it.
    """
    from transformers import TrainerCallback

    class RunLog(TrainerCallback):
        """Writes what the trainer logs and what the meter reads, a line per event."""

        def __init__(self) -> None:
            self.start = time.perf_counter()
            self.first_step = 0
            self.tokens = 0
            self.last: dict[str, Any] = {}

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            del args, control, kwargs
            self.start = time.perf_counter()
            self.first_step = state.global_step
            self.tokens = state.num_input_tokens_seen
            meter.begin()

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            del kwargs
            # The last step is rarely a multiple of eval_steps; its model counts as well.
            if state.global_step >= state.max_steps and args.save_strategy == "steps":
                control.should_evaluate = args.eval_strategy == "steps"
                control.should_save = True
            self._pause(control)

        def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            del args, state, kwargs
            self._pause(control)

        def _pause(self, control: Any) -> None:
            if control.should_evaluate or control.should_save:
                meter.pause()

        def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            del args, state, control, kwargs
            meter.resume()

        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            del args, state, control, kwargs
            meter.resume()

        def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            del args, control
            logs = kwargs["logs"]
            if "loss" not in logs and "eval_loss" not in logs:
                return  # the summary at the end
            row = {"step": state.global_step, "epoch": logs.get("epoch")}
            row |= {name: logs.get(name) for name in LOGGED}
            row |= {name: logs[name] for name in SCORES if name in logs}
            row |= dict.fromkeys(MEASURED)
            if "loss" in logs:
                row |= meter.take(state.num_input_tokens_seen - self.tokens)
                self.tokens = state.num_input_tokens_seen
            with path.open("a", encoding="utf-8") as handle:
                handle.write(json.dumps(row) + "\n")
            if row["eval_loss"] is not None:
                say(self._line(state, row))
            self.last = row

        def _line(self, state: Any, row: dict[str, Any]) -> str:
            done = max(state.global_step - self.first_step, 1)
            left = (state.max_steps - state.global_step) * (time.perf_counter() - self.start) / done
            loss, rate = self.last.get("loss"), self.last.get("tokens_per_second")
            reward = row["eval_reward"]
            parts = [
                f"step {row['step']}/{state.max_steps}",
                f"validation loss {row['eval_loss']:.4f}" if reward is None else "",
                f"validation reward {reward:.4f}" if reward is not None else "",
                f"training loss {loss:.4f}" if loss is not None else "",
                f"{rate:.0f} tokens/s" if rate else "",
                f"{left / 60:.1f} min left" if left >= 1 else "",
            ]
            return ", ".join(part for part in parts if part)

    return RunLog()


def draw_curve(log: Path, target: Path, planned: Sequence[float] = ()) -> None:
    """Draw training and validation loss over the steps, the learning rate below.

    Args:
        log: training_log.jsonl of a run.
        target: Picture that is written.
        planned: Learning rate of each step as the schedule has it (schedules.py).
    """
    import matplotlib

    matplotlib.use("Agg")  # no screen needed
    from matplotlib import pyplot

    rows = read_log(log)
    figure, (top, bottom) = pyplot.subplots(
        2, 1, sharex=True, figsize=(7, 5), height_ratios=[3, 1], layout="constrained"
    )
    _line(top, rows, "loss", "training", color="#7a9cc6", linewidth=1.2)
    _line(top, rows, "eval_loss", "validation", color="#b3432b", marker="o", markersize=4)
    top.set_ylabel("loss per token (nats)")
    top.set_title("Loss", loc="left")
    top.legend(frameon=False)
    if planned:
        style = {"color": "#c9a227", "linewidth": 3, "alpha": 0.5, "label": "planned"}
        bottom.plot(range(1, len(planned) + 1), planned, **style)
    _line(bottom, rows, "learning_rate", "taken", color="#444444", linewidth=1.2)
    bottom.legend(frameon=False)
    bottom.set_ylabel("learning rate")
    bottom.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    bottom.set_xlabel("optimiser step")
    bottom.xaxis.get_major_locator().set_params(integer=True)
    for axis in (top, bottom):
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(target, dpi=130)
    pyplot.close(figure)


def _line(axis: Any, rows: list[dict[str, Any]], name: str, label: str, **style: Any) -> None:
    points = [(row["step"], row[name]) for row in rows if row[name] is not None]
    if points:
        axis.plot(*zip(*points, strict=True), label=label, **style)
