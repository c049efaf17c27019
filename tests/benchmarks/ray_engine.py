"""Preparation by two processes of this machine and by two workers of a Ray cluster of this machine.

    python tests/benchmarks/ray_engine.py --project ../my-project \
        --python ../my-project/.venv/bin/python [--rows 4000] [--repeats 3]

Generated rows are prepared in turn by both engines, each time in a process of its own, under one
key. Prints seconds until the first row is read (what it takes to start Ray), rows per second of
the scrubbing and of the whole, and whether the files are the same to the byte; the last line is
one JSON object. Exit code 1 if a byte differs, or if the text of a row stands in a file of Ray.
The Python needs the project's packages and ray. Linux only.
"""

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from killed_preparations import KEY, LEFT_OUT, OUTPUTS, write_rows

ENGINES = ("local", "ray")
WORKERS = 2
CHANGING = ("seconds", "workers")  # entries of the report that depend on the machine
SECRETS = (b"@example.org", b"Anna Smith", b"What did ", KEY.encode(), bytes.fromhex(KEY))
STAGES = ("read", "scrub", "select", "write")


def main() -> int:
    """Measure both engines; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--project", type=Path, required=True, help="a rendered project")
    parser.add_argument("--python", type=Path, required=True, help="Python with its packages")
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    if not (args.project / "scripts/prepare_data.py").is_file() or not args.python.is_file():
        print("error: --project or --python is not there; do: make new", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="r", dir="/tmp") as name:  # sockets: a short path
        folder = Path(name)
        leave = shutil.ignore_patterns(*LEFT_OUT)
        shutil.copytree(args.project, folder / "project", ignore=leave)
        write_rows(folder / "project/data/raw/drill.jsonl", args.rows)
        runs: dict[str, list[dict[str, Any]]] = {engine: [] for engine in ENGINES}
        for _ in range(args.repeats):
            for engine in ENGINES:  # in turn: a busy machine slows both
                runs[engine].append(prepare(folder, args.python.absolute(), engine))
        leaked = secrets_in(folder / "ray")
    return show(runs, args.rows, leaked)


def prepare(folder: Path, python: Path, engine: str) -> dict[str, Any]:
    """Prepare the rows once; return seconds of the whole and of each stage, and the digests."""
    project = folder / "project"
    shutil.rmtree(project / "data/prepared", ignore_errors=True)
    command = [str(python), "scripts/prepare_data.py", "domains=[]", "data.group_by=null"]
    command += ["data.raw=data/raw/drill.jsonl", f"data.workers={WORKERS}", f"data.engine={engine}"]
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    environment |= {"PYTHONPATH": str(project / "src"), "OMP_NUM_THREADS": "1"}
    environment |= {"FINETUNE_HMAC_KEY": KEY, "RAY_TMPDIR": str(folder / "ray")}
    (folder / "ray").mkdir(exist_ok=True)
    began = time.monotonic()
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
    whole = time.monotonic() - began
    if done.returncode:
        print(done.stderr[-2000:], file=sys.stderr)
        raise SystemExit(1)
    report = json.loads((project / "data/prepared/report.json").read_text(encoding="utf-8"))
    stages = {stage: report["seconds"][stage] for stage in STAGES}
    return {
        "whole": whole,
        **stages,
        "start": whole - sum(stages.values()),
        "files": digests(project),
    }


def digests(project: Path) -> dict[str, str]:
    """Return the SHA-256 of each result, of the report without what is never the same."""
    found = {}
    for name in OUTPUTS:
        content = (project / "data/prepared" / name).read_bytes()
        if name == "report.json":
            report = json.loads(content)
            same = {key: part for key, part in report.items() if key not in CHANGING}
            content = json.dumps(same).encode()
        found[name] = hashlib.sha256(content).hexdigest()
    return found


def secrets_in(folder: Path) -> list[str]:
    """Return the files of Ray that hold the text of a row, or the key."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert any(path.suffix == ".out" for path in files), "Ray wrote its logs here"
    return [path.name for path in files if any(one in path.read_bytes() for one in SECRETS)]


def show(runs: dict[str, list[dict[str, Any]]], rows: int, leaked: list[str]) -> int:
    """Print the table and the JSON line; return the exit code."""
    middle = {
        engine: {
            stage: statistics.median(run[stage] for run in found)
            for stage in ("whole", "start", *STAGES)
        }
        for engine, found in runs.items()
    }
    digest = [run["files"] for found in runs.values() for run in found]
    equal = all(one == digest[0] for one in digest)
    load = f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    print(f"{rows:,} rows, {WORKERS} workers, medians of {len(runs['ray'])}, {load}")
    print(f"{'':<7}{'start and end, s':>18}{'read, s':>10}{'scrub, rows/s':>15}{'whole, s':>10}")
    for engine, one in middle.items():
        rate = round(rows / one["scrub"])
        print(
            f"{engine:<7}{one['start']:>18.1f}{one['read']:>10.1f}{rate:>15,}{one['whole']:>10.1f}"
        )
    print(f"files are {'the same to the byte' if equal else 'NOT the same'}")
    print(f"files of Ray that hold text or key: {len(leaked)}")
    ratio = round(middle["local"]["scrub"] / middle["ray"]["scrub"], 3)
    figures = {name: {k: round(v, 2) for k, v in one.items()} for name, one in middle.items()}
    result = {"rows": rows, "workers": WORKERS, "seconds": figures, "scrub_rate_ratio": ratio}
    print(json.dumps(result | {"equal": equal, "leaked": leaked}))
    return 0 if equal and not leaked else 1


if __name__ == "__main__":
    sys.exit(main())
