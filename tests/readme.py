"""Writes the real output of README's first command into README: `python -m tests.readme`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"
BEGIN = "<!-- output: made by `python -m tests.readme`, do not edit -->"
END = "<!-- end of output -->"


def first_command() -> list[str]:
    """The arguments of `autotts` in README's first command."""
    found = re.search(r"\.venv/bin/autotts (optimize .*)$", README.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise SystemExit("README.md: expected `.venv/bin/autotts optimize ...` in its first command, found none")
    return found.group(1).split()


def main() -> None:
    """Run the command in an empty folder and put what it printed between the marks."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", "autotts", *first_command()],
            cwd=folder,
            env={**os.environ, "COLUMNS": "100"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    text = README.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    shown = "\n".join(line.rstrip() for line in done.stdout.rstrip().splitlines())
    block = f"\n```text\n{shown}\n```\n"
    README.write_text(before + BEGIN + block + END + after, encoding="utf-8")


if __name__ == "__main__":
    main()
