"""How long an attempt may take, and how often a call is tried."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

SERVED_AT_ONCE: Final = 256  # requests that a server is first tried with where others wait for its answers


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds: to connect, to the first piece of an answer, between two pieces, and for the whole of one attempt."""

    connect: float = 10.0
    first: float = 300.0
    between: float = 120.0
    total: float = 7200.0


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a call is tried, and how long is waited in between (full jitter below a doubling bound).

    Parameters
    ----------
    tries
        Attempts at one call, the first included.
    first, longest
        Seconds: the bound of the first wait, and of any.
    spare, share
        All calls together may be retried `spare` times and `share` times per call made; so a server that fails half
        of the time is borne, and one that always fails is not hammered.
    patience
        Seconds that a call waits for a server when all are dead.
    pause
        Seconds that servers may ask to be left alone and a call waits for them; where all ask for more it fails.
    rest
        Seconds between two probes of a dead server, at most.
    within
        Seconds that the attempts at a call may have taken in all for it to be tried a third time or more: one that is
        never answered ends after two timeouts.
    blames
        Whether a failed attempt counts against its server. A request that may be more than a server can do says
        nothing of its health; nobody waits for a dead server for its sake either.
    """

    tries: int = 6
    first: float = 0.5
    longest: float = 30.0
    spare: int = 10
    share: float = 0.5
    patience: float = 60.0
    pause: float = math.inf
    rest: float = 15.0
    within: float = 120.0
    blames: bool = True


def serving(patience: float) -> tuple[Timeouts, Retries]:
    """Of a server that others wait for: it says soon that its models are gone, and sees soon that they are back.

    Parameters
    ----------
    patience
        Seconds after which a request to servers that are all dead fails.
    """
    retries = Retries(tries=4, first=0.05, longest=0.5, patience=patience, pause=10.0, rest=1.0, within=30.0)
    return Timeouts(connect=min(2.0, max(patience, 0.1))), retries
