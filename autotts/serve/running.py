"""`autotts serve`: a policy and its models opened, and the server run on a socket."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import uvicorn

from autotts.errors import InputError
from autotts.policy.control import Ruling, Uncontrolled
from autotts.policy.controller import Controller
from autotts.policy.drift import Watch
from autotts.policy.opening import HERE, Where, opened
from autotts.policy.running import amounts
from autotts.policy.schema import Policy
from autotts.serve.app import app_of
from autotts.serve.gate import Gate
from autotts.serve.keys import Keys, refuses
from autotts.serve.metrics import Metrics
from autotts.serve.purses import Purses
from autotts.serve.ready import Ready
from autotts.serve.service import Service, Settings

BACKLOG = 2048
DRAIN = 120.0  # seconds that requests may take to end after SIGTERM


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
    at_once, queue
        Requests that run at one time, and that wait.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    where: Where = HERE
    keys: Keys = field(default_factory=Keys.none)
    budget: str | None = None
    cap: str | None = None
    controlled: bool = True
    at_once: int = 64
    queue: int = 256
    settings: Settings = field(default_factory=Settings)


def run(path: Path, options: Options, tell: Callable[[str], None]) -> None:
    """Serve a policy file until SIGTERM or Ctrl-C; `tell` is given the address once it listens.

    Raises
    ------
    InputError
        The policy, an amount, the address or the keys are wrong; nothing listens then.
    BudgetError
        The budget is below the cheapest setting.
    """
    refuses(options.host, options.keys)
    policy = Policy.load(path)
    ruling_of(policy, options)
    with listening(options) as bound:
        tell(_address(bound, options.host))
        serve_on(bound, policy, options)


def serve_on(bound: socket.socket, policy: Policy, options: Options) -> None:
    """Serve on a socket that listens."""
    with service_of(policy, options) as service:
        server_of(service).run(sockets=[bound])


@contextmanager
def service_of(policy: Policy, options: Options) -> Iterator[Service]:
    """What answers requests, with the policy's models open."""
    with opened(policy, options.where) as world:
        _, cap = amounts(policy.unit, None, options.cap)
        service = Service(
            policy=policy,
            ruling=ruling_of(policy, options),
            world=world,
            gate=Gate(options.at_once, options.queue, time.monotonic),
            purses=Purses(policy.unit),
            metrics=Metrics({role: binding.prices for role, binding in world.bindings.items()}),
            drift=Watch(policy.seen),
            keys=options.keys,
            settings=replace(options.settings, cap=cap),
        )
        service.metrics.watch(service.watched)
        yield service


def server_of(service: Service) -> uvicorn.Server:
    """The HTTP server of a service."""
    config = uvicorn.Config(
        app_of(service, Ready(service.look, service.gate)),
        access_log=False,
        server_header=False,
        proxy_headers=False,
        log_level="warning",
        timeout_graceful_shutdown=int(DRAIN),
        lifespan="on",
        loop="asyncio",
    )
    return uvicorn.Server(config)


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
        yield bound


def _address(bound: socket.socket, host: str) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{bound.getsockname()[1]}"
