"""Budgets, limits and deadlines as clients meet them: what is refused costs nothing, what is let in keeps its cap."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from autotts.policy.controller import Controller
from autotts.policy.opening import Where
from autotts.serve.keys import Keys
from autotts.serve.running import Options
from autotts.serve.service import Settings
from autotts.worlds.fake_server import FakeServer, Pace, serving
from autotts.worlds.models.entry import Server
from tests.serve.inside import Answer, Inside, inside, until
from tests.serve.served import backend, policy_data

KEYS = """
[clients.fast]
key = "key-of-the-fast-client"
admin = true

[clients.slow]
key = "key-of-the-slow-client"
requests_per_minute = 2

[clients.one]
key = "key-of-the-single-one"
at_once = 1

[clients.poor]
key = "key-of-the-poor-client"
budget = "9e11flops"
per = "ever"
"""
SHOWN = {
    "fast": "key-of-the-fast-client",
    "slow": "key-of-the-slow-client",
    "one": "key-of-the-single-one",
    "poor": "key-of-the-poor-client",
}
HARD = "What is 12 + 30 * 2 - 7 * 3 + 9 * 8 - 5 * 6 + 11 * 4 - 3 * 2 + 8 * 9 - 1 * 5 + 14 * 3?"


@contextmanager
def before(folder: Path, server: FakeServer | None = None, *, by: float = 1.0, **more: Any) -> Iterator[Running]:
    """Serve before a backend, by a policy that expects costs `by` times as high as they are in its file."""
    data = policy_data(folder)
    for arm in data["arms"].values():
        arm["expected"]["all"]["cost"] *= by
    for setting in data["frontier"]:
        setting["budget"] *= by
        setting["expected"]["cost"] *= by
    path = folder / "policy.json"
    path.write_text(json.dumps(data))
    with serving(server or backend()) as up:
        options = Options(**{"where": Where(upstream=Server(up.url)), "controlled": False, **more})
        with inside(path, options) as found:
            yield Running(found, up)


class Running:
    """A server that answers, and its backend."""

    def __init__(self, served: Inside, upstream: FakeServer) -> None:
        self.served = served
        self.upstream = upstream

    def chat(self, client: str = "fast", **fields: Any) -> Answer:
        return self.served.chat({"authorization": f"Bearer {SHOWN.get(client, client)}"}, **fields)

    @property
    def asked(self) -> int:
        return self.upstream.counts.requests

    def idle(self) -> bool:
        """Whether nothing is left of any request, here and there."""
        service = self.served.service
        still = service.gate.running or service.gate.waiting or service.ruling.state.running
        return not still and not self.upstream.counts.by_outcome.get("running")


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    path = tmp_path / "keys.toml"
    path.write_text(KEYS)
    path.chmod(0o600)
    return Keys.load(path, {})


def test_who_shows_no_key_or_a_wrong_one_is_refused_before_anything_is_asked(tmp_path: Path, keys: Keys) -> None:
    with before(tmp_path, keys=keys) as on:
        for path in ("/v1/chat/completions", "/v1/completions", "/v1/embeddings"):
            for shown in ({}, {"authorization": "Bearer " + "x" * 20}, {"authorization": "Basic abc"}):
                refused = on.served.ask("POST", path, {"model": "auto"}, shown)
                assert (refused.status, refused.error["code"]) == (401, "invalid_api_key")
                assert refused.headers["www-authenticate"] == "Bearer"
        for path in ("/v1/models", "/v1/models/auto", "/metrics"):
            assert on.served.ask("GET", path).status == 401
        assert on.served.ask("GET", "/metrics", None, {"api-key": SHOWN["slow"]}).status == 403
        assert on.served.ask("GET", "/metrics", None, {"api-key": SHOWN["fast"]}).status == 200
        assert on.served.ask("GET", "/health").status == 200
        assert on.asked == 0
        assert on.chat("fast").status == 200


def test_a_rate_is_held_before_anything_is_asked(tmp_path: Path, keys: Keys) -> None:
    with before(tmp_path, keys=keys) as on:
        found = [on.chat("slow", model="auto-fast") for _ in range(4)]
        assert [one.status for one in found] == [200, 429, 429, 429]
        assert on.asked == 1
        assert 1 <= int(found[1].headers["retry-after"]) <= 30
        assert "2 requests a minute" in found[1].error["message"]
        assert on.chat("fast").status == 200


def test_a_spent_budget_is_said_before_anything_is_asked(tmp_path: Path, keys: Keys) -> None:
    with before(tmp_path, keys=keys) as on:
        found = [on.chat("poor", model="auto-fast") for _ in range(8)]
        assert [one.status for one in found] == sorted(one.status for one in found)
        good = [one for one in found if one.status == 200]
        assert good and sum(one.data["autotts"]["cost"] for one in good) <= 9e11
        assert all(one.data["autotts"]["cost"] <= one.data["autotts"]["budget"] for one in good)
        last = found[-1]
        assert (last.status, last.error["code"]) == (429, "insufficient_quota")
        before_it = on.asked
        assert on.chat("poor").status == 429 and on.asked == before_it
        until(on.idle)


def test_a_budget_without_room_for_the_prompt_is_a_refusal_and_no_empty_answer(tmp_path: Path, keys: Keys) -> None:
    asked = [{"role": "user", "content": HARD}]
    with before(tmp_path, keys=keys) as on:
        on.chat("poor", model="auto-fast", messages=asked)
        found = on.chat("poor", messages=asked)
        assert (found.status, found.error["code"]) == (429, "budget_exhausted")
        assert int(found.headers["retry-after"]) >= 1
    with before(tmp_path, cap="410Gflops") as on:
        found = on.chat(messages=[{"role": "user", "content": HARD * 20}])
        assert (found.status, found.error["code"]) == (400, "budget_too_small")
        assert on.asked == 0 and on.served.service.ruling.state.requests == 0


def test_a_cap_holds_for_every_kind_of_request(tmp_path: Path) -> None:
    with before(tmp_path, cap="6e11flops") as on:
        for model in ("auto", "auto-fast", "auto-best", "plain:small"):
            for stream in (False, True):
                more = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
                found = on.chat(model=model, messages=[{"role": "user", "content": HARD}], **more)
                assert found.status == 200, found.body
                block = (found.events[-1] if stream else found.data)["autotts"]
                assert 0 < block["cost"] <= 6e11 and block["ended"] == "cap", model


def test_a_full_queue_is_said_before_the_backend_is_asked(tmp_path: Path) -> None:
    with before(tmp_path, backend(pace=Pace(first=0.3)), at_once=1, queue=1) as on, ThreadPoolExecutor(2) as pool:
        running = [pool.submit(on.chat, model="auto-fast") for _ in range(2)]
        until(lambda: on.served.service.gate.waiting == 1 and on.asked == 1)
        refused = [on.chat(model="auto-fast") for _ in range(3)]
        assert {(one.status, one.error["code"]) for one in refused} == {(429, "queue_full")}
        assert all(int(one.headers["retry-after"]) >= 1 for one in refused)
        assert on.asked == 1
        assert [one.result().status for one in running] == [200, 200] and on.asked == 2
        until(on.idle)


def test_a_deadline_counts_in_the_queue(tmp_path: Path) -> None:
    with before(tmp_path, backend(pace=Pace(first=0.3)), at_once=1) as on, ThreadPoolExecutor(1) as pool:
        running = pool.submit(on.chat, model="auto-fast")
        until(lambda: on.asked == 1)
        late = on.chat(autotts={"deadline": 0.02})
        assert (late.status, late.error["code"]) == (429, "queue_timeout") and "retry-after" in late.headers
        assert on.asked == 1 and running.result().status == 200
        until(on.idle)


@pytest.mark.parametrize("model", ["auto", "auto-fast", "auto-best", "plain:small"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("pace", [Pace(first=60.0), Pace(rate=20.0, chunk=1)], ids=["before", "midway"])
def test_a_deadline_ends_whatever_runs(tmp_path: Path, model: str, stream: bool, pace: Pace) -> None:
    with before(tmp_path, backend(pace=pace), settings=Settings(deadline=0.15)) as on:
        found = on.chat(model=model, stream=stream)
        assert found.status == 200
        if stream:
            events = found.events
            assert events[-1]["autotts"]["ended"] == "deadline"
            assert events[-1]["choices"][0]["finish_reason"] == "length"
        else:
            assert found.data["autotts"]["ended"] == "deadline" and found.headers["x-autotts-ended"] == "deadline"
            assert found.data["choices"][0]["finish_reason"] == "length"
        until(on.idle)  # the backend has heard of it


@pytest.mark.parametrize("by", [0.5, 0.1])
def test_hard_requests_all_at_once_keep_the_mean_within_the_bound(tmp_path: Path, by: float) -> None:
    """The policy expects a half or a tenth of what prompts cost, and all of them come at once."""
    pace = Pace(rate=2000.0, chunk=4)
    with before(tmp_path, backend(pace=pace), by=by, controlled=True) as on, ThreadPoolExecutor(16) as pool:
        asked = [{"role": "user", "content": HARD}]
        found = list(pool.map(lambda i: on.chat(model=("auto", "auto-best")[i % 2], messages=asked), range(64)))
        refused = [one for one in found if one.status == 429]  # the account has no room for the prompt alone
        assert {one.status for one in found} <= {200, 429}
        assert by < 0.5 or len(refused) < len(found) / 2
        until(on.idle)
        ruling = on.served.service.ruling
        assert isinstance(ruling, Controller)
        assert ruling.state.spent <= ruling.budget * ruling.state.requests + ruling.bound
        blocks = [one.data["autotts"] for one in found if one.status == 200]
        # One draw is told its limit before it begins; of several that run, what came after the cap is in the bill.
        assert all(b["cost"] <= b["budget"] for b in blocks if b["arm"].startswith("one("))
        assert sum(b["cost"] for b in blocks) <= 1.1 * sum(b["budget"] for b in blocks)
        assert refused or any(b["ended"] == "cap" for b in blocks)


def test_a_burst_waits_for_what_running_requests_have_set_aside(tmp_path: Path) -> None:
    """At the start the account holds a few budgets only, and each request sets aside more than it takes."""
    with before(tmp_path, backend(pace=Pace(first=0.02)), controlled=True) as on, ThreadPoolExecutor(24) as pool:
        found = list(pool.map(lambda _: on.chat(model="auto-fast"), range(72)))
        assert {one.status for one in found} == {200}
        assert {one.data["autotts"]["ended"] for one in found} == {"returned"}
        ruling = on.served.service.ruling
        until(lambda: ruling.state.running == 0)  # a request is told of a moment after its answer
        assert ruling.state.requests == 72 and ruling.state.running == 0
