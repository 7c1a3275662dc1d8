"""Requests that are wrong, large, odd or half, over a real socket: each is answered in words, and nothing is left."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from autotts.worlds.fake_server import FakeServer
from tests.serve.inside import QUESTION, Inside

CHAT = "/v1/chat/completions"


@pytest.fixture(autouse=True)
def nothing_is_left(served: Inside) -> Iterator[None]:
    yield
    until = time.monotonic() + 10  # a request is told of a moment after its answer
    while served.service.ruling.state.running and time.monotonic() < until:
        time.sleep(0.005)
    assert served.service.gate.running == served.service.ruling.state.running == 0


def said(content: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": content}]


@pytest.mark.parametrize(
    "amount",
    ["0flops", "-5flops", "1e400flops", "nanflops", "infflops", "5tokens", "5", "", "flops", "2E14FLOPS", "1e-9flops"],
)
def test_absurd_budgets(served: Inside, upstream: FakeServer, amount: str) -> None:
    before = upstream.counts.requests
    asked = [{"autotts": {"budget": amount}}, {"model": f"auto@{amount}"}]
    found = [served.chat(**fields) for fields in asked]
    found.append(served.chat({"X-Autotts-Budget": amount}))
    for one in found:
        assert one.status == 400 and "expected" in one.error["message"], one.body
    assert upstream.counts.requests == before


def test_a_budget_beyond_all_measure_is_the_best(served: Inside) -> None:
    assert served.chat(model="auto@1e300flops").data["autotts"]["arm"].startswith("best_of_n")


@pytest.mark.parametrize(
    ("headers", "fields", "names"),
    [
        ({"X-Autotts-Effort": "nan"}, {}, "Effort"),
        ({"X-Autotts-Effort": "2"}, {}, "Effort"),
        ({"X-Autotts-Deadline": "0"}, {}, "Deadline"),
        ({"X-Autotts-Deadline": "soon"}, {}, "Deadline"),
        ({"X-Autotts-Progress": "maybe"}, {}, "Progress"),
        ({"X-Autotts-Bugdet": "2e14flops"}, {}, "bugdet"),
        ({"X-Autotts-Effort": "0.5"}, {"autotts": {"effort": 0.6}}, "autotts.effort"),
        ({}, {"autotts": {"effort": 0.5, "budget": "2e14flops"}}, "autotts.budget"),
        ({}, {"autotts": {"bugdet": 1}}, "autotts.bugdet"),
        ({}, {"model": "auto-fast", "autotts": {"effort": 0.9}}, "autotts.effort"),
        ({}, {"max_tokens": 5, "max_completion_tokens": 6}, "max_tokens"),
        ({}, {"stream_options": {"include_usage": True}}, "stream_options"),
        ({}, {"tool_choice": "required"}, "tool_choice"),
        ({}, {"messages": said("")}, "messages"),
        ({}, {"messages": [{"role": "wizard", "content": "x"}, *said("x")]}, "messages[0].role"),
        ({}, {"messages": said([{"type": "text"}])}, "messages[0].content[0].text"),
        ({}, {"n": 0}, "n"),
        ({}, {"temperature": "hot"}, "temperature"),
    ],
)
def test_what_contradicts_itself_or_is_unknown_is_named(
    served: Inside, headers: dict[str, str], fields: dict[str, Any], names: str
) -> None:
    found = served.chat(headers, **fields)
    assert found.status == 400 and names in str(found.error["param"]) and found.error["message"]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 400, "expected JSON"),
        (b"\xff\xfe{}", 400, "expected UTF-8, found the byte 0xff at byte 0"),
        (b'{"model": "\xe4"}', 400, "expected UTF-8"),
        (b"[" * 100_000, 400, "nested 64 deep at most"),
        (b'{"a":' * 100_000, 400, "nested 64 deep at most"),
        (b'{"a": 1e999}', 400, "a computer can hold"),
        (b'{"model": "auto", "model": "x"}', 400, "twice"),
        (b'{"messages": [{"content": "\\ud800"}]}', 400, "surrogate"),
        (b"[" + b"1," * 500_000 + b"1]", 400, "values"),
        (b'{"model": "auto", "messages": "' + b"x" * 10_000_000 + b'"}', 413, "at most 8388608 bytes"),
    ],
)
def test_bodies_that_are_none(served: Inside, body: bytes, status: int, words: str) -> None:
    found = served.ask("POST", CHAT, body)
    assert found.status == status and words in found.error["message"]


def test_a_prompt_beyond_the_context_is_refused_in_the_backends_words(served: Inside) -> None:
    for model in ("auto", "auto-fast", "plain:small"):
        found = served.chat(model=model, messages=said("word " * 20_000))
        assert found.status == 400 and "8192" in found.error["message"], model


def test_types_and_methods(served: Inside) -> None:
    for headers in ({"content-type": "text/plain"}, {"content-encoding": "gzip"}):
        assert served.chat(headers).status == 415
    for method in ("HEAD", "OPTIONS", "PUT", "GET", "TRACE"):
        found = served.ask(method, CHAT)
        assert found.status == 405 and found.headers["allow"] == "POST"
        assert method == "HEAD" or "expected POST, found" in found.error["message"]
    assert served.ask("HEAD", "/health").status == 200


# ---------------------------------------------------------------- HTTP itself

_BODY = json.dumps({"model": "auto-fast", "messages": said(QUESTION)}).encode()


def head(version: str = "1.1", *more: str, length: int | None = len(_BODY)) -> bytes:
    lines = [f"POST {CHAT} HTTP/{version}", "host: localhost", "content-type: application/json", *more]
    if length is not None:
        lines.append(f"content-length: {length}")
    return "\r\n".join([*lines, "", ""]).encode()


def answers(served: Inside, *pieces: bytes) -> bytes:
    """All that comes back on a line that the server ends."""
    with closing(socket.create_connection(("127.0.0.1", served.port), timeout=20)) as line:
        for piece in pieces:
            line.sendall(piece)
        found = b""
        while piece := line.recv(65536):
            found += piece
        return found


def test_http_1_0_is_answered_and_closed(served: Inside) -> None:
    found = answers(served, head("1.0") + _BODY)
    assert found.startswith(b"HTTP/1.1 200") and b"boxed" in found


def test_requests_in_a_row_are_answered_in_order(served: Inside) -> None:
    found = answers(
        served, (head() + _BODY) * 3 + b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    )
    assert found.count(b"HTTP/1.1 200") == 4 and found.endswith(b'{"status":"ok"}')


def test_who_waits_for_a_go_ahead_gets_it(served: Inside) -> None:
    found = answers(served, head("1.1", "expect: 100-continue", "connection: close"), _BODY)
    assert found.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200")


def test_a_body_in_chunks(served: Inside) -> None:
    chunked = b"".join(b"1\r\n%c\r\n" % byte for byte in _BODY) + b"0\r\n\r\n"
    found = answers(served, head("1.1", "transfer-encoding: chunked", "connection: close", length=None) + chunked)
    assert found.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",  # TLS
        head("1.1", "transfer-encoding: chunked") + _BODY,  # two lengths
        head("1.1", length=None).replace(b"host", b"content-length: -1\r\nhost") + _BODY,
        b"POST\r\n\r\n",
    ],
)
def test_what_is_not_http_is_refused(served: Inside, sent: bytes) -> None:
    assert answers(served, sent).startswith(b"HTTP/1.1 400")
