"""Whether what answers is there: looked at while the server runs, told by /ready and in the log when it changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final

log: Final = logging.getLogger("autotts.serve")

_SOON, _LATER = 2.0, 15.0  # seconds between two looks: while something is not there, and while all is


class Ready:
    """Looks at backends again and again.

    Parameters
    ----------
    look
        Gives, for each role, why its model cannot be asked, or an empty text.
    """

    def __init__(self, look: Callable[[], Awaitable[Mapping[str, str]]]) -> None:
        self._look = look
        self._found: Mapping[str, str] = {"": "the backends were not looked at yet"}

    @property
    def problems(self) -> list[str]:
        """Why requests cannot be answered as the policy wants; empty where they can."""
        return [f"{role}: {why}" if role else why for role, why in self._found.items() if why]

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Look while the scope is open."""
        task = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _watch(self) -> None:
        while True:
            before = self.problems
            try:
                self._found = await self._look()
            except Exception as error:  # the look itself failed: said, and tried again
                self._found = {"": f"the backends could not be looked at: {error}"}
            if self.problems != before:
                for problem in self.problems:
                    log.warning("not ready: %s", problem)
                if not self.problems:
                    log.info("ready: all models of the policy can be asked")
            await asyncio.sleep(_SOON if self.problems else _LATER)
