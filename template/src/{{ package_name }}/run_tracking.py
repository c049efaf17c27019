"""The trackers of one run: opened with its training, fed from its log, closed with it."""

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .launch import launched
from .message_parts import words_of
from .packs import load_packs
from .run_log import LOG_NAME
from .run_record import Session
from .tracker_files import About, Line, Output
from .trackers import FOLDER, TRACKERS, facts, require_trackers
from .training import Tokenised
from .usage import Meter

EVERY_S = 2.0  # between two writings; a line that is lost with the process is in the log
NOT_TEXT = ("position_ids", "token_type_ids", "seq_lengths")


class Tracking:
    """Hands new lines of the training log to the open trackers.

    A resumed run hands over the lines of its first part again, to trackers that start anew: so
    they show what an uninterrupted run would show.

    Attributes:
        seconds: That the trackers took.
    """

    def __init__(self, names: Sequence[str], log: Path, about: About) -> None:
        """Prepare; nothing is written before open().

        Args:
            names: rows of TRACKERS.
            log: training_log.jsonl, in the run folder.
            about: the run.
        """
        self.rows = [TRACKERS[name] for name in names]
        self.log = log
        self.about = about
        self.outputs: list[Output] = []
        self.seconds = 0.0
        self.read = 0  # bytes of the log
        self.written = 0.0

    def open(self) -> None:
        """Open every tracker in a folder of its own and hand over what the log holds.

        A training that goes on after a lack of memory begins again here.
        """
        begun = time.perf_counter()
        while self.outputs:
            self.outputs.pop().close()
        self.read = 0
        root = self.log.parent / FOLDER
        for row in self.rows:
            folder = root / row.name
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            assert row.open is not None, "none is never chosen"
            self.outputs.append(row.open(folder, self.about))
        (root / ".gitignore").write_text("*\n", encoding="utf-8")
        self.seconds += time.perf_counter() - begun
        self.hand_over(everything=True)

    def hand_over(self, everything: bool = False) -> None:
        """Hand over the new lines, unless the last were handed over a moment ago.

        Args:
            everything: do not wait.
        """
        begun = time.perf_counter()
        if not everything and begun - self.written < EVERY_S:
            return
        if lines := self._new_lines():
            for output in self.outputs:
                output.write(lines)
        self.written = time.perf_counter()
        self.seconds += self.written - begun

    def _new_lines(self) -> list[Line]:
        if not self.log.is_file():
            return []
        with self.log.open("rb") as handle:
            handle.seek(self.read)
            text = handle.read()
        self.read += len(text)
        joined: dict[int, dict[str, float]] = {}  # training and validation of a step
        for line in text.splitlines():
            row = json.loads(line)
            found = {name: value for name, value in row.items() if value is not None}
            joined.setdefault(found.pop("step"), {}).update(found)
        return list(joined.items())

    def close(self) -> None:
        """Hand over the rest and close every tracker."""
        self.hand_over(everything=True)
        begun = time.perf_counter()
        while self.outputs:
            self.outputs.pop().close()
        self.seconds += time.perf_counter() - begun

    def cost(self, meter: Meter) -> dict[str, Any]:
        """Return what is recorded: the trackers, seconds that they and measuring took."""
        return {
            "trackers": [row.name for row in self.rows],
            "seconds": round(self.seconds, 3),
            "measuring_seconds": round(meter.seconds, 3),
        }


def follow(
    session: Session, trainer: Any, reader: Any, splits: Mapping[str, Tokenised], run_dir: Path
) -> Tracking:
    """Let the chosen trackers follow a training; return them, to be closed after it.

    What is not measured here is said once.

    Args:
        session: the run.
        trainer: of build_trainer(); it gets a callback.
        reader: tokenizer or processor of the base.
        splits: what is trained on.
        run_dir: the run folder.
    """
    if left := trainer.meter.left_out:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left.items())
        session.decide("not measured", reasons)
    config = session.config
    # The first process has the log, for all of them.
    names = require_trackers(config.tracker, config.tracker_upload) if launched().first else ()
    allowed = bool(names) and all(pack.sample_text for pack in load_packs(config))
    text = sample(words_of(reader), splits["train"].dataset[0]) if allowed else ""
    project = str(__package__)
    about = About(project, run_dir.name, facts(session.record), text, config.tracker_upload)
    tracking = Tracking(names, run_dir / LOG_NAME, about)
    if names:
        trainer.add_callback(_callback(tracking, trainer.meter))
        kept = f"{', '.join(names)} in {FOLDER}/ of the run folder"
        sent = "; the packs let a sample of the text in" if text else "; no text of the data"
        session.decide("tracker", kept + (", sent to its service" * about.upload) + sent)
    return tracking


def sample(tokenizer: Any, example: Mapping[str, Any]) -> str:
    """Return the texts that a tokenised example holds."""
    columns = [name for name in example if name == "prompt" or name.endswith("_ids")]
    ids = [example[name] for name in columns if name not in NOT_TEXT]
    return "\n\n".join(tokenizer.decode(one) for one in ids)


def _callback(tracking: Tracking, meter: Meter) -> Any:
    """Return the trainer callback that follows the log; it must come after that of the log."""
    from transformers import TrainerCallback

    class Follow(TrainerCallback):
        """Opens the trackers when training begins; they are closed with the run."""

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            del args, state, control, kwargs
            tracking.open()
            meter.begin()  # opening takes seconds, which are none of the first step

        def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            del args, state, control, kwargs
            tracking.hand_over()

    return Follow()
