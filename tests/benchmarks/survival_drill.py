"""Drill: training runs of a tiny model are killed, starved, filled up, signalled and torn.

    ../my-project/.venv/bin/python tests/benchmarks/survival_drill.py --project ../my-project \
        [--kills 20] [--memory 10] [--others 4] [--seed 1]

Each run is a process of its own, forked from one that has loaded the libraries, and goes through
scripts/train.py. It is resumed after what befell it, and its weights are compared with those of a
run that nothing happened to: byte by byte, but for the runs short of memory, which sum their
batches in another order. There the loss of the step that was repeated must be the same within
1e-5, and those of all later steps within 1e-3: at the high learning rate of the drill, rounding
grows from step to step, while a row that is skipped or comes twice shows at once. Prints a table
and, as the last line, one JSON object; exit code 1 if anything was lost. Linux only.
"""

import argparse
import importlib.util
import json
import os
import random
import resource
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"
STEPS, EVERY = 45, 5  # of a run, and between its checkpoints; an epoch has 19 steps
SETTINGS = (
    "domains=[]", "data.raw=data/raw/drill.jsonl", "data.group_by=null", "tracker=none",
    "scrub.nlp_model=none", "objective=sft", "technique=lora", "lora.lora_r=4",
    "train.max_length=256", "train.precision=fp32", "train.learning_rate=1e-2",
    "train.effective_batch_size=4", f"train.max_steps={STEPS}", f"train.eval_steps={EVERY}",
)  # fmt: skip
DROPOUT = ("lora.lora_dropout=0.1", "train.per_device_train_batch_size=2")
NO_DROPOUT = ("lora.lora_dropout=0.0", "train.per_device_train_batch_size=4")
LATEST = "train.resume_from_checkpoint=latest"
LEFT_OUT = (".venv", "prepared", "quarantine", "runs", "fine_tuned_model")
TOLERANCE, LATER = 1e-5, 1e-3  # of a loss: in the step that is repeated, in those after it
TERMS = ("bond", "tort", "dose", "lease", "share", "fever", "audit", "patent", "virus", "coupon")
Harm = Callable[[Any], None]


class Project:
    """A copy of the rendered project with its tiny model, and how its runs are started."""

    def __init__(self, rendered: Path, folder: Path) -> None:
        shutil.copytree(rendered, folder, ignore=shutil.ignore_patterns(*LEFT_OUT))
        self.folder = folder
        sys.path[:0] = [str(folder / "src"), str(folder / "tests")]
        self.package = next((folder / "src").glob("*/trainer.py")).parent.name
        self.log = folder / "drill.log"  # of the process that was started last
        self.module("trainer")
        from tiny_models import save
        from trl import SFTTrainer

        assert SFTTrainer, "loaded before the first fork, which saves each run its imports"

        self.model = save("llama", folder / "model")
        rows = [
            {"prompt": f"What is {TERMS[n % 10]} {n}?", "completion": f"It is item {n * 7 % 10}."}
            for n in range(96)
        ]
        raw = folder / "data" / "raw" / "drill.jsonl"
        raw.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    def module(self, name: str) -> Any:
        """Return a module of the package."""
        return importlib.import_module(f"{self.package}.{name}")

    def start(self, script: str, *overrides: str, harm: Harm | None = None) -> int:
        """Run a script in a new process; return its number.

        Args:
            script: of scripts/.
            overrides: settings.
            harm: is done to the trainer once it is built.
        """
        self.log.unlink(missing_ok=True)
        number = os.fork()
        if number:
            return number
        with self.log.open("wb") as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
        os.chdir(self.folder)
        trainer = self.module("trainer")
        build = trainer.build_trainer

        def harmed(*arguments: Any) -> Any:
            made = build(*arguments)
            if harm is not None:
                harm(made)
            return made

        trainer.build_trainer = harmed
        place = f"model.model_name_or_path={self.model}"
        sys.argv = [script, place, *SETTINGS, *overrides]
        path = self.folder / "scripts" / script
        spec = importlib.util.spec_from_file_location("drilled", path)
        assert spec is not None and spec.loader is not None
        loaded = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(loaded)
        code = self.module("cli").run(loaded.main)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)

    def run(self, *overrides: str, harm: Harm | None = None) -> int:
        """Run a training to its end; return its exit code, negative for a signal."""
        return wait(self.start("train.py", *overrides, harm=harm))

    def last(self, output: str) -> Path | None:
        """Return the run that was begun last."""
        runs = sorted((self.folder / output).glob("*/training_args.json"))
        return runs[-1].parent if runs else None

    def result(self, output: str) -> bytes | None:
        """Return the weights of the last run; None where it left none."""
        path = (self.last(output) or self.folder) / "model.safetensors"
        return path.read_bytes() if path.is_file() else None

    def losses(self, output: str) -> list[float]:
        """Return the training losses of the last run."""
        folder = self.last(output)
        assert folder is not None
        rows = self.module("run_log").read_log(folder / "training_log.jsonl")
        return [row["loss"] for row in rows if row["loss"] is not None]

    def go_on(self, output: str, *overrides: str) -> bool:
        """Resume the last run, or begin anew where it was ended before its first checkpoint."""
        out = f"train.output_dir={output}"
        begun = [*(self.folder / output).glob("*/checkpoints/checkpoint-*")]
        return self.run(out, *overrides, *([LATEST] if begun else [])) == 0


def wait(number: int) -> int:
    """Wait for a process; return its exit code, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])


def struck(step: int, sent: int, delay_s: float) -> Harm:
    """Return a harm: a signal comes some time after a step began, whatever is done then."""

    def harm(made: Any) -> None:
        def look(model: Any, _inputs: Any) -> None:
            nonlocal step
            if model.training and made.state.global_step == step - 1:
                step = 0
                threading.Timer(delay_s, os.kill, (os.getpid(), sent)).start()

        made.model.register_forward_pre_hook(look)

    return harm


def holds(most: int, after: int) -> Harm:
    """Return a harm: no more than `most` examples fit into memory once `after` steps are done."""

    def harm(made: Any) -> None:
        import torch

        def look(model: Any, _args: Any, inputs: dict[str, Any]) -> None:
            late = made.state.global_step >= after
            if model.training and late and len(inputs["input_ids"]) > most:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB.")

        made.model.register_forward_pre_hook(look, with_kwargs=True)

    return harm


def full_disk(step: int, size: int) -> Harm:
    """Return a harm: from the end of a step on no file can become larger than `size` bytes."""

    def harm(made: Any) -> None:
        from transformers import TrainerCallback

        class Filling(TrainerCallback):
            def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
                del args, control, kwargs
                if state.global_step == step:
                    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

        made.add_callback(Filling())

    return harm


def tear(checkpoint: Path, how: int, chance: random.Random) -> str:
    """Damage a checkpoint in one of four ways; return which."""
    files = [path for path in checkpoint.iterdir() if path.suffix in (".pt", ".safetensors")]
    victim = chance.choice(sorted(files))
    content = bytearray(victim.read_bytes())
    if how == 0:
        victim.write_bytes(content[: len(content) // 2])
        return f"{victim.name} cut in half"
    if how == 1:
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        victim.write_bytes(content)
        return f"one bit of {victim.name}"
    if how == 2:
        victim.unlink()
        return f"{victim.name} removed"
    (checkpoint / "checksums.json").write_bytes(b"")
    return "checksums.json emptied"


class Drill:
    """All drills on one project, and the rows of the table."""

    def __init__(self, project: Project, seed: int) -> None:
        self.project, self.chance = project, random.Random(seed)
        self.rows: list[tuple[str, int, int, str]] = []
        began = time.monotonic()
        assert project.run(*DROPOUT, "train.output_dir=whole") == 0, project.log.read_text()[-2000:]
        self.whole_s = time.monotonic() - began
        folder = project.last("whole")
        assert folder is not None
        seconds = json.loads((folder / "training_args.json").read_text())["seconds"]
        self.span = seconds["train"] + seconds["save"]
        self.expected = project.result("whole")

    def add(self, name: str, good: int, count: int, note: str) -> None:
        """Add a row of the table and print it."""
        self.rows.append((name, good, count, note))
        print(f"{name:<22} {good:>4} of {count:<4} {note}", flush=True)

    def at_random(self, output: str, sent: int) -> int:
        """Send a run a signal at a random moment of its training; return its exit code."""
        delay_s = self.chance.uniform(0, 2 * self.span / STEPS)
        harm = struck(self.chance.randint(1, STEPS), sent, delay_s)
        return self.project.run(*DROPOUT, f"train.output_dir={output}", harm=harm)

    def kills(self, count: int) -> None:
        """Kill -9 at random moments; every run is resumed."""
        good, saved, killed = 0, 0, 0
        for number in range(count):
            out = f"kill-{number}"
            killed += self.at_random(out, signal.SIGKILL) == -signal.SIGKILL
            saved += bool([*(self.project.folder / out).glob("*/checkpoints/checkpoint-*")])
            done = self.project.go_on(out, *DROPOUT)
            good += done and self.project.result(out) == self.expected
        note = f"same bytes; {killed} were killed, {saved} had a checkpoint by then"
        self.add("kill -9", good, count, note)

    def signals(self, count: int) -> None:
        """SIGTERM at random moments."""
        good, codes = 0, []
        for number in range(count):
            out = f"term-{number}"
            codes.append(self.at_random(out, signal.SIGTERM))
            done = self.project.go_on(out, *DROPOUT)
            good += done and self.project.result(out) == self.expected
        self.add("SIGTERM", good, count, f"same bytes; exit codes {codes}")

    def memory(self, count: int) -> None:
        """Out of memory in random steps, with what then fits."""
        assert self.project.run(*NO_DROPOUT, "train.output_dir=roomy") == 0
        expected = self.project.losses("roomy")
        good, first, later = 0, 0.0, 0.0
        for number in range(count):
            out, most = f"memory-{number}", self.chance.choice((1, 2, 3))
            done = self.chance.randrange(STEPS)
            harm = holds(most, done)
            code = self.project.run(*NO_DROPOUT, f"train.output_dir={out}", harm=harm)
            found = self.project.losses(out)
            apart = [abs(a - b) for a, b in zip(found, expected, strict=True)]
            first, later = max(first, apart[done]), max(later, *apart)
            good += code == 0 and apart[done] < TOLERANCE and max(apart) < LATER
        note = f"largest difference of a loss {first:.1e} in that step, {later:.1e} in any"
        self.add("out of memory", good, count, note)

    def disks(self, count: int) -> None:
        """A full disk at the end of random steps, in files of random size."""
        good, codes = 0, []
        for number in range(count):
            out, size = f"disk-{number}", self.chance.choice((20_000, 40_000))
            harm = full_disk(self.chance.randrange(EVERY, STEPS), size)
            codes.append(self.project.run(*DROPOUT, f"train.output_dir={out}", harm=harm))
            done = self.project.go_on(out, *DROPOUT)
            good += codes[-1] == 2 and done and self.project.result(out) == self.expected
        self.add("disk full", good, count, f"same bytes; exit codes {codes}")

    def torn(self, count: int) -> None:
        """The newest checkpoint of an interrupted run is damaged."""
        good, ways = 0, []
        for number in range(count):
            out = f"torn-{number}"
            step = self.chance.randrange(2 * EVERY + 1, STEPS)
            self.project.run(
                *DROPOUT, f"train.output_dir={out}", harm=struck(step, signal.SIGKILL, 0.0)
            )
            folder = self.project.last(out)
            assert folder is not None
            found = sorted((folder / "checkpoints").glob("checkpoint-*"), key=_step)
            ways.append(tear(found[-1], number % 4, self.chance))
            done = self.project.go_on(out, *DROPOUT)
            said = self.project.log.read_text()
            skipped = f"{found[-1].name} is skipped for the one before" in said
            good += skipped and done and self.project.result(out) == self.expected
        self.add("torn checkpoint", good, count, f"skipped, same bytes; {', '.join(ways)}")


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def main() -> int:
    """Run the drills; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--project", type=Path, required=True, help="a rendered project")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--memory", type=int, default=10)
    parser.add_argument("--others", type=int, default=4, help="SIGTERM, full disks, torn ones each")
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    args = parser.parse_args()
    if not (args.project / "scripts/train.py").is_file():
        print("error: --project is not there; do: make new", file=sys.stderr)
        return 2
    with TemporaryDirectory() as name:
        project = Project(args.project, Path(name) / "project")
        assert wait(project.start("prepare_data.py")) == 0, project.log.read_text()[-2000:]
        began = time.monotonic()
        drill = Drill(project, args.seed)
        load = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
        print(f"a whole run takes {drill.whole_s:.1f} s, {drill.span:.1f} s of it training; {load}")
        drill.kills(args.kills)
        drill.signals(args.others)
        drill.memory(args.memory)
        drill.disks(args.others)
        drill.torn(args.others)
    lost = sum(count - good for _, good, count, _ in drill.rows)
    counts = {name: f"{good}/{count}" for name, good, count, _ in drill.rows}
    print(json.dumps({**counts, "lost": lost, "seconds": round(time.monotonic() - began)}))
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
