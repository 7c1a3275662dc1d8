"""A policy obeyed for one prompt: difficulty, arm, and the plan run on the clock within its cap."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

from autotts.core.cost import Usage
from autotts.core.node import Key, Node
from autotts.core.world import World
from autotts.engine.live import serve
from autotts.policy.schema import Policy
from autotts.worlds.context import NOTHING, Context


class Promptable(World, Protocol):
    """A world that can be given a prompt."""

    def root(self, prompt: str, context: Context = NOTHING) -> tuple[Node, Any]:
        """The prompt's node and state; an `InputError` where these models cannot read it, or heed what is beside it."""
        ...


@dataclass(frozen=True, slots=True)
class Answered:
    """What one prompt got: the answer, the arm that gave it, and all that it took (cost in parts of `unit`).

    `ended` is "returned", or what ended the plan before that ("cap", "deadline"). `text` is what the chosen draw says
    in whole, where its model writes texts; `problem` says why it failed, where it did.
    """

    prompt: str
    answer: str | None
    confidence: float | None
    arm: str
    bin: str
    draws: int
    usage: dict[str, Usage]
    cost: int
    unit: str
    ended: str
    text: str | None = None
    problem: str | None = None


async def answer(
    policy: Policy,
    world: Promptable,
    prompt: str,
    *,
    budget: float | None = None,
    cap: int | None = None,
    deadline: float | None = None,
    token: str = "",
) -> Answered:
    """Answer one prompt by a policy.

    Parameters
    ----------
    budget
        Mean budget a prompt, in parts of the policy's unit; None is the policy's default.
    cap
        The most that this prompt may cost; the policy's own cap holds as well.
    deadline
        Seconds from now, after which the last offer is returned.
    token
        Names the request, where a mixture of arms is decided.
    """
    routed = policy.route(prompt, budget, token)
    caps = [c for c in (cap, policy.cap) if c is not None]
    node, state = world.root(prompt)
    kept: dict[Key, Any] = {}
    out = await serve(
        routed.strategy.plan(node, Random(prompt)),
        node,
        state,
        world,
        kept=kept,
        cap=int(min(caps)) if caps else None,
        deadline=deadline,
    )
    choice = out.choice
    return Answered(
        prompt=prompt,
        answer=None if choice is None else choice.node.answer,
        confidence=None if choice is None else choice.confidence,
        arm=routed.arm,
        bin=routed.bin,
        draws=out.asks,
        usage=dict(out.usage),
        cost=out.cost,
        unit=policy.unit,
        ended=out.ended,
        text=None if choice is None else _told(kept.get(choice.node.key), "text"),
        problem=None if choice is None or not choice.node.failed else _told(kept.get(choice.node.key), "fault"),
    )


def _told(state: Any, what: str) -> str | None:
    return state.get(what) if isinstance(state, dict) else None
