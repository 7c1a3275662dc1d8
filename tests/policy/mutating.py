"""Hostile policy files: whole ones broken at random, and those that somebody would make on purpose.

`mutants(seed, count)` are many and small, `heavy()` few and large. `outcome` loads one and obeys it: anything but
"obeyed" and "refused" is an exception that a server would have met.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from autotts.errors import InputError
from autotts.policy.controller import Controller
from autotts.policy.schema import Policy
from tests.policy.policies import alike_data, each_data, policy_data

PROMPTS = (
    "solve: 12+3*4",
    "",
    " ",
    "solve: " + "9" * 400,
    "What is 2^10? (A) 1 (B) 1024",
    "((((((((((((((((",
    "\x00\x1b[31m",
    "Ein Zug fährt um 7:05 Uhr los. Wann ist er da? ∑≤×",
    "half \ud800 a character",
    "def f(x):\n    return x;\n" * 40,
    "a" * 20_000,
    "\u202e\u200b\N{PILE OF POO}" * 50,
)


@dataclass(frozen=True, slots=True)
class Mutant:
    """The text of a file, and how it was made."""

    name: str
    text: str


def outcome(mutant: Mutant) -> str:
    """ "refused" where loading says what is wrong, else "obeyed": every prompt has an arm, at every setting."""
    try:
        policy = Policy.loads(mutant.text, "policy.json")
    except InputError:
        return "refused"
    again = Policy.loads(policy.dumps(), "policy.json")
    if again.dumps() != policy.dumps():
        raise ValueError("what was read and written again reads otherwise")
    budgets = {None, policy.frontier[0].expected.cost, policy.frontier[-1].expected.cost, 1e308}
    for prompt in PROMPTS:
        for budget in budgets:
            routed = policy.route(prompt, budget, "t")
            if routed.arm != policy.arms[routed.id].arm or abs(sum(routed.probabilities.values()) - 1) > 1e-6:
                raise ValueError(f"{prompt[:40]!r} is routed to {routed}")
    _served(policy)
    return "obeyed"


def _served(policy: Policy) -> None:
    """A few requests through the controller; a policy that asks for less than it can cost is told so."""
    try:
        control = Controller(policy)
    except InputError:
        return
    except Exception as error:
        if type(error).__name__ == "BudgetError":
            return
        raise
    for prompt in PROMPTS:
        asked = control.ask(prompt)
        control.tell(asked, asked.cap)


# ---------------------------------------------------------------- small ones


@cache
def _whole() -> tuple[str, ...]:
    """The texts of whole policies, one of each kind."""
    return tuple(json.dumps(data) for data in (policy_data(), alike_data(), each_data()))


def mutants(seed: int, count: int) -> Iterator[Mutant]:
    """So many policies, each with one to three faults; the same arguments give the same files."""
    rng = random.Random(seed)
    for number in range(count):
        data = json.loads(rng.choice(_whole()))
        names = []
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            fault = rng.choice(_FAULTS)
            names.append(fault.__name__.strip("_"))
            fault(data, rng)
        text = json.dumps(data)
        if rng.random() < 0.25:
            blow = rng.choice(_BLOWS)
            names.append(blow.__name__.strip("_"))
            text = blow(text, rng)
        yield Mutant(f"{number}: {', '.join(names)}", text)


def _odd(rng: random.Random) -> Any:
    """Something that no key of a policy expects, or only just."""
    return copy.deepcopy(rng.choice(_ODD))


def _deep(times: int) -> Any:
    out: Any = 1
    for i in range(times):
        out = [out] if i % 2 else {"a": out}
    return out


_ODD: tuple[Any, ...] = (
    *(None, True, False, "", " ", "x", "\x00", "\ud800", "NaN", "1e15flops", "../../etc/passwd", "all", "S"),
    *(0, -1, 1, 2, -0.0, 0.1, 5e-324, 1e-300, 1e15, 1e300, 1.7976931348623157e308, -1e308, 1e6, 10**30, -(10**400)),
    *(2**31, 2**63, 2**64, float("nan"), float("inf"), float("-inf")),
    *([], {}, [[]], [{}], {"": {}}, [None], [1, "a"], {"a": 1}, [0.5, 0.5], [["cheap", 1.0]], {"$ref": "#"}),
    *("__import__('os').system('true')", "!!python/object:os.system", "{{7*7}}", "%s%n", "${HOME}", "\\" * 50),
    *("one(model=S)", "vote(n=8, model=S)", "one(model=" + "S" * 3000 + ")", "vote(n=1e999, model=S)"),
    *("vote(" * 400, "(" * 5000, 'one(model="' + '\\"' * 900, "vote(n=8" + ", n=8" * 300 + ")", " " * 5000),
    *("performance/1", "performance/2", "surface/1", "surface/" + "9" * 5000, "ngrams/1", "embedding/1", "drawn/1"),
    *("autotts.policy/1", "autotts.policy/2", "autotts.policy/" + "9" * 4000, "logistic", "constant", "levels"),
    *([0.0] * 500, list(range(500)), ["a"] * 500, {str(i): i for i in range(500)}, "a" * 20_000, _deep(30), _deep(150)),
)


def _places(data: Any) -> list[tuple[Any, Any]]:
    """Every object or array with one of its keys."""
    out, left = [], [data]
    while left:
        here = left.pop()
        if isinstance(here, dict | list):
            keys = list(here) if isinstance(here, dict) else range(len(here))
            out += [(here, key) for key in keys]
            left += [here[key] for key in keys]
    return out


def _somewhere(data: Any, rng: random.Random) -> tuple[Any, Any]:
    """A place; those near the root are as likely as the many numbers below."""
    if rng.random() < 0.4:
        here: Any = data
        while True:
            keys = list(here) if isinstance(here, dict) else list(range(len(here)))
            key = rng.choice(keys) if keys else None
            if key is None:
                return data, rng.choice(list(data) or [None])
            if not isinstance(here[key], dict | list) or not here[key] or rng.random() < 0.25:
                return here, key
            here = here[key]
    found = _places(data)
    return rng.choice(found) if found else (data, None)


def _replaced(data: Any, rng: random.Random) -> None:
    here, key = _somewhere(data, rng)
    if key is not None:
        here[key] = _odd(rng)


def _left_out(data: Any, rng: random.Random) -> None:
    here, key = _somewhere(data, rng)
    if key is not None:
        del here[key]


def _added(data: Any, rng: random.Random) -> None:
    here, _ = _somewhere(data, rng)
    if isinstance(here, dict):
        here[rng.choice(("", "colour", "model", "multiplier", "performance", "__class__", "1", "\ud800"))] = _odd(rng)
    else:
        here.insert(rng.randint(0, len(here)), _odd(rng))


def _swapped(data: Any, rng: random.Random) -> None:
    (here, one), (there, other) = _somewhere(data, rng), _somewhere(data, rng)
    if one is not None and other is not None and one in _keys(here) and other in _keys(there):
        here[one], there[other] = copy.deepcopy(there[other]), copy.deepcopy(here[one])


def _keys(here: Any) -> Any:
    return here if isinstance(here, dict) else range(len(here))


def _resized(data: Any, rng: random.Random) -> None:
    lists = [here[key] for here, key in _places(data) if isinstance(here[key], list)]
    if lists:
        row = rng.choice(lists)
        most = rng.choice((0, 1, 2, len(row) - 1, len(row) + 1, 300))
        row[:] = ((row or [0.0]) * 301)[: max(0, min(most, 301))]


def _scaled(data: Any, rng: random.Random) -> None:
    numbers = [(h, k) for h, k in _places(data) if isinstance(h[k], int | float) and not isinstance(h[k], bool)]
    for here, key in rng.sample(numbers, min(len(numbers), rng.choice((1, 5, 50)))):
        here[key] = here[key] * rng.choice((-1, 0, 0.5, 1e-9, 1e9, 1e300, 1.0000001))


def _renamed(data: Any, rng: random.Random) -> None:
    objects = [here for here, _ in _places(data) if isinstance(here, dict) and here]
    if objects:
        here = rng.choice(objects)
        key = rng.choice(list(here))
        fresh = rng.choice((key + "x", key.upper(), "", "a" * 2000, rng.choice(list(here))))
        here[fresh] = here.pop(key)


_FAULTS: tuple[Callable[[Any, random.Random], None], ...] = (
    *(_replaced, _replaced, _left_out, _added, _swapped, _resized, _scaled, _renamed),
)


def _cut(text: str, rng: random.Random) -> str:
    return text[: rng.randrange(len(text) + 1)]


def _blotted(text: str, rng: random.Random) -> str:
    letters = list(text)
    for _ in range(rng.randint(1, 4)):
        letters[rng.randrange(len(letters))] = rng.choice('{}[]",:0123456789.eE-+\\ntf\x00é\ufeff')
    return "".join(letters)


def _stuttered(text: str, rng: random.Random) -> str:
    begin = rng.randrange(len(text))
    end = min(len(text), begin + rng.randint(1, 400))
    return text[:end] + text[begin:end] * rng.randint(1, 3) + text[end:]


def _spliced(text: str, rng: random.Random) -> str:
    other = rng.choice(_whole())
    return text[: rng.randrange(len(text) + 1)] + other[rng.randrange(len(other)) :]


_BLOWS: tuple[Callable[[str, random.Random], str], ...] = (_cut, _blotted, _blotted, _stuttered, _spliced)


# ---------------------------------------------------------------- large ones

MANY = 1_000_000


def heavy(many: int = MANY) -> Iterator[Mutant]:
    """Few, large and on purpose; `many` is how often what is too many is repeated."""
    for name, text in _texts(many):
        yield Mutant(name, text)
    for name, data in _data(many):
        yield Mutant(name, json.dumps(data))


def _texts(many: int) -> Iterator[tuple[str, str]]:
    whole = _whole()[0]
    for mark, end in (("[", "]"), ('{"a":', "}")):
        yield f"nested {mark}", mark * many + "1" + end * many
        yield f"nested and never closed {mark}", mark * many
        for times in (100, 900, 5000, 100_000):
            deep = mark * times + "1" + end * times
            yield (
                f"evidence nested {times} times {mark}",
                whole.replace('"evidence": {', f'"evidence": {{"x": {deep}, ', 1),
            )
    yield "digits", whole.replace('"default": 1', '"default": ' + "1" * many)
    yield "an exponent of many digits", whole.replace('"default": 1', '"default": 1e' + "9" * many)
    yield "digits after the point", whole.replace('"cap": null', '"cap": 1.' + "1" * many)
    yield "spaces", " " * many + whole
    yield "one key, many times", '{"format": "autotts.policy/1", ' + '"a": 1, ' * many + '"b": 1}'
    yield "many policies", whole * max(1, many // 50_000)
    yield "a word", '"' + "a" * many + '"'


def _data(many: int) -> Iterator[tuple[str, Any]]:
    for name, arm in _arms(many):
        data = policy_data()
        data["arms"]["mid"]["arm"] = arm
        yield f"an arm of {name}", data
    for place, value in (
        (("arms",), {f"a{i}": {"arm": "one(model=S)"} for i in range(many)}),
        (("arms",), {f"a{i}": {"arm": f"vote(n={i % 60 + 1}, model=S, top_p=0.{i:07d}1)"} for i in range(many // 10)}),
        (("models",), {f"m{i}": {} for i in range(many)}),
        (("requires",), ["performance/1"] * many),
        (("frontier",), [{"budget": float(i + 1), "route": {}} for i in range(many)]),
        (("frontier", 1, "route"), {f"L{i}": [["cheap", 1.0]] for i in range(many)}),
        (("frontier", 1, "route", "L1"), [["cheap", 1.0 / many]] * many),
        (("difficulty", "bins"), [f"L{i}" for i in range(many)]),
        (("difficulty", "bins"), ["L1"] * many),
        (("difficulty", "features"), ["mood"] * many),
        (("difficulty", "model", "levels"), list(range(many))),
        (("difficulty", "model", "coefficients"), [[0.0] * 30] * (many // 30)),
        (("difficulty", "model", "coefficients", 0), [0.0] * many),
        (("difficulty", "model", "prior"), [1 / many] * many),
        (("evidence",), {f"{i}": i for i in range(many)}),
        (("task", "name"), "a" * many),
    ):
        yield _put(policy_data(), place, value)
    rows = [[0.0] * 1000] * (many // 1000)
    for place, value in (
        (("difficulty", "performance", "arms"), [f"a{i}" for i in range(many)]),
        (("difficulty", "performance", "columns"), ["a"] * many),
        (("difficulty", "performance", "groups"), ["surface/1"] * many),
        (("difficulty", "performance", "basis"), rows),
        (("difficulty", "performance", "cost_coefficients"), rows),
        (("difficulty", "performance", "upto"), [float(i) for i in range(many)]),
        (("difficulty", "performance", "members"), [{"type": "linear", "intercepts": [0.0]}] * (many // 10)),
        (("difficulty", "performance", "members", 0, "directions"), rows),
        (("difficulty", "performance", "members", 0, "directions"), [[]] * many),
        (("difficulty", "performance", "members", 0, "uses"), [0] * many),
        (("difficulty", "performance", "members", 0, "ngrams"), {str(i): [0.0] for i in range(many)}),
        (("difficulty", "performance", "members", 1, "ensembles", 0), _chain(many, 1)),
        (("difficulty", "performance", "members", 1, "ensembles", 0), _chain(many, 0)),
        (("difficulty", "performance", "members", 1, "ensembles", 0, "roots"), [0] * many),
    ):
        yield _put(each_data(), place, value)


def _put(data: Any, place: tuple[Any, ...], value: Any) -> tuple[str, Any]:
    here = data
    for key in place[:-1]:
        here = here[key]
    here[place[-1]] = value
    return f"{'.'.join(map(str, place))}: {type(value).__name__} of {len(value)}", data


def _chain(many: int, step: int) -> dict[str, Any]:
    """A tree as deep as it has nodes; with step 0 each node is its own child."""
    child = [min(i + step, many - 1) for i in range(many)]
    leaf = [0] * (many - step) + [-1] * step
    return {
        "base": 0.0,
        "roots": [0] * 10,
        "feature": leaf,
        "threshold": [1e9] * many,
        "left": child,
        "right": child,
        "value": [0.0] * many,
    }


def _arms(many: int) -> Iterator[tuple[str, str]]:
    yield "many letters", "a" * many
    yield "brackets", "vote(" * (many // 5)
    yield "knobs", "vote(" + "n=8, " * (many // 5) + "model=S)"
    yield "spaces", "vote(" + " " * many + "n=8)"
    yield "backslashes", 'vote(model="' + "\\" * many
    yield "escaped quotes", 'vote(model="' + '\\"' * (many // 2) + '")'
    yield "a number", "vote(n=" + "1" * many + ")"
    for name, body in (("backslashes", "\\" * 1900), ("quotes", '\\"' * 900), ("half quotes", "\\\\" * 900 + "\\")):
        yield f"just not too many {name}", f'vote(model="{body}'
    yield "a number of just not too many digits", "vote(n=" + "1" * 1900 + ")"
    yield "an exponent of just not too many digits", "vote(n=1e" + "9" * 1900 + ")"
    yield "points", "vote(n=" + "1." * 900 + ")"
