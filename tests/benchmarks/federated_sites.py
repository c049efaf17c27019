"""Drill: a server and two sites average their adapters by Flower, each in a process of its own.

    python tests/benchmarks/federated_sites.py --project ../my-project \
        --python ../my-project/.venv/bin/python --flower ../my-project/.venv-flower [--rounds 2]

Two copies of the project prepare rows of their own, 60 and 24 of them, beside a tiny model with
random weights. After the rounds the mean that Flower wrote is compared with one computed here from
the adapters that lie at the sites, round by round: each round must also have begun with the mean
of the one before. All that the server's process was sent or wrote is searched for text of the
rows. Prints a table and, as the last line, one JSON object; exit code 1 if a weight differs by
more than 1e-7 or text is found. About a minute. Linux only.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from safetensors.numpy import load_file

LEFT_OUT = (".venv*", "prepared", "quarantine", "runs", "fine_tuned_model", "data")
ROWS = {"site-a": 60, "site-b": 24}
TOLERANCE = 1e-7
WAIT_S = 60
KEY = "5a" * 32  # of the drill; a project makes its own
WEIGHTS = "adapter_model.safetensors"
SETTINGS = (
    "domains=[] objective=sft technique=lora lora.lora_r=4 tracker=none "
    "data.raw=data/raw/own.jsonl data.group_by=null "
    "train.max_length=128 train.precision=fp32 train.learning_rate=1e-2 "
    "train.max_steps=4 train.effective_batch_size=4 train.per_device_train_batch_size=4"
)
MODEL = "import sys; from tiny_models import tiny_llama; m, t = tiny_llama(); "
MODEL += "m.save_pretrained(sys.argv[1]); t.save_pretrained(sys.argv[1])"


def main() -> int:
    """Run the drill; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--project", type=Path, required=True, help="a rendered project")
    parser.add_argument("--python", type=Path, required=True, help="Python with its packages")
    parser.add_argument("--flower", type=Path, required=True, help="environment with flwr")
    parser.add_argument("--rounds", type=int, default=2)
    args = parser.parse_args()
    there = (args.project / "federated/server_app.py", args.python, args.flower / "bin/flwr")
    if missing := [str(path) for path in there if not path.exists()]:
        print(f"error: not there: {', '.join(missing)}", file=sys.stderr)
        return 2
    with TemporaryDirectory() as name:
        return drill(Path(name), args)


def drill(folder: Path, args: argparse.Namespace) -> int:
    """Set up sites and server, run the rounds, and compare."""
    python = str(args.python.absolute())
    settings = f"{SETTINGS} model.model_name_or_path={folder / 'model'}"
    command = [python, "-c", MODEL, str(folder / "model")]
    call(command, args.project / "tests", PYTHONPATH=str(args.project / "tests"))
    for site, rows in ROWS.items():
        copy_project(args.project, folder / site)
        write_rows(folder / site / "data/raw/own.jsonl", site, rows)
        call([python, "scripts/prepare_data.py", *settings.split()], folder / site)
    copy_project(args.project, folder / "server")
    out = ["--out", str(folder / "start")]
    call([python, "scripts/federated.py", "start", *settings.split(), *out], folder / "server")
    began = time.monotonic()
    with_flower(folder, args.flower.absolute(), python, settings, args.rounds)
    return show(folder, args.rounds, time.monotonic() - began)


def copy_project(project: Path, target: Path) -> None:
    """Copy what a site has before it has data."""
    shutil.copytree(project, target, ignore=shutil.ignore_patterns(*LEFT_OUT))
    (target / "data/raw").mkdir(parents=True)


def write_rows(path: Path, site: str, count: int) -> None:
    """Write questions and answers that only this site has."""
    lines = []
    for number in range(count):
        asked = {"role": "user", "content": f"What does {site} know of item {number}?"}
        answer = {"role": "assistant", "content": f"It is secret {number * 7 % 10} of {site}."}
        lines.append(json.dumps({"messages": [asked, answer]}) + "\n")
    path.write_text("".join(lines), encoding="utf-8")


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Return the variables of a process that runs in a folder of a project."""
    found = {"PYTHONPATH": str(folder / "src"), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return {**os.environ, **found, "FINETUNE_HMAC_KEY": KEY, **more}


def call(command: list[str], folder: Path, **more: str) -> None:
    """Run a command; show what it said if it fails."""
    done = subprocess.run(
        command, cwd=folder, env=environment(folder, **more), capture_output=True, text=True
    )
    if done.returncode:
        print(done.stdout[-1000:] + done.stderr[-2000:], file=sys.stderr)
        raise SystemExit(1)


def with_flower(folder: Path, flower: Path, python: str, settings: str, rounds: int) -> None:
    """Start server and sites, run the rounds, and stop what was started."""
    ports = free_ports(1 + len(ROWS))
    link = f"127.0.0.1:{ports[0]}"
    quiet = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}
    home = folder / "server-home"
    home.mkdir()
    connection = f'[superlink.sites]\naddress = "{link}"\ninsecure = true\n'
    (home / "config.toml").write_text(connection, encoding="utf-8")
    started = []
    try:
        command = ["flower-superlink", "--insecure", "--host", "127.0.0.1", "--port", str(ports[0])]
        started.append(start(command, folder / "server", flower, FLWR_HOME=str(home), **quiet))
        wait_for(ports[0], started[0])
        for port, site in zip(ports[1:], ROWS, strict=True):
            own = f"project='{folder / site}' python='{python}' start='{folder / 'start'}' "
            command = ["flower-supernode", "--insecure", "--superlink", link, "--port", str(port)]
            command += ["--node-config", f'{own} settings="{settings}"']
            site_home = str(folder / f"{site}-home")
            started.append(start(command, folder / site, flower, FLWR_HOME=site_home, **quiet))
        asked = (
            f"start='{folder / 'start'}' out='{folder / 'out'}' rounds={rounds} sites={len(ROWS)}"
        )
        command = [str(flower / "bin/flwr"), "run", str(folder / "server/federated"), "sites"]
        command += ["--stream", "--run-config", asked]
        call(command, folder / "server", FLWR_HOME=str(home), **quiet)
        if not (folder / "out/adapter" / WEIGHTS).is_file():
            for log in sorted(folder.glob("*/flower.log")):
                print(log, log.read_text(encoding="utf-8")[-3000:], sep="\n", file=sys.stderr)
            raise SystemExit(1)
    finally:
        for process in started:
            os.killpg(process.pid, signal.SIGTERM)
        for process in started:
            process.wait(WAIT_S)


def start(command: list[str], folder: Path, flower: Path, **more: str) -> subprocess.Popen[bytes]:
    """Start a process of Flower in a group of its own; it finds the others of its environment."""
    path = f"{flower / 'bin'}{os.pathsep}{os.environ['PATH']}"
    with (folder / "flower.log").open("wb") as log:
        return subprocess.Popen(
            [str(flower / "bin" / command[0]), *command[1:]],
            cwd=folder,
            env=environment(folder, PATH=path, **more),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until a process listens on a port."""
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end and process.poll() is None:
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.2)
    raise AssertionError("the server does not listen")


def show(folder: Path, rounds: int, seconds: float) -> int:
    """Compare the means with those computed here, print the table; return the exit code."""
    counts = json.loads((folder / "out/rounds.json").read_text(encoding="utf-8"))
    print(f"{len(ROWS)} sites and a server, {rounds} rounds, {seconds:.1f} s")
    print("round  rows            change of the mean  largest difference  chain")
    before = load_file(folder / "start" / WEIGHTS)
    worst, equal, table = 0.0, True, []
    for number in range(1, rounds + 1):
        places = [folder / site / f"runs/federated/round-{number:03d}" for site in ROWS]
        runs = [next(place.glob("runs/*/training_args.json")) for place in places]
        rows = [read(run)["data"]["train"]["examples"] for run in runs]
        parts = [load_file(run.parent / "adapter" / WEIGHTS) for run in runs]
        mean = {
            name: np.average([part[name] for part in parts], axis=0, weights=rows)
            for name in before
        }
        got = [load_file(place / "mean/adapter" / WEIGHTS) for place in places]
        difference = max(far(one, mean) for one in got)
        same = all(far(load_file(place / "received" / WEIGHTS), before) == 0 for place in places)
        same = same and sorted(rows) == counts[number - 1]["rows"]
        change = far(got[0], before)
        line = f"{number:>5}  {rows!s:<14}  {change:>18.4f}  {difference:>18.1e}"
        print(f"{line}  {'holds' if same else 'BROKEN'}")
        table.append({"round": number, "rows": rows, "difference": difference, "change": change})
        worst, equal, before = max(worst, difference), equal and same, got[0]
    final = load_file(folder / "out/adapter" / WEIGHTS)
    equal = equal and far(final, before) == 0
    found = text_in([folder / "server-home", folder / "out", folder / "server"])
    print(f"files of the server that hold text of a row: {len(found)}")
    result = {"rounds": table, "largest_difference": worst, "chain_holds": equal}
    print(json.dumps(result | {"text_found": found, "seconds": round(seconds, 1)}))
    return 0 if worst <= TOLERANCE and equal and not found else 1


def read(path: Path) -> Any:
    """Read a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def far(one: dict[str, Any], other: dict[str, Any]) -> float:
    """Return the largest difference between two sets of weights."""
    return max(float(np.abs(one[name] - other[name]).max()) for name in one)


def text_in(folders: list[Path]) -> list[str]:
    """Return the files that hold what only rows hold."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    marks = (b"It is secret", b"know of item")
    return [path.name for path in files if any(mark in path.read_bytes() for mark in marks)]


if __name__ == "__main__":
    sys.exit(main())
