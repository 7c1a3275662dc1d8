"""The house itself: what each room may import, how long a file may be, what a name costs to load."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import autotts

ROOT = Path(__file__).parent.parent
HOUSE = ROOT / "autotts"
FILES = sorted(HOUSE.rglob("*.py"))
ROOMS = sorted({path.parent for path in FILES if path.parent != HOUSE})

# One class that has one purpose is not split to meet a number.
LONGER = {"autotts/engine/scheduler.py": 460}

# What must not be loaded before a command needs it.
HEAVY = ("numpy", "optuna", "sqlalchemy", "onnxruntime", "sklearn", "pandas", "plotly", "scipy", "sympy", "math_verify")


def place(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("room", ROOMS, ids=place)
def test_a_room_says_in_one_sentence_what_it_is_for(room: Path) -> None:
    assert (room / "__init__.py").is_file()
    words = ast.get_docstring(ast.parse((room / "__init__.py").read_text()))
    assert words and words.splitlines()[0].endswith("."), f"{place(room)} has no sentence"
    assert len([path for path in room.glob("*.py") if path.name != "__init__.py"]) > 0, "an empty room"


@pytest.mark.parametrize("path", FILES, ids=place)
def test_a_file_says_what_it_is_for_and_is_not_too_long(path: Path) -> None:
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text)), "no docstring"
    assert text.count("\n") <= LONGER.get(place(path), 400)


@pytest.mark.parametrize("path", [p for p in FILES if p.parent.name in ("core", "strategies")], ids=place)
def test_the_language_and_the_strategies_need_nothing_but_python(path: Path) -> None:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    assert found <= {*sys.stdlib_module_names, "autotts"}


def test_imports_go_downward() -> None:
    tool = Path(sys.executable).parent / "lint-imports"
    if not tool.exists():
        pytest.skip("import-linter is not installed")
    done = subprocess.run([str(tool), "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def loaded(program: str) -> set[str]:
    """The packages that a program loads."""
    listing = "import sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    argv = [sys.executable, "-c", f"{program}\n{listing}"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    ("program", "allowed"),
    [
        ("import autotts", ()),
        ("import autotts.cli", ("typer", "pydantic", "pydantic_core", "rich", "annotated_doc")),
        ("from autotts.cli import run_cli; assert run_cli(['--help']) == 0", ("typer", "pydantic", "rich")),
    ],
)
def test_nothing_heavy_is_loaded_before_it_is_used(program: str, allowed: tuple[str, ...]) -> None:
    found = loaded(program)
    assert not found & set(HEAVY)
    if not allowed:
        assert found <= loaded("") | {"autotts", *sys.stdlib_module_names}


def test_running_a_policy_needs_neither_optuna_nor_scikit_learn() -> None:
    assert not loaded("import autotts.policy.running") & {"optuna", "sklearn", "pandas", "plotly", "sqlalchemy"}


def test_the_version_is_one() -> None:
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert data["project"]["version"] == autotts.__version__
    assert f"## [{autotts.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_no_file_names_a_place_of_somebodys_machine() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    odd = re.compile(r"(?<![\w./])/(?:home|Users|root|work|farm)/\w")
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if (
            path.is_file()
            and path.suffix in (".py", ".md", ".toml", ".json", ".yml", "")
            and path.stat().st_size < 10**6
        ):
            assert not odd.search(path.read_text(errors="replace")), name
