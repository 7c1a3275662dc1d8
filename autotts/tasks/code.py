"""Programs as answers: the reader finds one in a text, the grader runs its unit tests in a sandbox.

Gold answers are test code in Python, or a JSON object of the form of HumanEval (`test`, `entry_point`, `prompt`) or of
MBPP (`test_list`, with `test_setup_code` or `test_imports`). A function `check(candidate)` that nobody calls is called
with the program's entry point.
"""

from __future__ import annotations

import ast
import json
import warnings
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from autotts.tasks.sandbox import Limits, Sandbox

LONGEST: Final = 200_000  # characters of a text in which a program is looked for, and of a program
_LANGUAGES: Final = ("python", "py", "python3")
_WORK: Final = (
    *(ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef),
    *(ast.Assign, ast.AnnAssign, ast.Import, ast.ImportFrom),
)


def program(text: str) -> str | None:
    """Read the last fenced block of Python, else the whole text if it is a program.

    A block counts if it says that it is Python, or says nothing and is a program: it parses, and defines something.
    One that is cut off counts as far as it goes, if that parses.

    Examples
    --------
    >>> program("Here:\\n```python\\nx = 2\\n```\\nDone."), program("x = 1"), program("The answer is 4")
    ('x = 2', 'x = 1', None)
    """
    text = text[-LONGEST:]
    found = None
    for language, block, closed in _blocks(text):
        if _defines_something(block) or (language and block.strip() and (closed or _tree(block) is not None)):
            found = block.strip("\n").rstrip()
    if found is not None:
        return found
    whole = text.strip()
    return whole if _defines_something(whole) else None


def _blocks(text: str) -> Iterator[tuple[str, str, bool]]:
    """Fenced blocks of Python or of no language: the language, the lines, and whether the fence was closed."""
    language: str | None = None
    lines: list[str] = []
    for line in text.splitlines():
        bare = line.strip()
        if language is None and bare.startswith("```"):
            language, lines = bare[3:].strip().lower(), []
        elif language is not None and bare == "```":
            if language in ("", *_LANGUAGES):
                yield language, "\n".join(lines), True
            language = None
        elif language is not None:
            lines.append(line)
    if language in ("", *_LANGUAGES):
        yield str(language), "\n".join(lines), False


def _tree(text: str) -> ast.Module | None:
    """The syntax tree of a program; None for what is none."""
    if len(text) > LONGEST:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes, which are the program's own affair
            return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _defines_something(text: str) -> bool:
    """Whether a text is a program that has a use: "3 and 4" is none."""
    tree = _tree(text)
    return tree is not None and any(isinstance(one, _WORK) for one in tree.body)


# ---------------------------------------------------------------- grading


def unit_tests(*, unsafe: bool = False, limits: Limits | None = None) -> Callable[[str, str], bool]:
    """Open a grader that runs a program's unit tests.

    Parameters
    ----------
    unsafe
        Where no sandbox works, run programs as the user, with limits of time and memory only.
    limits
        Of one run; None are those of `Limits`.

    Raises
    ------
    InputError
        When no sandbox works here, and running without one is not allowed.
    """
    from autotts.tasks.sandbox import open_sandbox

    sandbox = open_sandbox(unsafe=unsafe)
    return lambda answer, gold: _passes(sandbox, answer, gold, limits)


def unit_tests_in_sandbox(answer: str, gold: str) -> bool:
    """Whether a program passes its unit tests; the sandbox is opened at the first program that can be run.

    Raises
    ------
    InputError
        When no sandbox works here.
    """
    if _tests(answer, gold) is None:
        return False
    return _passes(_opened(), answer, gold, None)


@lru_cache(maxsize=1)
def _opened() -> Sandbox:
    from autotts.tasks.sandbox import open_sandbox

    return open_sandbox()


def _passes(sandbox: Sandbox, answer: str, gold: str, limits: Limits | None) -> bool:
    found = _tests(answer, gold)
    return found is not None and sandbox.run(*found, limits).passed


def _tests(answer: str, gold: str) -> tuple[str, str] | None:
    """The program and its tests; None where the one is no program, or the other tests nothing."""
    try:
        row: Any = json.loads(gold)
    except (ValueError, RecursionError):
        row = None
    if isinstance(row, dict):
        answer, tests, entry = _from_row(answer, row)
    else:
        tests, entry = gold, ""
    tree, checks = _tree(answer), _tree(tests)
    if tree is None or checks is None or not any(isinstance(one, ast.Assert | ast.Call) for one in ast.walk(checks)):
        return None
    entry = entry or _last_function(tree)
    if _waits_for_a_candidate(checks):
        if not entry.isidentifier():
            return None
        tests += f"\n\ncheck({entry})\n"
    return answer, tests


def _from_row(answer: str, row: dict[str, Any]) -> tuple[str, str, str]:
    """The program, the tests and the entry point of a row of HumanEval or MBPP."""
    texts = [row.get(name) for name in ("test_setup_code", "test_imports", "test", "tests", "test_list")]
    lines = [line for text in texts for line in (text if isinstance(text, list) else [text]) if isinstance(line, str)]
    entry = row.get("entry_point")
    entry = entry if isinstance(entry, str) else ""
    prompt = row.get("prompt")
    if entry and isinstance(prompt, str) and not _defines(answer, entry):
        whole = prompt + answer  # the answer goes on from the prompt, as a completion does
        answer = whole if _defines(whole, entry) else answer
    return answer, "\n".join(lines), entry


def _functions(tree: ast.Module) -> list[str]:
    return [one.name for one in tree.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]


def _defines(text: str, name: str) -> bool:
    tree = _tree(text)
    return tree is not None and name in _functions(tree)


def _last_function(tree: ast.Module) -> str:
    return (_functions(tree) or [""])[-1]


def _waits_for_a_candidate(checks: ast.Module) -> bool:
    """Whether the tests are a function `check` that nothing calls."""
    called = [
        one.func.id
        for statement in checks.body
        if not isinstance(statement, ast.FunctionDef)
        for one in ast.walk(statement)
        if isinstance(one, ast.Call) and isinstance(one.func, ast.Name)
    ]
    return "check" in _functions(checks) and "check" not in called
