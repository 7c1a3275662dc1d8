"""What one server can take: how many requests at once, and how much in a minute. No I/O, no clock of its own."""

from __future__ import annotations

import math
from collections import deque
from typing import Final

START: Final = 16  # requests at once that a server is first tried with
MINUTE: Final = 60.0
_LATE: Final = 1 / 16  # the weight of one request in the share that was refused of late


class Window:
    """How many requests may run at once, found by trying: as DCTCP finds its congestion window (Alizadeh et al. 2010).

    It doubles with each window of accepted requests until the first refusal. A refusal takes away half of the share of
    requests that were refused of late, so one among many takes little; then it grows by one with each window, a small
    one more slowly. Refusals of requests that were begun before it was last cut do not cut it again.
    """

    def __init__(self, most: int, start: int = START) -> None:
        self.most = most
        self.size = float(max(1, min(start, most)))
        self._slow_from = math.inf
        self._refused = 1.0  # the share of late
        self._begun = 0
        self._cut_at = 0

    def begin(self) -> int:
        """A request is begun; returns its number."""
        self._begun += 1
        return self._begun

    def accept(self, running: int) -> None:
        """The server took a request while so many were running: only a window that is used grows."""
        self._refused *= 1 - _LATE
        if 2 * running >= self.size:
            step = 1.0 if self.size < self._slow_from else min(0.1, 1.0 / self.size)
            self.size = min(self.size + step, max(1, self.most))

    def refuse(self, number: int) -> None:
        """The server had no room for a request."""
        self._refused += (1 - self._refused) * _LATE
        if number > self._cut_at:
            self.size = max(1.0, self.size * (1 - self._refused / 2))
            self._slow_from = self.size
            self._cut_at = self._begun


class Share:
    """An amount that was taken from a minute."""

    __slots__ = ("amount", "at")

    def __init__(self, at: float, amount: float) -> None:
        self.at = at
        self.amount = amount


class Minute:
    """A limit per minute that holds in every minute, and not only on average: a bucket lets through up to twice of it.

    What is more than the whole limit is let through alone.
    """

    def __init__(self, limit: float | None) -> None:
        self.limit = math.inf if limit is None else limit
        self._shares: deque[Share] = deque()
        self._used = 0.0

    def ready(self, amount: float, now: float) -> float:
        """When so much can be taken: now, or at a later time."""
        self._forget(now)
        over = self._used + min(amount, self.limit) - self.limit
        if over <= 0:
            return now
        for share in self._shares:
            over -= share.amount
            if over <= 0:
                return share.at + MINUTE
        return self._shares[-1].at + MINUTE if self._shares else now

    def take(self, amount: float, now: float) -> Share:
        """Take so much."""
        share = Share(now, amount)
        if self.limit < math.inf:
            self._shares.append(share)
            self._used += amount
        return share

    def settle(self, share: Share, amount: float, now: float) -> None:
        """It was another amount."""
        self._forget(now)
        if self.limit < math.inf and self._shares and share.at >= self._shares[0].at:
            self._used += amount - share.amount
            share.amount = amount

    def _forget(self, now: float) -> None:
        while self._shares and self._shares[0].at + MINUTE <= now:
            self._used -= self._shares.popleft().amount
        if not self._shares:
            self._used = 0.0
