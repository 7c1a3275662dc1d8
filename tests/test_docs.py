"""What the documentation says is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from tests import docs
from tests.check import STEPS
from tests.readme import BEGIN, END, README, first_command

ROOT = Path(__file__).parent.parent


def test_the_reference_of_strategies_is_fresh() -> None:
    assert docs.PAGE.read_text(encoding="utf-8") == docs.strategies(), "run `python -m tests.docs`"


def test_ci_calls_the_test_command_of_the_readme() -> None:
    readme, script = README.read_text(encoding="utf-8"), (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    command = re.search(r"\.venv-test/bin/pip (install .*?) && \.venv-test/bin/python (-m tests\.check)", readme)
    assert command is not None
    assert f'/bin/pip" {command.group(1)}' in script
    assert f'/bin/python" {command.group(2)}' in script
    assert any("pytest" in step for step in STEPS)


def test_the_readme_shows_the_output_of_its_first_command() -> None:
    assert first_command()[:3] == ["optimize", "--task", "math"]
    shown = README.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]
    assert "our policy" in shown
    assert "mixture of uniform arms" in " ".join(shown.split())


def test_links_of_the_readme_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README.read_text(encoding="utf-8")):
        assert target.startswith("http") or (ROOT / target).exists(), target
