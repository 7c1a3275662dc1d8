"""Programs as answers: what is read as one, which tests are run, and that texts that are none cost nothing."""

import json
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotts.errors import InputError
from autotts.tasks.code import program, unit_tests, unit_tests_in_sandbox
from autotts.tasks.graders import GRADERS
from autotts.tasks.readers import READERS
from autotts.tasks.sandbox import Limits

ADD = "def add(a, b):\n    return a + b"
CHECK = "def check(candidate):\n    assert candidate(1, 2) == 3\n    assert candidate(-1, 1) == 0\n"


def block(text: str, language: str = "python") -> str:
    return f"```{language}\n{text}\n```"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"First:\n{block('x = 1')}\nBetter:\n{block(ADD)}\nThat is all.", ADD),
        (block(ADD, "py"), ADD),
        (block(ADD, "Python3"), ADD),
        (block(ADD, ""), ADD),
        (f"{block(ADD)}\nRun it:\n{block('pip install add', 'bash')}", ADD),
        (f"{block(ADD)}\nIt prints:\n{block('3 and 4', '')}", ADD),  # of no language, and no Python
        (f"{block(ADD)}\n{block('def broken(:')}", "def broken(:"),  # says that it is Python
        (f"  {block(ADD)}", ADD),
        (ADD, ADD),
        (f"\n\n{ADD}\n\n", ADD),
        (f"```python\n{ADD}", ADD),  # cut off, and whole as far as it goes
        (f"```python\n{ADD}\n\ndef more(", None),  # cut off in the middle
        ("```python\n```", None),
        ("The answer is 42.", None),
        ("Paris", None),
        ("42", None),
        ("", None),
        ("x = '\\d'", "x = '\\d'"),
        ("x = 1\0", None),
        ("(" * 5000, None),
    ],
)
def test_a_program_is_read(text: str, found: str | None) -> None:
    assert program(text) == found


@given(st.text(max_size=200) | st.lists(st.sampled_from(["```", "```python", "x = 1", "def f(:", "\n"])).map("\n".join))
def test_reading_never_raises(text: str) -> None:
    found = program(text)
    assert found is None or found in text.replace("\r", "\n") or found.strip()


@pytest.fixture(scope="module")
def grade():  # type: ignore[no-untyped-def]
    try:
        return unit_tests(limits=Limits(seconds=20.0))
    except InputError as error:
        pytest.skip(str(error))


def human_eval(**more: str) -> str:
    return json.dumps({"test": CHECK, "entry_point": "add", **more})


@pytest.mark.parametrize(
    ("answer", "gold", "right"),
    [
        (ADD, "assert add(1, 2) == 3", True),
        (ADD, "assert add(1, 2) == 4", False),
        (ADD, CHECK + "\ncheck(add)", True),
        (ADD, CHECK, True),  # nobody calls it: the last function is the candidate
        ("def add(a, b):\n    return a - b", CHECK, False),
        (f"{ADD}\n\ndef helper():\n    return 1", human_eval(), True),
        (f"{ADD}\n\ndef helper():\n    return 1", CHECK, False),
        ("    return a + b", human_eval(prompt="def add(a, b):\n"), True),  # goes on from the prompt
        ("    return a + b", human_eval(prompt='def add(a, b):\n    """Sum."""\n'), True),
        (ADD, human_eval(prompt="def add(a, b):\n"), True),
        (ADD, json.dumps({"test_list": ["assert add(1, 2) == 3", "assert add(0, 0) == 0"]}), True),
        (ADD, json.dumps({"test_list": ["assert add(1, 2) == 3", "assert add(0, 0) == 1"]}), False),
        (ADD, json.dumps({"test_imports": ["import math"], "test_list": ["assert math.isclose(add(1, 2), 3)"]}), True),
        (ADD, json.dumps({"test_setup_code": "one = 1", "test_list": ["assert add(one, one) == 2"]}), True),
        (ADD, json.dumps({"test": CHECK, "entry_point": "add; import os"}), False),
        ("def add(a, b):\n    raise SystemExit(0)", "assert add(1, 2) == 3", False),
        ("print('all tests passed')\nimport os\nos._exit(0)", "assert add(1, 2) == 3", False),
    ],
)
def test_unit_tests_decide(grade, answer: str, gold: str, right: bool) -> None:  # type: ignore[no-untyped-def]
    assert grade(answer, gold) is right


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("", ""),
        (ADD, ""),
        (ADD, "x = 1"),  # tests nothing
        (ADD, "def check("),
        ("def add(", "assert True"),
        ("(" * 5000, "assert True"),
        (ADD, "[1]"),
        (ADD, "{}"),
        (ADD, '{"test_list": [1, null]}'),
        ("x = 1", CHECK),  # no candidate
        ("x" * 300_000, "assert True"),
    ],
)
def test_what_cannot_be_run_is_wrong_without_a_sandbox(
    answer: str, gold: str, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # where no tool is
    assert unit_tests_in_sandbox(answer, gold) is False
    assert unit_tests(unsafe=True)(answer, gold) is False


def test_without_a_sandbox_the_grader_does_not_open(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="--allow-unsafe-code"):
        unit_tests()
    grade = unit_tests(unsafe=True)
    assert grade(ADD, "assert add(1, 2) == 3") and not grade(ADD, "assert add(1, 2) == 4")


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs bubblewrap")
def test_the_registries_read_and_grade_code() -> None:
    try:
        unit_tests()
    except InputError as error:
        pytest.skip(str(error))
    answer = READERS["code"](f"So:\n{block(ADD)}")
    assert answer is not None
    assert GRADERS["code"](answer, "assert add(2, 2) == 4") and not GRADERS["code"](answer, "assert add(2, 2) == 5")
