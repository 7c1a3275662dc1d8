"""A server without keys answers to the names of its own machine only."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from autotts.serve.hosts import LocalOnly
from autotts.serve.sending import Receive, Send
from tests.serve.lines import Downward, Upward


def asked(*hosts: bytes) -> tuple[int, bytes]:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"fine"})

    line = Downward(9)
    scope = {"type": "http", "headers": [(b"host", host) for host in hosts]}
    asyncio.run(LocalOnly(app)(scope, Upward([]).receive, line.send))
    return line.taken[0]["status"], b"".join(line.bodies())


@pytest.mark.parametrize(
    "host", [b"localhost", b"LocalHost:8080", b"localhost.", b"127.0.0.1:1", b"127.9.9.9", b"[::1]", b"[::1]:8080"]
)
def test_names_of_this_machine_are_answered(host: bytes) -> None:
    assert asked(host) == (200, b"fine")


@pytest.mark.parametrize(
    "hosts",
    [
        [b"example.org"],
        [b"localhost.example.org:8080"],
        [b"127.0.0.1.example.org"],
        [b"0.0.0.0"],
        [b"10.0.0.1"],
        [b""],
        [b"\xff"],
        [b"[::2]"],
        [b"[127.0.0.1.example.org]"],
        [b"localhost", b"example.org"],
    ],
)
def test_other_names_are_refused(hosts: list[bytes]) -> None:
    status, body = asked(*hosts)
    assert status == 421 and json.loads(body)["error"]["code"] == "host_not_allowed"


def test_a_request_without_a_name_is_no_web_pages() -> None:
    assert asked() == (200, b"fine")
