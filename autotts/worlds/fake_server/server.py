"""The fake server's life: it listens, is restarted, and ends with its scope."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from autotts.errors import InputError
from autotts.worlds.fake_server.cache import PrefixCache
from autotts.worlds.fake_server.counts import Book, Counts, Record
from autotts.worlds.fake_server.faults import Faults
from autotts.worlds.fake_server.forms import Reading
from autotts.worlds.fake_server.models import FakeModel
from autotts.worlds.fake_server.pace import Pace
from autotts.worlds.fake_server.sending import Sleep
from autotts.worlds.fake_server.service import Service
from autotts.worlds.fake_server.text import Vocabulary
from autotts.worlds.fake_server.wire import Connection


class FakeServer:
    """A real HTTP server in OpenAI's form, with scripted models; it answers within `async with`, or in `serving`.

    Parameters
    ----------
    faults, pace
        What goes wrong, and how fast it is.
    port
        0 takes a free one.
    key
        What requests to /v1 must bring as their bearer token; None lets everybody in.
    cache_block
        Tokens of a block of the prefix cache; 0 has no cache, and tells of none.
    openai
        Whether it speaks as OpenAI's own servers: without vLLM's further fields, endpoints and words.
    strict
        Whether unknown fields are refused; vLLM ignores them.
    without
        What it cannot, of the names in `LACKING`: fields that it passes over, endpoints that it has not.
    reasoning
        The field that thinking goes into; newer versions of vLLM say "reasoning".
    seed
        For the requests that bring none.
    keep
        How many records are kept, the latest ones; the counts are of all.
    sleep, clock
        The time that it lives in.
    """

    def __init__(
        self,
        models: Sequence[FakeModel],
        *,
        faults: Faults | None = None,
        pace: Pace | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        key: str | None = None,
        cache_block: int = 0,
        openai: bool = False,
        strict: bool = False,
        without: Collection[str] = (),
        reasoning: str = "reasoning_content",
        seed: int = 0,
        keep: int = 100_000,
        sleep: Sleep = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        by_name = {model.name: model for model in models}
        if not by_name or len(by_name) != len(models):
            raise InputError("a fake server: expected one model or more, each with a name of its own")
        self._host, self._wanted, self._port = host, port, port
        self._book = Book(keep)
        self._faults = faults or Faults()
        self._cancels = "cancel" not in without
        self._service = Service(
            reading=Reading(by_name, Vocabulary(), openai, strict, frozenset(without)),
            book=self._book,
            faults=self._faults,
            pace=pace or Pace(),
            cache=PrefixCache(cache_block),
            key=key,
            reasoning=reasoning,
            seed=seed,
            sleep=sleep,
            clock=clock,
            break_down=self._break_down,
        )
        self._open: set[Connection] = set()
        self._listening: asyncio.Server | None = None
        self._bound: socket.socket | None = None
        self._restarts: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    # ------------------------------------------------------------------ what users ask it

    @property
    def url(self) -> str:
        """Its address, up to the version."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}/v1"

    @property
    def counts(self) -> Counts:
        """Its own count, by now."""
        return self._book.counts()

    @property
    def records(self) -> tuple[Record, ...]:
        """Its requests, in the order in which they came."""
        return tuple(self._book.records)

    async def restart(self, after: float = 0.0) -> None:
        """Break all connections off, forget the cache, refuse connections for a while, and listen again."""
        if self._listening is None:
            return
        listening, self._listening = self._listening, None
        await self._stop_listening(listening)
        for conn in list(self._open):
            conn.reset()
        self._service.cache.clear()
        await asyncio.sleep(after)
        await self._listen()

    def call_restart(self, after: float = 0.0) -> None:
        """`restart` from another thread; returns when it listens again."""
        assert self._loop is not None
        asyncio.run_coroutine_threadsafe(self.restart(after), self._loop).result()

    # ------------------------------------------------------------------ its life

    async def __aenter__(self) -> FakeServer:
        self._loop = asyncio.get_running_loop()
        self._port = self._wanted
        self._bound = self._bind()
        self._port = self._bound.getsockname()[1]
        await self._listen()
        return self

    async def __aexit__(self, *exc: object) -> None:
        for task in list(self._restarts):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        if self._listening is not None:
            listening, self._listening = self._listening, None
            await self._stop_listening(listening)
        if self._bound is not None:
            self._bound.close()
            self._bound = None
        for _ in range(4):  # what was accepted a moment ago becomes a connection
            await asyncio.sleep(0)
        tasks = [conn.task for conn in self._open if conn.task is not None]
        for conn in list(self._open):
            conn.reset()
        await asyncio.gather(*tasks, return_exceptions=True)
        while self._open:
            await asyncio.sleep(0)

    def _bind(self) -> socket.socket:
        sock = socket.socket(socket.AF_INET6 if ":" in self._host else socket.AF_INET)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((self._host, self._port))
        except OSError as error:
            sock.close()
            raise InputError(
                f"the fake server cannot listen on {self._host}:{self._port}: {error.strerror}; choose another --port"
            ) from error
        return sock

    async def _listen(self) -> None:
        assert self._bound is not None
        self._listening = await asyncio.get_running_loop().create_server(
            lambda: Connection(self._service, self._open, cancels=self._cancels), sock=self._bound, backlog=1024
        )

    async def _stop_listening(self, listening: asyncio.Server) -> None:
        """Refuse new connections; the port stays ours, for a socket is bound to it that does not listen."""
        try:
            # What was accepted a moment ago becomes a connection first: asyncio loses its socket otherwise.
            for sock in listening.sockets:
                asyncio.get_running_loop().remove_reader(sock.fileno())
            for _ in range(3):
                await asyncio.sleep(0)
        finally:
            listening.close()
            self._bound = self._bind()

    def _break_down(self, whole: bool) -> None:
        """The faults that are of the whole server; nothing while it is down already."""
        if self._listening is None:
            return
        if whole:
            for conn in list(self._open):
                conn.reset()
            self._service.cache.clear()
        listening, self._listening = self._listening, None
        task = asyncio.get_running_loop().create_task(self._recover(listening))
        self._restarts.add(task)
        task.add_done_callback(self._restarts.discard)

    async def _recover(self, listening: asyncio.Server) -> None:
        await self._stop_listening(listening)
        await asyncio.sleep(self._faults.down)
        await self._listen()


@contextmanager
def serving(server: FakeServer) -> Iterator[FakeServer]:
    """Let a server answer in a thread of its own, for tests and scripts without an event loop."""
    ready, ended = threading.Event(), threading.Event()
    held: dict[str, Any] = {}

    async def live() -> None:
        held["end"], held["loop"] = asyncio.Event(), asyncio.get_running_loop()
        async with server:
            ready.set()
            await held["end"].wait()

    def run() -> None:
        try:
            asyncio.run(live())
        except BaseException as error:  # it is raised again where the thread was started
            held["error"] = error
        finally:
            ended.set()
            ready.set()

    thread = threading.Thread(target=run, name="fake-server", daemon=True)
    thread.start()
    ready.wait()
    try:
        if "error" in held:
            raise held["error"]
        yield server
    finally:
        if not ended.is_set():
            held["loop"].call_soon_threadsafe(held["end"].set)
        thread.join()
        if "error" in held:
            raise held["error"]
