"""`autotts serve`: a policy as a server in OpenAI's form."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from autotts.cli_options import CapOption, split
from autotts.errors import InputError


def serve(
    policy: Annotated[Path, typer.Argument(help="A policy file.")],
    host: Annotated[str, typer.Option(help="Address to listen on; beyond this machine only with a key.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)] = 8080,
    upstream: Annotated[
        str | None, typer.Option(help="The server that has the policy's models, such as http://localhost:8000/v1.")
    ] = None,
    models: Annotated[
        str, typer.Option("--models", help="Or a models.toml that says where each of them answers.")
    ] = "",
    upstream_key: Annotated[
        Path | None, typer.Option("--upstream-key-file", help="The key of --upstream, on one line.")
    ] = None,
    budget: Annotated[
        str | None, typer.Option(help="Mean budget a prompt, such as 2e14flops.", show_default="the policy's own")
    ] = None,
    cap: CapOption = None,
    deadline: Annotated[
        float | None, typer.Option(help="Seconds after which a request is answered with what there is.", min=0.001)
    ] = None,
    controller: Annotated[
        str, typer.Option(help="on holds the mean budget over all requests; off obeys the policy as it stands.")
    ] = "on",
) -> None:
    """Serve a policy: any client of OpenAI's API asks it by its URL.

    Each prompt gets the arm that the policy chooses for it under its budget. What it took is in `usage`, and in an
    `autotts` block beside it.
    """
    from autotts.policy.opening import where
    from autotts.policy.schema import Policy
    from autotts.serve.running import Options, run
    from autotts.serve.service import Settings

    if controller not in ("on", "off"):
        raise InputError(f"--controller: expected on or off, found {controller!r}")
    key = None
    if upstream_key is not None:
        from autotts.worlds.chat import read_key

        key = read_key(upstream_key)
    place = where(split(models) or (), upstream, key, os.environ)
    options = Options(
        host=host,
        port=port,
        where=place,
        budget=budget,
        cap=cap,
        controlled=controller == "on",
        settings=Settings(deadline=deadline),
    )
    run(Policy.load(policy), options)
