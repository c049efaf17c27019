"""How each tracker is written: into one folder, from lines of the training log, nothing else.

The callbacks of transformers are not used: each names the figures in its own way, and writes all
arguments of the trainer with their paths, host and user of the machine beside them.
"""

import logging
import os
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

Line = tuple[int, dict[str, float]]  # step, name -> value
MLFLOW_PARAMS = 100  # that one call may bring
MLFLOW_TAG = 5000  # characters of a tag


@dataclass(frozen=True, slots=True)
class About:
    """What a tracker is told about a run, besides its figures.

    Attributes:
        project: Name of the package.
        run: Name of the run folder.
        facts: From the record: numbers, and names out of the tables of this project.
        text: A sample of what is learned, where every pack allows it; else "".
        upload: The tracker may send it all to its service.
    """

    project: str
    run: str
    facts: Mapping[str, str | float | bool]
    text: str = ""
    upload: bool = False


class Output(Protocol):
    """An open tracker."""

    def write(self, lines: Sequence[Line]) -> None:
        """Write the figures of some steps."""

    def close(self) -> None:
        """Write what is left, and end the run."""


class Wandb:
    """A run of Weights & Biases: offline, unless the configuration allows to send it."""

    def __init__(self, folder: Path, about: About) -> None:
        import wandb

        settings = wandb.Settings(
            mode="online" if about.upload else "offline",
            root_dir=str(folder),
            # Nothing of machine and environment: host, user, command line, paths, packages, notes.
            host="",
            username="",
            email="",
            program="",
            run_notes="",
            run_tags=(),
            run_group="",
            run_job_type="",
            disable_code=True,
            disable_git=True,
            save_code=False,
            console="off",
            silent=True,
            symlink=False,
            x_disable_meta=True,
            x_disable_machine_info=True,
            x_disable_stats=True,
            x_executable="",
            x_save_requirements=False,
        )
        self.run = wandb.init(
            project=about.project,
            name=about.run,
            id=re.sub(r"[^A-Za-z0-9_-]", "-", about.run),
            config=dict(about.facts),
            resume="allow" if about.upload else None,
            reinit="create_new",
            settings=settings,
        )
        self.logs = Path(self.run.settings.log_dir)
        if about.text:
            self.run.config["sample"] = about.text

    def write(self, lines: Sequence[Line]) -> None:
        """Write the figures of some steps; those of one step are joined."""
        for step, values in lines:
            self.run.log(values, step=step)

    def close(self) -> None:
        """End the run; its debug logs, which name paths and the user, are removed."""
        self.run.finish()
        shutil.rmtree(self.logs, ignore_errors=True)


class TensorBoard:
    """An event file; its usual name would hold the name of the host."""

    def __init__(self, folder: Path, about: About) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter
        from torch.utils.tensorboard.summary import text

        self.event, self.summary = Event, Summary
        name = f"events.out.tfevents.{int(time.time()):010d}.{about.run}"
        self.writer = RecordWriter((folder / name).open("wb"))
        self._add(file_version="brain.Event:2")
        rows = [f"|{key}|{value}|" for key, value in about.facts.items()]
        self._add(summary=text("config", "\n".join(["|setting|value|", "|---|---|", *rows])))
        if about.text:
            self._add(summary=text("sample", about.text))
        self.writer.flush()

    def _add(self, **content: Any) -> None:
        event = self.event(wall_time=time.time(), **content)
        self.writer.write(event.SerializeToString())

    def write(self, lines: Sequence[Line]) -> None:
        """Write the figures of some steps."""
        for step, values in lines:
            found = [
                self.summary.Value(tag=name, simple_value=value) for name, value in values.items()
            ]
            self._add(step=step, summary=self.summary(value=found))
        self.writer.flush()

    def close(self) -> None:
        """Close the file."""
        self.writer.close()


class Trackio:
    """A database of trackio, written without its client, which asks the hub for the user."""

    def __init__(self, folder: Path, about: About) -> None:
        os.environ["TRACKIO_DIR"] = str(folder)  # read once, when the package is imported
        from trackio import sqlite_storage

        sqlite_storage.TRACKIO_DIR = folder  # it may have been imported for another run
        self.storage = sqlite_storage.SQLiteStorage
        self.about = about
        self.config: dict[str, Any] = dict(about.facts)
        if about.text:
            self.config["sample"] = about.text

    def write(self, lines: Sequence[Line]) -> None:
        """Write the figures of some steps."""
        steps, values = [step for step, _ in lines], [found for _, found in lines]
        project, run = self.about.project, self.about.run
        self.storage.bulk_log(project, run, values, steps, config=self.config, run_id=run)

    def close(self) -> None:
        """Nothing is left to do: each call closes the database."""


class MLflow:
    """A run in a SQLite store of MLflow, written without its client, which tags user and paths."""

    def __init__(self, folder: Path, about: About) -> None:
        from mlflow.entities import Param, RunTag
        from mlflow.store.tracking import DEFAULT_ARTIFACTS_URI
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)  # tables are made
        # No path of this machine as the place of artifacts, of which there are none.
        self.store = SqlAlchemyStore(f"sqlite:///{folder / 'mlflow.db'}", DEFAULT_ARTIFACTS_URI)
        experiment = self.store.create_experiment(about.project)
        tags = [RunTag("sample", about.text[:MLFLOW_TAG])] if about.text else []
        now = int(time.time() * 1000)
        run = self.store.create_run(experiment, "", now, tags, about.run)
        self.id = run.info.run_id
        facts = [Param(name, str(value)) for name, value in about.facts.items()]
        for start in range(0, len(facts), MLFLOW_PARAMS):
            self.store.log_batch(self.id, [], facts[start : start + MLFLOW_PARAMS], [])

    def write(self, lines: Sequence[Line]) -> None:
        """Write the figures of some steps."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        for step, values in lines:
            found = [Metric(name, value, now, step) for name, value in values.items()]
            self.store.log_batch(self.id, found, [], [])

    def close(self) -> None:
        """End the run and let go of the database."""
        from mlflow.entities import RunStatus

        self.store.update_run_info(self.id, RunStatus.FINISHED, int(time.time() * 1000), None)
        self.store.engine.dispose()
