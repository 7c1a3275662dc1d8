"""Embeddings, passed on to the backend as they are."""

from __future__ import annotations

from typing import Final

from autotts.serve.answering import Course, Scope, framed, headers_of, who
from autotts.serve.bounds import read_body, read_object
from autotts.serve.passing import refusal
from autotts.serve.refused import Refused
from autotts.serve.reply import Reply
from autotts.serve.sending import Receive, Send, listen
from autotts.serve.service import PLAIN, Service
from autotts.serve.through import Gathered
from autotts.worlds.servers.fault import Fault

_PATH: Final = "/embeddings"


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
        body = read_object(raw, service.settings.bounds)
        name = str(body.get("model", ""))
        role = name.removeprefix(PLAIN)
        role, known = (role, True) if role in service.policy.models else (next(iter(service.policy.models)), False)
        relay = service.relays[role]
        if relay is None:
            raise Refused(404, "the embedded models make no embeddings; serve with --upstream URL or --models FILE")
        if known:
            body = {**body, "model": relay.entries[role].served}
        sink = Gathered()
        course.ended = "failed"
        async with listen(receive) as gone, service.gate.room(client, hang_up=gone.event) as waited:
            course.waited = waited
            try:
                await relay.relay(role, _PATH, body, sink)
            except Fault as fault:
                raise refusal(fault) from None
        sink.end()
        if sink.count.usage is not None:
            course.tally.add(name, sink.count.usage)
        course.ended = "passed"
        await reply.whole(200, sink.body)
