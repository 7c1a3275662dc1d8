"""A world with known probabilities, for tests and for experiments: a draw is a pure function of its key and its parent.

Right answers read "gold", wrong ones "w0", "w1" or "w2"; what a model, a step or a scorer is worth is stated in a
`Skill`, so that what a strategy gains can be computed by hand and compared.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from random import Random
from typing import Any

from autotts.core.cost import Usage
from autotts.core.node import Key, Node
from autotts.core.plan import Blend, Score
from autotts.core.world import Binding, Meter, Reply, Request

RIGHT = "gold"
WRONG = 3  # how many wrong answers there are


@dataclass(frozen=True, slots=True)
class Skill:
    """What a model or a scorer can do; all chances are in [0, 1].

    `right` is the chance that a whole draw is right; step by step, each step of a right path keeps it right with
    chance `step`. A path takes a whole number of tokens between the two of `length`, in about `steps` steps.
    `fail` is the chance that a draw breaks (a score is NaN), `mute` that a finished one cannot be read.
    A right text scores 0.75 and a wrong one 0.35, with Gaussian `noise`, cut to [0, 1]; a score takes `verdict`
    tokens and a probe `probe`. `texts` is how many different draws there are from one node with one spec (0: all are
    different); at temperature 0 there is one.
    """

    right: float = 0.6
    step: float = 0.85
    steps: int = 4
    length: tuple[int, int] = (20, 60)
    fail: float = 0.05
    mute: float = 0.05
    noise: float = 0.3
    verdict: int = 0
    probe: int = 2
    texts: int = 0


@dataclass(frozen=True, slots=True)
class Trace:
    """What a text is, hidden from plans: right so far or not, tokens made and to be made, the answer it leads to."""

    right: bool
    made: int
    total: int
    answer: str | None


@dataclass(frozen=True, slots=True)
class Toy:
    """The world: a binding for each role and, by binding id, a skill.

    The state of a root may be anything. `pace` is the time of one tick, in seconds of the event loop (0: replies
    come at once); with a pace, tokens are made one by one until they are not wanted.

    Examples
    --------
    Majority of three draws of a model that is right six times in ten, on 2,000 prompts; by hand
    0.6**3 + 3 * 0.6**2 * 0.4 = 0.648 (and three different wrong answers tie more rarely than one):

    >>> from random import Random
    >>> from autotts.core.plan import Spec, draw
    >>> from autotts.core.node import root_node
    >>> from autotts.engine.replay import replay
    >>> def majority(root):
    ...     nodes = yield from draw([root] * 3, Spec(model="S"))
    ...     answers = [node.answer for node in nodes]
    ...     return max(answers, key=answers.count)
    >>> toy = Toy({"S": Binding("S@1")}, {"S@1": Skill(right=0.6, fail=0, mute=0)})
    >>> roots = [root_node(f"problem {i}", tokens=7) for i in range(2000)]
    >>> outcomes = [replay(majority(r), r, toy.script({r.key: None}), toy.bindings) for r in roots]
    >>> round(sum(outcome.choice == "gold" for outcome in outcomes) / 2000, 1)
    0.7
    >>> outcomes[0].usage["S@1"].prompt, outcomes[0].usage["S@1"].cached
    (7, 14)
    """

    bindings: Mapping[str, Binding]
    skills: Mapping[str, Skill] = field(default_factory=dict)
    pace: float = 0.0

    async def answer(self, order: Request, states: tuple[Any, ...], meter: Meter) -> Reply:
        """Answer one order, at this world's pace."""
        reply = self.reply(order, states)
        if self.pace == 0.0:
            meter.add(reply.usage.generated - meter.generated)
            return reply
        for _ in range(reply.usage.generated):
            meter.add(1)
            await asyncio.sleep(self.pace * order.binding.ticks)
        return reply

    def script(self, states: dict[Key, Any]) -> Callable[[Request], Reply]:
        """The same world for `replay`; `states` holds the root's state, and the others as they come."""

        def answer(order: Request) -> Reply:
            ask = order.ask
            nodes = ask.nodes if type(ask) is Blend else (ask.node,)
            reply = self.reply(order, tuple(states[node.key] for node in nodes))
            if type(ask) is not Score:
                states[reply.value.key] = reply.state
            return reply

        return answer

    def reply(self, order: Request, states: tuple[Any, ...]) -> Reply:
        """The reply to an order."""
        skill = self.skills.get(order.binding.id, Skill())
        if type(order.ask) is Score:
            return _score(order, skill, states[0])
        seed = _seed(order, skill)
        random = Random(seed)
        if type(order.ask) is Blend:
            return _blend(order, skill, states, seed, random)
        return _draw(order, skill, states[0], seed, random)


def _seed(order: Request, skill: Skill) -> bytes:
    """What a draw is made from: its key, or where few texts are possible, which of them it is."""
    spec = order.ask.spec
    texts = 1 if spec.temperature == 0 else skill.texts
    if not texts:
        return order.key
    nodes = order.ask.nodes if type(order.ask) is Blend else (order.ask.node,)
    which = Random(order.key).randrange(texts)
    name = f"{order.binding.id}|{type(order.ask).__name__}|{spec.move}|{spec.stop}|{spec.nudge}|{which}".encode()
    return _hash(name + b"".join(node.digest for node in nodes))


def _hash(data: bytes) -> bytes:
    return blake2b(data, digest_size=16).digest()


def _score(order: Request, skill: Skill, state: Any) -> Reply:
    random = Random(order.key)
    usage = Usage(prompt=order.prefix, generated=skill.verdict, calls=1)
    if random.random() < skill.fail:
        return Reply(float("nan"), usage)
    right = isinstance(state, Trace) and state.right
    return Reply(min(1.0, max(0.0, (0.75 if right else 0.35) + random.gauss(0, skill.noise))), usage)


def _blend(order: Request, skill: Skill, states: tuple[Any, ...], seed: bytes, random: Random) -> Reply:
    """What has read several texts is right where most of them are."""
    right = 2 * sum(isinstance(state, Trace) and state.right for state in states) >= len(states)
    count = min(random.randint(*skill.length), order.binding.max_tokens)
    trace = Trace(right, count, count, RIGHT if right else "w0")
    return _arrived(order, seed, trace, depth=1, tokens=count, answer=trace.answer)


def _draw(order: Request, skill: Skill, state: Any, seed: bytes, random: Random) -> Reply:
    node, spec = order.ask.node, order.ask.spec
    depth = node.depth + 1
    if random.random() < skill.fail:
        count = random.randint(0, 3)
        trace = Trace(False, count, count, None)
        return _arrived(order, seed, trace, depth=depth, tokens=count, failed=True)
    wrong = f"w{random.randrange(WRONG)}"
    if spec.move == "probe":
        known = isinstance(state, Trace) and random.random() < state.made / max(1, state.total)
        return _arrived(order, seed, state, depth=depth, tokens=skill.probe, answer=state.answer if known else wrong)
    begun = _begun(skill, spec.stop == "step", state, random)
    count = _tokens(skill, spec.stop, begun)
    room = max(0, order.binding.max_tokens - begun.made)  # of the path
    cut = room < count
    count = min(count, room)
    trace = Trace(begun.right, begun.made + count, begun.total, begun.answer or (RIGHT if begun.right else wrong))
    if not cut and trace.made < trace.total:
        return _arrived(order, seed, trace, depth=depth, tokens=count, done=False)
    readable = not cut and random.random() >= skill.mute
    return _arrived(order, seed, trace, depth=depth, tokens=count, answer=trace.answer if readable else None)


def _begun(skill: Skill, stepwise: bool, state: Any, random: Random) -> Trace:
    """The path as it will be after this draw, before its tokens."""
    if not isinstance(state, Trace):
        right = random.random() < (skill.step if stepwise else skill.right)
        return Trace(right, 0, random.randint(*skill.length), None)
    if stepwise and state.right and random.random() >= skill.step:
        return Trace(False, state.made, state.total, None)
    return state


def _tokens(skill: Skill, stop: str | int, begun: Trace) -> int:
    left = begun.total - begun.made
    if stop == "end":
        return left
    return min(left, max(1, begun.total // skill.steps) if stop == "step" else int(stop))


def _arrived(
    order: Request,
    seed: bytes,
    trace: Any,
    *,
    depth: int,
    tokens: int,
    answer: str | None = None,
    done: bool = True,
    failed: bool = False,
) -> Reply:
    node = Node(order.key, depth, done, answer, _hash(seed), tokens, failed)
    return Reply(node, Usage(prompt=order.prefix, generated=tokens, calls=1), 0.0, trace)
