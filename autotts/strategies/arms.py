"""How an arm is written everywhere: `vote(n=8, model=S, temperature=0.8)`; a grammar of literals, never evaluated.

arm   = name [ "(" [ knob "=" value { "," knob "=" value } ] ")" ]
value = number | bare word, such as S, true-7B, org/model@1.0 | "text" as in JSON | 'text' without escapes
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from autotts.core.strategy import Knob, Role, Strategy, build, knobs
from autotts.errors import InputError
from autotts.strategies import STRATEGIES

LONGEST = 2000
EXAMPLE = "vote(n=8, model=S, temperature=0.8)"

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/@+-]*")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"|\'[^\'\\]*\'')
_SPACE = re.compile(r"[ \t\r\n]*")


class _Text:
    """What is left to read of an arm."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def skip(self, what: str = "") -> bool:
        """Read spaces, then the given character if it stands here."""
        self.at = _SPACE.match(self.text, self.at).end()  # type: ignore[union-attr]
        found = bool(what) and self.text.startswith(what, self.at)
        self.at += len(what) if found else 0
        return found

    def take(self, pattern: re.Pattern[str]) -> str | None:
        """Read a token, where the pattern stands here."""
        found = pattern.match(self.text, self.at)
        if found is None:
            return None
        self.at = found.end()
        return found.group()

    def wrong(self, expected: str) -> InputError:
        """The error that nothing of what is expected stands here."""
        rest = self.text[self.at : self.at + 20]
        found = f"{rest!r} at character {self.at + 1}" if rest else "the end"
        return InputError(
            f"strategy {clip(self.text)}: expected {expected}, found {found}; arms are written like {EXAMPLE}"
        )


@lru_cache(maxsize=8192)
def parse(text: str) -> Strategy:
    """The strategy that a text such as `vote(n=8, model=S)` names; knobs that are not given have their defaults.

    Raises
    ------
    InputError
        Unknown strategy or knob, a value out of range, or a text that is not of this grammar.

    Examples
    --------
    >>> parse("vote(n=4, model=S)")
    Vote(n=4, model='S', temperature=0.8, top_p=1.0)
    """
    name, values = _read(text)
    kind = STRATEGIES.get(name)
    if kind is None:
        raise InputError(f"unknown strategy {name!r}{_near(name, STRATEGIES)}; expected one of {', '.join(STRATEGIES)}")
    declared = knobs(kind)
    for key in values:
        if key not in declared:
            raise InputError(
                f"{name}: unknown knob {key!r}{_near(key, declared)}; expected one of {', '.join(declared)}"
            )
    strategy: Strategy = build(kind, name, values)
    return strategy


def written(text: str) -> frozenset[str]:
    """The knobs that an arm's text gives; the others have their defaults.

    Examples
    --------
    >>> sorted(written("vote(n=4, model=S)"))
    ['model', 'n']
    """
    return frozenset(_read(text)[1])


def show(strategy: Strategy) -> str:
    """The canonical text of a strategy: model, temperature and whole numbers always, the rest where not the default.

    Examples
    --------
    >>> show(parse("vote(model='S', temperature=1.0, n=4)"))
    'vote(n=4, model=S, temperature=1)'
    """
    name = name_of(strategy)
    shown = []
    for key, knob in knobs(type(strategy)).items():
        value = getattr(strategy, key)
        if _always(knob) or value != knob.default:
            shown.append(f"{key}={_literal(value)}")
    return f"{name}({', '.join(shown)})"


def name_of(strategy: Strategy) -> str:
    """The registered name of a strategy."""
    for name, kind in STRATEGIES.items():
        if type(strategy) is kind:
            return name
    raise TypeError(f"{type(strategy).__name__} is not in autotts.strategies.STRATEGIES")


def clip(text: str) -> str:
    """A text for an error message: quoted, and not too long."""
    return repr(text if len(text) <= 80 else text[:77] + "...")


def _read(text: str) -> tuple[str, dict[str, Any]]:
    if len(text) > LONGEST:
        raise InputError(f"strategy {clip(text)}: expected at most {LONGEST} characters, found {len(text)}")
    rest = _Text(text)
    rest.skip()
    name = rest.take(_NAME)
    if name is None:
        raise rest.wrong("the name of a strategy")
    values: dict[str, Any] = {}
    if rest.skip("(") and not rest.skip(")"):
        while True:
            key, value = _setting(rest)
            if key in values:
                raise InputError(f"strategy {clip(text)}: knob {key!r} is given twice; give it once")
            values[key] = value
            if rest.skip(")"):
                break
            if not rest.skip(","):
                raise rest.wrong("',' or ')'")
    rest.skip()
    if rest.at < len(text):
        raise rest.wrong("the end")
    return name, values


def _setting(rest: _Text) -> tuple[str, Any]:
    rest.skip()
    key = rest.take(_NAME)
    if key is None or not rest.skip("="):
        raise rest.wrong("knob=value")
    rest.skip()
    quoted = rest.take(_QUOTED)
    if quoted is not None:
        return key, _unquote(quoted, rest)
    start = rest.at
    token = rest.take(_NUMBER)
    if token is not None and rest.text[rest.at : rest.at + 1] in ("", " ", "\t", "\r", "\n", ",", ")"):
        return key, _number(token)
    rest.at = start
    word = rest.take(_WORD)
    if word is None:
        raise rest.wrong(f"a number, a name or a quoted text for {key}")
    return key, word


def _number(token: str) -> float | int:
    if token.lstrip("+-").isdigit() and len(token) <= 18:
        return int(token)
    return float(token) + 0.0  # + 0.0: there is no minus zero


def _unquote(token: str, rest: _Text) -> str:
    if token[0] == "'":
        return token[1:-1]
    try:
        value: str = json.loads(token)
        value.encode()
    except ValueError:
        raise InputError(f"strategy {clip(rest.text)}: {clip(token)} is not a text as JSON writes it") from None
    return value


def _literal(value: Any) -> str:
    if isinstance(value, str):
        bare = _WORD.fullmatch(value) is not None and _NUMBER.fullmatch(value) is None
        return value if bare else json.dumps(value, ensure_ascii=False)
    return repr(value).removesuffix(".0")


def _always(knob: Knob) -> bool:
    if isinstance(knob.domain, Role):
        return knob.domain.kind == "policy"
    return knob.type is int or knob.name == "temperature"


def _near(word: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(word.lower(), known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
