"""`autotts recommend` and `autotts distil`: advice from past studies, and what makes a study one of them."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Annotated

import typer

from autotts.cli_options import BudgetOption, JsonOption, ModelsOption, split

SHELF = Path("predictors")  # in the working directory, beside the one that comes with autotts


def recommend(
    task: Annotated[
        str, typer.Option("--task", help="Name of a task (see `autotts tasks`), or a .jsonl, .csv or .parquet file.")
    ] = "math",
    models: ModelsOption = "",
    budget: BudgetOption = None,
    target: Annotated[float | None, typer.Option(help="Accuracy to reach, such as 0.9, in place of a budget.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Advise before anything is spent, from past studies.

    Says what they foretell for this task, these models and this budget. Looks at the predictors that
    come with autotts and at those in the folder predictors of the working directory. Draws nothing. Where no past study
    is near, it says so.
    """
    from autotts.report.terminal import say
    from autotts.search.memory import shelves
    from autotts.search.recommend import Asked
    from autotts.search.recommend import recommend as advise

    found = advise(Asked(task, split(models) or (), budget, target), shelves(SHELF))
    if as_json:
        print(json.dumps(found))
        return
    from autotts.report.advice import advice_table

    say(advice_table(found))
    say("\n".join(["", "Nothing was measured. Next:", *(f"  {command}" for command in found["next"])]))


def distil(
    folder: Annotated[Path, typer.Argument(help="The folder of a finished study.")],
    name: Annotated[str, typer.Option(help="Name of the predictor: lower-case letters, digits and hyphens.")],
    out: Annotated[Path, typer.Option(help="Folder of predictors.")] = SHELF,
    as_json: JsonOption = False,
) -> None:
    """Distil what a finished study learned, for later studies.

    Writes recipe.toml, card.md and model.json, which are plain data. `autotts recommend` and `autotts optimize` look
    for them in the folder predictors of the working directory.
    """
    from autotts.report.terminal import busy, say
    from autotts.search.distil import distil as write

    with busy("learning"):
        home = write(folder, name, out)
    written = sorted(path.name for path in home.iterdir())
    following = [f"autotts recommend --task {shlex.quote(_task(home))}"]
    if as_json:
        print(json.dumps({"folder": str(home), "files": written, "next": following}))
        return
    say("\n".join([f"Wrote {', '.join(written)} to {home}. Next:", *(f"  {command}" for command in following)]))


def _task(home: Path) -> str:
    """The task that a predictor was distilled from, as it is given to a command."""
    import tomllib

    return str(tomllib.loads((home / "recipe.toml").read_text(encoding="utf-8"))["task"])
