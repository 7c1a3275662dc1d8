"""A policy file that is watched while it is served: a good new one is taken, a bad one is reported and changes nothing.

A new policy may have other arms, routes, budgets and controller. What the open models depend on must be as it was:
each of its models and scorers as the policy that was opened states them, the unit, and how answers are read. For
anything else the server has to be started again, and this is said.
"""

from __future__ import annotations

import asyncio
import hashlib
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

from autotts.errors import AutottsError
from autotts.policy.schema import Policy

EVERY: Final = 1.0  # seconds between two looks at the file

Signature = tuple[int, ...]
MISSING: Final = ()


def refusal(opened: Policy, new: Policy) -> str:
    """Why a policy cannot be served with the models that were opened for another one; empty where it can."""
    for what, there, here in (
        ("unit", opened.unit, new.unit),
        ("task.reader", opened.task.reader, new.task.reader),
        ("task.instruction", opened.task.instruction or "", new.task.instruction or ""),
    ):
        if there != here:
            return f"{what}: expected {there!r}, as it is served, found {here!r}; start the server again to change it"
    for what, known, bounds in (("models", opened.models, new.models), ("scorers", opened.scorers, new.scorers)):
        for role, bound in bounds.items():
            if role not in known:
                return (
                    f"{what}.{role}: expected one of those that are open ({', '.join(known) or 'none'}), found "
                    "another; start the server again to open it"
                )
            for part in ("binding", "card"):
                if getattr(bound, part) != getattr(known[role], part):
                    return (
                        f"{what}.{role}.{part}: expected it as it was opened, found another; start the server again "
                        "to open it"
                    )
    return ""


class Watch:
    """Looks at a policy file again and again; every look is cheap while nothing changes.

    Parameters
    ----------
    path
        The file.
    opened
        The policy that the models were opened for.
    take
        Awaited with a policy that is valid and fits; an `AutottsError` of its own refuses it too.
    tell
        Called with words about what was taken or refused.
    load
        Reads and validates a policy file; called in a thread.

    Attributes
    ----------
    taken, refused
        How often a new policy was taken, and refused.
    problem
        Why the file as it is now is not served, or empty.
    """

    def __init__(
        self,
        path: Path,
        opened: Policy,
        take: Callable[[Policy], Awaitable[None]],
        tell: Callable[[str], None],
        *,
        load: Callable[[Path], Policy] = Policy.load,
    ) -> None:
        self._path = path
        self._opened = opened
        self._take = take
        self._tell = tell
        self._load = load
        self._served = opened
        self._asked = asyncio.Event()
        self._seen: Signature | None = (
            None  # of the file that was last judged; it may have changed before the first look
        )
        self._moving: Signature | None = None  # of one that was different at the last look
        self._judged: str | None = None  # hash of the content that was last judged
        self.taken = 0
        self.refused = 0
        self.problem = ""

    @asynccontextmanager
    async def watching(self, every: float = EVERY) -> AsyncIterator[None]:
        """Look while inside, and at once on SIGHUP."""
        task = asyncio.create_task(self._live(every))
        try:
            with on_hang_up(self.again):
                yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    def again(self) -> None:
        """Look at once, and say how it went though nothing has changed: for SIGHUP."""
        self._asked.set()

    async def look(self) -> None:
        """Judge the file if it has changed and is no longer being written: the same at two looks."""
        found = _signature(self._path)
        if found == self._seen:
            self._moving = None
        elif found != self._moving:
            self._moving = found
        else:
            await self._judge(found)

    # ------------------------------------------------------------ inside

    async def _live(self, every: float) -> None:
        while True:
            try:
                async with asyncio.timeout(every):
                    await self._asked.wait()
            except TimeoutError:
                await self.look()
            else:
                self._asked.clear()
                await self._judge(_signature(self._path), asked=True)

    async def _judge(self, found: Signature, *, asked: bool = False) -> None:
        before = await asyncio.to_thread(_hash, self._path)
        if before == self._judged and not asked:
            self._seen = found
            return
        words, policy = await asyncio.to_thread(self._loaded)
        if before != await asyncio.to_thread(_hash, self._path):
            self._seen = self._moving = None  # it was written meanwhile: the next looks judge it
            return
        self._seen, self._judged = found, before
        if policy is not None:
            try:
                await self._take(policy)
            except AutottsError as error:
                words = f"{self._path}: {error}"
            except Exception as error:  # a mistake of ours: it is said, and the next policy is looked at
                words = f"{self._path}: {type(error).__name__}: {error}"
            else:
                self._served = policy
                self.taken += 1
        self.problem = words
        if words:
            self.refused += 1
            self._tell(f"{words}; the policy of before is served on")
        elif policy is not None or asked:
            self._tell(f"{self._path}: {'unchanged' if policy is None else 'taken'}, policy {self._served.digest}")

    def _loaded(self) -> tuple[str, Policy | None]:
        """In a thread: why the file cannot be served, or the policy if it is another one."""
        try:
            policy = self._load(self._path)
            why = refusal(self._opened, policy)
            if why:
                return f"{self._path}: {why}", None
            return "", None if policy == self._served else policy
        except AutottsError as error:
            return str(error), None
        except Exception as error:  # whatever a file does to the reader, the server goes on, and says so
            return f"{self._path}: {type(error).__name__}: {error}", None


@contextmanager
def on_hang_up(call: Callable[[], None]) -> Iterator[None]:
    """Call this on SIGHUP while inside; nothing happens where there is none, or outside of the main thread."""
    loop = asyncio.get_running_loop()
    try:
        loop.add_signal_handler(signal.SIGHUP, call)
    except (AttributeError, NotImplementedError, RuntimeError, ValueError):
        yield
        return
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # it asks to look, and never to end


def _signature(path: Path) -> Signature:
    """What changes when a file does; `MISSING` where there is none."""
    try:
        found = path.stat()
    except OSError:
        return MISSING
    return (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _hash(path: Path) -> str:
    """Of the content; empty where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "blake2b").hexdigest()
    except OSError:
        return ""
