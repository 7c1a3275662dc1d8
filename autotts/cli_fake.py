"""`autotts fake-server`: a server in OpenAI's form without a model behind it, to try things on."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from autotts.cli_options import JsonOption, split

if TYPE_CHECKING:
    from autotts.worlds.fake_server import Counts, FakeServer

KEY_ENV: Final = "FAKE_SERVER_KEY"  # the variable that the printed models.toml names
_ROWS: Final = {
    "requests": "requests",
    "finished": "  finished",
    "cancelled": "  cancelled by a hang-up",
    "broken": "  broken by a fault",
    "refused": "  refused",
    "prompt": "prompt tokens",
    "cached": "  of them cached",
    "generated": "generated tokens",
}


def fake_server(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.", min=0, max=65535)] = 8000,
    models: Annotated[
        str, typer.Option("--models", help="Some of small, large, thinker, prm, orm, judge.")
    ] = "small,large,prm",
    rate: Annotated[
        float | None, typer.Option(help="Tokens per second of each request.  [default: as fast as it can]")
    ] = None,
    first: Annotated[float, typer.Option(help="Seconds to the first token.", min=0)] = 0.0,
    running: Annotated[int | None, typer.Option(help="Requests that run at once; others wait.", min=1)] = None,
    faults: Annotated[float, typer.Option(help="Share of requests that go wrong, of all kinds.", min=0, max=1)] = 0.0,
    hangs: Annotated[bool, typer.Option("--hangs", help="Let some of the faults be requests that hang.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the faults.")] = 0,
    key: Annotated[str | None, typer.Option(help="The key that requests must bring.  [default: none]")] = None,
    as_json: JsonOption = False,
) -> None:
    """Serve scripted models in OpenAI's form, as vLLM speaks it.

    It ends at Ctrl-C, and then says what was counted. The models solve sums such as "What is 12 + 30 * 2?" step by
    step and err as models do, or score answers to them. Nothing is computed and nothing is
    reached, so studies can be tried in seconds, with slow or faulty servers too.
    """
    import asyncio

    from autotts.worlds.fake_server import FakeServer, Faults, Pace
    from autotts.worlds.fake_server.ready import ready

    names = split(models) or ()
    server = FakeServer(
        ready(names),
        faults=Faults.evenly(faults, seed=seed, hangs=hangs),
        pace=Pace(rate=rate, first=first, running=running),
        host=host,
        port=port,
        key=key,
        cache_block=16,
    )
    asyncio.run(_serve(server, names, key is not None, as_json))
    if as_json:
        print(json.dumps(asdict(server.counts)))
        return
    from autotts.report.terminal import say

    say(_counted(server.counts))


async def _serve(server: FakeServer, names: tuple[str, ...], has_key: bool, as_json: bool) -> None:
    """Serve until the process is told to end."""
    import asyncio
    import signal

    from autotts.report.terminal import say
    from autotts.worlds.fake_server.ready import models_toml

    end = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sign in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(sign, end.set)
    async with server:
        lines = [f"Answering at {server.url} until Ctrl-C. As models.toml:", ""]
        lines.append(models_toml(names, server.url, KEY_ENV if has_key else None))
        if has_key:
            lines += ["", f"with the key in the environment variable {KEY_ENV}"]
        to = sys.stderr if as_json else sys.stdout
        say("\n".join(lines), to)
        to.flush()
        await end.wait()


def _counted(counts: Counts) -> Any:
    """The table of the server's own count: a column for each model."""
    from autotts.report.layout import ruled

    table = ruled(letters=not sys.stdout.isatty())
    models = sorted(counts.by_model.items())
    table.add_column("counted by the server")
    for model, _ in (*models, ("all", counts)):
        table.add_column(model or "(none)", justify="right")
    for name, words in _ROWS.items():
        table.add_row(words, *(f"{getattr(tally, name):,}" for _, tally in (*models, ("all", counts))))
    return table
