"""The chat client against scripted servers: good ones, slow ones, broken ones, and those that answer too much."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from autotts.core.cost import Usage
from autotts.errors import InputError, ProposerError
from autotts.worlds.chat import Chat, Said, Unanswered, bound, estimate, read_key
from autotts.worlds.scripted import Scripted

KEY = "sk-very-secret-0123456789"
MESSAGES = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "How are you?"}]
SCHEMA = {"type": "object"}


def chat(transport: httpx.BaseTransport, **others: Any) -> Chat:
    return Chat("http://server:8000/v1", "m", **{"transport": transport, "sleep": lambda s: None} | others)


def ask(of: Chat, **others: Any) -> Said:
    return of.complete(MESSAGES, **{"temperature": 0.5, "max_tokens": 20, "seed": 7} | others)


def served(*bodies: Any, status: int = 200) -> httpx.MockTransport:
    """A server that gives these bodies in order, as JSON."""
    left = iter(bodies)
    return httpx.MockTransport(lambda request: httpx.Response(status, json=next(left)))


def said(text: Any = "fine", **others: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"role": "assistant", "content": text}}], **others}


def test_a_question_is_asked_as_the_protocol_says() -> None:
    script = Scripted(["fine"])
    answer = ask(chat(script, key=KEY))
    assert answer == Said("fine", Usage(prompt=6, generated=1, calls=1), "m")
    assert script.asked == [{"model": "m", "messages": MESSAGES, "temperature": 0.5, "max_tokens": 20, "seed": 7}]
    assert script.headers[0]["authorization"] == f"Bearer {KEY}"


def test_without_a_key_none_is_sent() -> None:
    script = Scripted(["fine"])
    ask(chat(script))
    assert "authorization" not in script.headers[0]


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://a/v1", "http://a/v1/chat/completions"),
        ("https://a:8/v1/", "https://a:8/v1/chat/completions"),
        ("http://a/x/chat/completions?version=2", "http://a/x/chat/completions?version=2"),
    ],
)
def test_the_address_is_that_of_the_chat_completions(url: str, address: str) -> None:
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(str(request.url))
        return httpx.Response(200, json=said())

    ask(Chat(url, "m", transport=httpx.MockTransport(answer)))
    assert seen == [address]


@pytest.mark.parametrize("url", ["", "server:8000", "ftp://a/v1", "http://", "http://a:port/v1", "http://[::1/v1"])
def test_what_is_no_address_is_an_input_error(url: str) -> None:
    with pytest.raises(InputError, match="expected one such as http://localhost:8000/v1"):
        Chat(url, "m")


def test_a_schema_that_the_server_does_not_know_is_dropped() -> None:
    script = Scripted([400, "fine"])
    assert ask(chat(script), schema=SCHEMA).text == "fine"
    first, second = script.asked
    assert first["response_format"]["json_schema"]["schema"] == SCHEMA
    assert "response_format" not in second and second["max_tokens"] == 20


def test_a_model_that_refuses_max_tokens_is_asked_in_its_own_words() -> None:
    script = Scripted([400, 400, "fine"])
    assert ask(chat(script), schema=SCHEMA).text == "fine"
    assert script.asked[-1] == {"model": "m", "messages": MESSAGES, "max_completion_tokens": 20}


def test_a_question_that_no_form_makes_right_is_an_error_with_the_servers_words() -> None:
    script = Scripted([400, 422, 400])
    with pytest.raises(ProposerError, match="HTTP 400: 'scripted status 400'"):
        ask(chat(script), schema=SCHEMA)
    assert script.calls == 3


def test_a_busy_or_broken_server_is_asked_again_after_longer_and_longer_waits() -> None:
    waits: list[float] = []
    script = Scripted([429, 503, httpx.ConnectError("refused"), "fine"])
    assert ask(chat(script, sleep=waits.append)).text == "fine"
    assert waits == [0.5, 1.0, 2.0]


def test_a_server_may_say_how_long_to_wait_but_not_for_ever() -> None:
    waits: list[float] = []
    left = iter(
        [
            httpx.Response(429, headers={"Retry-After": "7"}),
            httpx.Response(429, headers={"Retry-After": "99999"}),
            httpx.Response(429, headers={"Retry-After": "Wed, 21 Oct 2065 07:28:00 GMT"}),
            httpx.Response(200, json=said()),
        ]
    )
    ask(chat(httpx.MockTransport(lambda request: next(left)), sleep=waits.append))
    assert waits == [7.0, 30.0, 2.0]


@pytest.mark.parametrize("reply", [httpx.ConnectError("refused"), httpx.ConnectTimeout("slow"), 500, 429])
def test_a_dead_server_is_given_up(reply: int | Exception) -> None:
    script = Scripted([reply], again=True)
    with pytest.raises(Unanswered, match=r"http://server:8000/v1, model 'm'") as caught:
        ask(chat(script, retries=2))
    assert script.calls == 3
    assert caught.value.usage == Usage()


@pytest.mark.parametrize("error", [httpx.ReadTimeout("slow"), httpx.RemoteProtocolError("gone"), httpx.ReadError("x")])
def test_what_broke_off_after_it_had_begun_is_counted_in_full_and_not_asked_again(error: Exception) -> None:
    script = Scripted([error], again=True)
    with pytest.raises(Unanswered) as caught:
        ask(chat(script))
    assert script.calls == 1
    assert caught.value.usage == bound(MESSAGES, 20)


class Flood(httpx.SyncByteStream):
    """A body of 100 MB that counts how much of it was taken."""

    def __init__(self) -> None:
        self.taken = 0

    def __iter__(self) -> Iterator[bytes]:
        for _ in range(1600):
            self.taken += 1 << 16
            yield b"x" * (1 << 16)


def test_an_answer_of_100_mb_is_cut_off() -> None:
    flood = Flood()
    transport = httpx.MockTransport(lambda request: httpx.Response(200, stream=flood))
    with pytest.raises(Unanswered, match="cut off after 1000000 bytes") as caught:
        ask(chat(transport))
    assert flood.taken < 1_200_000
    assert caught.value.usage == bound(MESSAGES, 20)


def test_an_answer_that_trickles_is_cut_off_at_a_time() -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(200, stream=Flood()))
    with pytest.raises(Unanswered, match="cut off after 1e-09 s"):
        ask(chat(transport, timeout=1e-9))


def test_redirects_are_not_followed() -> None:
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(str(request.url))
        return httpx.Response(307, headers={"Location": "http://elsewhere/"})

    with pytest.raises(ProposerError, match=r"HTTP 307 .redirects are not followed"):
        ask(chat(httpx.MockTransport(answer), key=KEY))
    assert len(seen) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><body>It works!</body></html>",
        b"[1, 2]",
        b"[" * 100_000,
        b'{"choices": []}',
        b'{"choices": [3]}',
        b'{"choices": {"0": 1}}',
        b'{"choices": [{"message": "hi"}]}',
        b'{"error": {"message": "no credit left"}}',
        b"\xff\xfe\x00",
    ],
)
def test_what_is_no_completion_is_an_error(body: bytes) -> None:
    with pytest.raises(Unanswered, match="expected a chat completion with a choice") as caught:
        ask(chat(Scripted([body])))
    assert len(str(caught.value)) < 400
    assert caught.value.usage.prompt > 0  # a server may have worked for it


def test_the_servers_own_words_are_told() -> None:
    with pytest.raises(ProposerError, match="no credit left"):
        ask(chat(Scripted([b'{"error": {"message": "no credit left"}}'])))


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, ""),
        ([{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}], "ab"),
        ("half \ud800 a pair", "half ? a pair"),
    ],
)
def test_contents_of_other_kinds_are_read(content: Any, text: str) -> None:
    body = json.dumps(said(content)).encode()
    assert ask(chat(Scripted([body]))).text == text


def test_cached_tokens_are_told_apart() -> None:
    used = {"prompt_tokens": 100, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 60}}
    assert ask(chat(served(said(usage=used)))).usage == Usage(prompt=40, cached=60, generated=5, calls=1)


@pytest.mark.parametrize(
    "used",
    [
        None,
        {},
        "many",
        {"prompt_tokens": -1, "completion_tokens": 5},
        {"prompt_tokens": 1, "completion_tokens": True},
        {"prompt_tokens": 1.5, "completion_tokens": 5},
        {"prompt_tokens": 1, "completion_tokens": 10**30},
    ],
)
def test_usage_that_is_missing_or_cannot_be_is_estimated_and_marked(used: Any) -> None:
    body = said("fine", usage=used)
    answer = ask(chat(served(body)))
    assert answer.estimated
    assert answer.usage == estimate(MESSAGES, json.dumps(body, separators=(",", ":")), 20)
    assert answer.usage.prompt == 7


def test_failed_attempts_that_were_charged_count() -> None:
    used = {"usage": {"prompt_tokens": 10, "completion_tokens": 3}}
    left = iter([httpx.Response(500, json=used), httpx.Response(200, json=said(**used))])
    answer = ask(chat(httpx.MockTransport(lambda request: next(left))))
    assert answer.usage == Usage(prompt=20, generated=6, calls=2)


def test_no_call_can_take_more_than_its_bound() -> None:
    most = bound([{"role": "user", "content": "é" * 100}], 30)
    assert most.prompt >= 200 and most.generated == 30


@pytest.mark.parametrize(
    "reply",
    [
        401,
        f'{{"error": {{"message": "wrong key {KEY}"}}}}'.encode(),
        httpx.ConnectError(f"Illegal header Bearer {KEY}"),
        httpx.ReadError(f"Bearer {KEY}"),
    ],
)
def test_the_key_is_in_no_message(reply: Any) -> None:
    of = chat(Scripted([reply], again=True), key=KEY)
    with pytest.raises(ProposerError) as caught:
        ask(of)
    assert KEY not in str(caught.value)
    assert caught.value.__cause__ is None and caught.value.__suppress_context__ | (caught.value.__context__ is None)
    assert KEY not in repr(of)


def test_secrets_of_the_address_are_in_no_message() -> None:
    of = Chat("http://me:password@server/v1?code=hidden", "m", transport=Scripted([404]))
    with pytest.raises(ProposerError, match=r"HTTP 404 .is the address right") as caught:
        ask(of)
    assert "password" not in str(caught.value) and "hidden" not in str(caught.value)


@pytest.mark.parametrize("key", ["", "two words", "line\n", "schlüssel"])
def test_a_key_that_no_header_can_hold_is_an_input_error(key: str) -> None:
    with pytest.raises(InputError) as caught:
        Chat("http://server/v1", "m", key=key)
    assert not key or key not in str(caught.value)


def test_a_key_is_read_from_a_file(tmp_path: Path) -> None:
    there = tmp_path / "key"
    there.write_text(KEY + "\n")
    assert read_key(there) == KEY
    for content in ("", "a b", "a\nb", "schlüssel"):
        there.write_text(content)
        with pytest.raises(InputError, match="key on one line") as caught:
            read_key(there)
        assert "schl" not in str(caught.value)
    with pytest.raises(InputError, match="No such file"):
        read_key(tmp_path / "none")


def test_a_script_ends_or_begins_again() -> None:
    short = chat(Scripted(["a"]))
    assert ask(short).text == "a"
    with pytest.raises(InputError, match="it has 1 replies and was asked once more"):
        ask(short)
    forever = chat(Scripted(["a", "b"], again=True, usage=False))
    answers = [ask(forever) for _ in range(3)]
    assert [a.text for a in answers] == ["a", "b", "a"]
    assert all(a.estimated for a in answers)
