"""What is installed, against the supported ranges and against what was tested together.

`pyproject.toml` says for which versions the code is written, `requirements.lock` which ones the
tests ran with. Both lie in the project, so that an update of the template moves them together.
"""

import importlib.metadata
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# What decides about training; the doctor names these one by one.
STACK = ("torch", "transformers", "trl", "peft", "accelerate", "bitsandbytes", "datasets")
TESTED_LINE = re.compile(r"^([\w.\-]+)==([\w.\-+!]+)")
TORCH_LINE = re.compile(r'^TORCH_VERSION = "([^"]+)"', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Package:
    """One requirement of the project.

    Attributes:
        name: as on the package index.
        installed: version that is here, or "".
        tested: version that the tests ran with, or "".
        supported: whether the installed version is in the range of pyproject.toml.
        allowed: that range, for messages.
    """

    name: str
    installed: str
    tested: str
    supported: bool
    allowed: str

    def state(self) -> str:
        """Return what is to be said about it in a few words."""
        if not self.installed:
            return "not installed"
        if not self.supported:
            return f"{self.installed}, outside {self.allowed}"
        if not self.tested:
            return f"{self.installed}, in range"
        if self.installed.split("+")[0] == self.tested:
            return f"{self.installed}, tested together"
        return f"{self.installed}, in range; the tests ran with {self.tested}"


def packages(root: Path) -> Iterator[Package]:
    """Yield every requirement of the project that holds on this machine.

    Args:
        root: project folder, with pyproject.toml, requirements.lock and scripts/setup_env.py.
    """
    tested = _tested(root)
    text = (root / "pyproject.toml").read_text(encoding="utf-8")
    for line in tomllib.loads(text)["project"]["dependencies"]:
        wanted = Requirement(line)
        if wanted.marker is not None and not wanted.marker.evaluate():
            continue
        try:
            found = importlib.metadata.version(wanted.name)
        except importlib.metadata.PackageNotFoundError:
            found = ""
        fits = bool(found) and wanted.specifier.contains(found, prereleases=True)
        name = canonicalize_name(wanted.name)
        yield Package(wanted.name, found, tested.get(str(name), ""), fits, str(wanted.specifier))


def _tested(root: Path) -> dict[str, str]:
    """Return package -> version of the lock file; torch stands in the setup script."""
    lines = (root / "requirements.lock").read_text(encoding="utf-8").splitlines()
    found = {str(canonicalize_name(m[1])): m[2] for line in lines if (m := TESTED_LINE.match(line))}
    setup = TORCH_LINE.search((root / "scripts" / "setup_env.py").read_text(encoding="utf-8"))
    return found | ({"torch": setup[1]} if setup else {})
