"""Whether scorers can be trusted here: how they tell right from wrong among a few graded draws of a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

from autotts.core.task import Problem, Task
from autotts.engine.memo import Memo, Memory
from autotts.errors import InputError
from autotts.estimate.suitability import Suitability, suitability
from autotts.search.evaluate import table_of
from autotts.search.runs import Drawn, Family, Runner, unread
from autotts.search.together import together
from autotts.tasks import find
from autotts.worlds.catalogue import Asking, Catalogue, session
from autotts.worlds.models.entry import Entry


@dataclass(frozen=True, slots=True)
class Trial:
    """What scorers are judged by: some draws of a model on each of some problems, the same for all scorers."""

    task: Task
    model: str
    scorers: tuple[str, ...]
    problems: tuple[Problem, ...]
    draws: int = 4

    @property
    def words(self) -> str:
        """What it will take, before it is spent."""
        count = len(self.problems) * self.draws
        return (
            f"To judge {', '.join(self.scorers)}: {count} draws of {self.model} ({self.draws} on each of "
            f"{len(self.problems)} prompts of {self.task.name}), and {count} scores of each scorer."
        )


def trial_of(task: str, model: str, scorers: Sequence[str], *, prompts: int, seed: int) -> Trial:
    """A trial on about so many prompts of a task, equally many of each level.

    The problems of the embedded models are none for others, who get the same kind in words.
    """
    found = find("reasoning_gym:math" if task == "math" else task)
    table = table_of(found, "search", -(-prompts // max(1, len(found.mix))), seed)
    return Trial(found, model, tuple(scorers), tuple(table.problems))


@dataclass(frozen=True, slots=True)
class Judged:
    """What was found of a scorer; `right` is the share of right draws."""

    scorer: str
    model: str
    right: float
    found: Suitability

    @property
    def warning(self) -> str | None:
        """Why it should not be trusted; None where nothing speaks against it."""
        return self.found.warning(self.scorer)

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "scorer": self.scorer,
            "model": self.model,
            "right": self.right,
            **asdict(self.found),
            "warning": self.warning,
        }


async def judge(
    trial: Trial, entries: Mapping[str, Entry], *, seed: int, tell: Callable[[int, int], None]
) -> list[Judged]:
    """Draw, grade, and have each scorer score the same draws.

    Raises
    ------
    BackendError
        When a server is down.
    """
    family = Family(trial.model, 1.0, 1.0)
    judged = []
    with ExitStack() as stack:
        asking = Asking(trial.task.read, trial.task.instruction, "tokens")
        world = stack.enter_context(Catalogue(entries).opened((trial.model,), trial.scorers, asking))
        async with session(world), Memo(world, Memory()) as memo:
            for i, scorer in enumerate(trial.scorers):
                tell(i, len(trial.scorers))
                runner = Runner(memo, world, trial.task)
                rows = await together(runner.collect(p, family, trial.draws, scorer) for p in trial.problems)
                judged.append(_judged(trial, scorer, list(zip(trial.problems, rows, strict=True)), seed))
    return judged


def _judged(trial: Trial, scorer: str, rows: Sequence[tuple[Problem, Drawn]], seed: int) -> Judged:
    """The verdict on one scorer; draws without an answer are not scored, so they say nothing of it."""
    seen = [
        (problem.id, trial.task.grade(str(node.answer), problem.answer), score)
        for problem, drawn in rows
        for node, score in zip(drawn.nodes, drawn.scores, strict=True)
        if not unread(node)
    ]
    if not seen:
        raise InputError(
            f"model {trial.model!r}: expected draws with answers that can be read, found none among "
            f"{len(rows) * trial.draws} on {trial.task.name}, so no scorer can be judged; of the form of answers it "
            f"was told {trial.task.instruction or 'nothing'!r}"
        )
    prompts, correct, scores = zip(*seen, strict=True)
    found = suitability(prompts, correct, scores, seed=seed)
    return Judged(scorer, trial.model, sum(correct) / len(correct), found)


def warnings(judged: Sequence[Judged]) -> list[str]:
    """The warnings of those that should not be trusted."""
    return [one.warning for one in judged if one.warning is not None]
