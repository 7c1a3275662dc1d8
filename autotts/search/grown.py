"""A study's own draws as a pool: what it drew on all of its prompts, found again by the keys of its samples.

A study draws much that only some prompts have: families that one level alone wanted, and draws that a sequential arm
asked for where it was not sure. A pool of those would be of no use (nothing is known of all prompts), and false (how
often a prompt was drawn would tell how hard it is). So a family is taken where it covers all prompts of a phase, and
of each level the draws that all its prompts have; what is left out is counted.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from autotts.core.cost import ModelCard
from autotts.core.node import Node, root_node
from autotts.core.plan import Draw, Score, Spec
from autotts.core.strategy import Knob, Range, knobs
from autotts.core.task import Problem, Task
from autotts.core.world import Binding, Reply
from autotts.engine.orders import Keys
from autotts.errors import InputError
from autotts.pools.formats.source import Placed, Source
from autotts.pools.importing import DATABASE
from autotts.pools.lines import Row
from autotts.pools.recorded import SAMPLE
from autotts.search.export import digest
from autotts.search.measure import level_name
from autotts.search.recipe import Recipe
from autotts.search.study import prompts_of
from autotts.store import database
from autotts.store.meta import Meta
from autotts.store.samples import stored
from autotts.store.usage import used
from autotts.strategies import STRATEGIES
from autotts.tasks import find
from autotts.worlds.shelf import NAMES, cards

Ints = NDArray[np.int64]

MORE: Final = 4  # how many times as many keys are asked for next where all of the last ones were there


@dataclass(frozen=True, slots=True)
class Phase:
    """The prompts of one phase of a study, and the epoch that they are drawn in."""

    name: str
    epoch: int
    problems: Sequence[Problem]


def read(source: Source) -> Placed:
    """The samples of a study: a folder that holds its database, or the database itself.

    Notes
    -----
    The search's prompts have the draws of epoch 0, the held-out ones those of epoch 1; `stream` says which. What
    scoring and attention cost is not in the pool.

    Raises
    ------
    InputError
        It holds no study that made draws of its own, or its task does not give the same prompts any more.
    """
    path = source.path / DATABASE if source.path.is_dir() else source.path
    with _opened(path) as engine:
        stock = _stock(engine, path)
        yield from stock.samples(source.told)


@dataclass(frozen=True)
class Stock:
    """A study's database, and what is known of the study.

    Attributes
    ----------
    models
        Binding ids by role, without epochs, of those that draw.
    scorers
        Binding ids of those that score.
    """

    engine: sa.Engine
    path: Path
    task: Task
    phases: tuple[Phase, ...]
    models: Mapping[str, str]
    scorers: Sequence[str]

    @cached_property
    def specs(self) -> list[Spec]:
        """Whole draws, in every way that a search asks for."""
        return [
            Spec(model=role, temperature=temperature, top_p=top_p)
            for role in self.models
            for temperature, top_p in _settings()
        ]

    @cached_property
    def sizes(self) -> dict[str, ModelCard]:
        """The cards of the roles whose model is here, in the revision that drew."""
        known = cards([role for role in self.models if role in NAMES])
        return {r: c for r, c in known.items() if self.models[r].startswith(f"tiny/{c.name}@{c.revision}/")}

    def samples(self, told: Counter[str]) -> Placed:
        """The samples, prompt by prompt; what is left out is counted in `told`."""
        kept = {phase.name: self._common(phase) for phase in self.phases}
        covering = {spec for spec, depth in kept[self.phases[0].name].items() if depth}
        if not covering:
            raise InputError(
                f"{self.path}: expected draws of one kind on all of the study's search prompts, found none: the study "
                "was interrupted early; run its command again, then import it"
            )
        count = 0
        for phase in self.phases:
            depths = {spec: kept[phase.name][spec] for spec in self.specs if spec in covering}
            for problem in phase.problems:
                for row in self._rows(phase, problem, {s: d[level_name(problem)] for s, d in depths.items() if d}):
                    count += 1
                    yield f"prompt {problem.id}", row, None
            if lacking := [_words(spec) for spec, depth in depths.items() if not depth]:
                told[f"prompts ({phase.name}) without draws of {', '.join(lacking)}"] += len(phase.problems)
        self._tell(told, count)

    def _tell(self, told: Counter[str], count: int) -> None:
        told["samples: what attention and scoring cost is counted by the study, and not in a pool"] += count
        drawn = sum(u.count for u in used(self.engine) if u.kind == "draw")
        if drawn > count:
            told["stored draws left out: steps of searches, and what only some prompts have"] += drawn - count
        if self.task.mix:
            told["prompts, equally many of each level: the study weighs them by its task's mix, a pool does not"] += (
                sum(len(phase.problems) for phase in self.phases)
            )

    # ------------------------------------------------------------ what is there

    def _common(self, phase: Phase) -> dict[Spec, dict[str, int]]:
        """Of each family that covers a phase, the draws that all prompts of a level have, by level; else nothing."""
        least: dict[Spec, dict[str, int]] = {spec: {} for spec in self.specs}
        for problem in phase.problems:
            level = level_name(problem)
            for spec, count in self._counts(phase, problem).items():
                least[spec][level] = min(count, least[spec].get(level, count))
        return {spec: depth if all(depth.values()) else {} for spec, depth in least.items()}

    def _counts(self, phase: Phase, problem: Problem) -> dict[Spec, int]:
        """How many draws of each family a prompt has, up to the first that is missing."""
        root, keys = root_node(problem.prompt, 0), self._keys(phase)
        counts = dict.fromkeys(self.specs, 0)
        going, size = self.specs, 1
        while going:
            asked = {spec: [keys.of(Draw(root, spec))[1] for _ in range(size)] for spec in going}
            there = stored(self.engine, list(itertools.chain(*asked.values())))
            for spec, wanted in asked.items():
                counts[spec] += len(list(itertools.takewhile(there.__contains__, wanted)))
            going = [spec for spec, wanted in asked.items() if wanted[-1] in there]
            size *= MORE
        return counts

    def _keys(self, phase: Phase) -> Keys:
        drawing = {role: Binding(f"{name}#{phase.epoch}") for role, name in self.models.items()}
        return Keys(drawing | {name: Binding(name) for name in self.scorers})

    # ------------------------------------------------------------ samples as lines

    def _rows(self, phase: Phase, problem: Problem, depths: Mapping[Spec, int]) -> Iterator[Row]:
        """The samples of one prompt."""
        root, keys = root_node(problem.prompt, 0), self._keys(phase)
        wanted = {spec: [keys.of(Draw(root, spec))[1] for _ in range(count)] for spec, count in depths.items()}
        found = stored(self.engine, [root.key, *itertools.chain(*wanted.values())])
        scores = self._scores(keys, [reply.value for reply in found.values() if reply.value.depth])
        graded: dict[str, bool] = {}
        asked = found.get(root.key)
        for spec, listed in wanted.items():
            for index, key in enumerate(listed):
                row = self._shared(phase, problem, spec, asked)
                yield row | self._sample(problem, found[key], index, asked, graded) | {"score": scores.get(key)}

    def _scores(self, keys: Keys, nodes: Sequence[Node]) -> dict[bytes, float]:
        """The score of each node that was scored (of several scorers, by the first), by the node's key."""
        asked = {node.key: [keys.of(Score(node, by))[1] for by in self.scorers] for node in nodes}
        found = stored(self.engine, list({key for listed in asked.values() for key in listed}))
        out: dict[bytes, float] = {}
        for name, listed in asked.items():
            values = [float(found[key].value) for key in listed if key in found]
            if values and math.isfinite(values[0]):
                out[name] = values[0]
        return out

    def _shared(self, phase: Phase, problem: Problem, spec: Spec, asked: Reply | None) -> Row:
        """What all samples of a family have in common."""
        card = self.sizes.get(spec.model)
        return {
            "dataset": self.task.name,
            "prompt_id": problem.id,
            "prompt": problem.prompt,
            "answer": problem.answer,
            "level": problem.level,
            "model": spec.model,
            "params_b": _billions(card.parameters) if card else None,
            "active_params_b": _billions(card.active_parameters) if card else None,
            "strategy": SAMPLE if spec.temperature > 0 else "greedy",
            "temperature": spec.temperature,
            "top_p": spec.top_p,
            "stream": phase.name,
            "prompt_tokens": None if asked is None else asked.value.tokens,
        }

    def _sample(self, problem: Problem, reply: Reply, index: int, asked: Reply | None, graded: dict[str, bool]) -> Row:
        node: Node = reply.value
        answer = None if node.failed else node.answer
        if answer is not None and answer not in graded:
            graded[answer] = self.task.grade(answer, problem.answer)
        return {
            "sample_index": index,
            "finish": "error" if node.failed else "length" if node.signals.get("cut") else "stop",
            "output": _output(reply.state, None if asked is None else asked.state),
            "extracted": answer,
            "correct": answer is not None and graded[answer],
            "completion_tokens": node.tokens,
        }


# ---------------------------------------------------------------- a study from its database


@contextmanager
def _opened(path: Path) -> Iterator[sa.Engine]:
    """The database of a study; one that is not ours stays as it is."""
    url = f"sqlite:///{path}"
    if not path.is_file() or not database.ours(url):
        raise InputError(f"{path}: expected the database of a study, found {'another' if path.is_file() else 'none'}")
    engine = database.open(url)
    try:
        yield engine
    finally:
        engine.dispose()


def _stock(engine: sa.Engine, path: Path) -> Stock:
    """The one study that a database holds."""
    meta = Meta(engine)
    names = meta.studies()
    if len(names) != 1:
        raise InputError(f"{path}: expected the database of one study, found {', '.join(names) or 'none'} in it")
    kept = meta.recipe(names[0])
    if "task" not in kept:
        raise InputError(
            f"{path}: expected a study that made draws, found {names[0]!r}, which was made on recorded answers: import "
            "those, or give them as they are"
        )
    recipe, task = _recipe(kept), _task(kept["task"], path)
    prompts = prompts_of(task, recipe)
    search, held = list(prompts.search.problems), list(prompts.confirm.problems)
    if digest([*search, *held]) != kept["prompts"]:
        raise InputError(
            f"{path}: expected the prompts that the study was made on, found others in the task {recipe.task!r}: give "
            "the task's file back its prompts of then"
        )
    drawing = {u.binding.rpartition("#")[0] for u in used(engine) if u.kind == "draw"}
    scoring = sorted({u.binding for u in used(engine) if u.kind == "score"})
    bound = {name: role for role, name in reversed(kept["models"].items()) if name in drawing}  # roles may share one
    models = {role: name for name, role in reversed(bound.items())}
    return Stock(engine, path, task, (Phase("search", 0, search), Phase(recipe.stream, 1, held)), models, scoring)


def _recipe(kept: Mapping[str, Any]) -> Recipe:
    """The recipe as far as prompts depend on it; where models were named, the bindings stand in their place."""
    known = {f.name for f in fields(Recipe)} - {"models"}
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in kept.items() if k in known}
    return Recipe(**values)


def _task(name: str, path: Path) -> Task:
    try:
        return find(name)
    except InputError as error:
        raise InputError(
            f"{path}: the study's task is {name!r}, which cannot be read: run this where the study was run ({error})"
        ) from None


def _settings() -> list[tuple[float, float]]:
    """Temperatures and top-p that strategies declare as worth trying together."""
    out: dict[tuple[float, float], None] = {}
    for kind in STRATEGIES.values():
        declared = knobs(kind)
        if "temperature" in declared and "top_p" in declared:
            out.update(dict.fromkeys(itertools.product(_tried(declared["temperature"]), _tried(declared["top_p"]))))
    return sorted(out)


def _tried(knob: Knob) -> tuple[float, ...]:
    grid = knob.domain.grid if isinstance(knob.domain, Range) else ()
    return tuple(map(float, grid or (knob.default,)))


def _billions(count: int | None) -> float | None:
    return None if count is None else count / 1e9


def _words(spec: Spec) -> str:
    return f"{spec.model} at temperature={spec.temperature:g}, top_p={spec.top_p:g}"


def _output(state: Any, before: Any) -> str | None:
    """What was generated: the text of a path without that of its prompt."""
    if not isinstance(state, str):
        return None
    return state.removeprefix(before) if isinstance(before, str) else state
