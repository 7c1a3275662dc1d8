"""Ready models of a fake server by name, each with the table that declares it in `models.toml`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from autotts.errors import InputError
from autotts.worlds.fake_server.judging import Judge, Scorer
from autotts.worlds.fake_server.models import FakeModel
from autotts.worlds.fake_server.solver import Solver


@dataclass(frozen=True, slots=True)
class Ready:
    """A ready model: what it is, the parameters that its costs pretend to, and how it is asked for scores."""

    model: FakeModel
    about: str
    parameters: str
    scoring: str = ""


READY: Final[Mapping[str, Ready]] = {
    one.model.name: one
    for one in (
        Ready(FakeModel("small", Solver(0.8)), "solves sums, often wrong", "1.7e9"),
        Ready(FakeModel("large", Solver(0.94)), "solves sums, seldom wrong", "14e9"),
        Ready(FakeModel("thinker", Solver(0.8), thinks=60), "thinks before it solves sums", "4e9"),
        Ready(
            FakeModel("prm", marks=Scorer(0.85, per="step", classes=2)),
            "a process reward model",
            "7e9",
            '{ kind = "process", shape = "qwen-prm" }',
        ),
        Ready(
            FakeModel("orm", marks=Scorer(0.8)),
            "an outcome reward model",
            "8e9",
            '{ kind = "outcome", shape = "classify" }',
        ),
        Ready(
            FakeModel("judge", script=Judge(Scorer(0.75))),
            "a judge in words",
            "14e9",
            '{ kind = "judge", shape = "score" }',
        ),
    )
}


def ready(names: Sequence[str]) -> list[FakeModel]:
    """The models of some names; an `InputError` for a name that is none."""
    for name in names:
        if name not in READY:
            known = ", ".join(f"{one.model.name} ({one.about})" for one in READY.values())
            raise InputError(f"--models: expected names of {known}; found {name!r}")
    return [READY[name].model for name in dict.fromkeys(names)]


def models_toml(names: Sequence[str], url: str, key_env: str | None) -> str:
    """The text of a `models.toml` for some ready models at an address."""
    tables = []
    for name in dict.fromkeys(names):
        one = READY[name]
        lines = [f"[models.{name}]", f'endpoint = "{url}"', f'model = "{name}"', f"parameters = {one.parameters}"]
        if key_env is not None:
            lines.append(f'key_env = "{key_env}"')
        if one.scoring:
            lines.append(f"scoring = {one.scoring}")
        if one.model.thinks:
            lines.append("thinking = { enabled = true }")
        tables.append("\n".join(lines))
    return "\n\n".join(tables)
