"""The one command that checks everything: `python -m tests.check [arguments for pytest]`."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
TOOLS = Path(sys.executable).parent

STEPS: list[list[str]] = [
    [str(TOOLS / "ruff"), "format", "--check", "."],
    [str(TOOLS / "ruff"), "check", "."],
    [str(TOOLS / "mypy")],
    [str(TOOLS / "lint-imports")],
    [sys.executable, "-m", "pytest", "-n", "auto"],
]


def main() -> int:
    """Run every step, in order, and stop at the first that fails."""
    for step in STEPS:
        step = step + sys.argv[1:] if "pytest" in step else step
        print("$", " ".join(Path(word).name if word.startswith(str(TOOLS)) else word for word in step), flush=True)
        begun = time.monotonic()
        code = subprocess.run(step, cwd=ROOT, check=False).returncode
        print(f"  {time.monotonic() - begun:.0f} s", flush=True)
        if code:
            return code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
