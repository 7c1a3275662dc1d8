"""The routes of the server, and the scope in which it answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request as Asking
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from autotts.serve.answering import Completions, Scope, headers_of, who
from autotts.serve.embeddings import Embeddings
from autotts.serve.metrics import CONTENT_TYPE
from autotts.serve.ready import Ready
from autotts.serve.refused import Refused
from autotts.serve.request import CHAT, TEXT
from autotts.serve.sending import Message, Receive, Send
from autotts.serve.service import Service


class Front:
    """The ASGI application: what is asked most goes to its endpoint at once, all else through Starlette's routes.

    That saves a tenth of a millisecond a request, of the one that passing through may cost.
    """

    def __init__(self, app: Starlette, endpoints: Mapping[str, Completions]) -> None:
        self._app = app
        self._endpoints = endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or live through the server's life."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, partial(_tell, send))
            return
        endpoint = self._endpoints.get(scope.get("path", "")) if scope.get("method") == "POST" else None
        await (endpoint or self._app)(scope, receive, send)


async def _tell(send: Send, message: Message) -> None:
    """Say how starting and ending went, without the trace of what failed: who runs the server says it in words."""
    await send({name: value for name, value in message.items() if name != "message"})


def app_of(service: Service, ready: Ready, living: Callable[[], AbstractAsyncContextManager[None]]) -> Front:
    """The ASGI application of a service; the scope of `living` is open while it answers."""

    async def models(asking: Asking) -> Response:
        who(service, headers_of(asking.scope))
        return JSONResponse({"object": "list", "data": _listed(service)})

    async def model(asking: Asking) -> Response:
        who(service, headers_of(asking.scope))
        name = asking.path_params["name"]
        found = [one for one in _listed(service) if one["id"] == name]
        if not found:
            raise Refused(
                404, f"model: expected one of {', '.join(service.names)}, found {name[:80]!r}", code="model_not_found"
            )
        return JSONResponse(found[0])

    async def health(_: Asking) -> Response:
        return JSONResponse({"status": "ok"})

    async def is_ready(_: Asking) -> Response:
        problems = ready.problems
        if problems:
            return JSONResponse({"status": "not ready", "problems": problems}, 503)
        return JSONResponse({"status": "ready"})

    async def metrics(asking: Asking) -> Response:
        if not who(service, headers_of(asking.scope)).admin:
            raise Refused(403, "metrics: expected a key of a client with admin = true, found another's")
        return Response(service.metrics.text(), media_type=CONTENT_TYPE)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with living():
            yield

    endpoints = {"/v1/chat/completions": Completions(service, CHAT), "/v1/completions": Completions(service, TEXT)}
    routes = [
        *(Route(path, endpoint, methods=["POST"]) for path, endpoint in endpoints.items()),
        Route("/v1/embeddings", Embeddings(service), methods=["POST"]),
        Route("/v1/models", models),
        Route("/v1/models/{name:path}", model),
        Route("/health", health),
        Route("/ready", is_ready),
        Route("/metrics", metrics),
    ]
    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers={Refused: _refused, HTTPException: _unknown})
    app.router.redirect_slashes = False
    return Front(app, endpoints)


def _listed(service: Service) -> list[dict[str, Any]]:
    same: Mapping[str, Any] = {"object": "model", "created": service.since, "owned_by": "autotts"}
    return [{"id": name, **same} for name in service.names]


async def _refused(_: Asking, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return Response(error.body(), error.status, dict(error.headers), "application/json")


async def _unknown(asking: Asking, error: Exception) -> Response:
    """No such address, or another method than it takes."""
    assert isinstance(error, HTTPException)
    what = f"{asking.method} {asking.url.path[:200]}"
    if error.status_code == 405:
        words = f"expected {(error.headers or {}).get('Allow', 'another method')}, found {what}"
    else:
        words = f"expected an address such as POST /v1/chat/completions or GET /v1/models, found {what}"
    found = Refused(error.status_code, words, headers=error.headers)
    return Response(found.body(), found.status, dict(found.headers), "application/json")
