"""The callback that says what is wrong with a run while it trains."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .curve_rules import Evidence
from .diagnosis import ROWS, finding, told
from .run_log import LOG_NAME
from .runs import RECORD
from .utils import finite, write_json


def make_watch(record: dict[str, Any], run_dir: Path, say: Callable[[str], None]) -> Any:
    """Return the trainer callback that reads the training log as it grows.

    A finding is said, and written into the record of the run, when it first holds.

    Args:
        record: training_args.json; `findings` of a run that goes on are kept up to its step.
        run_dir: where the log and the record lie.
        say: shows a line.
    """
    from transformers import TrainerCallback

    class Watch(TrainerCallback):
        """Holds every rule against the curves, line by line; it comes after the log's writer."""

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            del args, control, kwargs
            kept = [one for one in record.get("findings", []) if one["step"] <= state.global_step]
            record["findings"] = kept
            self.seen, self.place = Evidence(record), 0  # the log may have been cut
            self._read()

        def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            del args, control, kwargs
            if state.is_world_process_zero:
                self._read()

        def _read(self) -> None:
            path = run_dir / LOG_NAME
            if not path.is_file():
                return
            with path.open("rb") as lines:
                lines.seek(self.place)
                for line in lines:
                    self.seen.add(json.loads(line))
                    self._judge()
                self.place = lines.tell()

        def _judge(self) -> None:
            known = {one["name"] for one in record["findings"]}
            for row in ROWS:
                found = finding(row, self.seen) if row.name not in known else None
                if found:
                    record["findings"].append(found)
                    write_json(run_dir / RECORD, finite(record))
                    say(f"warning: step {found['step']}, {told(found)}")

    return Watch()
