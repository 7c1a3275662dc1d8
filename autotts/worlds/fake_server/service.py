"""Answers the requests of a fake server: finds the endpoint, draws, keeps the pace, injects faults, counts."""

from __future__ import annotations

import asyncio
import hmac
import json
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, Final

from autotts.worlds.fake_server import counts
from autotts.worlds.fake_server.answers import Answer, model_list, usage
from autotts.worlds.fake_server.cache import PrefixCache
from autotts.worlds.fake_server.counts import Book, Record
from autotts.worlds.fake_server.drawing import draw
from autotts.worlds.fake_server.embedding import vectors
from autotts.worlds.fake_server.faults import HARMLESS, Faults
from autotts.worlds.fake_server.forms import Reading
from autotts.worlds.fake_server.metrics import metrics
from autotts.worlds.fake_server.models import FakeModel, echo, number
from autotts.worlds.fake_server.pace import Allowance, Pace, Places
from autotts.worlds.fake_server.refused import Refused
from autotts.worlds.fake_server.sending import Sending, Sleep, reply
from autotts.worlds.fake_server.spoiling import break_before, spoilt
from autotts.worlds.fake_server.wire import Connection, Request

VERSION: Final = "0.32.0"  # of vLLM, whose forms these are


@dataclass
class Service:
    """The endpoints of one server; its `break_down` is called for the faults that are of the whole server."""

    reading: Reading
    book: Book
    faults: Faults
    pace: Pace
    cache: PrefixCache
    key: str | None
    reasoning: str
    seed: int
    sleep: Sleep
    clock: Callable[[], float]
    break_down: Callable[[bool], None]

    def __post_init__(self) -> None:
        self.places = Places(self.pace)
        self._sending = Sending(self.pace, self.faults, self.places, self.sleep, self.clock)
        self._requests = Allowance(self.pace.requests_per_minute, self.clock)
        self._tokens = Allowance(self.pace.tokens_per_minute, self.clock)

    async def __call__(self, conn: Connection, request: Request) -> None:
        """Answer one request."""
        try:
            await self._route(conn, request)
        except Refused as error:
            conn.answer(error.status, error.form, error.headers)

    async def _route(self, conn: Connection, request: Request) -> None:
        path, openai = request.path.rstrip("/"), self.reading.openai
        if path.startswith("/v1") or openai:
            self._check_key(request)
        if request.method == "POST":
            if path in ("/v1/chat/completions", "/v1/completions"):
                return await self._recorded(conn, request, self._complete)
            if path == "/v1/embeddings":
                return await self._recorded(conn, request, self._mark)
            if path in ("/pooling", "/classify") and not openai and "pooling" not in self.reading.without:
                return await self._recorded(conn, request, self._mark)
            if path == "/tokenize" and not openai and "tokenize" not in self.reading.without:
                return conn.answer(200, self._tokenized(_form(request)))
            if path == "/detokenize" and not openai:
                tokens = self.reading.path(_form(request).get("tokens")).tokens
                return conn.answer(200, {"prompt": "".join(tokens)})
        elif request.method == "GET":
            if path == "/v1/models":
                return conn.answer(200, model_list(self.reading.models, openai=openai))
            if path == "/health" and not openai:
                return conn.whole(200, b"", "text/plain")
            if path == "/version" and not openai:
                return conn.answer(200, {"version": VERSION})
            if path == "/metrics" and not openai:
                words = metrics(self.book.counts(), self.places.running, self.places.waiting)
                return conn.whole(200, words.encode(), "text/plain; version=0.0.4; charset=utf-8")
        raise Refused(404, "Not Found", kind="NotFoundError")

    def _check_key(self, request: Request) -> None:
        if self.key is None:
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.encode(), self.key.encode()):
            words = "Incorrect API key provided." if self.reading.openai else "Unauthorized"
            raise Refused(401, words, kind="invalid_request_error", code="invalid_api_key")

    def _tokenized(self, form: Mapping[str, Any]) -> dict[str, Any]:
        model = self.reading.model(form)
        if "messages" in form:
            path = self.reading.chat(form, model)
        else:
            path = self.reading.path(form.get("prompt"))
        answer: dict[str, Any] = {"count": len(path.tokens), "max_model_len": model.context}
        answer["tokens"] = self.reading.vocabulary.ids(path.tokens)
        answer["token_strs"] = list(path.tokens) if form.get("return_token_strs") else None
        return answer

    # ------------------------------------------------------------------ requests that ask a model

    async def _recorded(
        self,
        conn: Connection,
        request: Request,
        work: Callable[[Connection, dict[str, Any], Record], Awaitable[None]],
    ) -> None:
        """Do the work of one request under its record; a fault that comes before any work is instead of it."""
        record = self.book.open(request.path.rstrip("/"))
        record.asked = blake2b(request.body, digest_size=16).hexdigest()
        outcome = counts.BROKEN
        try:
            form = _form(request)
            record.model = self.reading.model(form).name
            record.fault = self.faults.always(form) or self.faults.of(record.number)
            if record.fault in ("refused", "restart"):
                conn.reset()
                self.break_down(record.fault == "restart")
            elif record.fault is None or not break_before(conn, record.fault, self.faults):
                await work(conn, form, record)
                if record.fault is None or record.fault in HARMLESS:
                    outcome = counts.FINISHED
        except Refused:
            outcome = counts.REFUSED
            raise
        except asyncio.CancelledError:
            if record.fault in (None, *HARMLESS) and not conn.was_reset:
                outcome = counts.CANCELLED
            raise
        finally:
            record.ended = self.clock()
            self.book.close(record, outcome)

    async def _complete(self, conn: Connection, form: dict[str, Any], record: Record) -> None:
        asked = self.reading.asked(form, chat="/chat/" in record.path)
        prompt = sum(len(path.tokens) for path in asked.paths)
        self._allow(prompt + asked.n * asked.most)
        await self.places.enter()
        try:
            record.id = f"{'chatcmpl' if asked.chat else 'cmpl'}-{self.seed:x}-{record.number}"
            record.seed = number(self.seed, record.number) >> 33 if asked.seed is None else asked.seed
            record.prompt = prompt
            record.cached = sum(self.cache.read(asked.model.name, path.tokens) for path in asked.paths)
            if record.fault == "hang":
                await asyncio.Event().wait()
            cached = record.cached if self.cache.block else None
            if record.fault == "other_model":
                asked = replace(asked, model=FakeModel("another-model", echo("This is another model.")))
            # Choice i of a prompt has the seed + i, as in vLLM.
            drawn = [draw(asked, path, record.seed + i) for path in asked.paths for i in range(asked.n)]
            answer = Answer(
                asked,
                record.id,
                drawn,
                self.reading.vocabulary,
                self.reasoning,
                cached,
                int(time.time()),
                tells="usage" not in self.reading.without,
                reasons="stop_reason" not in self.reading.without,
            )
            await self._sending.send(conn, answer, record)
        finally:
            self.places.leave()

    def _allow(self, tokens: int) -> None:
        wait = max(self._requests.short(1), self._tokens.short(tokens))
        if wait:
            raise Refused(429, "Rate limit reached", kind="rate_limit_error", code="rate_limit_exceeded", wait=wait)
        self._requests.take(1)
        self._tokens.take(tokens)

    # ------------------------------------------------------------------ scores

    async def _mark(self, conn: Connection, form: dict[str, Any], record: Record) -> None:
        """What a request wants of its texts: all rows of scores at /pooling, the last at /classify, or vectors."""
        model = self.reading.model(form)
        if not (model.embeds if record.path == "/v1/embeddings" else model.marks):
            api = "Embeddings" if record.path == "/v1/embeddings" else "Pooling"
            raise Refused(400, f"The model `{model.name}` does not support the {api} API")
        texts = self._inputs(form, model)
        self._allow(sum(map(len, texts)))
        await self.places.enter()
        try:
            record.prompt = sum(map(len, texts))
            record.id = f"pool-{self.seed:x}-{record.number}"
            if record.fault in ("hang", "hang_midway"):
                await asyncio.Event().wait()
            await self.sleep(self.pace.first)
            if record.fault == "reset_midway":
                conn.reset()
                return
            name = "another-model" if record.fault == "other_model" else model.name
            answer: dict[str, Any] = {"id": record.id, "object": "list", "created": 0, "model": name}
            answer["data"] = _marked(model, texts, form, record.path)
            answer["usage"] = usage(record.prompt, 0)
            reply(conn, spoilt(record.fault, answer, "data"), record.fault)
        finally:
            self.places.leave()

    def _inputs(self, form: Mapping[str, Any], model: FakeModel) -> list[Sequence[str]]:
        """The tokens of the texts to score."""
        if "messages" in form:
            return [self.reading.chat({"add_generation_prompt": False, **form}, model).tokens]
        given = form.get("input")
        several = isinstance(given, list) and bool(given) and not isinstance(given[0], int)
        return [self.reading.path(one).tokens for one in (given if several and given else [given])]


def _form(request: Request) -> dict[str, Any]:
    """The JSON of a request's body."""
    try:
        form = json.loads(request.body)
    except ValueError as error:
        raise Refused(400, f"the body is not JSON: {error}") from None
    if not isinstance(form, dict):
        raise Refused(400, "expected a JSON object")
    return form


def _marked(
    model: FakeModel, texts: Sequence[Sequence[str]], form: Mapping[str, Any], path: str
) -> list[dict[str, Any]]:
    """The `data` of an answer: for each text its vector, its class or the rows of its scores."""
    if path == "/v1/embeddings":
        return vectors(texts, model.embeds, form)
    assert model.marks is not None
    rows = [model.marks(text) for text in texts]
    if path == "/classify":
        return [_classified(i, row[-1], form) for i, row in enumerate(rows) if row]
    return [
        {"index": i, "object": "pooling", "data": [_activated(one, form) for one in row]} for i, row in enumerate(rows)
    ]


def _activated(row: Sequence[float], form: Mapping[str, Any]) -> list[float]:
    """A row of logits, or its probabilities where they are asked for, as they are by default."""
    if form.get("use_activation") is False:
        return list(row)
    if len(row) == 1:
        return [1.0 / (1.0 + math.exp(-row[0]))]
    top = max(row)
    weights = [math.exp(one - top) for one in row]
    return [one / sum(weights) for one in weights]


def _classified(index: int, row: Sequence[float], form: Mapping[str, Any]) -> dict[str, Any]:
    values = _activated(row, form)
    label = f"LABEL_{values.index(max(values))}"
    return {"index": index, "label": label, "probs": values, "num_classes": len(values)}
