"""The server before a fake backend: what clients see, and that its counts are the backend's own."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autotts.policy.opening import Where
from autotts.serve.obey import rule
from autotts.serve.passing import Passage, passage
from autotts.serve.request import CHAT, read
from autotts.serve.running import Options
from autotts.worlds.fake_server import FakeServer, Faults, serving
from autotts.worlds.models.entry import Server
from tests.serve.inside import QUESTION, Inside, inside
from tests.serve.served import backend, policy_data


def spent(upstream: FakeServer) -> tuple[int, int]:
    return upstream.counts.prompt, upstream.counts.generated


def idle(upstream: FakeServer) -> bool:
    """Whether nothing runs there, or ends in a moment: the last byte of an answer comes before its end is written."""
    for _ in range(200):
        if not any(record.outcome == "running" for record in upstream.records):
            return True
        time.sleep(0.005)
    return False


@pytest.mark.parametrize("model", ["auto", "auto-fast", "auto-best", "plain:large", "small"])
@pytest.mark.parametrize("stream", [False, True])
def test_usage_is_what_the_backend_counted(upstream: FakeServer, served: Inside, model: str, stream: bool) -> None:
    before = spent(upstream)
    more: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    found = served.chat(model=model, **more)
    assert found.status == 200
    last = found.events[-1] if stream else found.data
    usage, after = last["usage"], spent(upstream)
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (after[0] - before[0], after[1] - before[1])
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0
    assert last["autotts"]["cost"] > 0 and last["autotts"]["ended"] == "returned"
    assert found.headers["x-autotts-arm"] == last["autotts"]["arm"]
    assert idle(upstream)


def test_a_vote_answers_with_the_whole_text_of_a_draw(served: Inside) -> None:
    found = served.chat(temperature=0.0).data
    assert "\\boxed{" in found["choices"][0]["message"]["content"]
    block = found["autotts"]
    assert block["arm"] == "vote(n=4, model=small, temperature=0.8)" and block["draws"] == 4
    assert block["overridden"] == {"temperature": 0.0}
    assert block["answer"] in found["choices"][0]["message"]["content"]


def sent(served: Inside, **fields: Any) -> Passage:
    """What is sent for a request that is passed through."""
    body = {"model": "auto", "messages": [{"role": "user", "content": QUESTION}], **fields}
    found = passage(served.service, rule(served.service, read(CHAT, body, {}), 0.0))
    assert found is not None
    return found


def bare(body: bytes) -> list[Any]:
    """The events of a stream, but for what names it."""
    return [
        {name: value for name, value in json.loads(line[6:]).items() if name not in ("id", "created")}
        for line in body.decode().split("\n\n")
        if line.startswith("data: {")
    ]


def test_a_plain_arm_is_the_backends_own_bytes(upstream: FakeServer, served: Inside) -> None:
    found = served.chat(model="auto-fast", stream=True, autotts={"token": "same"})
    body = sent(served, model="auto-fast", stream=True, autotts={"token": "same"}).body
    own = Inside(served.service, int(upstream.url.rpartition(":")[2].partition("/")[0]))
    direct = own.ask("POST", "/v1/chat/completions", {**body, "stream_options": {"include_usage": False}})
    assert bare(found.body) == bare(direct.body)
    assert b"autotts" not in found.body and b'"usage"' not in found.body


def test_draws_of_one_token_are_the_same_and_others_differ(upstream: FakeServer, served: Inside) -> None:
    first, second = (served.chat(seed=7).data["choices"][0]["message"] for _ in range(2))
    assert first == second
    seeds = [record.seed for record in upstream.records[-8:]]
    assert sorted(map(str, seeds[:4])) == sorted(map(str, seeds[4:])) and len(set(seeds)) == 4
    served.chat()
    served.chat()
    assert len({record.seed for record in upstream.records[-8:]}) == 8


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ({"tools": [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"logprobs": True}, "logprobs"),
        ({"n": 2}, "n"),
    ],
)
def test_what_a_vote_cannot_honour_is_one_plain_draw(served: Inside, fields: dict[str, Any], kept: str) -> None:
    found = served.chat(**fields)
    assert found.status == 200
    assert found.data["autotts"]["fallback"].startswith(kept)
    assert found.data["autotts"]["arm"].startswith("one(model=small")
    assert sent(served, **fields).body[kept] == fields[kept]


def test_an_image_passes_a_plain_arm_and_is_refused_by_a_vote(served: Inside) -> None:
    parts = [{"type": "text", "text": QUESTION}, {"type": "image_url", "image_url": {"url": "data:image/png,"}}]
    messages = [{"role": "user", "content": parts}]
    assert served.chat(model="auto-fast", messages=messages).status == 200
    assert sent(served, model="auto-fast", messages=messages).body["messages"] == messages
    refused = served.chat(messages=messages)
    assert (refused.status, refused.error["param"]) == (400, "messages[0].content[1]")


def test_a_budget_of_its_own_is_hard(served: Inside) -> None:
    found = served.chat(model="auto@450Gflops").data["autotts"]
    assert found["arm"].startswith("one(") and found["cost"] <= 450e9
    for fields in ({"model": "auto@5flops"}, {"model": "auto@5tokens"}, {"autotts": {"budget": "much"}}):
        refused = served.chat(**fields)
        assert (refused.status, refused.error["param"]) == (400, "autotts.budget")


def test_auto_fast_stays_cheap_whatever_its_budget(served: Inside) -> None:
    budget = f"{served.service.policy.frontier[-1].expected.cost:.0f}flops"
    cheap, best = (served.chat(model=name, autotts={"budget": budget}) for name in ("auto-fast", "auto-best"))
    assert cheap.headers["x-autotts-arm"] == "one(model=small, temperature=0.7)"
    assert best.headers["x-autotts-arm"] != cheap.headers["x-autotts-arm"]


def test_no_client_fills_the_metrics_with_arms_of_its_own(served: Inside) -> None:
    for temperature in (0.11, 0.12):
        found = served.chat(model="plain:small", temperature=temperature, max_tokens=1)
        assert found.data["autotts"]["arm"] == f"one(model=small, temperature={temperature})"
    arms = [name for name in figures(served) if name.startswith("autotts_arm_requests_total")]
    assert 'autotts_arm_requests_total{arm="plain:small"}' in arms
    assert not any("0.11" in arm for arm in arms)


def test_what_is_long_is_not_said_again(served: Inside) -> None:
    long = "z" * 100_000
    asked: list[tuple[dict[str, str], dict[str, Any]]] = [
        ({}, {"model": f"auto@{long}"}),
        ({"x-autotts-effort": "0.5"}, {"autotts": {"effort": long}}),
        ({"x-autotts-token": "a"}, {"autotts": {"token": [long]}}),
    ]
    for headers, fields in asked:
        found = served.chat(headers, **fields)
        assert found.status == 400
        assert len(found.body) < 1000


@pytest.mark.parametrize("path", ["chat/completions", "embeddings"])
def test_what_is_wrong_with_a_large_body_is_told_as_of_a_small_one(served: Inside, path: str) -> None:
    small, large = (b'{"model": "auto", "x": [' + b"1, " * count + b"}" for count in (1, 100_000))
    found = [served.ask("POST", f"/v1/{path}", body) for body in (small, large)]
    assert [one.status for one in found] == [400, 400]
    assert found[0].error["message"].split(" at ")[0] == found[1].error["message"].split(" at ")[0]


def test_a_model_by_its_own_name_has_no_effort(served: Inside) -> None:
    found = served.chat({"x-autotts-effort": "1"}, model="plain:small")
    assert (found.status, found.error["param"]) == (400, "autotts.effort")


def test_a_deadline_ends_with_what_there_is(served: Inside) -> None:
    for model in ("auto", "auto-fast"):
        found = served.chat(model=model, autotts={"deadline": 1e-6})
        assert found.status == 200
        assert found.data["autotts"]["ended"] == "deadline"
        assert found.data["choices"][0]["finish_reason"] == "length"


def test_a_draw_that_was_passed_through_and_cut_off_is_told_as_cancelled(served: Inside) -> None:
    told = served.chat(model="auto-fast", n=2, autotts={"deadline": 1e-6}).data["autotts"]
    assert (told["draws"], told["cancelled"]) == (2, 2)
    assert served.chat(model="auto-fast", n=2).data["autotts"]["cancelled"] == 0


def test_progress_is_told_where_it_was_asked_for(served: Inside) -> None:
    events = served.chat(stream=True, autotts={"progress": True}).events
    assert any("progress" in event.get("autotts", {}) for event in events)
    assert events[-1]["autotts"]["draws"] == 4
    assert events[0]["choices"][0]["delta"]["role"] == "assistant"


def test_text_completions(served: Inside) -> None:
    found = served.ask("POST", "/v1/completions", {"model": "auto", "prompt": QUESTION})
    assert found.data["object"] == "text_completion" and "boxed" in found.data["choices"][0]["text"]
    streamed = served.ask("POST", "/v1/completions", {"model": "auto", "prompt": QUESTION, "stream": True})
    assert "boxed" in "".join(event["choices"][0]["text"] for event in streamed.events)


def test_models_health_and_what_there_is_not(served: Inside) -> None:
    names = [model["id"] for model in served.ask("GET", "/v1/models").data["data"]]
    assert names[:3] == ["auto", "auto-fast", "auto-best"] and "plain:large" in names
    assert served.ask("GET", "/v1/models/auto").data["id"] == "auto"
    assert served.ask("GET", "/health").data == {"status": "ok"}
    for method, path, status in (
        ("GET", "/v1/models/gpt", 404),
        ("GET", "/v1/chat/completions", 405),
        ("GET", "/nothing", 404),
        ("GET", "/v1/models/", 404),
        ("OPTIONS", "/v1/chat/completions", 405),
    ):
        found = served.ask(method, path)
        assert found.status == status and found.error["message"].startswith(("expected", "model")), path
        assert not any(name.startswith("access-control") for name in found.headers)
    unknown = served.chat(model="gpt-5")
    assert (unknown.status, unknown.error["code"]) == (404, "model_not_found") and "auto" in unknown.error["message"]


def test_embeddings_are_passed_on(served: Inside) -> None:
    found = served.ask("POST", "/v1/embeddings", {"model": "embedder", "input": "hello"})
    assert found.status == 200 and len(found.data["data"][0]["embedding"]) == 16
    tokens = [name for name in figures(served) if name.startswith("autotts_tokens_total")]
    assert any('model="embeddings"' in name for name in tokens)
    assert not any("embedder" in name for name in tokens)  # clients may name as many as they like


def figures(served: Inside) -> dict[str, float]:
    lines = [line.rpartition(" ") for line in served.ask("GET", "/metrics").body.decode().split("\n")]
    return {name: float(value) for name, _, value in lines if name and not name.startswith("#")}


def total(found: dict[str, float], head: str) -> float:
    return sum(value for name, value in found.items() if name.startswith(head))


def test_metrics_say_where_the_compute_went(upstream: FakeServer, served: Inside) -> None:
    before, counted = figures(served), sum(spent(upstream))
    for model in ("auto", "auto-fast", "auto-best"):
        served.chat(model=model)
    found = figures(served)
    whole = found['autotts_cost_total{unit="flops"}']
    for split in ("autotts_arm_cost_total{", "autotts_client_cost_total{", "autotts_model_cost_total{"):
        assert total(found, split) == pytest.approx(whole)
    tokens = "autotts_tokens_total{"
    assert total(found, tokens) - total(before, tokens) == sum(spent(upstream)) - counted


@pytest.fixture
def broken(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Inside]:
    """Before a backend all of whose answers go wrong in one way."""
    path = tmp_path / "policy.json"
    path.write_text(json.dumps(policy_data(tmp_path)))
    server = backend(faults=Faults(always=lambda _: request.param))
    with serving(server) as upstream, inside(path, Options(where=Where(upstream=Server(upstream.url)))) as found:
        yield found


@pytest.mark.parametrize("broken", ["half"], indirect=True)
def test_a_stream_that_breaks_off_says_so(broken: Inside) -> None:
    found = broken.chat(model="auto-fast", stream=True)
    last = json.loads(found.body.decode().strip().split("\n\n")[-1].removeprefix("data: "))
    assert last["error"]["code"] == "backend_failed"
    assert figures(broken)['autotts_outcomes_total{ended="failed"}'] == 1


@pytest.mark.parametrize("broken", ["reset_midway"], indirect=True)
def test_what_failed_and_left_no_room_for_an_answer_is_no_answer(broken: Inside) -> None:
    for _ in range(2):
        found = broken.chat(model="auto-fast")
        assert found.status in (502, 503) and found.error["message"]
    assert broken.service.ruling.state.running == 0
    assert broken.service.ruling.state.spent > 0


def test_bodies_under_way_are_bounded_in_all(served: Inside) -> None:
    settings = served.service.settings
    served.service.settings = replace(settings, bodies=1000)
    try:
        with served.service.room({"content-length": "900"}):
            refused = served.chat(user="x" * 200)
            assert refused.status == 429 and refused.headers["retry-after"] == "1"
        assert served.chat().status == 200
    finally:
        served.service.settings = settings
