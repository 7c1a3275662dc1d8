"""`optimize`: a recipe in, a confirmed policy out; what the command of that name does."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import optuna

from autotts.core.progress import Watcher
from autotts.core.task import Task
from autotts.engine.shared import SharedLedger
from autotts.errors import InputError, StoreError
from autotts.policy.files import write_atomic
from autotts.policy.schema import Policy
from autotts.predict.descriptors import Descriptors, describe_model, describe_task, this_machine
from autotts.predict.threads import one_thread
from autotts.search.agents import AgentOptions
from autotts.search.contact import Contact
from autotts.search.export import export
from autotts.search.level import Level
from autotts.search.memory import nearest, shelves
from autotts.search.recipe import Recipe
from autotts.search.study import Done, Study, prompts_of
from autotts.store import database
from autotts.store.meta import Meta
from autotts.store.outcomes import Outcomes
from autotts.store.samples import Samples
from autotts.store.usage import used
from autotts.worlds.catalogue import EMBEDDED, Asking, Bench, Catalogue, named, session


@dataclass(frozen=True, slots=True)
class Found:
    """What `optimize` returns: the result, the policy, and where they were written."""

    result: dict[str, Any]
    policy: Policy
    out: Path


@contextmanager
def storage(url: str) -> Iterator[tuple[Any, optuna.storages.RDBStorage]]:
    """Our engine and Optuna's on one database, as good neighbours."""
    engine = database.open(url)
    try:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with database.faults(engine):  # Optuna's faults about the database are said in our words
            store = optuna.storages.RDBStorage(url)
            database.tune(store.engine)
            try:
                yield engine, store
            finally:
                store.remove_session()
                store.engine.dispose()
    finally:
        engine.dispose()


def optimize(
    recipe: Recipe,
    *,
    task: Task,
    out: Path,
    name: str = "",
    url: str | None = None,
    command: str = "",
    watch: Watcher | None = None,
    world: Callable[[], AbstractContextManager[Bench]] | None = None,
    agent: AgentOptions | None = None,
    memories: Sequence[Path] = (),
    models: Catalogue = EMBEDDED,
) -> Found:
    """Run a study, or go on with it, and write `policy.json` and `result.json` into `out`.

    Parameters
    ----------
    name
        Of the study; the task's by default.
    url
        SQLAlchemy URL of the database that holds samples and Optuna's studies; `autotts.db` in `out` by default.
    command
        What to write down as the command that made it.
    watch
        Called with a `Snapshot` as the study goes on.
    world
        Opens the world that answers; that of `models` by default.
    agent
        The language model that proposes, where the recipe names `agent`.
    memories
        Folders of predictors that were distilled from past studies, beside those that come with autotts.
    models
        The models that the recipe names its own from; the embedded ones by default.

    Raises
    ------
    InputError, StoreError, BudgetError
        What was drawn is kept in all cases.
    """
    name = name or task.name
    if ("agent" in recipe.proposers) != (agent is not None):
        raise InputError(
            "expected --proposer agent together with --agent URL and --agent-model NAME, found one without the other"
        )
    folder(out)
    prompts = prompts_of(task, recipe)
    opened = world or (lambda: _opened(models, recipe, task))
    with opened() as answering, storage(url or f"sqlite:///{out / 'autotts.db'}") as (engine, optunas):
        study = Study(name, recipe, task, answering, prompts, watch)
        # A prompt that cannot be read is told before anything is spent.
        roots = [answering.root(p.prompt) for p in (*prompts.search.problems, *prompts.confirm.problems)]
        if recipe.start == "memory":
            traits = {role: describe_model(answering.cards[role]) for role in answering.models}
            here = Descriptors(task=describe_task(task), models=traits, machine=this_machine())
            study.recalled = nearest(here, shelves(*memories), recipe.unit)
        study.meta = Meta(engine)
        if url is None:
            alone(study.meta, name, out)
        study.meta.claim(name, study.identity())
        earlier = study.taken(used(engine))
        limit = None if recipe.search_amount is None else recipe.search_amount.parts
        study.outcomes = Outcomes(engine)
        with SharedLedger(engine, name, recipe.unit, limit, seed=lambda: earlier) as shared:
            contact = Contact(models, study.meta, answering.bindings if world is None else {}, shared)
            study.unable = contact.unable(recipe.strategies)
            levels = study.levels(optunas)
            proposing = None if agent is None else agent.made(recipe, shared.ledger, study.meta, name)
            study.pay_from(shared.ledger, proposing)
            with Samples(engine, beside=shared.beside) as samples:
                for root, state in roots:
                    samples.put_root(root, state)
                with one_thread():
                    stopped, choice, confirmed = asyncio.run(_in_session(study, levels, samples))
            spent = shared.settled()
        result = study.result(levels, stopped, choice, confirmed, command=command, settled=spent)
    policy = export(
        recipe=recipe,
        task=task,
        choice=choice,
        levels=levels,
        weights=prompts.weights,
        difficulty=study.difficulty,
        bindings={role: models.described(role) | {"id": b.id} for role, b in answering.bindings.items()},
        cards={role: asdict(card) for role, card in answering.cards.items()},
        result=result,
    )
    policy.save(out / "policy.json")
    write_atomic(out / "result.json", json.dumps(result, indent=2, allow_nan=False) + "\n")
    return Found(result, policy, out)


def _opened(models: Catalogue, recipe: Recipe, task: Task) -> AbstractContextManager[Bench]:
    names = models.drawing(named(recipe.models))
    return models.opened(names, models.scoring, Asking(task.read, task.instruction, recipe.unit))


async def _in_session(study: Study, levels: list[Level], samples: Samples) -> Done:
    async with session(study.world):
        return await study.run(levels, samples)


def alone(meta: Meta, name: str, out: Path) -> None:
    """See that a folder's own database holds no other study than this one."""
    others = [other for other in meta.studies() if other != name]
    if others:
        raise StoreError(
            f"--out {out}: expected a new folder or that of study {name!r}, found one that holds another study, "
            f"{others[0]!r}; give another with --out"
        )


def folder(out: Path) -> None:
    """Make the output folder, and see that files can be written there."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise InputError(
            f"--out {out}: expected a folder that can be written to: {error.strerror}; give another with --out"
        ) from None
