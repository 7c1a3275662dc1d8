"""Options that several commands share, and how their values are read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import typer

ModelsOption = Annotated[
    str,
    typer.Option(
        "--models",
        help="Models to use, such as S,M, or a models.toml (see `autotts models list`).  [default: all]",
    ),
]
UnsafeOption = Annotated[
    bool,
    typer.Option("--allow-unsafe-code", help="Run programs that models write without a sandbox, where there is none."),
]
BudgetOption = Annotated[
    str | None, typer.Option("--budget", help="Mean budget a prompt, such as 1e9flops or 200tokens.")
]
CapOption = Annotated[
    str | None, typer.Option("--cap", help="The most that one prompt may cost, such as 5e9flops; never exceeded.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object; all else goes to stderr.")]
PoolOption = Annotated[
    list[Path] | None, typer.Option("--pool", help="A file of recorded answers in place of a task; may be repeated.")
]
WithoutOption = Annotated[
    list[str] | None,
    typer.Option("--without", help="Leave out prompts that the pool marks by this extra key; may be repeated."),
]
ParamsOption = Annotated[
    list[str] | None,
    typer.Option("--params", help="Parameters of a model of the pool, such as Qwen3-4B=4.02e9; may be repeated."),
]
UnitOption = Annotated[
    str | None,
    typer.Option("--unit", help="What costs on a pool are counted in.  [default: flops, else tokens, else calls]"),
]
ProbeOption = Annotated[
    int | None,
    typer.Option(
        "--probe-tokens", min=0, help="Tokens that a probe of a pool generates.  [default: the policy's, or 0]"
    ),
]
ProposerOption = Annotated[
    str | None,
    typer.Option(
        "--proposer",
        help="Who proposes arms, with commas between several: guided, tpe, nsga2, gp, random, covering, insight, "
        "agent.  [default: guided]",
    ),
]
PruningOption = Annotated[
    str,
    typer.Option(
        "--pruning",
        help="Where predictions prune: some of before, during, allocation, or none.  [default: all three]",
    ),
]
StartOption = Annotated[
    str | None,
    typer.Option(
        "--start",
        help="What is tried first: memory (what earlier studies advise), designed (each model at one budget) or none.  "
        "[default: memory]",
    ),
]
AgentOption = Annotated[
    str | None,
    typer.Option(
        "--agent",
        help="Let a language model propose arms too: an OpenAI-compatible server, such as http://localhost:8000/v1.",
    ),
]
AgentModelOption = Annotated[str, typer.Option("--agent-model", help="The model that the agent's server is asked for.")]
AgentParamsOption = Annotated[
    float | None,
    typer.Option("--agent-params", help="Its active parameters, such as 8e9: what its tokens cost in flops."),
]
AgentPriceOption = Annotated[
    str | None,
    typer.Option(
        "--agent-price", help="Dollars a million tokens read and written, such as 2,8: what its tokens cost in usd."
    ),
]
AgentKeyOption = Annotated[
    Path | None, typer.Option("--agent-key-file", help="A file with the agent's key on its only line.")
]
AgentWithoutOption = Annotated[
    list[str] | None,
    typer.Option(
        "--agent-without", help="Do not tell the agent of an insight: models, samples or shared; may be repeated."
    ),
]


UPSTREAM_KEY: Final = "AUTOTTS_UPSTREAM_API_KEY"  # the environment variable


def upstream_key(path: Path | None, upstream: str | None, environ: Mapping[str, str]) -> str | None:
    """The key of --upstream: of a file, or of the environment."""
    if path is None:
        return environ.get(UPSTREAM_KEY) or None if upstream is not None else None
    from autotts.worlds.chat import read_key

    return read_key(path)


def split(text: str) -> tuple[str, ...] | None:
    """Names with commas between them; None where there is none."""
    return tuple(part.strip() for part in text.split(",") if part.strip()) or None
