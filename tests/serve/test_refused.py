"""What a client is told when its request is not answered."""

from __future__ import annotations

import json

import pytest

from autotts.serve.refused import Busy, Refused


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (413, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "server_error"),
        (503, "server_error"),
    ],
)
def test_an_error_is_openais(status: int, kind: str) -> None:
    refused = Refused(status, "not so", param="n", code="odd")
    expected = {"message": "not so", "type": kind, "param": "n", "code": "odd"}
    assert json.loads(refused.body()) == {"error": expected}


def test_what_a_message_quotes_can_always_be_sent() -> None:
    assert json.loads(Refused(400, "found '\ud800' and \x00 and é").body())["error"]["message"].endswith("é")


def test_a_busy_server_says_when_to_come_again() -> None:
    busy = Busy(429, "full", 3)
    assert (busy.status, busy.headers["retry-after"], busy.code) == (429, "3", "rate_limit_exceeded")
    assert isinstance(busy, Refused)
