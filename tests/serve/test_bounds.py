"""Bodies of requests: what is read, and what is refused with a word that helps."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotts.serve.bounds import Bounds, read_body, read_object
from autotts.serve.refused import Refused
from autotts.serve.sending import Gone, Message
from tests.serve.lines import Upward, pieces

JSON = {"content-type": "application/json"}
SMALL = Bounds(bytes=100, seconds=0.01, depth=4, values=30, patience=3)


def read(messages: list[Message], headers: Mapping[str, str] = JSON, bounds: Bounds = SMALL) -> bytes:
    return asyncio.run(read_body(Upward(messages).receive, headers, bounds))


def refusal(messages: list[Message], headers: Mapping[str, str] = JSON, bounds: Bounds = SMALL) -> Refused:
    with pytest.raises(Refused) as caught:
        read(messages, headers, bounds)
    return caught.value


def wrong(raw: bytes, bounds: Bounds = SMALL) -> Refused:
    with pytest.raises(Refused) as caught:
        read_object(raw, bounds)
    assert caught.value.status == 400
    return caught.value


@pytest.mark.parametrize("parts", [[b"{}"], [b"{", b"}"], [b"", b"{}", b""], [b"x" * 100], [b"x"] * 100])
def test_a_body_is_read_whole_however_it_comes(parts: list[bytes]) -> None:
    whole = b"".join(parts)
    assert read(pieces(*parts)) == whole
    assert read(pieces(*parts), {**JSON, "content-length": str(len(whole))}) == whole


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON ; charset=UTF-8", 'application/json;charset="utf8"']
)
def test_json_is_known_by_its_name(kind: str) -> None:
    assert read(pieces(b"{}"), {"content-type": kind}) == b"{}"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "multipart/form-data; boundary=x"},
        {"content-type": "application/json; charset=latin-1"},
        {**JSON, "content-encoding": "gzip"},
        {**JSON, "content-encoding": "identity, br"},
    ],
)
def test_what_is_packed_or_no_json_by_its_own_word_is_refused_unread(headers: Mapping[str, str]) -> None:
    line = Upward(pieces(b"{}"))
    with pytest.raises(Refused) as caught:
        asyncio.run(read_body(line.receive, headers, SMALL))
    assert (caught.value.status, line.taken) == (415, 0)


def test_a_body_that_is_too_long_is_read_to_its_end_and_refused() -> None:
    for headers in (JSON, {**JSON, "content-length": "250"}):
        line = Upward(pieces(*[b"x" * 50] * 5))
        with pytest.raises(Refused) as caught:
            asyncio.run(read_body(line.receive, headers, SMALL))
        assert (caught.value.status, line.taken) == (413, 5)
        assert "at most 100 bytes" in caught.value.message and "250" in caught.value.message


def test_a_body_that_is_much_too_long_is_cut_off() -> None:
    line = Upward(pieces(*[b"x" * 50] * 100))
    with pytest.raises(Refused) as caught:
        asyncio.run(read_body(line.receive, JSON, SMALL))
    assert (caught.value.status, line.taken) == (413, 7)
    assert caught.value.headers == {"connection": "close"}


@pytest.mark.parametrize("headers", [{"content-length": "301"}, {"content-length": "101", "expect": "100-continue"}])
def test_a_body_that_is_announced_too_long_is_not_waited_for(headers: Mapping[str, str]) -> None:
    assert refusal([], {**JSON, **headers}).status == 413


@pytest.mark.parametrize("length", ["-1", "1e3", "", "٣", "9" * 5000, "2, 2"])
def test_a_length_that_is_none_is_refused(length: str) -> None:
    assert refusal(pieces(b"{}"), {**JSON, "content-length": length}).status in (400, 413)


@pytest.mark.parametrize("length", ["1", "3"])
def test_a_length_that_lies_is_refused(length: str) -> None:
    assert refusal(pieces(b"{}"), {**JSON, "content-length": length}).status == 400


def test_a_slow_body_is_waited_for_a_while_only() -> None:
    slow: list[Message] = [{"type": "http.request", "body": b"{", "more_body": True}]
    refused = refusal(slow)
    assert (refused.status, refused.headers) == (408, {"connection": "close"})


@pytest.mark.parametrize("first", [[], [{"type": "http.request", "body": b"{", "more_body": True}]])
def test_who_hangs_up_is_gone(first: list[Message]) -> None:
    with pytest.raises(Gone):
        read([*first, {"type": "http.disconnect"}])


LEAVES = st.none() | st.booleans() | st.floats(-1e9, 1e9) | st.text(max_size=9)


@given(st.dictionaries(st.text(max_size=9), LEAVES | st.lists(LEAVES, max_size=3), max_size=4))
def test_what_is_sound_is_read_as_others_read_it(value: dict[str, Any]) -> None:
    for raw in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
        assert read_object(raw.encode(), Bounds()) == value


def test_escaped_pairs_and_a_mark_of_byte_order_are_no_harm() -> None:
    assert read_object('\ufeff{"a": "\\ud83d\\ude00\\u0000"}'.encode(), SMALL) == {"a": "😀\0"}


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "line 1, column 1"),
        (b'{"a": 1,}', "line 1, column 9"),
        (b'{"a": 1} {}', "line 1, column 10"),
        (b'{\n"a": "\n"}', "line 2, column 7"),
        (b'{"a": "\xff"}', "0xff at byte 7"),
        (b'{"a": "\xed\xa0\x80"}', "0xed at byte 7"),
        ("{}".encode("utf-16"), "0xff at byte 0"),
        (b'{"a": 1, "b": {"c": 1, "c": 1}}', "'c' twice"),
        (b'{"a": NaN}', "found NaN"),
        (b'{"a": -Infinity}', "found -Infinity"),
        (b'{"a": 1e999}', "found 1e999"),
        (b'{"a": 1' + b"0" * 20 + b"}", "21 digits"),
        (b'{"a": ' + b"9" * 10_000 + b"}", "10000 digits"),
        (b"[1]", "found an array"),
        (b'"a"', "found a string"),
        (b"true", "found true"),
        (b"null", "found null"),
        (b"1", "found a number"),
        (b'{"a":[[[[1]]]]}', "nested 4 deep"),
        (b'{"a":' * 5 + b"1" + b"}" * 5, "nested 4 deep"),
        (b'{"a":' * 100_000, "nested 4 deep|at most 30 values"),
        (b"[" * 100_000, "nested 4 deep|at most 30 values"),
        (b'{"a": [' + b"1," * 40 + b"1]}", "at most 30 values"),
    ],
)
def test_what_two_readers_might_read_in_two_ways_is_refused(raw: bytes, said: str) -> None:
    assert any(part in wrong(raw).message for part in said.split("|"))


def test_deep_ones_are_refused_where_values_are_not_counted() -> None:
    for raw in (b'{"a":' * 100_000, b"[" * 100_000, b'{"a":' + b"[" * 500 + b"]" * 500 + b"}"):
        assert "nested 64 deep" in wrong(raw, Bounds(values=10**9)).message


def test_as_deep_as_is_allowed_is_read() -> None:
    raw = b'{"a":[{"b":[1]}], "c": "' + b"[{" * 20 + b'"}'
    assert read_object(raw, SMALL)["a"] == [{"b": [1]}]


def test_what_stands_in_texts_is_not_counted() -> None:
    text = '\\"[{,' * 50
    assert read_object(json.dumps({"a": text}).encode(), SMALL) == {"a": text}


@pytest.mark.parametrize(
    ("value", "param"),
    [
        ({"a": "\ud800"}, "a"),
        ({"m": [{}, {"content": "x\udfff"}]}, "m[1].content"),
        ({"m": {"\ud800": 1}}, "m"),
        ({"\ud800": "\ud800"}, None),
    ],
)
def test_half_characters_are_refused_and_their_place_is_named(value: Any, param: str | None) -> None:
    refused = wrong(json.dumps(value).encode())
    assert refused.param in (param, "\\ud800") and "surrogate" in refused.message
    refused.body()


@given(st.binary(max_size=200) | st.text(alphabet='[]{}",:\\ud8019eE.-ab ', max_size=200).map(str.encode))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    try:
        found = read_object(raw, SMALL)
    except Refused as refused:
        assert refused.status == 400
        refused.body()
    else:
        assert found == json.loads(raw.decode("utf-8-sig"))


@pytest.mark.parametrize("unit", [b'"', b'\\"', b"[", b'{"a":', b'"a",', b"\\", b"9", b"1,", b"\\ud800", b'"\\ud800",'])
def test_the_time_to_read_is_in_proportion_to_the_length(unit: bytes) -> None:
    def seconds(raw: bytes) -> float:
        begun = time.process_time()
        with pytest.raises(Refused):
            read_object(raw, Bounds())
        return time.process_time() - begun

    small, large = (b'{"a": ' + unit * (size // len(unit)) for size in (20_000, 640_000))
    quick = min(seconds(small) for _ in range(3))
    # 32 times as long: a thousand times as slow if it were in proportion to the square.
    assert min(seconds(large) for _ in range(2)) < 300 * max(quick, 1e-4)
