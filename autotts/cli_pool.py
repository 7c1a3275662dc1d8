"""`autotts pool`: recorded answers, imported, checked, described and exported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

pool_app = typer.Typer(
    help="Recorded answers: import, check, describe and export them.", no_args_is_help=True, rich_markup_mode=None
)

Files = Annotated[list[Path], typer.Argument(help="Files of recorded answers (.jsonl, .jsonl.gz, .parquet).")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object; all else goes to stderr.")]


def _say(shown: Any, as_json: bool, data: Any) -> None:
    from autotts.report.terminal import say

    if as_json:
        print(json.dumps(data))
    else:
        say(shown)
