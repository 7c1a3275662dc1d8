"""`autotts serve`: a policy as a server in OpenAI's form."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from autotts.cli_options import UPSTREAM_KEY, CapOption, split, upstream_key
from autotts.errors import InputError


def serve(
    policy: Annotated[Path, typer.Argument(help="A policy file.", metavar="POLICY")],
    host: Annotated[str, typer.Option(help="Address to listen on; beyond this machine only with a key.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)] = 8080,
    upstream: Annotated[
        str | None, typer.Option(help="The server that has the policy's models, such as http://localhost:8000/v1.")
    ] = None,
    models: Annotated[
        str, typer.Option("--models", help="Or a models.toml that says where each of them answers.")
    ] = "",
    key_file: Annotated[
        Path | None,
        typer.Option(
            "--upstream-key-file", help="The key of --upstream, on one line.", show_default=f"that of {UPSTREAM_KEY}"
        ),
    ] = None,
    keys: Annotated[
        Path | None,
        typer.Option("--api-key-file", help="Keys that clients show: a line each, or a .toml with their limits."),
    ] = None,
    budget: Annotated[
        str | None, typer.Option(help="Mean budget a prompt, such as 2e14flops.", show_default="the policy's own")
    ] = None,
    cap: CapOption = None,
    controller: Annotated[
        str, typer.Option(help="on holds the mean budget over all requests; off obeys the policy as it stands.")
    ] = "on",
    deadline: Annotated[
        float | None, typer.Option(help="Seconds after which a request is answered with what there is.", min=0.001)
    ] = None,
    at_once: Annotated[int, typer.Option(help="Requests that each worker runs at the same time.", min=1)] = 64,
    queue: Annotated[
        int, typer.Option(help="Requests that may wait, of each worker; more are told to come again.", min=0)
    ] = 256,
    largest: Annotated[
        int, typer.Option("--max-body", help="Bytes of a request's body, at most.", min=1024, max=1 << 30)
    ] = 8 << 20,
    workers: Annotated[int, typer.Option(help="Processes that serve together.", min=1)] = 1,
    storage: Annotated[
        str | None,
        typer.Option(help="Database through which workers and servers share budgets, such as sqlite:///serve.db."),
    ] = None,
    keep: Annotated[
        Path | None, typer.Option(help="File in which prompts and answers are kept; without it they are not.")
    ] = None,
    keep_days: Annotated[float, typer.Option(help="Days after which what --keep keeps is dropped.")] = 30.0,
    json_log: Annotated[bool, typer.Option("--json-log", help="Write the log as JSON lines.")] = False,
) -> None:
    """Serve a policy to any client of OpenAI's API.

    Clients change a URL. Each prompt gets the arm that the policy chooses for it under its budget. What it took is in
    `usage`, and in an `autotts` block beside it. After SIGTERM, requests that run are let finish.
    """
    from autotts.policy.opening import where
    from autotts.serve.bounds import Bounds
    from autotts.serve.keys import Keys
    from autotts.serve.running import Options, run
    from autotts.serve.service import Settings

    if controller not in ("on", "off"):
        raise InputError(f"--controller: expected on or off, found {controller!r}")
    options = Options(
        host=host,
        port=port,
        where=where(split(models) or (), upstream, upstream_key(key_file, upstream, os.environ), os.environ),
        keys=Keys.load(keys, os.environ),
        budget=budget,
        cap=cap,
        controlled=controller == "on",
        at_once=at_once,
        queue=queue,
        workers=workers,
        storage=storage,
        keep=keep,
        keep_days=keep_days,
        json_log=json_log,
        settings=Settings(deadline=deadline, bounds=Bounds(bytes=largest)),
    )
    for warning in options.keys.warnings:
        _say(f"warning: {warning}")
    question = "What is 12 + 7 * 3?" if upstream or models else "solve: 12+7*3"

    def tell(told: str) -> None:
        _say(_begun(policy, told, question, bool(options.keys.clients)) if told.startswith("http") else told)

    raise typer.Exit(run(policy, options, tell))


def _begun(policy: Path, address: str, question: str, keyed: bool) -> str:
    """What is said once an address is listened on."""
    key = " -H 'Authorization: Bearer KEY'" * keyed
    asked = f'{{"model": "auto", "messages": [{{"role": "user", "content": "{question}"}}]}}'
    return (
        f"serving {policy} at {address}/v1 (Ctrl-C ends it)\n"
        f"try: curl {address}/v1/chat/completions{key} --json '{asked}'"
    )


def _say(words: str) -> None:
    typer.echo(words, err=True)
