"""Pin the newest versions that fit together: template/requirements.lock.

    python hooks/build_lock.py

Resolves the rendered pyproject.toml with all extras, for every supported Python and platform
(`uv pip compile --universal`), and leaves out torch and the CUDA libraries it brings:
scripts/setup_env.py of the project chooses the build of torch. Run the tests afterwards: the
header of the lock says that they passed with these versions.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from copier import run_copy

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "template" / "requirements.lock"
WITH_TORCH = re.compile(r"^(torch|triton|nvidia-(?!ml-py)|cuda-)")
HEADER = """\
# Versions that were tested together (make lock in the template regenerates it). torch is left out:
# scripts/setup_env.py chooses its build. Used as constraints, so extras you skip stay out.
"""


def main() -> int:
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    with tempfile.TemporaryDirectory() as folder:
        run_copy(
            str(ROOT), folder, data={"project_name": "lock"}, defaults=True, quiet=True,
            vcs_ref="HEAD",
        )  # fmt: skip
        command = [uv, "pip", "compile", "--universal", "--python-version", "3.11", "--all-extras"]
        command += ["--no-header", "--no-annotate", "--quiet", "pyproject.toml"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode != 0:
        print(f"error: no versions fit together:\n{done.stderr}", file=sys.stderr)
        return 2
    pins = [line for line in done.stdout.splitlines() if line and not WITH_TORCH.match(line)]
    LOCK.write_text(HEADER + "\n".join(pins) + "\n", encoding="utf-8", newline="\n")
    print(f"{LOCK}: {len(pins)} pins")
    return 0


if __name__ == "__main__":
    sys.exit(main())
