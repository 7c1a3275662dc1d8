"""The life of a server: clients that hang up, policies that change, a backend that goes away, and the end."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from autotts.worlds.fake_server import Pace
from tests.serve.inside import QUESTION, until
from tests.serve.served import Served, backend, policy_data, served
from tests.serve.test_budgets import Running, before
from tests.serve.test_equal import levelled_data


def raw(port: int, **fields: Any) -> socket.socket:
    """A line on which a request was sent, and nothing read."""
    body = json.dumps({"model": "auto", "messages": [{"role": "user", "content": QUESTION}], **fields}).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    head += f"content-length: {len(body)}\r\n\r\n"
    line = socket.create_connection(("127.0.0.1", port), timeout=20)
    line.sendall(head.encode() + body)
    return line


# ---------------------------------------------------------------- clients


@pytest.mark.parametrize("model", ["auto", "auto-fast", "auto-best", "plain:small"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("pace", [Pace(first=60.0), Pace(rate=100.0, chunk=1)], ids=["before", "midway"])
def test_a_hang_up_ends_all_work(tmp_path: Path, model: str, stream: bool, pace: Pace) -> None:
    with before(tmp_path, backend(pace=pace), controlled=True) as on:
        with closing(raw(on.served.port, model=model, stream=stream)):
            until(lambda: on.upstream.counts.by_outcome.get("running"))
            if pace.rate:
                until(lambda: on.upstream.counts.generated > 3)
        until(on.idle)
        state = on.served.service.ruling.state
        assert state.running == 0 and state.requests == 1
        prices = on.served.service.world.bindings["small"].prices
        assert state.spent >= prices.of_generated(0, on.upstream.counts.generated)  # as cheap as any


def test_a_hang_up_in_the_queue_leaves_it(tmp_path: Path) -> None:
    with before(tmp_path, backend(pace=Pace(first=60.0)), at_once=1) as on, closing(raw(on.served.port)):
        until(lambda: on.asked == 4)
        with closing(raw(on.served.port)):
            until(lambda: on.served.service.gate.waiting == 1)
        until(lambda: on.served.service.gate.waiting == 0)
        assert on.asked == 4


def test_clients_that_read_slowly_hold_nobody_up(tmp_path: Path) -> None:
    with before(tmp_path) as on:
        slow = [raw(on.served.port, model="auto-fast", stream=True) for _ in range(8)]
        try:
            for line in slow:
                assert line.recv(1) == b"H"
            assert on.chat(model="auto").status == 200
            for line in slow:  # each byte is there, one by one
                assert b"".join(line.recv(1) for _ in range(11)) == b"TTP/1.1 200"
        finally:
            for line in slow:
                line.close()
        until(on.idle)


def test_a_backend_that_is_restarted_loses_only_what_was_in_flight(tmp_path: Path) -> None:
    with before(tmp_path, backend(pace=Pace(rate=400.0, chunk=2))) as on, ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(on.chat, model=("auto", "auto-fast")[i % 2]) for i in range(40)]
        until(lambda: on.asked > 20)
        on.upstream.call_restart(0.05)
        found = [one.result() for one in asked]
        assert [one.status for one in found].count(200) >= len(found) - 8
        assert on.chat().status == 200
        until(on.idle)


# ---------------------------------------------------------------- policies


def changed(on: Running, folder: Path, work: str) -> dict[str, Any]:
    data: dict[str, Any] = policy_data(folder)
    arms = data["arms"]
    if work == "arm":
        arms["plain"]["arm"] = "one(model=small, temperature=0.1)"
    elif work == "model":
        data["models"]["small"]["binding"]["served"] = "smaller"
    return data


@pytest.mark.slow
def test_a_new_policy_is_obeyed_while_requests_run(tmp_path: Path) -> None:
    with before(tmp_path, backend(pace=Pace(first=0.2))) as on, ThreadPoolExecutor(4) as pool:
        running = [pool.submit(on.chat, model="auto-fast") for _ in range(4)]
        until(lambda: on.asked == 4)
        (tmp_path / "policy.json").write_text(json.dumps(changed(on, tmp_path, "arm")))
        until(lambda: "0.1" in str(on.served.service.policy.arms["plain"].arm))
        assert {one.result().data["autotts"]["arm"] for one in running} == {"one(model=small, temperature=0.7)"}
        assert on.chat(model="auto-fast").data["autotts"]["arm"] == "one(model=small, temperature=0.1)"


@pytest.mark.slow
@pytest.mark.parametrize("work", ["not json", "model"])
def test_a_policy_that_cannot_be_changes_nothing_and_is_told(tmp_path: Path, work: str) -> None:
    with before(tmp_path) as on:
        digest = on.served.service.policy.digest
        text = "{" if work == "not json" else json.dumps(changed(on, tmp_path, work))
        (tmp_path / "policy.json").write_text(text)
        failed = 'autotts_policy_reloads_total{result="failed"} 1'
        until(lambda: failed in on.served.ask("GET", "/metrics").body.decode())
        assert on.chat().data["autotts"]["policy"] == digest


# ---------------------------------------------------------------- the end


def listens(on: Served) -> bool:
    port = int(on.url.rpartition(":")[2].partition("/")[0])
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@pytest.mark.slow
def test_a_stream_that_runs_is_ended_before_the_server_is(tmp_path: Path) -> None:
    with served(tmp_path, before=backend(pace=Pace(rate=30.0, chunk=1))) as on:
        port = int(on.url.rpartition(":")[2].partition("/")[0])
        with closing(raw(port, model="auto-fast", stream=True)) as line:
            seen = line.recv(10)
            on.process.send_signal(signal.SIGTERM)
            until(lambda: not listens(on))
            assert on.process.poll() is None
            while piece := line.recv(65536):
                seen += piece
        assert b"data: [DONE]" in seen
        assert on.process.wait(20) in (0, -signal.SIGTERM)


SEEN = """
import json, sys, threading
from pathlib import Path
from tests.serve.inside import inside
from autotts.policy.opening import Where
from autotts.serve.running import Options
from autotts.worlds.models.entry import Server
where = Where(upstream=Server(sys.argv[2])) if len(sys.argv) > 2 else Where()
with inside(Path(sys.argv[1]), Options(where=where)) as found:
    assert found.chat(messages=[{"role": "user", "content": "3+4*2"}]).status == 200
print([name for name in ("optuna", "sklearn", "pandas", "plotly", "torch", "sqlalchemy") if name in sys.modules])
"""


def loaded(path: Path, *upstream: str) -> str:
    """What a server of its own has imported, of what it should not, after a request."""
    argv = [sys.executable, "-c", SEEN, str(path), *upstream]
    found = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert not found.returncode, found.stderr
    return found.stdout.strip()


@pytest.mark.slow
def test_a_server_loads_nothing_of_the_search(tmp_path: Path) -> None:
    with before(tmp_path) as on:
        assert loaded(tmp_path / "policy.json", on.upstream.url) == "[]"


@pytest.mark.slow
def test_neither_does_one_of_the_embedded_models(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    path.write_text(json.dumps(levelled_data()))
    assert loaded(path) == "[]"
