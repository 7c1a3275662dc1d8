"""Hostile requests: each is answered or refused in words; none is a fault of the server or leaves anything behind."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.serve.firing import Outcome, counted, fire, target, volley
from tests.serve.mutating import Shot, shot, shots


def _all_sound(outcomes: list[Outcome]) -> None:
    assert [(one.shot.name, one.faults, one.shot.body[:300]) for one in outcomes if one.faults] == []


@pytest.mark.slow
def test_hostile_requests_are_answered_or_refused(tmp_path: Path) -> None:
    with target(tmp_path) as server:
        outcomes = asyncio.run(volley(server, seed=0, count=400))
    _all_sound(outcomes)
    found = counted(outcomes)
    assert sum(found.values()) == 400
    # They reach what they are meant to reach: whole answers, and each kind of refusal.
    assert found[200] > 40 and found[400] > 100 and {404, 405, 413, 415, 421} <= set(found)


def test_the_same_seed_gives_the_same_requests() -> None:
    assert list(shots(3, 30)) == list(shots(3, 30)) != list(shots(4, 30))
    assert shot(3, 7) == list(shots(3, 8))[7]


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (500, b'{"error": {"message": "x", "type": "", "param": null, "code": null}}', "HTTP 500"),
        (400, b"no", "not an error"),
        (307, b'{"error": {"message": "x", "type": "", "param": null, "code": null}}', "a redirect"),
        (400, b'{"error": {"message": "<a object at 0x7f>", "type": "", "param": null, "code": null}}', "insides"),
        (0, b"", "an exception: KeyError"),
        (-1, b"", "no answer"),
        (-2, b"", "it hangs"),
    ],
)
def test_what_is_wrong_with_an_answer_is_seen(status: int, body: bytes, said: str) -> None:
    async def app(scope: object, receive: object, send: object) -> None:
        if status == 0:
            raise KeyError
        if status == -2:
            await asyncio.Event().wait()
        if status > 0:
            await send({"type": "http.response.start", "status": status, "headers": []})  # type: ignore[operator]
            await send({"type": "http.response.body", "body": body})  # type: ignore[operator]

    one = Shot("by hand", "POST", "/", (), json.dumps({}).encode())
    outcome = asyncio.run(fire(app, one, 0.01))
    assert any(said in fault for fault in outcome.faults)
