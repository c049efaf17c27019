"""Time and memory of finding duplicates in generated rows, in a rendered project's code.

    python tests/benchmarks/near_duplicates.py --project ../my-project [--full]

Prints a table and, as the last line, one JSON object. Each size runs in a process of its own;
memory is the highest anonymous memory above that at the start (Linux only), so that neither
the interpreter nor pages of files count.
"""

import argparse
import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

SIZES, FULL_SIZE = (10_000, 100_000), 1_000_000
SHARD_ROWS = 10_000
VOCABULARY, ROW_WORDS = 20_000, 80
# Share of the rows that repeat an earlier one with one word changed: Jaccard similarity 0.88
# (five of 76 five-word sequences differ), less for a copy of a copy.
COPIES = 0.1
THRESHOLD = 0.8
POLL_S = 0.005
COLUMNS = (
    ("rows", "     rows"),
    ("repeats", "near repeats"),
    ("sign_rows_per_s", "sign, rows/s"),
    ("near_rows_per_s", "find near, rows/s"),
    ("near_bytes_per_row", "near, bytes/row"),
    ("exact_rows_per_s", "find exact, rows/s"),
    ("exact_bytes_per_row", "exact, bytes/row"),
)


def main() -> None:
    """Run every size and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--project", type=Path, required=True, help="a rendered project")
    parser.add_argument("--full", action="store_true", help=f"also {FULL_SIZE:,} rows: minutes")
    parser.add_argument("--size", type=int, help="one size only, in this process, as JSON")
    args = parser.parse_args()
    if args.size is not None:
        print(json.dumps(measure(find_module(args.project), args.size)))
        return
    find_module(args.project)
    results = []
    print("  ".join(title for _, title in COLUMNS))
    for size in (*SIZES, FULL_SIZE) if args.full else SIZES:
        command = [sys.executable, __file__, "--project", str(args.project), "--size", str(size)]
        run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        results.append(json.loads(run.stdout))
        cells = (f"{results[-1][name]:,}".rjust(len(title)) for name, title in COLUMNS)
        print("  ".join(cells), flush=True)
    print(json.dumps({"threshold": THRESHOLD, "words_a_row": ROW_WORDS, "sizes": results}))


def find_module(project: Path) -> Any:
    """Import the project's module `duplicates`; exit code 2 if there is none."""
    found = sorted(project.glob("src/*/duplicates.py"))
    if len(found) != 1:
        print(f"error: {project}: no src/PACKAGE/duplicates.py; do: make new", file=sys.stderr)
        raise SystemExit(2)
    sys.path.insert(0, str(project / "src"))
    return import_module(f"{found[0].parent.name}.duplicates")


def measure(duplicates: Any, size: int) -> dict[str, float]:
    """Return the figures of one size."""
    # First, in memory that nothing was freed in; the time includes appending the keys.
    _, exact_s, exact_bytes = watched(lambda: duplicates.first_rows(keys(size)))
    duplicates.bands_of(THRESHOLD)  # loads the library
    with TemporaryDirectory() as folder:
        files, seconds = sign(duplicates, size, Path(folder))
        near, near_s, near_bytes = watched(lambda: duplicates.near_duplicates(files, THRESHOLD))
    return {
        "rows": size,
        "repeats": int((near != np.arange(size)).sum()),
        "sign_rows_per_s": round(size / seconds),
        "near_rows_per_s": round(size / near_s),
        "near_bytes_per_row": round(near_bytes / size, 1),
        "exact_rows_per_s": round(size / exact_s),
        "exact_bytes_per_row": round(exact_bytes / size, 1),
    }


def sign(duplicates: Any, size: int, folder: Path) -> tuple[list[Path], float]:
    """Sign generated rows shard by shard; return the files and the seconds of signing."""
    chance = random.Random(0)
    vocabulary = [f"w{number:x}" for number in range(VOCABULARY)]
    files: list[Path] = []
    seconds = 0.0
    while (start := SHARD_ROWS * len(files)) < size:
        texts: list[str] = []
        for _ in range(min(SHARD_ROWS, size - start)):
            if texts and chance.random() < COPIES:
                row = chance.choice(texts).split()
                row[chance.randrange(ROW_WORDS)] = chance.choice(vocabulary)
            else:
                row = chance.choices(vocabulary, k=ROW_WORDS)
            texts.append(" ".join(row))
        began = time.perf_counter()
        signatures = duplicates.sign(texts)
        seconds += time.perf_counter() - began
        files.append(folder / f"{len(files)}.npy")
        np.save(files[-1], signatures)
    return files, seconds


def keys(size: int) -> bytearray:
    """Return one key for each row, appended one by one as a pipeline does."""
    result = bytearray()
    chance = random.Random(0)
    for _ in range(size):
        result += chance.randbytes(16)
    return result


def watched(work: Callable[[], Any]) -> tuple[Any, float, int]:
    """Return what `work` returns, its seconds, and the bytes that it added at its peak."""
    start = anonymous_bytes()
    peak, done = start, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(POLL_S):
            peak = max(peak, anonymous_bytes())

    thread = threading.Thread(target=watch)
    thread.start()
    began = time.perf_counter()
    result = work()
    seconds = time.perf_counter() - began
    done.set()
    thread.join()
    return result, seconds, peak - start


def anonymous_bytes() -> int:
    """Return the memory of this process that belongs to no file."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


if __name__ == "__main__":
    main()
