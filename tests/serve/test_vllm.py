"""The server before vLLM itself, on a CPU with a tiny model: what clients see, and that its counts are vLLM's own.

Skipped unless `AUTOTTS_VLLM_PYTHON` names an interpreter for which `from vllm import LLM` works.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from autotts.policy.opening import Where
from autotts.serve.obey import rule
from autotts.serve.passing import passage
from autotts.serve.request import CHAT, TEXT, read
from autotts.serve.running import Options
from autotts.worlds.models.entry import Server
from tests.serve.inside import QUESTION, Answer, Inside, inside, until
from tests.serve.served import policy_over
from tests.worlds.vllm_process import figure, interpreter, vllm_server

pytestmark = [pytest.mark.vllm, pytest.mark.slow]
MODEL = """
[models.tiny]
endpoint = "http://127.0.0.1:9/v1"
model = "tiny"
parameters = 100_000
max_tokens = 300
context = 512
template = { user = "{prompt}" }
"""
ARMS = {
    "plain": "one(model=tiny, temperature=1)",
    "vote": "vote(n=4, model=tiny, temperature=1)",
    "race": "first_finish(n=4, model=tiny, temperature=1)",
}
PATHS = {CHAT: "/v1/chat/completions", TEXT: "/v1/completions"}
ASKED = {CHAT: {"messages": [{"role": "user", "content": QUESTION}]}, TEXT: {"prompt": QUESTION}}
STREAM = {"stream": True, "stream_options": {"include_usage": True}}
TOOLS = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]
LONG = {"ignore_eos": True, "max_tokens": 300}


@dataclass(frozen=True)
class Before:
    """Our server, and vLLM behind it."""

    url: str
    server: Inside

    def ask(self, endpoint: str, model: str, **fields: Any) -> Answer:
        return self.server.ask("POST", PATHS[endpoint], {"model": model, **ASKED[endpoint], **fields})

    @property
    def direct(self) -> Inside:
        """vLLM itself."""
        return Inside(self.server.service, int(self.url.rpartition(":")[2].partition("/")[0]))

    @property
    def counts(self) -> tuple[int, int]:
        """What vLLM counted: tokens read, tokens made."""
        return figure(self.url, "prompt_tokens_total"), figure(self.url, "generation_tokens_total")

    def idle(self) -> None:
        """Wait until nothing runs there."""
        until(lambda: figure(self.url, "num_requests_running") + figure(self.url, "num_requests_waiting") == 0)


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Before]:
    home = tmp_path_factory.mktemp("vllm")
    path = home / "policy.json"
    path.write_text(json.dumps(policy_over(home, MODEL, ARMS, unit="tokens", models=("tiny",), reader="exact")))
    with vllm_server(interpreter(), home, context=512, chat=True) as url:
        where = Where(upstream=Server(url))
        with inside(path, Options(where=where, controlled=False)) as server:
            yield Before(url, server)


def last(answer: Answer, stream: bool) -> Any:
    assert answer.status == 200, answer.body
    return answer.events[-1] if stream else answer.data


@pytest.mark.parametrize("endpoint", [CHAT, TEXT])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("model", "arm"), [("auto-fast", "one("), ("tiny", "vote("), ("plain:tiny", "one(")])
def test_usage_is_what_vllm_counted(before: Before, endpoint: str, model: str, arm: str, stream: bool) -> None:
    read, made = before.counts
    told = last(before.ask(endpoint, model, **(STREAM if stream else {})), stream)
    usage = told["usage"]
    expected = read + usage["prompt_tokens"], made + usage["completion_tokens"]
    until(lambda: before.counts >= expected)
    assert before.counts == expected
    block = told["autotts"]
    assert block["arm"].startswith(arm) and block["ended"] == "returned" and block["draws"] in (1, 4)
    shared = usage["prompt_tokens"] // block["draws"]  # by rule, a prompt that draws share costs once
    assert block["cost"] == shared + usage["completion_tokens"] > 0


@pytest.mark.parametrize(("endpoint", "model"), [(CHAT, "auto-fast"), (CHAT, "plain:tiny"), (TEXT, "plain:tiny")])
def test_a_plain_stream_is_vllms_own_bytes(before: Before, endpoint: str, model: str) -> None:
    asked = {"model": model, **ASKED[endpoint], "stream": True, "seed": 5, "max_tokens": 40}
    found = before.server.ask("POST", PATHS[endpoint], asked)
    way = passage(before.server.service, rule(before.server.service, read(endpoint, asked, {}), 0.0))
    assert way is not None
    direct = before.direct.ask("POST", "/v1" + way.path, way.body)
    assert said(found.body) == said(direct.body)
    assert frames(found.body) == {frame for frame in frames(direct.body) if b'"choices":[],' not in frame}
    assert len(said(found.body)) > 5 and found.headers["x-autotts-arm"].startswith("one(")


_TEXT = re.compile(rb'"(content|text)":("(?:[^"\\]|\\.)*")')


def said(body: bytes) -> str:
    """All text of a stream."""
    return "".join(json.loads(found[2]) for found in _TEXT.finditer(body))


def frames(body: bytes) -> set[bytes]:
    """The events of a stream as they came, but for their names and texts: vLLM puts what it has by then into one."""
    return set(_TEXT.sub(rb'"\1":""', re.sub(rb'"(id|created)":("[^"]*"|\d+)', rb'"\1":0', body)).split(b"\n\n"))


def test_what_only_vllm_can_honour_is_one_plain_draw(before: Before) -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "sum", "schema": {"type": "integer"}}}

    def choices(**fields: Any) -> Any:
        told = last(before.ask(CHAT, "auto", max_tokens=6, **fields), False)
        assert told["autotts"]["arm"].startswith("one(") and told["autotts"]["fallback"]
        return told["choices"]

    assert len(choices(n=3)) == 3
    (one,) = choices(logprobs=True, top_logprobs=2)
    assert len(one["logprobs"]["content"][0]["top_logprobs"]) == 2
    assert choices(structured_outputs={"choice": ["12", "72"]})[0]["message"]["content"] in ("12", "72")
    assert re.fullmatch(r"-?\d+", choices(response_format=schema)[0]["message"]["content"].strip())
    assert choices(tools=TOOLS, tool_choice="none")
    refused = before.ask(CHAT, "auto", tools=TOOLS)  # this vLLM was started without a parser of tools
    assert refused.status == 400 and "tool" in refused.error["message"]


@pytest.mark.parametrize("model", ["auto-fast", "auto"])
def test_stops_seeds_and_lengths_are_honoured(before: Before, model: str) -> None:
    def text(**fields: Any) -> str:
        return str(last(before.ask(CHAT, model, max_tokens=40, **fields), False)["choices"][0]["message"]["content"])

    first = text(seed=7)
    assert first == text(seed=7) != text(seed=8)
    letter = next(c for c in first[1:] if c.strip())
    assert letter not in text(seed=7, stop=[letter])
    short = last(before.ask(CHAT, model, max_tokens=3, ignore_eos=True), False)
    assert short["choices"][0]["finish_reason"] == "length"
    assert short["usage"]["completion_tokens"] == 3 * short["autotts"]["draws"]


@pytest.mark.parametrize("model", ["auto-fast", "plain:tiny", "auto", "auto-best"])
@pytest.mark.parametrize("stream", [False, True])
def test_work_ends_when_the_client_hangs_up(before: Before, model: str, stream: bool) -> None:
    before.idle()
    _, made = before.counts
    raw = json.dumps({"model": model, **ASKED[CHAT], **LONG, "stream": stream}).encode()
    head = f"POST {PATHS[CHAT]} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", before.server.port)) as line:
        line.sendall(f"{head}content-length: {len(raw)}\r\n\r\n".encode() + raw)
        until(lambda: figure(before.url, "num_requests_running") > 0)
    before.idle()
    draws = 4 if model in ("auto", "auto-best") else 1
    assert before.counts[1] - made < draws * LONG["max_tokens"]


def test_a_race_cancels_the_draws_that_it_does_not_need(before: Before) -> None:
    blocks = [last(before.ask(CHAT, "auto-best", seed=seed), False)["autotts"] for seed in (1, 2, 3)]
    assert all(block["arm"].startswith("first_finish") and block["draws"] == 4 for block in blocks)
    assert max(block["cancelled"] for block in blocks) > 0
    before.idle()


def test_deadlines_and_budgets_are_hard(before: Before) -> None:
    for model in ("auto", "auto-fast"):
        told = last(before.ask(CHAT, model, autotts={"deadline": 0.1}, **LONG), False)
        assert told["autotts"]["ended"] == "deadline"
        assert told["choices"][0]["finish_reason"] == "length"
        before.idle()
    _, made = before.counts
    for amount in (250, 1100):
        told = last(before.ask(CHAT, f"auto@{amount}tokens", **LONG), False)["autotts"]
        assert 0 < told["cost"] <= told["budget"] == amount
    before.idle()
    assert before.counts[1] - made <= 250 + 1100


def test_what_vllm_refuses_is_told_in_its_words(before: Before) -> None:
    for model in ("auto", "auto-fast", "plain:tiny"):
        refused = before.ask(CHAT, model, top_k=-5)
        assert refused.status == 400 and "top_k" in refused.error["message"]
        long = before.ask(CHAT, model, messages=[{"role": "user", "content": "a" * 600}])
        assert long.status == 400 and "512" in long.error["message"]
