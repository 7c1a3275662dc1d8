"""What runs in reasoning-gym's process: its generators make problems there, and its scorers grade what models wrote.

Only that process imports this module: reasoning-gym is slow to load, some of its generators and scorers can take very
long, and some of its scorers hand an answer to `eval`, itself or through sympy. Here none of them can: while an answer
is scored, compiling a text is refused, but for the scorers that parse formulas, and these get nothing but a formula.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any, Final

from reasoning_gym import factory
from reasoning_gym.coaching.base_curriculum import DefaultCurriculumContext, RangeAttributeMode

from autotts.tasks.gym_names import ADAPTED, REFUSED, STEPS

CHUNK: Final = 500  # items of a dataset that is opened
MAKING: Final = 30.0  # seconds of processor time that one problem may take to make
_MEMORY: Final = 3 << 30  # bytes of address space
_ENOUGH: Final = 1.0 - 1e-9

# Scorers that evaluate texts of their own problems, never the answer.
_EVALUATES: Final = frozenset({"bitwise_arithmetic", "number_sorting"})
# Scorers that let sympy parse the answer, which evaluates it.
_PARSES: Final = frozenset({"countdown", "intermediate_integration", "polynomial_multiplication", "simple_integration"})
_FORMULA: Final = re.compile(
    r"(?:\s|\*\*|[-+*/(),]|(?:\d{1,100}(?:\.\d{0,100})?|\.\d{1,100})(?![\w.])"
    r"|(?:sin|cos|tan|sec|csc|cot|asin|acos|atan|sinh|cosh|tanh|exp|log|ln|sqrt|Abs|pi|[A-Za-z])(?![\w.]))*",
    re.ASCII,
)
_LONGEST_FORMULA: Final = 8000
_REFUSED_EVENTS: Final = frozenset(
    {"os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.remove", "os.rename", "subprocess.Popen"}
    | {"socket.__new__", "socket.connect", "ctypes.dlopen", "pickle.find_class"}
)


class _Guard:
    """An audit hook: while it is closed, nothing is compiled from a text, and no other process is begun."""

    def __init__(self) -> None:
        self._closed = self._may_compile = False
        sys.addaudithook(self)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._closed:
            return
        compiled = event == "compile" and len(arguments) > 1 and arguments[1] in ("<string>", b"<string>")
        if event in _REFUSED_EVENTS or (compiled and not self._may_compile):
            raise PermissionError(f"an answer may not lead to {event}")

    @contextmanager
    def closed(self, *, may_compile: bool) -> Iterator[None]:
        """Close it for an answer."""
        self._closed, self._may_compile = True, may_compile
        try:
            yield
        finally:
            self._closed = False


def serve(seconds: float) -> None:
    """Answer requests from standard input, one JSON line each, until it ends.

    A request that takes more than its time of the processor (`seconds` for a score) ends the process.
    """
    _limit()
    guard = _Guard()
    told = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # some datasets print
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, seconds if name == "score" else MAKING)
        answer: Any
        try:
            answer = score(guard, *arguments) if name == "score" else _ANSWERS[name](*arguments)
        except Exception as error:  # the process's boundary: what breaks is told, or is no right answer
            answer = False if name == "score" else json.dumps({"error": f"{type(error).__name__}: {error}"})
        signal.setitimer(signal.ITIMER_PROF, 0)
        told.write(json.dumps(answer) + "\n")
        told.flush()


def _limit() -> None:
    with suppress(ImportError, ValueError, OSError):  # not every system has such limits
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # no file is written


def names() -> str:
    """Every dataset with how many levels it has, as JSON."""
    return json.dumps({name: max(1, len(_steps(name))) for name in factory.DATASETS if name not in REFUSED})


def make(name: str, settings: str, seed: int, index: int) -> str:
    """One problem, as JSON; `settings` is {"level": from 1} or {"config": the dataset's own}."""
    entry = _entry(name, settings, seed, index)
    question = str(entry["question"])
    return json.dumps({"question": question, "answer": _text(entry["answer"]), "digest": digest(question)})


def score(guard: _Guard, answer: str, gold: str) -> bool | str:
    """Whether the dataset's own scorer takes an answer for wholly right; a text where the problem is another one."""
    of = json.loads(gold)
    name, settings = of["of"], json.dumps({"level": of["level"]})
    entry = _entry(name, settings, of["seed"], of["index"])
    if digest(str(entry["question"])) != of["question"]:
        return "another problem"
    dataset = _dataset(name, settings, of["seed"] + of["index"] // CHUNK)
    for form in _forms(answer):
        if name in _PARSES and (len(form) > _LONGEST_FORMULA or not _FORMULA.fullmatch(form)):
            continue
        with suppress(Exception), guard.closed(may_compile=name in _EVALUATES | _PARSES):
            if float(dataset.score_answer(form, entry)) >= _ENOUGH:
                return True
    return False


def digest(question: str) -> str:
    """Names a question, so that one of another version of reasoning-gym is told."""
    return hashlib.blake2b(question.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()


def _forms(answer: str) -> list[str]:
    """The answer as it is written, and without what chat models put around it."""
    plain = answer.strip().strip("$").strip().removesuffix(".").strip()
    if (text := re.fullmatch(r"\\text\s*\{([^{}]*)\}", plain)) is not None:
        plain = text.group(1)
    number = plain.replace(",", "") if re.fullmatch(r"-?\d{1,3}(,\d{3})+(\.\d+)?", plain) else plain
    return list(dict.fromkeys((answer, plain, number)))


def _text(answer: Any) -> str:
    return "" if answer is None else str(answer)


@lru_cache(maxsize=512)
def _entry(name: str, settings: str, seed: int, index: int) -> dict[str, Any]:
    entry: dict[str, Any] = _dataset(name, settings, seed + index // CHUNK)[index % CHUNK]
    return entry


@lru_cache(maxsize=16)
def _dataset(name: str, settings: str, seed: int) -> Any:
    """A dataset of one chunk; its seeds are a multiple of the chunk's size apart, or items would repeat."""
    chosen, seed = json.loads(settings), seed * CHUNK % (1 << 31)
    cls, config_of = factory.DATASETS[name]
    if "config" in chosen:
        lists = {key: tuple(v) if isinstance(v, list) else v for key, v in chosen["config"].items()}
        config = config_of(seed=seed, size=CHUNK, **lists)
    elif _steps(name):
        config = _leveled(name, chosen["level"], {"seed": seed, "size": CHUNK})
    else:
        config = config_of(seed=seed, size=CHUNK)
    return cls(config=config)


def _steps(name: str) -> list[int]:
    """The steps of a dataset's own curriculum that are its levels: at most five, spread over all that work."""
    if name not in factory.CURRICULA or name in STEPS:
        return list(STEPS.get(name, ()))
    steps = max((len(a.levels) for a in factory.create_curriculum(name).attributes.values()), default=1)
    count = min(5, steps)
    return [round(i * (steps - 1) / max(1, count - 1)) for i in range(count)]


def _leveled(name: str, level: int, settings: dict[str, Any]) -> Any:
    mode = RangeAttributeMode.INCLUSIVE if name in ADAPTED else RangeAttributeMode.UPPER_BOUND
    curriculum = factory.create_curriculum(name)
    curriculum.set_global_level(_steps(name)[level - 1])
    return curriculum.generate_configuration(settings, context=DefaultCurriculumContext(mode))


_ANSWERS: Final[dict[str, Callable[..., str]]] = {"names": names, "make": make}
