"""A policy that serves a pool's prompts as a stream of requests, with the live controller on or off.

Each request is routed as it is when served, and its arm replayed on its own ordering of the recorded draws.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from autotts.engine.replay import replay
from autotts.errors import InputError
from autotts.estimate.intervals import resample
from autotts.policy.controller import Controller, Uncontrolled, made_for
from autotts.policy.perprompt import unlike
from autotts.policy.routing import Routed
from autotts.policy.schema import Policy
from autotts.pools.recorded import Family, Recorded
from autotts.search.confirm import as_dict
from autotts.search.evaluate_pool import FORMAT, cost_of
from autotts.search.export import digest
from autotts.search.played import Grades, Tell, generated
from autotts.search.suited import Pricing, check, roles, suited, timed
from autotts.strategies.arms import show
from autotts.worlds.recorded import SCORER, Ordering, Recording

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

REQUESTS: Final = 2000  # at least so many, if there are draws for them

_SETTINGS: Final = {"temperature": "temperature", "top_p": "top-p"}


class Ask(Protocol):
    """How one request is to be answered."""

    @property
    def routed(self) -> Routed:
        """Its arm."""
        ...

    @property
    def cap(self) -> int | None:
        """The most that it may cost, in parts."""
        ...


class Control(Protocol):
    """What routes requests, and is told what each cost."""

    def ask(self, prompt: str, token: str) -> Ask:
        """Route a request."""
        ...

    def tell(self, asked: Any, cost: float) -> None:
        """What the request cost, in parts."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """What each of N requests got, in order of arrival; `problem` is the number of its prompt.

    `ticks` are its tokens one after another, `cut` says that its cap ended it, `arm` what answered it.
    """

    problem: Ints
    correct: Floats
    cost: Floats
    tokens: Ints
    ticks: Ints
    cut: Bools
    arm: tuple[str, ...]


def stream(
    pool: Recorded,
    policy: Policy,
    control: Control,
    *,
    probe_tokens: int = 0,
    cap: int | None = None,
    seed: int = 0,
    tell: Tell | None = None,
) -> Served:
    """Serve passes over all prompts, each in a random order.

    Parameters
    ----------
    pool
        Problems that have draws enough for every arm (see `suited`).
    cap
        The most that one request may cost, in parts, beside what the control allows.
    """
    world = Recording(pool, unit=policy.unit, probe_tokens=probe_tokens)
    grade, rng = Grades(pool), np.random.default_rng(seed)
    order = requests(pool, rng)
    shape = len(order)
    correct, cost = np.zeros(shape), np.zeros(shape)
    tokens, ticks = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    cut, used = np.zeros(shape, bool), []
    for i, p in enumerate(order.tolist()):
        if tell is not None and i % 50 == 0:
            tell(i, shape)
        asked = control.ask(pool.problems[p].prompt, f"{seed}:{i}")
        caps = [c for c in (asked.cap, cap) if c is not None]
        run = world.run(p, shuffled(pool, p, rng))
        plan = asked.routed.strategy.plan(run.root, Random(f"{seed}:{i}"))
        out = replay(plan, run.root, run.script, world.bindings, cap=min(caps, default=None))
        control.tell(asked, out.cost)
        correct[i], cost[i], cut[i] = grade(run, out.choice), out.cost, out.ended == "cap"
        tokens[i], ticks[i] = generated(out.usage), out.ticks
        used.append(asked.routed.arm)
    return Served(order, correct, cost, tokens, ticks, cut, tuple(used))


def requests(pool: Recorded, rng: np.random.Generator) -> Ints:
    """The problems of the requests: as many passes as make enough, and no more than there are draws."""
    count = len(pool.problems)
    most = min(int(drawn.counts.min()) for drawn in pool.drawn)
    passes = max(1, min(-(-REQUESTS // count), most))
    return np.concatenate([rng.permutation(count) for _ in range(passes)])


def shuffled(pool: Recorded, problem: int, rng: np.random.Generator) -> Ordering:
    """An ordering of a problem's draws of its own, made as they are asked for."""

    def order(number: int) -> Sequence[int]:
        start = pool.drawn[number].start
        found: list[int] = rng.permutation(int(start[problem + 1] - start[problem])).tolist()
        return found

    return order


# ---------------------------------------------------------------- figures


def evaluate_policy(
    pool: Recorded,
    policy: Policy,
    *,
    budget: float | None = None,
    controlled: bool = True,
    cap: int | None = None,
    probe_tokens: int = 0,
    seed: int = 0,
    tell: Tell | None = None,
) -> dict[str, Any]:
    """The figures of a policy on a pool.

    Parameters
    ----------
    budget
        Mean parts a prompt; None is the budget that the policy was made for.
    controlled
        Whether the live controller holds the budget.

    Raises
    ------
    InputError
        When the pool lacks a model of the policy, or cannot know what its arms do.
    BudgetError
        Below the policy's cheapest setting.
    """
    policy, replaced = unstated(pool, policy)
    part, notes = _part(pool, policy, None if controlled else Uncontrolled(policy, budget).reached, probe_tokens)
    held = made_for(policy) if budget is None else budget
    control = Controller(policy, held) if controlled else Uncontrolled(policy, budget)
    found = stream(part, policy, control, probe_tokens=probe_tokens, cap=cap, seed=seed, tell=tell)
    caps = [c for c in (policy.cap, cap) if c is not None]
    return {
        "format": FORMAT,
        "pool": pool.dataset,
        "subject": "policy",
        "controller": "on" if controlled else "off",
        "unit": policy.unit,
        "prompts": len(part.problems),
        "requests": len(found.cost),
        "budget": held,
        **_figures(found, part, policy.unit, min(caps, default=None), seed),
        **_account(found.cost, held),
        "bound": control.bound / held if isinstance(control, Controller) else None,
        "probe_tokens": probe_tokens,
        "notes": [*replaced, *notes, *_seen(pool, policy), *unlike(policy, [p.prompt for p in part.problems])],
    }


def _part(
    pool: Recorded, policy: Policy, arms: Sequence[str] | None, probe_tokens: int
) -> tuple[Recorded, tuple[str, ...]]:
    """The part of a pool that some arms of a policy (all: None) can serve, and what people should know of it."""
    of = serving(pool, policy)
    strategies = [policy.strategies[name] for name in arms or policy.arms]
    part, notes = suited(of, strategies)
    pricing = Pricing(policy.unit, probe_tokens)
    for strategy in strategies:
        check(part, strategy, pricing)
    return part, tuple(
        dict.fromkeys((*pool.notes, *notes, *Recording(part, unit=policy.unit).notes(bool(policy.scorers))))
    )


def _figures(found: Served, pool: Recorded, unit: str, cap: float | None, seed: int) -> dict[str, Any]:
    """What a stream gave and took; intervals over prompts, whose requests are not independent evidence."""
    count = np.bincount(found.problem, minlength=len(pool.problems))
    over, known = resample(["all"] * len(count), seed=seed), timed(pool)

    def by_prompt(values: Floats) -> Floats:
        return np.asarray(np.bincount(found.problem, values, minlength=len(count)) / count)

    return {
        "accuracy": as_dict(over.mean(by_prompt(found.correct))),
        "cost": cost_of(over, by_prompt(found.cost), found.cost, unit, cap),
        "tokens": {"mean": float(found.tokens.mean())} if known else None,
        "sequential_tokens": {"mean": float(found.ticks.mean())} if known else None,
        "cut": float(found.cut.mean()),
        "routed": {arm: found.arm.count(arm) / len(found.arm) for arm in sorted(set(found.arm))},
    }


def _account(cost: Floats, held: float) -> dict[str, float]:
    """How far the mean is over the budget, and the most that total spend ever was, in mean budgets."""
    ahead = cost.cumsum() - held * np.arange(1, len(cost) + 1)
    return {"overshoot": float(cost.mean() / held - 1.0), "worst_overshoot": max(0.0, float(ahead.max() / held))}


def serving(pool: Recorded, policy: Policy) -> Recorded:
    """The pool with the sizes of models that only the policy knows; a model that it lacks is an error."""
    wanted, have = (*policy.models, *policy.scorers), Recording(pool, unit="calls")
    missing = [name for name in policy.models if name not in have.models]
    missing += [name for name in policy.scorers if name != SCORER or name not in have.scorers]
    if missing:
        raise InputError(
            f"the policy asks {', '.join(wanted)}, and the pool {pool.dataset} has {', '.join(have.models)}"
            f"{' and scores' if have.scorers else ''}: it lacks {', '.join(missing)}; give a pool that has them, or "
            "make a policy from this one: autotts optimize --pool"
        )
    return replace(pool, drawn=tuple(replace(d, family=_sized(d.family, policy)) for d in pool.drawn))


def unstated(pool: Recorded, policy: Policy) -> tuple[Policy, list[str]]:
    """The policy with what this pool recorded, where its own pool recorded no temperature or top-p; and notes of it.

    What the text of such an arm says is a default, and tells nothing of the draws that it was chosen on.
    """
    texts, notes = {}, dict[str, None]()
    for name, strategy in policy.strategies.items():
        asked, changes = sorted(set(roles(strategy).values())), dict[str, Any]()
        for knob, words in _SETTINGS.items():
            made = {getattr(drawn.family, knob) for role in asked for drawn in pool.roles.get(role, ())}
            if len(made) != 1 or None in made or not all(_unrecorded(policy, role, knob) for role in asked):
                continue
            (value,) = made
            if value != getattr(strategy, knob):
                changes[knob] = value
                told = f"{', '.join(asked)}: the {words} was not recorded where the policy was made"
                notes[f"{told}; it is played at {value:g}, which this pool recorded"] = None
        if changes:
            texts[name] = show(replace(strategy, **changes))  # type: ignore[type-var]
    if not texts:
        return policy, []
    arms = {k: v.model_copy(update={"arm": texts[k]}) if k in texts else v for k, v in policy.arms.items()}
    # Read again from its text: a copy would keep the strategies of the old arms.
    return Policy.loads(policy.model_copy(update={"arms": arms}).dumps()), list(notes)


def _unrecorded(policy: Policy, role: str, knob: str) -> bool:
    """Whether a model of a policy is one of a pool that recorded no such setting of it."""
    binding = policy.models[role].binding if role in policy.models else {}
    return binding.get("engine") == "recorded" and knob not in binding


def _sized(family: Family, policy: Policy) -> Family:
    """A family with its parameters; those of the policy's card where the pool has none."""
    if family.role not in policy.models or family.parameters or family.active_parameters:
        return family
    card = policy.models[family.role].card
    known = {
        name: int(card[name]) for name in ("parameters", "active_parameters") if isinstance(card.get(name), int | float)
    }
    return replace(family, **known)  # type: ignore[arg-type]


def _seen(pool: Recorded, policy: Policy) -> Iterator[str]:
    """Whether these are the prompts that the policy was made from."""
    if policy.task.prompts and policy.task.prompts == digest(pool.problems):
        yield "these are the prompts that the policy was made from: its figures on others are lower"
