"""The routes of the server, and the scope in which it answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request as Asking
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from autotts.serve.answering import Completions
from autotts.serve.request import CHAT, TEXT
from autotts.serve.service import Service, names
from autotts.worlds.catalogue import session


def app_of(service: Service) -> Starlette:
    """The ASGI application of a service."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with session(service.world):
            yield

    async def models(_: Asking) -> Response:
        return JSONResponse({"object": "list", "data": _listed(service)})

    async def health(_: Asking) -> Response:
        return JSONResponse({"status": "ok"})

    routes = [
        Route("/v1/chat/completions", Completions(service, CHAT), methods=["POST"]),
        Route("/v1/completions", Completions(service, TEXT), methods=["POST"]),
        Route("/v1/models", models),
        Route("/health", health),
    ]
    return Starlette(routes=routes, lifespan=lifespan)


def _listed(service: Service) -> list[dict[str, Any]]:
    return [{"id": name, "object": "model", "created": 0, "owned_by": "autotts"} for name in names(service.policy)]
