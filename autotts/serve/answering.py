"""One request from its first byte to its last: read, admitted, ruled, answered, told."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from autotts.errors import AutottsError, StoreError
from autotts.policy.control import Ruling
from autotts.serve.bounds import LARGE, read_body, read_object
from autotts.serve.keys import Client
from autotts.serve.log import request as log_request
from autotts.serve.metrics import Told
from autotts.serve.obey import SCARCE, Done, Ruled, block, deadline_of, obey, rule, unanswered
from autotts.serve.passing import Passage, carry, passage
from autotts.serve.purses import Exhausted
from autotts.serve.refused import Busy, Refused
from autotts.serve.reply import Reply
from autotts.serve.request import Request, read
from autotts.serve.said import ALIVE, Block, Form
from autotts.serve.sending import Gone, HangUp, Patient, Receive, Send, listen
from autotts.serve.service import Service
from autotts.serve.tally import Tally

Scope = MutableMapping[str, Any]

log: Final = logging.getLogger("autotts.serve")

# What is set aside of a key's budget for a request without a cap, so that others of the key can run beside it:
_SHARE: Final = 64  # the part of the whole budget,
_AMPLE: Final = 4.0  # or so many times what the arm is expected to cost, where that is more.


_PAUSE: Final = 0.01  # seconds until what others have set aside is looked at again; doubled each time
_LONGEST_PAUSE: Final = 0.2
_CUT: Final = 0.1  # the part of that time that is waited for where the answer is only cut shorter


@dataclass(slots=True)
class Course:
    """What has become of a request so far, for metrics and logs; moments are those of `time.monotonic`.

    `again`: it was refused since a budget is short that it shares, and may be asked for again.
    """

    since: float
    tally: Tally
    client: str = ""
    arm: str = ""
    bin: str = ""
    unit: str = ""
    admitted: float = 0.0
    again: bool = False
    waited: float | None = None
    routing: float | None = None
    ended: str = "refused"
    reason: str = ""
    fallback: str = ""


class Completions:
    """The ASGI application of one endpoint: `CHAT` or `TEXT` (of `autotts.serve.request`)."""

    def __init__(self, service: Service, endpoint: str) -> None:
        self._service = service
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""

        async def work(reply: Reply, course: Course) -> None:
            await self._answer(headers_of(scope), receive, reply, course)

        await framed(self._service, self._endpoint, send, work)

    async def _answer(self, headers: Mapping[str, str], receive: Receive, reply: Reply, course: Course) -> None:
        client = who(self._service, headers)
        course.client = client.name
        with self._service.room(headers):
            await self._admit(client, headers, receive, reply, course)

    async def _admit(
        self, client: Client, headers: Mapping[str, str], receive: Receive, reply: Reply, course: Course
    ) -> None:
        service = self._service
        raw = await read_body(receive, headers, service.settings.bounds)

        def reading() -> Request:
            return read(self._endpoint, read_object(raw, service.settings.bounds), headers)

        request = reading() if len(raw) < LARGE else await asyncio.to_thread(reading)
        async with (
            listen(receive) as gone,
            service.gate.room(client, within=deadline_of(service, request), hang_up=gone.event) as waited,
        ):
            course.waited = waited
            course.admitted, pause = time.monotonic(), _PAUSE
            while not await self._obeyed(client, request, reply, gone, course):
                # What is left is set aside for requests that run: they give back what they do not need.
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await gone.event.wait()
                pause = min(2 * pause, _LONGEST_PAUSE)

    async def _obeyed(self, client: Client, request: Request, reply: Reply, gone: HangUp, course: Course) -> bool:
        """Rule a request and answer it; False where there may be more room for it in its budget in a moment."""
        service, begun = self._service, time.monotonic()
        ruling = service.ruling
        ruled = rule(service, request, course.since)
        course.routing = time.monotonic() - begun
        if ruled.granted.scarce and self._may_wait(ruling, course, _CUT):
            ruling.withdraw(ruled.granted)
            return False
        course.ended = "failed"
        course.bin, course.unit = ruled.granted.routed.bin, ruled.policy.unit
        try:
            async with self._paid(ruling, client, ruled, course) as paid:
                service.saw(request, ruled.granted.routed)
                await self._work(paid, reply, gone, course)
        except Busy as busy:
            if busy.code != SCARCE or not course.again or gone.event.is_set():
                raise
            return False
        return True

    def _may_wait(self, ruling: Ruling, course: Course, part: float) -> bool:
        """Whether others run that may leave more of the budget, and there is time to wait for it."""
        waited = time.monotonic() - course.admitted
        return ruling.state.running > 1 and waited < part * self._service.settings.scarce

    async def _work(self, ruled: Ruled, reply: Reply, gone: HangUp, course: Course) -> None:
        """Have the backend answer itself, or run the plan; the plan where the backend is not there."""
        service = self._service
        told = block(service, ruled)
        # Who asks a model directly samples as it likes: so many arms would fill the metrics.
        course.arm, course.fallback = ruled.request.name if ruled.direct else told.arm, told.fallback
        way = passage(service, ruled)
        if way is not None:
            left = await self._pass(way, ruled, reply, gone, course, told)
            if left is None:
                self._keep(ruled, None, reply, course)
                return
            ruled = left
        done = await self._plan(ruled, reply, gone, course.tally)
        course.ended = done.block.ended
        course.arm = course.arm if ruled.direct else done.block.arm
        course.fallback = "the backend failed" if ruled.failed or done.failed else done.block.fallback
        self._keep(ruled, done, reply, course)

    async def _pass(
        self, way: Passage, ruled: Ruled, reply: Reply, gone: HangUp, course: Course, told: Block
    ) -> Ruled | None:
        """Let the backend answer; what is left to do where it cannot."""
        try:
            course.ended = await carry(self._service, ruled, way, reply, gone, course.tally, told)
        except AutottsError as error:
            if isinstance(error, Refused | Gone) or reply.status or ruled.direct or ruled.request.plainly:
                raise
            return replace(ruled, failed=error)
        return None

    def _keep(self, ruled: Ruled, done: Done | None, reply: Reply, course: Course) -> None:
        """Keep the prompt and what became of it, where that was asked for; a passed answer is not read."""
        if self._service.kept is not None and ruled.request.prompt:
            row: dict[str, Any] = {"id": reply.id, "prompt": ruled.request.prompt, "arm": course.arm, "bin": course.bin}
            row["client"] = course.client
            row |= {
                "ended": course.ended,
                "cost": course.tally.cost,
                "unit": course.unit,
                "policy": ruled.policy.digest,
            }
            if done is not None:
                row |= {"answer": done.block.answer, "confidence": done.block.confidence, "text": done.text.text}
            self._service.kept.keep(row)

    async def _plan(self, ruled: Ruled, reply: Reply, gone: HangUp, tally: Tally) -> Done:
        request = ruled.request
        work = asyncio.ensure_future(obey(self._service, ruled, tally, gone.event))
        form = Form(self._endpoint, request.body["model"])
        try:
            if request.stream:
                return await self._stream(ruled, reply, form, work, tally)
            done = await work
            body = form.whole(done.text, done.block, done.spent)
            await reply.whole(200, body, done.block.headers(done.spent))
            return done
        finally:
            if not work.done():  # the client is gone: the plan ends with its bill
                gone.happened()
                await asyncio.wait([work])
            if not work.cancelled():
                work.exception()

    async def _stream(self, ruled: Ruled, reply: Reply, form: Form, work: asyncio.Future[Done], tally: Tally) -> Done:
        """Signs of life while a plan runs, then its answer."""
        service, request = self._service, ruled.request
        settings, progress = service.settings, request.own.progress
        if not progress:
            await asyncio.wait([work], timeout=settings.head)
        if not work.done() or work.exception() is None:
            await reply.begin(block(service, ruled).headers())
            await reply.piece(form.begin() or ALIVE)
        shown = -1
        while not work.done():
            if progress and tally.draws + tally.ended != shown:
                shown = tally.draws + tally.ended
                await reply.piece(form.progress(tally.progress()))
            await asyncio.wait([work], timeout=settings.step if progress else settings.alive)
            if not work.done() and not progress:
                await reply.piece(ALIVE)
        done = await work
        await reply.end(form.end(done.text, done.block, done.spent, request.tell_usage))
        return done

    @asynccontextmanager
    async def _paid(self, ruling: Ruling, client: Client, ruled: Ruled, course: Course) -> AsyncIterator[Ruled]:
        """The scope in which a request may spend; the running budget and the client's are told what it came to."""
        service, held, own = self._service, None, False
        try:
            if client.budget is not None:
                limit, least = client.budget.parts, math.ceil(ruled.policy.frontier[0].expected.cost)
                most = max(limit // _SHARE, math.ceil(_AMPLE * ruled.granted.forecast))
                most = min(limit, most) if ruled.cap is None else ruled.cap
                try:
                    held = await service.purses.reserve(client.name, limit, client.per, most, least=least)
                except StoreError as error:
                    service.changes.say("clients' budgets", str(error))
                    raise Refused(
                        503, "the budget of this key cannot be looked up now", headers={"retry-after": "5"}
                    ) from None
                except Exhausted as error:
                    course.ended = "refused"
                    wait = 3600 if error.resets_in is None else math.ceil(error.resets_in)
                    raise Busy(429, str(error), wait, code="insufficient_quota") from None
                if ruled.cap is None or held.parts < ruled.cap:
                    ruled = replace(ruled, cap=held.parts, short=True)
            yield ruled
        except Refused as refused:
            course.again = refused.code == SCARCE and self._may_wait(ruling, course, 1.0)
            # The client's fault, or asked again in a moment: else the account would be filled for nothing.
            own = course.again or 400 <= refused.status < 429
            raise
        finally:
            if own and course.tally.cost == 0:
                ruling.withdraw(ruled.granted)
            else:
                typical = not (ruled.direct or course.fallback) and course.ended in ("returned", "cap")
                ruling.tell(ruled.granted, course.tally.cost, typical=typical)
            if held is not None:
                held.settle(course.tally.cost)


async def framed(service: Service, endpoint: str, send: Send, work: Callable[[Reply, Course], Awaitable[None]]) -> None:
    """Answer one request by some work, and tell of it; only what is our own mistake is a 500, and it is logged."""
    course = Course(time.monotonic(), Tally(service.world, service.guesses))
    reply = Reply(Patient(send, service.settings.patience, asyncio.Event()))
    service.metrics.begun()
    try:
        await work(reply, course)
    except Gone:
        course.ended = "hang-up"
    except Refused as refused:
        course.reason = refused.code or ""
        if refused.status < 500:
            course.ended = "refused"
        await _refuse(reply, refused)
    except AutottsError as error:
        course.ended = "failed"
        await _refuse(reply, unanswered(service, error))
    except Exception:
        course.ended = "failed"
        log.exception("a request failed by a mistake of this server")
        await _refuse(reply, Refused(500, "this server made a mistake; its log says which", code="internal_error"))
    finally:
        told = _told(endpoint, course, reply)
        service.metrics.ended(told)
        log_request(told)


def who(service: Service, headers: Mapping[str, str]) -> Client:
    """Whose key a request shows.

    Raises
    ------
    Refused
        401 for no key or a wrong one.
    """
    client = service.keys.who(headers)
    if client is None:
        raise Refused(
            401,
            "expected a key that this server knows, as `Authorization: Bearer KEY`, found another or none",
            code="invalid_api_key",
            headers={"www-authenticate": "Bearer"},
        )
    return client


def headers_of(scope: Scope) -> dict[str, str]:
    """The headers of a request, by names in lower case; the last of each name."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


def _told(endpoint: str, course: Course, reply: Reply) -> Told:
    tally = course.tally
    return Told(
        endpoint=endpoint,
        status=reply.status,
        seconds=time.monotonic() - course.since,
        ended=course.ended,
        client=course.client,
        id=reply.id,
        arm=course.arm,
        bin=course.bin,
        usage=tally.usage,
        cost=tally.cost,
        unit=course.unit,
        first_byte=None if reply.first is None else reply.first - course.since,
        waited=course.waited,
        routing=course.routing,
        draws=tally.draws,
        cancelled=tally.cancelled,
        fallback=course.fallback,
        reason=course.reason,
    )


async def _refuse(reply: Reply, refused: Refused) -> None:
    with suppress(Gone):
        await reply.refuse(refused)
