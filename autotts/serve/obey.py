"""A request obeyed: its arm by the policy and the running budget, its plan run by the engine, what it took told."""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Final

from autotts.core.cost import Usage, parse_amount
from autotts.core.node import Key
from autotts.core.strategy import Strategy
from autotts.engine.live import serve
from autotts.engine.orders import Outcome
from autotts.errors import AutottsError, BackendError, BudgetError, InputError, PlanError
from autotts.policy import routing
from autotts.policy.control import Asked as Granted
from autotts.policy.control import Wish
from autotts.policy.schema import Policy
from autotts.serve.refused import Busy, Refused
from autotts.serve.request import Request
from autotts.serve.said import Block, Spent, Text
from autotts.serve.service import PLAIN, Service, plain, role_of
from autotts.serve.tally import Tally
from autotts.strategies.arms import show
from autotts.strategies.one import One
from autotts.worlds.context import Context
from autotts.worlds.openai.refusals import overflow
from autotts.worlds.servers.fault import Dead

SCARCE: Final = "budget_exhausted"  # the code of a refusal: what is left of a shared budget has no room


@dataclass(frozen=True, slots=True)
class Ruled:
    """A request with the arm that it gets, until it is settled.

    `until` is the moment (`time.monotonic`) at which it is answered with what there is, `cap` the most that it may
    cost, in parts, `short`: since no more is left of a budget that it shares with others. `direct`: a model was asked
    by its own name, so that the client's own sampling holds and nothing is added to its messages. `fallback` says why
    the arm is not the one that the policy chose, and is empty where it is; `failed` is why it was tried in vain.
    """

    request: Request
    policy: Policy
    granted: Granted
    strategy: Strategy
    context: Context
    until: float | None
    cap: int | None
    short: bool = False
    direct: bool = False
    fallback: str = ""
    failed: AutottsError | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """An answer with what stands beside it; `failed`: the arm was tried in vain."""

    text: Text
    block: Block
    spent: Spent
    failed: bool = False


def rule(service: Service, request: Request, since: float) -> Ruled:
    """Choose the arm of a request and set aside what it may cost; the ruling is to be told what it came to.

    Parameters
    ----------
    since
        When it came, by `time.monotonic`: a deadline counts from there.

    Raises
    ------
    Refused
        404 for an unknown model; 400 for a budget that cannot be met, or what the arm cannot honour.
    """
    policy, own = service.policy, request.own
    role = role_of(service, request.name)
    if role and own.effort is not None:
        raise Refused(
            400,
            f"autotts.effort: expected none with {request.name}, which is one draw whatever the effort, found "
            f"{own.effort:g}",
            param="autotts.effort",
        )
    wish = _fitting(service, _wish(service, request))
    token = own.token if own.token is not None else _salt(request)
    seen = routing.look(policy, request.prompt)
    try:
        granted = service.ruling.ask(request.prompt, token, wish, seen)
    except BudgetError as error:
        raise Refused(400, f"autotts.budget: {error}", param="autotts.budget", code="budget_too_small") from None
    strategy, fallback = granted.routed.strategy, granted.routed.fallback
    if role:
        strategy = One(role, *(request.sampling.get(name, 1.0) for name in ("temperature", "top_p")))
    elif request.plainly and not isinstance(strategy, One):
        strategy, fallback = plain(strategy), f"{request.plainly}: one plain draw"
    elif request.media and not isinstance(strategy, One):
        service.ruling.withdraw(granted)
        raise Refused(
            400,
            f"{request.media}: expected texts, since this prompt's arm {granted.routed.arm} chooses among several "
            "answers; ask a model directly (plain:NAME), which passes it through",
            param=request.media.partition(" ")[0],
        )
    deadline = deadline_of(service, request)
    fixed = [each for each in (policy.cap, service.settings.cap) if each is not None]
    caps = fixed if granted.cap is None else [granted.cap, *fixed]
    return Ruled(
        request=request,
        policy=policy,
        granted=granted,
        strategy=strategy,
        context=replace(request.context, salt="" if own.token is not None and request.seed is None else token),
        until=None if deadline is None else since + deadline,
        cap=math.floor(min(caps)) if caps else None,
        short=not granted.tight and granted.cap is not None and granted.cap < min(fixed, default=math.inf),
        direct=bool(role),
        fallback=fallback,
    )


def deadline_of(service: Service, request: Request) -> float | None:
    """Seconds from a request's first byte in which it is to be answered: the less of its own and the server's."""
    found = [each for each in (request.own.deadline, service.settings.deadline) if each is not None]
    return min(found, default=None)


def _salt(request: Request) -> str:
    """What makes the draws of this request its own: its seed, or chance."""
    return secrets.token_hex(8) if request.seed is None else f"seed {request.seed}"


def _wish(service: Service, request: Request) -> Wish:
    own, policy = request.own, service.policy
    if request.name.startswith(PLAIN) and own.effort is not None:
        raise Refused(
            400,
            f"autotts.effort: expected it of a policy's choice, found it beside {request.name}",
            param="autotts.effort",
        )
    dial = {"auto-fast": 0.0, "auto-best": 1.0}.get(request.name, own.effort)
    if own.budget is not None:
        parts = float(amount(policy, own.budget, "autotts.budget"))
        return Wish(effort=parts if dial is None else min(parts, policy.effort(dial)), cap=parts)
    if own.effort not in (None, dial):
        raise Refused(
            400,
            f"autotts.effort: expected that of {request.name} or none, found {own.effort:g}",
            param="autotts.effort",
        )
    return Wish() if dial is None else Wish(effort=policy.effort(dial))


def _fitting(service: Service, wish: Wish) -> Wish:
    """A wish under the server's own cap, so that an arm is taken that fits; the cheapest where none does."""
    cap = service.settings.cap
    if cap is None:
        return wish
    most = max(float(cap), service.policy.frontier[0].expected.cost)
    return replace(wish, cap=most if wish.cap is None else min(most, wish.cap))


def amount(policy: Policy, text: str, what: str) -> int:
    """An amount of a request in parts; another unit than the policy's is refused."""
    try:
        found = parse_amount(text, what)
    except InputError as error:
        raise Refused(400, str(error), param=what) from None
    if found.unit != policy.unit:
        raise Refused(
            400, f"{what}: expected an amount in {policy.unit}, which this policy counts in, found {found}", param=what
        )
    if found.parts < 1:
        raise Refused(400, f"{what}: expected more than nothing, found {found}", param=what)
    return found.parts


# ---------------------------------------------------------------- plans


async def obey(service: Service, ruled: Ruled, tally: Tally, hang_up: asyncio.Event) -> Done:
    """Run a request's plan; where a model or a scorer is down, one plain draw of a model that is there.

    Whatever happens, `tally` has what backends did, and what it cost.

    Raises
    ------
    Refused
        400 where the models cannot read the request; 429 where their servers ask for a pause; 502 and 503 where no
        backend answers it.
    """
    failed = ruled.failed
    for strategy in _tries(ruled):
        before = tally.cost
        try:
            out, states = await _run(service, ruled, strategy, tally, hang_up)
        except (BackendError, PlanError, InputError) as error:
            failed = failed or error
            service.changes.say(f"arm {show(strategy)}", str(error))
            continue
        finally:
            tally.cost = max(before, priced(service, tally.usage))
        tally.cost = before + out.cost
        if out.ended == "cap" and not tally.draws:
            raise _too_dear(ruled)
        if failed and out.choice is None:
            break  # what failed has left no room for an answer
        service.changes.say(f"arm {show(strategy)}", "")
        spent = Spent(dict(tally.usage), tally.cost, tally.draws, tally.cancelled)
        return Done(_text(out, states), _block(service, ruled, strategy, out, failed), spent, failed is not None)
    assert failed is not None
    raise unanswered(service, failed)


def _too_dear(ruled: Ruled) -> Refused:
    """What a client is told whose prompt alone may cost more than its cap: until a backend counts, a token a byte."""
    if not ruled.short:
        why = "this prompt alone may take more than its budget; give it more, or a shorter prompt"
        return Refused(400, f"autotts.budget: {why}", param="autotts.budget", code="budget_too_small")
    return Busy(429, "what is left of the budget has no room for this prompt now; ask again later", 5, code=SCARCE)


def unanswered(service: Service, error: AutottsError) -> Refused:
    """What a client is told where no backend answers: 503 if none is there, 502 if those there are of no use."""
    words = f"no backend answers: {_shown(service, error)}"
    if isinstance(error, Dead):
        return Refused(503, words, code="backend_down", headers={"retry-after": "5"})
    return Refused(502, words, code="backend_failed")


def _shown(service: Service, error: AutottsError) -> str:
    """Why a backend failed, in words for clients.

    Those of a server with keys are others than its operator: for them addresses of backends stand in the log alone.
    """
    words = str(error)
    if not service.keys.clients:
        return words
    head = words.partition(":")[0]
    who = head if head.startswith(("model ", "scorer ")) and len(head) < 100 else "the backend"
    return f"{who} failed; the server's log says why"


def _tries(ruled: Ruled) -> Iterator[Strategy]:
    """The arm, then one plain draw of its model, then of each other model of the policy."""
    if ruled.failed is None:
        yield ruled.strategy
    if ruled.direct:
        return
    one = plain(ruled.strategy)
    if not isinstance(ruled.strategy, One):
        yield one
    for role in ruled.policy.models:
        if role != one.model:
            yield replace(one, model=role)


async def _run(
    service: Service, ruled: Ruled, strategy: Strategy, tally: Tally, hang_up: asyncio.Event
) -> tuple[Outcome, dict[Key, Any]]:
    prompt = ruled.request.prompt
    try:
        node, state = service.world.root(prompt, ruled.context)
    except InputError as error:
        raise Refused(400, str(error), param=field_of(str(error))) from None
    kept: dict[Key, Any] = {}
    out = await serve(
        strategy.plan(node, Random(prompt)),
        node,
        state,
        tally,
        cap=None if ruled.cap is None else max(0, ruled.cap - tally.cost),
        deadline=None if ruled.until is None else max(0.0, ruled.until - time.monotonic()),
        hang_up=hang_up,
        kept=kept,
    )
    choice = out.choice
    if choice is not None and choice.node.failed:
        told = kept.get(choice.node.key)
        why = (told.get("fault") if isinstance(told, dict) else None) or "the draw failed"
        status, wait = (choice.node.signals.get(name) for name in ("status", "wait"))
        if status == 429 or (status == 503 and wait):
            raise Busy(429, why, math.ceil(wait or 1.0), code="backend_busy")
        if status == 503:
            raise Dead(why)
        if status is not None and 400 <= status < 500 and status not in (401, 403, 404, 408):
            over = overflow(why)
            if over is not None:
                raise Refused(400, f"messages: {over.words(1)}", param="messages", code="context_length_exceeded")
            raise Refused(int(status), why, code="backend_refused")
        raise BackendError(why)
    if choice is not None:
        kept[b""] = state  # that of the root, to tell what was added to it
    return out, kept


def _text(out: Outcome, states: Mapping[Key, Any]) -> Text:
    """What a plan's choice says; nothing, cut off, where it was ended before there was any."""
    if out.choice is None:
        return Text("", cut=True)
    node = out.choice.node
    state = states.get(node.key)
    cut = bool(node.signals.get("cut")) or not node.done
    if isinstance(state, dict):
        return Text(state.get("text", ""), state.get("thought", ""), cut)
    if isinstance(state, str):
        return Text(state.removeprefix(str(states[b""])), cut=cut)
    return Text(node.answer or "", cut=cut)


def _block(service: Service, ruled: Ruled, strategy: Strategy, out: Outcome, failed: AutottsError | None) -> Block:
    choice = out.choice
    return replace(
        block(service, replace(ruled, strategy=strategy)),
        ended=out.ended,
        answer=None if choice is None else choice.node.answer,
        confidence=None if choice is None else choice.confidence,
        fallback=f"{_shown(service, failed)[:300]}: one plain draw" if failed else ruled.fallback,
    )


def block(service: Service, ruled: Ruled) -> Block:
    """What is known of a request before it runs."""
    granted, policy = ruled.granted, ruled.policy
    routed = granted.routed
    return Block(
        arm=routed.arm if ruled.strategy is routed.strategy else show(ruled.strategy),
        bin=routed.bin,
        unit=policy.unit,
        policy=policy.digest,
        difficulty=routed.probabilities if len(routed.probabilities) > 1 else {},
        budget=ruled.cap,
        effort=granted.effort,
        left=service.ruling.state.room,
        fallback=ruled.fallback,
        overridden={} if ruled.direct else ruled.request.sampling,
    )


def priced(service: Service, usage: Mapping[str, Usage]) -> int:
    """What tokens cost that no plan has counted, in parts: every prompt in full."""
    total = 0
    for role, used in usage.items():
        prices = service.world.bindings[role].prices
        prompt = used.prompt + used.cached
        total += prices.of_prompt(prompt, prompt) + prices.of_generated(prompt, used.generated + used.cancelled)
    return total


def field_of(message: str) -> str | None:
    """The field that a message begins with, if it begins with one."""
    head, colon, _ = message.partition(":")
    return head if colon and " " not in head else None
