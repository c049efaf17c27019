"""Drill: one preparation of generated rows is killed again and again at random moments.

    python tests/benchmarks/killed_preparations.py --project ../my-project \
        --python ../my-project/.venv/bin/python [--rows 3000] [--kills 10] [--seed 1]

Every second kill takes the whole process group, the others the first process alone. After
each one the preparation is started again; at the end its files are compared with those of a
run that nobody killed, under the same key. Prints a table and, as the last line, one JSON
object; exit code 1 if a byte differs or a finished block was written again. Linux only.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

KEY = "5a" * 32  # of the drill; a project makes its own
WORDS = ("lease", "court", "dose", "fever", "share", "bond", "audit", "claim", "rent", "visit")
NAMES = ("Anna Smith", "Peter Miller", "Maria Garcia", "John Brown", "Laura Wilson")
OUTPUTS = ("train.jsonl", "validation.jsonl", "test.jsonl", "report.json")
QUARANTINE = "data/quarantine/quarantine.jsonl"
LEFT_OUT = (".venv", "prepared", "quarantine", "runs", "fine_tuned_model")
ERRORS = "errors.txt"
EARLIEST, LATEST = 0.25, 0.9  # moments of the kills, as shares of the time of a whole run
CHANGING = ("seconds", "workers")  # entries of the report that depend on the machine
POLL_S = 0.005


class Project(NamedTuple):
    """A copy of the rendered project with generated rows, and how it is started."""

    folder: Path
    python: Path

    def start(self) -> subprocess.Popen[bytes]:
        """Start a preparation in a process group of its own."""
        command = [str(self.python), "scripts/prepare_data.py", "domains=[]", "data.workers=2"]
        command += ["data.raw=data/raw/drill.jsonl", "data.group_by=null"]
        path = {"PYTHONPATH": str(self.folder / "src"), "OMP_NUM_THREADS": "1"}
        environment = {**os.environ, **path, "FINETUNE_HMAC_KEY": KEY}
        with (self.folder / ERRORS).open("wb") as errors:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )

    @property
    def prepared(self) -> Path:
        """Folder of the results."""
        return self.folder / "data" / "prepared"

    def blocks(self) -> dict[str, tuple[int, int]]:
        """Return the finished blocks: number -> which file it is, and when it was written."""
        found = {}
        for path in self.prepared.glob(".work/*/[0-9]*.jsonl"):
            try:
                stat = path.stat()
            except FileNotFoundError:  # the last step removes them
                continue
            found[path.stem] = (stat.st_ino, stat.st_mtime_ns)
        return found

    def digests(self) -> dict[str, str]:
        """Return the SHA-256 of each result, of the report without what is never the same."""
        found = {}
        for path in [self.prepared / name for name in OUTPUTS] + [self.folder / QUARANTINE]:
            content = path.read_bytes()
            if path.name == "report.json":
                report = json.loads(content)
                same = {name: part for name, part in report.items() if name not in CHANGING}
                content = json.dumps(same).encode()
            found[path.name] = hashlib.sha256(content).hexdigest()
        return found


def main() -> int:
    """Run the drill; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--project", type=Path, required=True, help="a rendered project")
    parser.add_argument("--python", type=Path, required=True, help="Python with its packages")
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    args = parser.parse_args()
    if not (args.project / "scripts/prepare_data.py").is_file() or not args.python.is_file():
        print("error: --project or --python is not there; do: make new", file=sys.stderr)
        return 2
    with TemporaryDirectory() as name:
        project = Project(Path(name) / "project", args.python.absolute())
        leave = shutil.ignore_patterns(*LEFT_OUT)
        shutil.copytree(args.project, project.folder, ignore=leave)
        write_rows(project.folder / "data/raw/drill.jsonl", args.rows)
        return drill(project, args.kills, random.Random(args.seed))


def drill(project: Project, kills: int, chance: random.Random) -> int:
    """Measure one whole run, kill others, and compare; return the exit code."""
    began = time.monotonic()
    if project.start().wait():
        return fail(project)
    whole_s = time.monotonic() - began
    expected = project.digests()
    shutil.rmtree(project.prepared)
    load = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    print(f"a whole run takes {whole_s:.1f} s; {load}")
    print("kill  who    after s  blocks before  blocks after  written again")
    killed = again = ended = 0
    while killed < kills:
        before, group = project.blocks(), killed % 2 == 0
        wait_s = chance.uniform(EARLIEST, LATEST) * whole_s
        process = project.start()
        try:
            if process.wait(wait_s):
                return fail(project)
            ended += 1
            print("      it ended before its kill; the next one begins anew")
            if project.digests() != expected:
                break
            shutil.rmtree(project.prepared)
            continue
        except subprocess.TimeoutExpired:
            kill(process, group)
        killed += 1
        after = project.blocks()
        rewritten = sum(after.get(name) != found for name, found in before.items())
        again += rewritten
        who = "group" if group else "first"
        line = f"{killed:>4}  {who:<5}  {wait_s:>7.1f}  {len(before):>13}  {len(after):>12}"
        print(f"{line}  {rewritten:>13}", flush=True)
    if project.start().wait():
        return fail(project)
    equal = project.digests() == expected
    left = [path.name for path in project.prepared.glob(".work")]
    result = {"kills": killed, "ended_before_their_kill": ended, "written_again": again}
    result |= {"equal": equal, "left_over": left, "whole_run_s": round(whole_s, 1)}
    print(json.dumps(result))
    return 0 if equal and not again and not left else 1


def fail(project: Project) -> int:
    """Show what a preparation that was not killed said; return exit code 1."""
    print((project.folder / ERRORS).read_text(encoding="utf-8")[-2000:], file=sys.stderr)
    return 1


def kill(process: subprocess.Popen[bytes], group: bool) -> None:
    """Kill the whole process group, or the first process alone; wait until none is left."""
    if group:
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()
    wait_for_group(process.pid)


def wait_for_group(number: int) -> None:
    """Wait until no process of the group is left; those of the pool end by themselves."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            os.killpg(number, 0)
        except ProcessLookupError:
            return
        time.sleep(POLL_S)
    raise AssertionError("a process outlived the first one for a minute")


def write_rows(path: Path, count: int) -> None:
    """Write questions and answers with names, mail addresses, repeats and a few bad rows."""
    chance = random.Random(0)
    with path.open("w", encoding="utf-8") as handle:
        lines: list[str] = []
        for number in range(count):
            words = " ".join(chance.choices(WORDS, k=12))
            name = chance.choice(NAMES)
            question = f"What did {name} say about the {words} of {number}?"
            mail = f"{name.split()[0].lower()}{number}@example.org"
            answer = f"{name} wrote from {mail}: {' '.join(chance.choices(WORDS, k=20))}."
            row: dict[str, str | None] = {"prompt": question, "completion": answer}
            if number % 400 == 7:
                row["completion"] = None
            line = json.dumps(row)
            if lines and number % 50 == 3:
                line = chance.choice(lines)
            lines.append(line)
            handle.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())
