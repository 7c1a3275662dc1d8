"""Streams as they go over the line, read as the standard of server-sent events says, with nothing but a socket."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from autotts.policy.opening import Where
from autotts.serve.running import Options
from autotts.serve.service import Settings
from autotts.worlds.fake_server import FakeServer, Faults, Pace, serving
from autotts.worlds.models.entry import Server
from tests.serve.inside import QUESTION, Inside, inside
from tests.serve.served import backend, policy_data

MODELS = ("auto-fast", "auto", "auto-best", "plain:large")
USAGE = {"stream_options": {"include_usage": True}}


@dataclass
class Heard:
    """What a reader of events makes of a stream: the data of each event, and the comments, in their order."""

    kind: str
    data: list[str] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)  # lines that neither are data nor comments
    rest: str = ""  # what no blank line ended

    @property
    def chunks(self) -> list[dict[str, Any]]:
        """The objects of all events but the last, which says that it is done."""
        assert self.data[-1] == "[DONE]" and not self.others and not self.rest
        return [json.loads(each) for each in self.data[:-1]]


def read(kind: str, text: str) -> Heard:
    """Read a stream line by line, as the standard says."""
    heard, gathered = Heard(kind), list[str]()
    assert "\r" not in text and "\ufeff" not in text
    *lines, heard.rest = text.split("\n")
    for line in lines:
        if not line:
            if gathered:
                heard.data.append("\n".join(gathered))
            gathered = []
        elif line.startswith(":"):
            heard.comments.append(line[1:].removeprefix(" "))
        elif line.startswith("data:"):
            gathered.append(line[5:].removeprefix(" "))
        else:
            heard.others.append(line)
    heard.rest += "\n".join(gathered)
    return heard


def listen(server: Inside, **form: Any) -> Heard:
    """Ask for a stream and read it to its end."""
    path = "/v1/completions" if "prompt" in form else "/v1/chat/completions"
    if "prompt" not in form:
        form = {"messages": [{"role": "user", "content": QUESTION}], **form}
    line = HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        line.request("POST", path, json.dumps({"stream": True, **form}), {"content-type": "application/json"})
        answer = line.getresponse()
        assert answer.status == 200 and answer.getheader("content-length") is None
        return read(answer.getheader("content-type") or "", answer.read().decode())
    finally:
        line.close()


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("policy") / "policy.json"
    path.write_text(json.dumps(policy_data(path.parent)))
    return path


def opened(policy: Path, upstream: FakeServer, **settings: Any) -> AbstractContextManager[Inside]:
    where = Where(upstream=Server(upstream.url, None))
    return inside(policy, Options(where=where, controlled=False, settings=Settings(**settings)))


@pytest.fixture(scope="module")
def quick(policy: Path) -> Iterator[Inside]:
    with serving(backend(pace=Pace(chunk=3))) as upstream, opened(policy, upstream) as found:
        yield found


@pytest.fixture(scope="module")
def slow(policy: Path) -> Iterator[Inside]:
    """Its backend takes a moment, in which it shows signs of life."""
    with (
        serving(backend(pace=Pace(first=0.05))) as upstream,
        opened(policy, upstream, head=0.0, alive=0.005, step=0.005) as found,
    ):
        yield found


@pytest.mark.parametrize("model", MODELS)
def test_the_chunks_of_a_chat(quick: Inside, model: str) -> None:
    heard = listen(quick, model=model, **USAGE)
    assert heard.kind.startswith("text/event-stream")
    *chunks, last = heard.chunks
    assert {chunk["object"] for chunk in (*chunks, last)} == {"chat.completion.chunk"}
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in (*chunks, last)}) == 1
    assert all([choice["index"] for choice in chunk["choices"]] == [0] for chunk in chunks)
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas[0]["role"] == "assistant" and not any("role" in delta for delta in deltas[1:])
    ends = [chunk["choices"][0]["finish_reason"] for chunk in chunks]
    assert ends[-1] == "stop" and not any(ends[:-1])
    assert "boxed" in "".join(delta.get("content") or "" for delta in deltas)
    assert last["choices"] == [] and last["usage"]["total_tokens"] > 0 and last["autotts"]["cost"] > 0
    assert not any(chunk.get("usage") or "autotts" in chunk for chunk in chunks)


@pytest.mark.parametrize("model", MODELS)
def test_a_stream_without_usage_ends_with_its_last_choice(quick: Inside, model: str) -> None:
    chunks = listen(quick, model=model).chunks
    assert all(len(chunk["choices"]) == 1 and not chunk.get("usage") for chunk in chunks)
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("model", MODELS)
def test_the_chunks_of_a_text_completion(quick: Inside, model: str) -> None:
    *chunks, last = listen(quick, model=model, prompt=QUESTION + "\n", max_tokens=200, **USAGE).chunks
    assert {chunk["object"] for chunk in (*chunks, last)} == {"text_completion"}
    assert "boxed" in "".join(chunk["choices"][0]["text"] for chunk in chunks)
    ends = [chunk["choices"][0]["finish_reason"] for chunk in chunks]
    assert ends[-1] == "stop" and not any(ends[:-1])
    assert last["choices"] == [] and last["usage"]["total_tokens"] > 0


def test_signs_of_life_are_comments_which_readers_pass_over(slow: Inside) -> None:
    heard = listen(slow, model="auto", **USAGE)
    assert len(heard.comments) > 2
    assert heard.chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    text = listen(slow, model="auto", prompt=QUESTION, max_tokens=200)
    assert text.comments and "boxed" in "".join(chunk["choices"][0]["text"] for chunk in text.chunks)


def test_progress_is_in_chunks_of_the_same_form(slow: Inside) -> None:
    heard = listen(slow, model="auto", autotts={"progress": True}, **USAGE)
    chunks = heard.chunks
    told = [chunk["autotts"]["progress"] for chunk in chunks if "progress" in chunk.get("autotts", {})]
    assert told and told[-1]["draws"] == 4
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert all(chunk["choices"] or "usage" in chunk for chunk in chunks)


def test_an_error_before_the_first_event_has_a_status_of_its_own(quick: Inside) -> None:
    found = quick.chat(model="auto", stream=True, messages=[])
    assert found.status == 400 and found.headers["content-type"].startswith("application/json")
    assert found.error["param"] == "messages"


@pytest.mark.parametrize("model", ["auto-fast", pytest.param("auto", marks=pytest.mark.slow)])  # it asks again
def test_an_error_after_the_first_event_is_the_last_event(policy: Path, model: str) -> None:
    broken = Faults(always=lambda form: "reset_midway")
    with (
        serving(backend(faults=broken, pace=Pace(chunk=1))) as upstream,
        opened(policy, upstream, head=0.0, alive=0.01) as found,
    ):
        heard = listen(found, model=model)
    errors = [json.loads(data)["error"] for data in heard.data if data != "[DONE]" and "error" in json.loads(data)]
    assert len(errors) == 1 and errors[0]["message"] and not heard.rest
    assert "error" in heard.data[-1] or (heard.data[-1] == "[DONE]" and "error" in heard.data[-2])
