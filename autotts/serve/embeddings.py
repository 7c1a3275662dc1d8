"""Embeddings, passed on to the backend as they are."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

from autotts.serve.answering import Course, Scope, framed, headers_of, who
from autotts.serve.bounds import LARGE, read_body, read_object
from autotts.serve.passing import refusal
from autotts.serve.refused import Refused
from autotts.serve.reply import Reply
from autotts.serve.sending import Gone, Receive, Send, ending, listen
from autotts.serve.service import PLAIN, Service
from autotts.serve.through import Gathered
from autotts.worlds.servers.fault import Fault

_PATH: Final = "/embeddings"
_OTHER: Final = "embeddings"  # what metrics call a model that the policy does not name: clients may name many


class Embeddings:
    """The ASGI application of /v1/embeddings: no arm, no budget, the same keys and the same gate."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""

        async def work(reply: Reply, course: Course) -> None:
            await self._pass(headers_of(scope), receive, reply, course)

        await framed(self._service, "embeddings", send, work)

    async def _pass(self, headers: dict[str, str], receive: Receive, reply: Reply, course: Course) -> None:
        service = self._service
        client = who(service, headers)
        course.client = client.name
        raw = await read_body(receive, headers, service.settings.bounds)
        bounds = service.settings.bounds
        body = read_object(raw, bounds) if len(raw) < LARGE else await asyncio.to_thread(read_object, raw, bounds)
        if "autotts" in body:
            raise Refused(
                400, "autotts: expected none with embeddings, which have no arm and no budget", param="autotts"
            )
        name = body.get("model")
        if not isinstance(name, str) or not name.strip():
            raise Refused(400, "model: expected the name of a model that makes embeddings, found none", param="model")
        role = name.removeprefix(PLAIN)
        role, known = (role, True) if role in service.policy.models else (next(iter(service.policy.models)), False)
        relay = service.relays[role]
        if relay is None:
            raise Refused(404, "the embedded models make no embeddings; serve with --upstream URL or --models FILE")
        if known:
            body = {**body, "model": relay.entries[role].served}
        sink, most = Gathered(), service.settings.deadline
        until = None if most is None else course.since + most
        async with listen(receive) as gone, service.gate.room(client, within=most, hang_up=gone.event) as waited:
            course.waited, course.ended = waited, "failed"
            try:
                ended = await ending(partial(relay.relay, role, _PATH, body, sink), until, gone)
            except Fault as fault:
                raise refusal(fault) from None
        if ended == "hang-up":
            raise Gone("the client hung up")
        if ended == "deadline":
            course.ended = ended
            raise Refused(504, f"the backend did not answer within {most:g} s", code="deadline")
        sink.end()
        if sink.count.usage is not None:
            course.tally.add(role if known else _OTHER, sink.count.usage)
        course.ended = "passed"
        await reply.whole(200, sink.body)
