"""What can go wrong with a server, drawn by a request's number or listed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from autotts.errors import InputError
from autotts.worlds.fake_server.models import fraction

KINDS: Final[Mapping[str, str]] = {
    "refused": "the connection is reset, and for a moment new ones are refused",
    "restart": "all connections are reset, the cache is lost, and for a moment new connections are refused",
    "reset": "the connection is reset before the answer",
    "reset_midway": "the connection is reset within the answer",
    "half": "the answer ends well-formed at half of it, without its end: no [DONE], half of a JSON",
    "hang": "nothing is answered",
    "hang_midway": "the answer begins and does not go on",
    "429": "too many requests, with Retry-After",
    "429_bare": "too many requests, without Retry-After",
    "500": "an error in JSON",
    "502": "a proxy's page in HTML",
    "503": "overloaded, in JSON",
    "bad_json": "JSON that breaks off",
    "no_choices": "an answer without choices",
    "two_choices": "an answer with one choice more than was asked for",
    "no_usage": "an answer without its usage",
    "duplicate": "a chunk that comes twice",
    "other_model": "the answer of another model",
    "garbage": "bytes that are not HTTP",
    "bad_utf8": "a character that is cut in two",
}
HARMLESS: Final = ("no_usage", "duplicate")  # the whole answer goes out all the same


def _never(form: Mapping[str, Any]) -> None:
    return None


@dataclass(frozen=True)
class Faults:
    """Which requests go wrong, and how; the kinds are the keys of `KINDS`.

    Parameters
    ----------
    rates
        The probability of each kind, drawn by the request's number: a retry is another request.
    listed
        The kinds of the first requests, None for none; it goes before `rates`.
    always
        From the JSON of a request to the kind that it always meets, None for none; it goes before both.
    down
        Seconds for which connections are refused ("refused", "restart").
    retry_after
        Seconds that a 429 asks to wait.
    """

    seed: int = 0
    rates: Mapping[str, float] = field(default_factory=dict)
    listed: tuple[str | None, ...] = ()
    down: float = 0.02
    retry_after: float = 0.01
    always: Callable[[Mapping[str, Any]], str | None] = _never

    def __post_init__(self) -> None:
        object.__setattr__(self, "listed", tuple(self.listed))
        for kind in (*self.rates, *self.listed):
            if kind is not None and kind not in KINDS:
                raise InputError(f"the fault {kind!r}: expected one of {', '.join(KINDS)}")
        if any(rate < 0 for rate in self.rates.values()) or sum(self.rates.values()) > 1 + 1e-9:
            raise InputError("the rates of faults: expected probabilities with a sum of at most 1")

    def of(self, request: int) -> str | None:
        """The fault of a request."""
        if request < len(self.listed):
            return self.listed[request]
        left = fraction("fault", self.seed, request)
        for kind, rate in self.rates.items():
            left -= rate
            if left < 0:
                return kind
        return None

    def share(self, request: int) -> float:
        """How far an answer goes before it breaks off, in (0, 1)."""
        return fraction("share", self.seed, request)

    @classmethod
    def evenly(cls, rate: float, *, seed: int = 0, hangs: bool = False) -> Faults:
        """All kinds at one rate in sum; those that hang only if asked for, for a client waits for its timeout."""
        kinds = [kind for kind in KINDS if hangs or not kind.startswith("hang")]
        return cls(seed=seed, rates=dict.fromkeys(kinds, rate / len(kinds)))
