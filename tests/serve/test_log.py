"""What the server's log says, once, and what it never says."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from dataclasses import replace

import pytest

from autotts.policy.control import State
from autotts.serve import log
from autotts.serve.watched import Watched
from autotts.worlds.servers.site import Standing
from tests.serve.test_metrics import DRIFT, Account, Lines, told, watched


@pytest.fixture(params=["text", "json"])
def written(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    stream = io.StringIO()
    handler = log.set_up(stream, as_json=request.param == "json")
    yield stream
    log.log.removeHandler(handler)
    log.log.setLevel(logging.NOTSET)
    log.log.propagate = True


def test_a_request_is_one_line_without_its_prompt(written: io.StringIO) -> None:
    log.request(told(id="req-1", fallback="model S: refused 'my secret prompt'", waited=0.25, client="al ice\n"))
    [line] = written.getvalue().splitlines()
    assert "secret" not in line
    if line.startswith("{"):
        found = json.loads(line)
        assert found["level"] == "INFO" and found["time"].endswith("Z")
        assert (found["id"], found["client"], found["cost"], found["tokens_in"]) == (
            "req-1",
            "al ice\n",
            1234,
            120,
        )
        assert (found["tokens_out"], found["fallback"], found["waited"]) == (340, "model S", 0.25)
    else:
        assert ' INFO request id=req-1 endpoint=chat status=200 ended=returned client="al ice\\n" arm="vote(' in line
        assert "cost=1234 unit=flops tokens_in=120 tokens_out=340 draws=8 cancelled=2 seconds=0.3 waited=0.25" in line


def test_a_message_cannot_make_a_line_of_its_own(written: io.StringIO) -> None:
    log.log.warning("%s", "one\nINFO request client=forged\r\x1b[31m")
    assert len(written.getvalue().splitlines()) == 1
    assert "\x1b" not in written.getvalue()


def test_a_mistake_of_ours_is_logged_with_its_trace(written: io.StringIO) -> None:
    try:
        raise ValueError("boom")
    except ValueError:
        log.log.exception("a request failed")
    assert "boom" in written.getvalue() and "Traceback" in written.getvalue()


def test_nothing_is_built_where_nobody_listens() -> None:
    log.log.setLevel(logging.WARNING)
    try:
        log.request(None)  # type: ignore[arg-type]
    finally:
        log.log.setLevel(logging.NOTSET)


def test_a_change_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    changes, account, lines = log.Changes(), Account(), Lines()
    up = Standing("http://up:1", True, 0, 1, 9, {})
    stands = [up]

    def looked() -> list[str]:
        caplog.clear()
        seen = watched(account, DRIFT)
        changes.look(Watched(policy=seen.policy, ruling=lambda: account, upstreams=lambda: stands, kept=lambda: lines))
        return [record.getMessage() for record in caplog.records]

    assert looked() == []
    stands[0] = replace(up, healthy=False, faults={"refused": 4})
    [down] = looked()
    assert down.startswith("server http://up:1: it does not answer (4 refused")
    stands[0] = replace(up, healthy=False, faults={"refused": 9})
    assert looked() == []
    stands[0] = up
    assert looked() == ["server http://up:1: well again"]
    account.state = State(7, 2, 9e9, 1.3e9, 2e9, 1.1, 5e9, 2e12)
    [short] = looked()
    assert "budget: even the cheapest setting costs" in short
    lines.problem = "OSError: No space left on device"
    assert looked() == ["keep: OSError: No space left on device"]
    assert looked() == []
