"""Embeddings, passed on to the backend as they are."""

from __future__ import annotations

import asyncio
from typing import Final

from autotts.errors import AutottsError
from autotts.serve.answering import Scope, headers_of, who
from autotts.serve.bounds import read_body, read_object
from autotts.serve.passing import refusal
from autotts.serve.refused import Refused
from autotts.serve.reply import Reply
from autotts.serve.sending import Gone, Patient, Receive, Send, listen
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
        reply = Reply(Patient(send, self._service.settings.patience, asyncio.Event()))
        try:
            await self._pass(headers_of(scope), receive, reply)
        except Gone:
            return
        except Refused as refused:
            await reply.refuse(refused)
        except AutottsError as error:
            await reply.refuse(Refused(502, str(error), code="backend_failed"))

    async def _pass(self, headers: dict[str, str], receive: Receive, reply: Reply) -> None:
        service = self._service
        client = who(service, headers)
        raw = await read_body(receive, headers, service.settings.bounds)
        body = read_object(raw, service.settings.bounds)
        role = str(body.get("model", "")).removeprefix(PLAIN)
        role, known = (role, True) if role in service.policy.models else (next(iter(service.policy.models)), False)
        relay = service.relays[role]
        if relay is None:
            raise Refused(404, "the embedded models make no embeddings; serve with --upstream URL or --models FILE")
        if known:
            body = {**body, "model": relay.entries[role].served}
        sink = Gathered()
        async with listen(receive) as gone, service.gate.room(client, hang_up=gone.event):
            try:
                await relay.relay(role, _PATH, body, sink)
            except Fault as fault:
                raise refusal(fault) from None
        sink.end()
        await reply.whole(200, sink.body)
