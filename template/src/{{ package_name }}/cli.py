"""What every script shares: arguments, exit codes, and no traceback for a user's mistake."""

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from .config import Config, load_config
from .errors import (
    EXIT_BUG,
    EXIT_DONE,
    EXIT_GATE,
    EXIT_INTERRUPTED,
    EXIT_USER,
    GateFailed,
    Interrupted,
    Problem,
    UserError,
)

DEFAULT_CONFIG = Path("configs/default_config.yaml")


def parser(description: str) -> argparse.ArgumentParser:
    """Return a parser with the arguments that all scripts take."""
    result = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    result.add_argument("--config", type=Path, default=DEFAULT_CONFIG, help="YAML file of the run")
    result.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="settings that replace those of the file, for example train.max_steps=20",
    )
    result.add_argument(
        "--dry-run",
        action="store_true",
        help="show the settings with their sources and what would be done; write nothing",
    )
    return result


def end_dry_run(config: Config, *would: str) -> int:
    """Print the settings with their sources, and what a real run would do; return exit code 0."""
    print(f"Settings\n{config.table()}\n")
    for line in would:
        print(f"would {line}")
    print("nothing was written (--dry-run)")
    return EXIT_DONE


def read_config(arguments: argparse.Namespace) -> Config:
    """Load the configuration named on the command line.

    Raises:
        UserError: the file or an override is wrong; every problem is listed.
    """
    return load_config(arguments.config, arguments.overrides)


def _share_cores() -> None:
    """Let OpenMP threads sleep while they wait, where other work fills the machine.

    Spinning is faster alone (training on two idle cores: 213 against 140 tokens/s) and starves
    everybody beside other jobs (138 tokens/s against next to none).
    """
    cores = os.cpu_count() or 1
    busy = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if busy > cores and "OMP_WAIT_POLICY" not in os.environ:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
        note = f"load {busy:.1f} on {cores} cores: waiting threads sleep (OMP_WAIT_POLICY=PASSIVE)"
        print(note, file=sys.stderr)


def run(main: Callable[[Sequence[str]], int | None]) -> int:
    """Run a script's main function and turn its outcome into an exit code.

    The message of an unexpected exception is left out of the report: libraries put
    values of the data into it. File, line and type of the exception are printed.
    """
    _share_cores()
    if not sys.stderr.isatty():  # a log file has no use for the progress bars of datasets
        os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    try:
        return main(sys.argv[1:]) or EXIT_DONE
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USER
    except GateFailed as error:
        print(f"gate failed: {error}", file=sys.stderr)
        return EXIT_GATE
    except Interrupted as stop:
        print(stop, file=sys.stderr)
        return EXIT_INTERRUPTED
    except KeyboardInterrupt:
        print("stopped by the user", file=sys.stderr)
        return 130
    except OSError as error:
        if error.errno is None:  # libraries raise OSError for other things, with data in the text
            return _report_bug(error)
        where = str(error.filename or "file system")
        found = error.strerror or type(error).__name__
        fix = "check that the path exists, is writable and that the disk has room"
        print(f"error: {Problem(where, found, fix=fix)}", file=sys.stderr)
        return EXIT_USER
    except Exception as error:
        return _report_bug(error)


def _report_bug(error: Exception) -> int:
    """Print where an unexpected exception arose, without its message."""
    print(f"internal error: {type(error).__name__} (message withheld)", file=sys.stderr)
    for frame in traceback.extract_tb(error.__traceback__):
        print(f"  {frame.filename}:{frame.lineno} in {frame.name}", file=sys.stderr)
    print("this is a bug: please report the lines above", file=sys.stderr)
    return EXIT_BUG
