"""`autotts serve`: a policy and its models opened, and the server run on a socket."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import uvicorn

from autotts.policy.control import Uncontrolled
from autotts.policy.controller import Controller
from autotts.policy.opening import HERE, Where, opened
from autotts.policy.running import amounts
from autotts.policy.schema import Policy
from autotts.serve.app import app_of
from autotts.serve.service import Service, Settings


@dataclass(frozen=True, slots=True)
class Options:
    """How a policy is served; amounts as they were written, such as `2e14flops`."""

    host: str = "127.0.0.1"
    port: int = 8080
    where: Where = HERE
    budget: str | None = None
    cap: str | None = None
    controlled: bool = True
    settings: Settings = field(default_factory=Settings)


def run(policy: Policy, options: Options) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    mean, cap = amounts(policy.unit, options.budget, options.cap)
    with opened(policy, options.where) as world:
        ruling = Controller(policy, mean) if options.controlled else Uncontrolled(policy, mean)
        app = app_of(Service(policy, ruling, world, replace(options.settings, cap=cap)))
        uvicorn.run(
            app, host=options.host, port=options.port, access_log=False, server_header=False, log_level="warning"
        )
