"""Whether a server is alive. No I/O, no clock of its own."""

from __future__ import annotations

from typing import Final

_OPENS: Final = 8  # strikes in a row, so many that independent faults of a server that works hardly ever come to it
_REFUSED: Final = 4  # strikes of a refused connection: nothing listens
_FIRST: Final = 0.05  # seconds until a dead server is tried with one request


class Circuit:
    """Closed while a server works, open while it does not; then one request at a time probes it.

    Attributes
    ----------
    down_since
        When it failed for the first time of those that opened it; None while it is closed.
    answered
        Whether it has ever taken a request.
    opens_at
        From when a probe may go out.
    probing
        Whether one is out.
    """

    def __init__(self) -> None:
        self.down_since: float | None = None
        self.answered = False
        self.opens_at = 0.0
        self.probing = False
        self._strikes = 0
        self._failures = 0  # in a row, as the strikes
        self._struck_at = 0.0
        self._rest = _FIRST

    @property
    def alive(self) -> bool:
        """Whether it is thought to work: one that has never taken a request is given a single failure."""
        return self.down_since is None and (self.answered or self._failures < 2)

    def failing_since(self, otherwise: float) -> float:
        """From when it has failed, or another moment where it is not thought to."""
        return otherwise if self.down_since is None else self.down_since

    def succeed(self) -> None:
        """It answered."""
        self.answered = True
        self.down_since = None
        self._strikes = self._failures = 0
        self._rest = _FIRST

    def strike(self, now: float, *, refused: bool, probe: bool, rest: float) -> None:
        """It failed a request; `rest` bounds the seconds until it is probed, once it is dead."""
        self._failures += 1
        if self.down_since is None:
            if not self._strikes:
                self._struck_at = now
            self._strikes += _REFUSED if refused else 1
            if self._strikes < _OPENS:
                return
            self.down_since = self._struck_at
        elif not probe:
            return  # begun before it opened
        self.opens_at = now + min(rest, self._rest)
        self._rest = min(rest, 2 * self._rest)
