"""Models that are dead, not there, busy or closed to us: who answers in their place, and what clients are told."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from autotts.policy.opening import Where
from autotts.serve.running import Options
from autotts.worlds.fake_server import FakeModel, FakeServer, Faults, serving
from autotts.worlds.fake_server.ready import ready
from autotts.worlds.models.entry import Server
from tests.serve.inside import QUESTION, Answer, Inside, inside, until
from tests.serve.served import backend, policy_data

KEY = "upstream-key-that-nobody-may-see"


@contextmanager
def before(folder: Path, server: FakeServer, key: str | None = None, **more: Any) -> Iterator[Inside]:
    """Serve before some backend, one that is soon thought dead; without a controller, so that `auto` is the vote."""
    path = folder / "policy.json"
    path.write_text(json.dumps(policy_data(folder)))
    with serving(server) as up:
        options = Options(where=Where(upstream=Server(up.url, key)), controlled=False, dead=0.02, **more)
        with inside(path, options) as found:
            yield found


def failing(model: str, kind: str = "500") -> FakeServer:
    """A backend of which one model fails; those beside it, at the same address, are well."""

    def always(body: Mapping[str, Any]) -> str | None:
        return kind if body.get("model") == model else None

    return backend(faults=Faults(always=always))


def fell_back(found: Answer, arm: str, why: str) -> None:
    """See that another arm has answered, and that all who look are told of it."""
    assert found.status == 200
    block = found.data["autotts"]
    assert block["arm"].startswith(arm) and why in block["fallback"]
    assert found.headers["x-autotts-arm"] == block["arm"]
    assert why in found.headers["x-autotts-fallback"]
    assert "boxed" in found.data["choices"][0]["message"]["content"]


def fallbacks(served: Inside) -> float:
    lines = served.ask("GET", "/metrics").body.decode().split("\n")
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("autotts_fallbacks_total{"))


def idle(served: Inside) -> bool:
    state = served.service.ruling.state
    return served.service.gate.running == 0 and state.running == 0


@pytest.mark.parametrize("kind", ["500", "502", "503", "reset"])
def test_without_its_scorer_best_of_n_is_one_plain_draw(tmp_path: Path, kind: str) -> None:
    with before(tmp_path, failing("prm", kind)) as served:
        fell_back(served.chat(model="auto-best"), "one(model=large", "prm")
        last = served.chat(model="auto-best", stream=True).events[-1]["autotts"]
        assert last["arm"].startswith("one(model=large") and "prm" in last["fallback"]
        assert fallbacks(served) == 2
        # The models behind the same address are well.
        assert "fallback" not in served.chat(model="auto-fast").data["autotts"]
        assert served.chat(model="plain:large").status == 200
        until(lambda: idle(served))


@pytest.mark.parametrize("kind", ["500", "503", "reset", "garbage"])
def test_where_one_model_is_dead_another_answers(tmp_path: Path, kind: str) -> None:
    with before(tmp_path, failing("small", kind)) as served:
        for model in ("auto", "auto-fast"):
            fell_back(served.chat(model=model), "one(model=large", "small")
            told = served.chat(model=model, stream=True).events[-1]["autotts"]
            assert told["arm"].startswith("one(model=large")
        assert fallbacks(served) == 4
        refused = served.chat(model="plain:small")  # who asks for it by name gets no other
        assert refused.status in (502, 503) and "small" in refused.error["message"]
        until(lambda: idle(served))


def test_a_model_that_the_upstream_does_not_serve_is_named_with_those_that_it_lists(tmp_path: Path) -> None:
    with before(tmp_path, FakeServer(ready(("large", "prm")))) as served:
        until(lambda: served.ask("GET", "/ready").data.get("problems", [""])[0].startswith("small"))
        (problem,) = served.ask("GET", "/ready").data["problems"]
        assert "does not serve 'small'" in problem and "it lists large, prm" in problem
        for model in ("auto", "auto-fast"):
            fell_back(served.chat(model=model), "one(model=large", "lists large, prm")
        refused = served.chat(model="plain:small")
        assert refused.status == 502 and "the server lists large, prm" in refused.error["message"]


def test_an_upstream_that_serves_none_of_the_models(tmp_path: Path) -> None:
    with before(tmp_path, FakeServer([FakeModel("other", embeds=4)])) as served:
        for model in ("auto", "auto-fast", "plain:large"):
            for stream in (False, True):
                refused = served.chat(model=model, stream=stream)
                assert refused.status == 502 and "the server lists other" in refused.error["message"]
        until(lambda: idle(served))


def test_a_key_that_the_upstream_refuses_is_our_fault_and_is_not_shown(tmp_path: Path) -> None:
    with before(tmp_path, backend(key="another-key-altogether"), KEY) as served:
        until(lambda: "401" in str(served.ask("GET", "/ready").data.get("problems")))
        seen = [served.ask("GET", "/ready")]
        for model in ("auto", "auto-fast", "plain:small"):
            refused = served.chat(model=model)
            assert refused.status == 502 and "its key was refused" in refused.error["message"]
            seen.append(refused)
        assert not any(KEY in (found.body.decode() + str(found.headers)) for found in seen)


def test_a_pause_that_the_backend_asks_for_is_passed_on(tmp_path: Path) -> None:
    busy = backend(faults=Faults(rates={"429": 1.0}, retry_after=30.0))
    with before(tmp_path, busy) as served:
        for model in ("auto", "auto-fast", "plain:small"):
            for stream in (False, True):
                refused = served.chat(model=model, stream=stream)
                assert (refused.status, refused.error["code"]) == (429, "backend_busy")
                assert 25 <= int(refused.headers["retry-after"]) <= 30
        until(lambda: idle(served))


def test_a_server_that_is_not_there_yet_is_said_and_found_when_it_comes(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    path.write_text(json.dumps(policy_data(tmp_path)))
    with serving(backend()) as up:
        url, port = up.url, int(up.url.rpartition(":")[2].partition("/")[0])
    options = Options(where=Where(upstream=Server(url)), controlled=False, dead=0.02)
    with inside(path, options) as served:
        until(lambda: "no connection" in str(served.ask("GET", "/ready").data.get("problems")))
        assert served.ask("GET", "/ready").status == 503 and served.ask("GET", "/health").status == 200
        for model in ("auto", "auto-fast", "auto-best", "plain:small"):
            for stream in (False, True):
                refused = served.chat(model=model, stream=stream)
                assert (refused.status, refused.error["code"]) == (503, "backend_down")
                assert f"no connection to {url}" in refused.error["message"]
                assert int(refused.headers["retry-after"]) >= 1
        with serving(FakeServer([*ready(("small", "large", "prm"))], port=port)):
            until(lambda: served.chat(model="auto").status == 200)
            assert served.chat(model="auto-best").status == 200
        until(lambda: idle(served))


def test_what_was_passed_through_is_refused_in_the_backends_own_bytes(tmp_path: Path) -> None:
    with before(tmp_path, up := backend()) as served:
        wrong = {"messages": [{"role": "user", "content": QUESTION}], "response_format": {"type": "wizard"}}
        port = int(up.url.rpartition(":")[2].partition("/")[0])
        direct = Inside(served.service, port).chat(**wrong, model="small")
        assert direct.status == 400 and served.chat(**wrong, model="plain:small").body == direct.body


def test_what_the_backend_refuses_is_said_in_its_own_words(tmp_path: Path) -> None:
    with before(tmp_path, backend(strict=True)) as served:
        for model in ("auto", "auto-best", "auto-fast", "plain:small"):
            refused = served.chat(model=model, wizardry=1)
            assert refused.status == 400 and "wizardry" in refused.error["message"], model
            assert refused.error["type"]
        assert served.chat(messages=[{"role": "user", "content": QUESTION}]).status == 200
        until(lambda: idle(served))
