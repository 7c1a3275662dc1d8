"""One request from its first byte to its last: read, admitted, ruled, answered, told."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from typing import Any, Final

from autotts.errors import AutottsError
from autotts.serve.bounds import read_body, read_object
from autotts.serve.obey import Done, Ruled, block, obey, rule
from autotts.serve.refused import Refused
from autotts.serve.reply import Reply
from autotts.serve.request import Request, read
from autotts.serve.said import ALIVE, Form
from autotts.serve.sending import Gone, Patient, Receive, Send, listen
from autotts.serve.service import Service
from autotts.serve.tally import Tally

Scope = MutableMapping[str, Any]

log: Final = logging.getLogger("autotts.serve")


class Completions:
    """The ASGI application of one endpoint: `CHAT` or `TEXT` (of `autotts.serve.request`)."""

    def __init__(self, service: Service, endpoint: str) -> None:
        self._service = service
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; only what is our own mistake is a 500, and it is logged."""
        gone = asyncio.Event()
        reply = Reply(Patient(send, self._service.settings.patience, gone))
        try:
            await self._answer(headers_of(scope), receive, reply)
        except Gone:
            pass
        except Refused as refused:
            await _refuse(reply, refused)
        except AutottsError as error:
            await _refuse(reply, Refused(502, str(error), code="backend_failed"))
        except Exception:
            log.exception("a request failed by a mistake of this server")
            await _refuse(reply, Refused(500, "this server made a mistake; its log says which", code="internal_error"))

    async def _answer(self, headers: Mapping[str, str], receive: Receive, reply: Reply) -> None:
        service, since = self._service, time.monotonic()
        raw = await read_body(receive, headers, service.settings.bounds)
        request = read(self._endpoint, read_object(raw, service.settings.bounds), headers)
        ruled = rule(service, request, since)
        async with listen(receive) as gone:
            await self._plan(request, ruled, reply, gone)

    async def _plan(self, request: Request, ruled: Ruled, reply: Reply, gone: asyncio.Event) -> None:
        service, tally = self._service, Tally(self._service.world)
        work = asyncio.ensure_future(obey(service, ruled, tally, gone))
        form = Form(self._endpoint, request.body["model"])
        try:
            if request.stream:
                await self._stream(request, ruled, reply, form, work, tally)
            else:
                done = await work
                body = form.whole(done.text, done.block, done.spent)
                await reply.whole(200, body, done.block.headers(done.spent))
        finally:
            if not work.done():  # the client is gone: the plan ends with its bill
                gone.set()
                await asyncio.wait([work])
            if not work.cancelled():
                work.exception()

    async def _stream(
        self, request: Request, ruled: Ruled, reply: Reply, form: Form, work: asyncio.Future[Done], tally: Tally
    ) -> None:
        """Signs of life while a plan runs, then its answer."""
        service, progress = self._service, request.own.progress
        settings = service.settings
        if not progress:
            await asyncio.wait([work], timeout=settings.head)
        if not work.done() or work.exception() is None:
            await reply.begin(block(service, ruled).headers())
            await reply.piece(form.begin() or ALIVE)
        said = -1
        while not work.done():
            if progress and tally.draws != said:
                said = tally.draws
                await reply.piece(form.progress(tally.progress()))
            await asyncio.wait([work], timeout=settings.step if progress else settings.alive)
            if not work.done() and not progress:
                await reply.piece(ALIVE)
        done = await work
        await reply.end(form.end(done.text, done.block, done.spent, request.tell_usage))


def headers_of(scope: Scope) -> dict[str, str]:
    """The headers of a request, by names in lower case; the last of each name."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


async def _refuse(reply: Reply, refused: Refused) -> None:
    with suppress(Gone):
        await reply.refuse(refused)
