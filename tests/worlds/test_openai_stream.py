"""Completions that are put together from chunks, however they were cut, counted as they come."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotts.core.world import Meter
from autotts.worlds.openai.stream import Assembly, Said
from autotts.worlds.servers import Fault

PROMPT = 11
texts = st.text(st.sampled_from('ab "\\\n{}é😀'), min_size=1, max_size=6)


@dataclass(frozen=True)
class Server:
    """How a server streams: what it says besides the text."""

    chat: bool = True
    running: bool = True
    ids: bool = False
    logprobs: bool = False
    usage: bool = True
    spaced: bool = False
    ascii: bool = False

    def stream(
        self, pieces: Sequence[str], *, thoughts: int = 0, per: int = 1, finish: str = "stop", **ending: Any
    ) -> Iterator[bytes]:
        """Chunks of `per` tokens each, the first `thoughts` tokens being thinking."""
        if self.chat:
            yield self.chunk({"delta": {"role": "assistant", "content": ""}, "finish_reason": None}, 0)
        for start in range(0, len(pieces), per):
            stop = min(start + per, len(pieces))
            own = pieces[start:stop]
            thought = "".join(own[: max(0, thoughts - start)])
            text = "".join(own[max(0, thoughts - start) :])
            choice: dict[str, Any] = {"delta": {"content": text} | ({"reasoning": thought} if thought else {})}
            if not self.chat:
                choice = {"text": "".join(own)}
            last = stop == len(pieces)
            choice |= {"logprobs": self.probs(own), "finish_reason": finish if last else None}
            if self.ids:
                choice["token_ids"] = list(range(start, stop))
            yield self.chunk(choice | (ending if last else {}), stop)
        if self.usage:
            yield self.dump({"choices": [], "usage": self.told(len(pieces))})

    def probs(self, own: Sequence[str]) -> Any:
        if not self.logprobs:
            return None
        if self.chat:
            return {"content": [{"token": piece, "logprob": -0.5} for piece in own]}
        return {"token_logprobs": [-0.5 for _ in own], "tokens": list(own)}

    def chunk(self, choice: dict[str, Any], made: int) -> bytes:
        form: dict[str, Any] = {"choices": [{"index": 0, **choice}]}
        return self.dump(form | ({"usage": self.told(made)} if self.running else {}))

    def told(self, made: int) -> dict[str, Any]:
        return {"prompt_tokens": PROMPT, "total_tokens": PROMPT + made, "completion_tokens": made}

    def dump(self, form: dict[str, Any]) -> bytes:
        top = {"id": "cmpl-1", "object": "chunk", "created": 1, "model": "m"}
        separators = None if self.spaced else (",", ":")
        return json.dumps(top | form, separators=separators, ensure_ascii=self.ascii).encode()


servers = st.builds(Server, *[st.booleans() for _ in range(4)], st.just(True), st.booleans(), st.booleans())


def put_together(payloads: Sequence[bytes]) -> tuple[Said, Meter]:
    meter = Meter()
    assembly = Assembly(meter)
    for payload in payloads:
        assembly.feed(payload)
    return assembly.said(), meter


@given(servers, st.lists(texts, min_size=1, max_size=12), st.integers(0, 6), st.integers(1, 4))
def test_a_stream_is_put_together_however_it_is_cut(server: Server, pieces: list[str], thoughts: int, per: int) -> None:
    thoughts = min(thoughts, len(pieces)) if server.chat else 0
    said, meter = put_together(list(server.stream(pieces, thoughts=thoughts, per=per)))
    assert said.text == "".join(pieces[thoughts:])
    assert said.thought == "".join(pieces[:thoughts])
    assert said.made == meter.generated == len(pieces)
    assert (said.prompt, said.cached, meter.prompt, meter.ahead) == (PROMPT, 0, PROMPT, 0)
    assert said.ids == (tuple(range(len(pieces))) if server.ids else None)
    assert said.mean_logprob == (pytest.approx(-0.5) if server.logprobs else None)
    assert not said.estimated


@given(servers, st.lists(texts, min_size=1, max_size=12), st.integers(1, 4), st.data())
def test_what_came_is_counted_at_every_moment(server: Server, pieces: list[str], per: int, data: st.DataObject) -> None:
    """A draw that is cancelled is charged what came and one chunk more: never less than was made by then."""
    exact = server.running or server.ids or server.logprobs
    payloads = list(server.stream(pieces, per=per))
    came = data.draw(st.integers(0, len(payloads)))
    meter = Meter()
    assembly = Assembly(meter)
    for payload in payloads[:came]:
        assembly.feed(payload)
    made = max(0, came - server.chat) * (per if exact else 1)
    made = len(pieces) if server.usage and came == len(payloads) else made  # the usage of the whole has the last word
    assert meter.generated == min(made, len(pieces))
    assert meter.ahead <= (per if exact else 1)
    assert meter.ahead == 0 if assembly.finish else meter.ahead >= (per if exact and made else 1)


@given(st.lists(texts, min_size=2, max_size=8), st.integers(1, 3), st.data())
def test_a_chunk_that_comes_twice_is_seen_by_its_usage(pieces: list[str], per: int, data: st.DataObject) -> None:
    payloads = list(Server().stream(pieces, per=per))
    at = data.draw(st.integers(0, len(payloads) - 1))
    said, meter = put_together([*payloads[: at + 1], *payloads[at:]])
    assert (said.text, said.made, meter.generated) == ("".join(pieces), len(pieces), len(pieces))


@pytest.mark.parametrize("ids", [True, False])
def test_a_chunk_that_comes_twice_without_a_running_usage_is_no_answer(ids: bool) -> None:
    payloads = list(Server(running=False, ids=ids).stream(["a", "b", "c"]))
    with pytest.raises(Fault, match="came twice") as caught:
        put_together([*payloads[:2], *payloads[1:]])
    assert caught.value.kind == "nonsense"


def test_equal_tokens_in_a_row_are_no_chunk_that_comes_twice() -> None:
    for running in (True, False):
        said, _ = put_together(list(Server(running=running).stream(["ha"] * 5)))
        assert said.text == "ha" * 5


def test_without_a_usage_the_count_is_an_estimate() -> None:
    pieces = ["a", "b", "c", "d"]
    said, meter = put_together(list(Server(running=False, usage=False).stream(pieces, per=2)))
    assert (said.made, said.estimated, said.prompt, meter.generated) == (2, True, None, 2)
    said, _ = put_together(list(Server(running=False, usage=False, ids=True).stream(pieces, per=2)))
    assert (said.made, said.estimated) == (4, False)
    said, _ = put_together(list(Server(usage=False).stream(pieces, per=2)))
    assert (said.made, said.estimated, said.prompt) == (4, False, PROMPT)


@pytest.mark.parametrize(
    ("finish", "ending", "expected"),
    [
        ("stop", {"stop_reason": None}, ("stop", None, True)),
        ("stop", {"stop_reason": "\n\n"}, ("stop", "\n\n", True)),
        ("stop", {"stop_reason": 151643}, ("stop", None, True)),
        ("stop", {"matched_stop": "\n\n"}, ("stop", "\n\n", True)),
        ("stop", {}, ("stop", None, False)),
        ("eos_token", {}, ("stop", None, True)),
        ("length", {}, ("length", None, False)),
        ("content_filter", {}, ("filter", None, False)),
    ],
)
def test_why_it_ended(finish: str, ending: dict[str, Any], expected: tuple[Any, ...]) -> None:
    said, _ = put_together(list(Server().stream(["a"], finish=finish, **ending)))
    assert (said.finish, said.stop, said.knows_stop) == expected


def test_cached_tokens_are_believed_up_to_the_prompt() -> None:
    for told, cached in ((4, 4), (99, PROMPT), (-1, 0), (None, 0), ("4", 0)):
        payloads = list(Server(usage=False, running=False).stream(["a"]))
        usage = Server().told(1) | {"prompt_tokens_details": {"cached_tokens": told}}
        said, _ = put_together([*payloads, Server().dump({"choices": [], "usage": usage})])
        assert said.cached == cached


@pytest.mark.parametrize(
    ("payload", "kind", "words"),
    [
        (b'{"choices":[{"index"', "nonsense", "a chunk in JSON"),
        (b"[1]", "nonsense", "a chunk in JSON"),
        (b"\xff\xfe", "nonsense", "a chunk in JSON"),
        (b'{"model":"m"}', "nonsense", "a chunk with a choice"),
        (b'{"choices":[{"index":1,"delta":{"content":"a"}}]}', "nonsense", "index 0"),
        (b'{"choices":[{"index":0,"delta":{}},{"index":1,"delta":{}}]}', "nonsense", "one choice"),
        (b'{"choices":[7]}', "nonsense", "one choice"),
        (b'{"choices":[{"index":0,"delta":{"content":["a"]}}]}', "nonsense", "a text"),
        (
            b'{"model":"other","choices":[{"index":0,"delta":{"content":"a"}}]}',
            "nonsense",
            "goes on as that of 'other'",
        ),
        (b'{"error":{"message":"out of memory","code":500}}', "server", "out of memory"),
        (b'{"error":{"message":"too long","code":400}}', "request", "too long"),
        (b'{"choices":[{"index":0,"delta":{},"finish_reason":"abort"}]}', "server", "gave the draw up"),
        (
            b'{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":0}}',
            "nonsense",
            "2 tokens or more",
        ),
    ],
)
def test_what_is_no_answer_is_a_fault(payload: bytes, kind: str, words: str) -> None:
    first = list(Server().stream(["a", "b", "c"]))[:3]
    assembly = Assembly(Meter())
    for one in first:
        assembly.feed(one)
    with pytest.raises(Fault, match=words) as caught:
        assembly.feed(payload)
    assert caught.value.kind == kind
    assert caught.value.again == (kind != "request")


def test_half_a_stream_is_no_answer() -> None:
    payloads = list(Server().stream(["a", "b", "c"]))
    for length in range(len(payloads) - 1):
        with pytest.raises(Fault, match="without a finish_reason"):
            put_together(payloads[:length])
    put_together(payloads[:-1])


def test_a_usage_that_cannot_be_is_not_believed() -> None:
    payloads = list(Server(running=False, usage=False).stream(["a", "b"]))
    for usage in ({"prompt_tokens": -1, "completion_tokens": 2}, {"completion_tokens": 2}, 7, {"prompt_tokens": True}):
        said, _ = put_together([*payloads, Server().dump({"choices": [], "usage": usage})])
        assert (said.made, said.prompt, said.estimated) == (2, None, True)
