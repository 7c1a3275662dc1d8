"""`autotts serve`: a policy and its models opened, and the server run on a socket."""

from __future__ import annotations

import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final
from uuid import uuid4

import uvicorn

from autotts.errors import InputError
from autotts.policy.control import Ruling, Uncontrolled, Wish, checked
from autotts.policy.controller import Controller
from autotts.policy.drift import Watch
from autotts.policy.opening import HERE, PATIENCE, Where, opened, shelf_of
from autotts.policy.running import amounts
from autotts.policy.schema import Policy
from autotts.serve import log, workers
from autotts.serve.app import app_of
from autotts.serve.gate import Gate
from autotts.serve.hosts import LocalOnly
from autotts.serve.joined import Shared
from autotts.serve.kept import File, Kept
from autotts.serve.keys import Keys, check_units, refuses
from autotts.serve.listening import Limits, cut_stalled, settings
from autotts.serve.living import Beside, living
from autotts.serve.metrics import Metrics
from autotts.serve.purses import Purses
from autotts.serve.ready import Ready
from autotts.serve.service import Service, Settings

BACKLOG: Final = 2048
LOCKED: Final = 5.0  # seconds that a locked database is waited for


@dataclass(frozen=True, slots=True)
class Options:
    """How a policy is served.

    Parameters
    ----------
    host, port
        Where to listen; port 0 takes a free one.
    where
        Where the policy's models answer.
    keys
        Of the clients.
    budget, cap
        Mean budget a prompt and the most of one request, as they are written: `2e14flops`. None is the policy's own.
    controlled
        Whether the mean budget is held over all requests.
    dead
        Seconds that a request waits for models whose servers are all dead.
    at_once, queue
        Requests that run at one time, and that wait; of each worker.
    workers
        Processes that serve.
    storage
        SQLAlchemy URL of the database through which workers, and servers on several machines, share their budgets.
    keep, keep_days
        Where prompts and answers are kept, None for nowhere, and for how long.
    json_log
        Whether the log is JSON lines.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    where: Where = HERE
    keys: Keys = field(default_factory=Keys.none)
    budget: str | None = None
    cap: str | None = None
    controlled: bool = True
    dead: float = PATIENCE
    at_once: int = 64
    queue: int = 256
    workers: int = 1
    storage: str | None = None
    keep: Path | None = None
    keep_days: float = 30.0
    json_log: bool = False
    limits: Limits = field(default_factory=Limits)
    settings: Settings = field(default_factory=Settings)


def run(path: Path, options: Options, tell: Callable[[str], None]) -> int:
    """Serve a policy file until SIGTERM or Ctrl-C; the exit code. `tell` is given the address once it listens.

    Raises
    ------
    InputError
        The policy, an amount, the address or the keys are wrong; nothing listens then.
    BudgetError
        The budget is below the cheapest setting.
    """
    refuses(options.host, options.keys)
    if options.workers > 1 and options.controlled and options.storage is None:
        raise InputError(
            f"--workers {options.workers}: expected --storage URL, through which they hold one budget, found none; "
            "sqlite:///serve.db will do on one machine, or give --controller off"
        )
    policy = Policy.load(path)
    shelf_of(policy, options.where)
    ruling_of(policy, options)
    _, cap = amounts(policy.unit, None, options.cap)
    if cap is not None:
        checked(policy, Wish(cap=cap))
    check_units(options.keys, policy.unit)
    with listening(options) as bound, tempfile.TemporaryDirectory(prefix="autotts-") as folder:
        tell(_address(bound, options.host))
        serve = partial(serve_on, path=path, options=options, folder=Path(folder))
        return workers.run(bound, serve, options.workers, drain=options.limits.drain_seconds + 5.0, tell=tell)


def serve_on(bound: socket.socket, path: Path, options: Options, folder: Path) -> None:
    """Serve on a socket that listens, in this process.

    Raises
    ------
    AutottsError
        Something that it needs cannot be used; no request was answered then.
    """
    handler = log.set_up(sys.stderr, as_json=options.json_log)
    try:
        shared = Shared(folder, uuid4().hex) if options.workers > 1 else None
        with service_of(Policy.load(path), options, shared) as service, server_of(service, path, options) as server:
            try:
                server.run(sockets=[bound])
            except SystemExit:
                if service.fault is not None:
                    raise service.fault from None
                raise
    finally:
        log.log.removeHandler(handler)


@contextmanager
def service_of(policy: Policy, options: Options, shared: Shared | None = None) -> Iterator[Service]:
    """What answers requests, with the policy's models open."""
    _, cap = amounts(policy.unit, None, options.cap)
    with ExitStack() as stack:
        world = stack.enter_context(opened(policy, options.where, serving=True, patience=options.dead))
        kept = None
        if options.keep is not None:
            kept = stack.enter_context(Kept(File(options.keep, days=options.keep_days)))
        service = Service(
            policy=policy,
            ruling=ruling_of(policy, options),
            world=world,
            gate=Gate(options.at_once, options.queue, time.monotonic),
            purses=Purses(policy.unit),
            metrics=Metrics({role: binding.prices for role, binding in world.bindings.items()}, shared),
            drift=Watch(policy.seen),
            kept=kept,
            keys=options.keys,
            settings=replace(options.settings, cap=cap),
        )
        service.metrics.watch(service.watched)
        yield service


@contextmanager
def server_of(service: Service, path: Path, options: Options) -> Iterator[uvicorn.Server]:
    """The HTTP server of a service."""
    with ExitStack() as stack:
        engine = None
        if options.storage is not None:
            from autotts.store import database
            from autotts.store.accounts import Tills

            engine = database.open(options.storage, LOCKED)
            stack.callback(engine.dispose)
            service.purses = Purses(service.policy.unit, Tills(engine))
        mean, _ = amounts(service.policy.unit, options.budget, None)
        ready = Ready(service.look)
        beside = Beside(path, mean, options.workers, engine)
        app = app_of(service, ready, lambda: living(service, ready, beside))
        yield uvicorn.Server(settings(app if options.keys.clients else LocalOnly(app), options.limits))


def ruling_of(policy: Policy, options: Options) -> Ruling:
    """What holds the budget."""
    mean, _ = amounts(policy.unit, options.budget, options.cap)
    return Controller(policy, mean) if options.controlled else Uncontrolled(policy, mean)


@contextmanager
def listening(options: Options) -> Iterator[socket.socket]:
    """A socket that listens where the options say."""
    try:
        found = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        bound = socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:
        raise InputError(
            f"--host {options.host} --port {options.port}: expected an address to listen on, found none: {error}; give "
            "another port, or 0 for a free one"
        ) from None
    with bound:
        # asyncio does not see that what this socket accepts is TCP; with Nagle's delay each answer takes 40 ms more.
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        cut_stalled(bound, options.limits.stalled_seconds)
        yield bound


def _address(bound: socket.socket, host: str) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{bound.getsockname()[1]}"
