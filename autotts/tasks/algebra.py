"""What runs in the calculator's process: math-verify on one request after another, each with its own time.

Only that process imports this module, which is slow to load.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import sympy
from math_verify import LatexExtractionConfig, parse, verify

_MEMORY: Final = 2 << 30  # bytes of address space: a power that fills it fails, and not the machine


def serve(seconds: float) -> None:
    """Answer requests from standard input, one JSON line each, until it ends.

    A request that takes more than `seconds` of processor time ends the process, even inside one long
    multiplication: the timer's signal keeps its default action, which no handler of Python's can delay.
    """
    _limit_memory()
    answers: dict[str, Callable[..., str | bool | None]] = {"canonical": _canonical, "equal": _equal}
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, seconds)
        try:
            answer = answers[name](*arguments)
        except Exception:  # the process's boundary: what breaks has no answer
            answer = None
        signal.setitimer(signal.ITIMER_PROF, 0)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _limit_memory() -> None:
    with suppress(ImportError, ValueError, OSError):  # not every system has such limits
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))


def _parsed(text: str) -> Any:
    found = parse(f"${text}$", [LatexExtractionConfig()], fallback_mode="no_fallback", parsing_timeout=None)
    return found[0] if found else None


def _canonical(text: str) -> str | None:
    value = _parsed(text)
    if value is None:
        return None
    if isinstance(value, sympy.Eq) and value.lhs.is_Symbol and value.rhs.is_number:
        value = value.rhs
    if isinstance(value, sympy.Basic) and not value.free_symbols and getattr(value, "is_number", False):
        value = _simplest(value)
    if isinstance(value, sympy.Rational):
        return str(value)
    if isinstance(value, sympy.Float):
        return None
    return str(sympy.latex(value))


def _simplest(value: Any) -> Any:
    """Work out sums of whole numbers; leave roots and constants as they are."""
    done = value.doit()
    return done if isinstance(done, sympy.Rational) else value


def _equal(gold: str, answer: str) -> bool:
    one, other = _parsed(gold), _parsed(answer)
    return one is not None and other is not None and bool(verify([one], [other], timeout_seconds=None))
