"""One arm on one prompt, and the pool of draws that many arms share."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from autotts.core.cost import Prices, Usage
from autotts.core.node import Choice, Node
from autotts.core.plan import Draw, Join, Plan, Score, Spec
from autotts.core.strategy import Strategy, knobs
from autotts.core.task import Problem, Task
from autotts.core.world import World
from autotts.engine.live import search
from autotts.engine.memo import Memo
from autotts.estimate.replayed import Pool
from autotts.search.failures import Failures, reason
from autotts.search.tally import Tally
from autotts.search.together import together
from autotts.strategies import POOLED
from autotts.strategies.arms import name_of

Floats = NDArray[np.float64]

SLOW: Final = ("code", "reasoning_gym")  # graders that ask another process


class Readable(World, Protocol):
    """A world that can also be given a prompt."""

    def root(self, prompt: str) -> tuple[Node, Any]:
        """The prompt's node and state; an `InputError` where these models cannot read it."""
        ...


@dataclass(frozen=True, slots=True)
class Family:
    """Draws that are exchangeable: one model, one temperature, one top-p."""

    model: str
    temperature: float
    top_p: float

    @property
    def spec(self) -> Spec:
        return Spec(model=self.model, temperature=self.temperature, top_p=self.top_p)


@dataclass(frozen=True, slots=True)
class Ran:
    """How one run of an arm on one prompt went: cost in parts, and ticks of virtual time (tokens in sequence).

    `problem` says why the draw that it chose failed, where it did.
    """

    answer: str | None
    correct: bool
    cost: int
    ended: str
    ticks: int = 0
    problem: str = ""


def family(strategy: Strategy) -> Family | None:
    """The draws that an arm chooses among, or None where it does more than choose."""
    if name_of(strategy) not in POOLED:
        return None
    s: Any = strategy
    return Family(s.model, float(s.temperature), float(s.top_p))


def depth(strategy: Strategy) -> int:
    """The most whole draws that a pooled arm asks for."""
    s: Any = strategy
    return int(getattr(s, "n", getattr(s, "most", 1)))


def scorer(strategy: Strategy) -> str | None:
    """The scorer that an arm uses, if it uses one."""
    return getattr(strategy, "by", None) if "by" in knobs(type(strategy)) else None


@dataclass(frozen=True, slots=True)
class Drawn:
    """The first draws of a family on one prompt, their scores, and what draws and scores took in tokens."""

    nodes: list[Node]
    scores: list[float]
    drawing: Usage
    scoring: Usage

    @property
    def prompt(self) -> int:
        """The whole prompt in the model's own tokens: one draw was charged it, the others had it before."""
        others = max(1, self.drawing.calls - 1)
        return max(self.drawing.prompt, -(-self.drawing.cached // others))


@dataclass
class Runner:
    """Runs arms on prompts over one memo; everything shares its draws."""

    memo: Memo
    world: Readable
    task: Task
    cap: int | None = None
    limit: int = 512  # prompts at a time
    tally: Tally = field(default_factory=Tally)
    failures: Failures = field(default_factory=Failures)
    _roots: dict[str, Node] = field(default_factory=dict)
    _graded: dict[tuple[str, str], bool] = field(default_factory=dict)
    _gate: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self._gate = asyncio.Semaphore(self.limit)

    async def grade(self, answer: str, problem: Problem) -> bool:
        """Whether an answer is right; a grader that runs programs does so beside the event loop, once for each."""
        if self.task.grader not in SLOW:
            return self.task.grade(answer, problem.answer)
        name = answer, problem.answer
        if name not in self._graded:
            self._graded[name] = await asyncio.to_thread(self.task.grade, *name)
        return self._graded[name]

    def root(self, problem: Problem) -> Node:
        """The node of a problem's prompt, known to the memo."""
        node = self._roots.get(problem.prompt)
        if node is None:
            node, state = self.world.root(problem.prompt)
            self._roots[problem.prompt] = node = self.memo.root(node, state)
        return node

    async def run(self, strategy: Strategy, problem: Problem) -> Ran:
        """One run of an arm, on virtual time."""
        root = self.root(problem)
        async with self._gate:
            out = await search(strategy.plan(root, Random(problem.id)), root, self.memo, cap=self.cap)
        self.tally.tick()
        choice: Choice | None = out.choice
        answer = None if choice is None else choice.node.answer
        correct = answer is not None and await self.grade(answer, problem)
        why = reason(self.memo, choice.node) if choice is not None and choice.node.failed else ""
        return Ran(answer, correct, out.cost, out.ended, out.ticks, why)

    async def collect(self, problem: Problem, of: Family, count: int, by: str | None) -> Drawn:
        """The first `count` draws of a family, and their scores; what is stored is not drawn again."""
        root = self.root(problem)
        found: list[tuple[list[Node], list[float]]] = []
        async with self._gate:
            out = await search(_collecting(root, of.spec, count, by, found), root, self.memo)
        assert out.ended == "returned"
        self.tally.tick()
        bindings = self.memo.bindings
        drawing = out.usage.get(bindings[of.model].id, Usage())
        scoring = Usage() if by is None else out.usage.get(bindings[by].id, Usage())
        return Drawn(*found[0], drawing, scoring)

    async def pool(self, problems: Sequence[Problem], of: Family, count: int, by: str | None) -> Pool:
        """The draws of a family on some problems, as arrays."""
        self.tally.expect(len(problems))
        rows = await together(self.collect(p, of, count, by) for p in problems)
        for drawn in rows:
            self.failures.count(of.model, drawn.nodes, self.memo)
        grades = await together(self._grades(p, drawn.nodes) for p, drawn in zip(problems, rows))
        return self._arrays(problems, of, by, rows, grades)

    async def _grades(self, problem: Problem, nodes: Sequence[Node]) -> dict[str, bool]:
        """The grade of each answer among some draws."""
        answers = dict.fromkeys(node.answer for node in nodes if node.answer is not None)
        return {answer: await self.grade(answer, problem) for answer in answers}

    def _arrays(
        self,
        problems: Sequence[Problem],
        of: Family,
        by: str | None,
        rows: Sequence[Drawn],
        grades: Sequence[Mapping[str, bool]],
    ) -> Pool:
        prices = self.memo.bindings[of.model].prices
        scoring = None if by is None else self.memo.bindings[by].prices
        answers, correct, cost, tokens, texts, marks, mark_cost = ([] for _ in range(7))
        first = np.zeros(len(problems))
        later = np.zeros(len(problems))
        first_mark = np.zeros(len(problems))
        for i, (drawn, graded) in enumerate(zip(rows, grades)):
            nodes, whole = drawn.nodes, drawn.prompt
            first[i] = prices.of_prompt(whole, whole)
            later[i] = prices.of_prompt(whole, 0)
            classes: dict[str, int] = {}
            seen: dict[bytes, int] = {}
            answers.append([-1 if unread(n) else classes.setdefault(str(n.answer), len(classes)) for n in nodes])
            correct.append([not unread(n) and graded[str(n.answer)] for n in nodes])
            cost.append([prices.of_generated(whole, n.tokens) for n in nodes])
            tokens.append([n.tokens for n in nodes])
            texts.append([seen.setdefault(n.digest, len(seen)) for n in nodes])
            if scoring is not None:
                marking = _marking(drawn, scoring)
                first_mark[i] = marking[0]
                marks.append(drawn.scores)
                mark_cost.append(marking[1:])
        return Pool(
            answers=np.array(answers),
            correct=np.array(correct, bool),
            prompt_cost=first,
            cost=np.array(cost, float),
            tokens=np.array(tokens),
            text=np.array(texts),
            score=np.array(marks, float) if marks else None,
            score_prompt_cost=first_mark,
            score_cost=np.array(mark_cost, float) if mark_cost else None,
            next_cost=later,
        )


def _marking(drawn: Drawn, prices: Prices) -> list[int]:
    """What the prompt adds to the first score, then what each draw's score costs, in parts.

    A scorer says what each text took as a whole. Where it counts in other tokens than the model that wrote, prompt
    and draws take the share of all that it read that they have of what was written.
    """
    used, whole = drawn.scoring, drawn.prompt
    texts = {node.digest: whole + node.tokens for node in drawn.nodes if not unread(node)}
    written, read = sum(texts.values()), used.prompt + used.cached
    verdict = -(-used.generated // max(1, used.calls))

    def own(tokens: int) -> int:
        return tokens if read == written or not written else -(-tokens * read // written)

    prompt = prices.of_prompt(own(whole), own(whole)) - prices.of_prompt(own(whole), 0)
    texts_cost = [
        prices.of_prompt(own(whole + node.tokens), own(node.tokens))
        + prices.of_generated(own(whole + node.tokens), verdict)
        for node in drawn.nodes
    ]
    return [prompt, *texts_cost]


def unread(node: Node) -> bool:
    """Whether a draw has no answer."""
    return node.failed or node.answer is None


def _collecting(root: Node, spec: Spec, count: int, by: str | None, found: list[Any]) -> Plan:
    """Draw, score, and hand the nodes out: a plan returns a `Choice`, so they leave through `found`."""
    got = yield Join([Draw(root, spec) for _ in range(count)])
    scores: list[float] = []
    if by is not None:
        asks = {i: Score(node, by) for i, node in enumerate(got.slots) if not unread(node)}
        scored = yield Join(list(asks.values()))
        scores = [float("nan")] * count
        for i, value in zip(asks, scored.slots):
            scores[i] = value
    found.append((got.slots, scores))
    return Choice(got.slots[0], 0.0)
