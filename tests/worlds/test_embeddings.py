"""Embeddings over a fake transport: order, what is refused and why, what is tried again, and a key that never shows."""

import gzip
import json
import math
import traceback

import httpx
import numpy as np
import pytest

from autotts.errors import BackendError, InputError
from autotts.worlds.embeddings import BATCH, IN_A_ROW, LARGEST, LONGEST, REST, TRIES, Embeddings

KEY = "sk-verysecret"
URL = "http://fake:1234/v1"


class Clock:
    """Time that only waiting moves on."""

    def __init__(self):
        self.now, self.waits = 100.0, []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.waits.append(seconds)
        self.now += seconds


def vector(text):
    return [float(len(text)), float(ord(text[0])), 0.5]


def good(request):
    asked = json.loads(request.content)["input"]
    data = [{"index": i, "object": "embedding", "embedding": vector(text)} for i, text in enumerate(asked)]
    return httpx.Response(200, json={"object": "list", "data": data[::-1], "model": "e"})


def server(*replies, **more):
    """An endpoint that answers with these in turn, then with the last for ever; and the clock and requests of it."""
    clock, seen = Clock(), []

    def handler(request):
        seen.append(request)
        reply = replies[min(len(seen), len(replies)) - 1]
        return reply(request) if callable(reply) else reply

    transport = httpx.MockTransport(handler)
    ours = Embeddings(URL, "e", KEY, transport=transport, sleep=clock.sleep, clock=clock, **more)
    return ours, clock, seen


def rows(*vectors, indexes=None):
    places = indexes or range(len(vectors))
    return httpx.Response(200, json={"data": [{"index": i, "embedding": v} for i, v in zip(places, vectors)]})


def fail(error):
    def reply(request):
        raise error

    return reply


def refused(ours, prompts=("a", "b")):
    """The message of the error, which says where and what, and neither it nor its traceback shows the key."""
    with pytest.raises(BackendError) as caught:
        ours.embed(list(prompts))
    assert KEY not in "".join(traceback.format_exception(caught.value))
    message = str(caught.value)
    assert message.startswith("http://fake:1234/v1/embeddings: expected ")
    return message


def test_vectors_come_in_the_order_of_the_prompts_over_many_batches():
    ours, _, seen = server(good)
    prompts = [chr(65 + i % 50) * (i + 1) for i in range(2 * BATCH + 3)]
    found = ours.embed(prompts)
    assert found.dtype == np.float64 and found.tolist() == [vector(p) for p in prompts]
    assert [len(json.loads(r.content)["input"]) for r in seen] == [BATCH, BATCH, 3]
    assert {r.headers["Authorization"] for r in seen} == {f"Bearer {KEY}"}
    assert {str(r.url) for r in seen} == {"http://fake:1234/v1/embeddings"} and ours.dimension == 3


def test_no_prompts_ask_nothing():
    ours, _, seen = server(good, dimension=7)
    assert ours.embed([]).shape == (0, 7) and not seen


def test_any_text_can_be_sent():
    ours, _, seen = server(good)
    assert ours.embed(["", "\ud800x", "é" * 50_000]).tolist() == [vector(" "), vector("?x"), vector("é" * 20_000)]
    assert json.loads(seen[0].content)["model"] == "e"


def test_without_a_key_none_is_sent():
    seen = []
    transport = httpx.MockTransport(lambda r: seen.append(r) or good(r))
    with Embeddings(URL + "/?version=2", "e", transport=transport) as ours:
        ours.embed(["a"])
    assert "Authorization" not in seen[0].headers and str(seen[0].url) == f"{URL}/embeddings?version=2"


@pytest.mark.parametrize(
    "reply, told",
    [
        (rows([1.0, 2.0], [1.0]), "vectors of one length"),
        (rows([1.0, 2.0]), "one embedding for each index from 0 to 1, found 1 embeddings of 1 indexes"),
        (rows([1.0], [2.0], indexes=[0, 0]), "found 2 embeddings of 1 indexes"),
        (rows([1.0], [2.0], indexes=[0, 2]), "each index"),
        (rows([1.0], [2.0], indexes=[False, True]), "each index"),
        (rows([1.0], [2.0], [3.0], indexes=[0, 1, 1]), "found 3 embeddings of 2 indexes"),
        (rows([], []), "vectors of finite numbers"),
        (rows([1.0, None], [1.0, 2.0]), "vectors of finite numbers"),
        (rows("AAAA", "AAAA"), "vectors of finite numbers"),
        (rows([[1.0]], [[2.0]]), "vectors of finite numbers"),
        (httpx.Response(200, text='{"data": [{"index":0,"embedding":[NaN]},{"index":1,"embedding":[1]}]}'), "finite"),
        (httpx.Response(200, text='{"data": [{"index":0,"embedding":[1e999]},{"index":1,"embedding":[1]}]}'), "finite"),
        (httpx.Response(200, html="<html>Welcome</html>"), 'expected JSON with "data"'),
        (httpx.Response(200, html="<html>Welcome</html>"), "'<html>Welcome</html>'"),
        (httpx.Response(200, json={"data": {"a": 1}}), "expected JSON"),
        (httpx.Response(200, json={"data": None}), "expected JSON"),
        (httpx.Response(200, json=[]), "expected JSON"),
        (httpx.Response(200, text="[" * 100_000), "expected JSON"),
        (httpx.Response(200, content=b"\xff\xfe\x00"), "expected JSON"),
        (httpx.Response(200, text=""), "expected JSON"),
        (httpx.Response(200, text=KEY), "'***'"),
        (httpx.Response(302, headers={"Location": "http://elsewhere/"}), "found 302; redirects are not followed"),
        (httpx.Response(401, text=f"wrong key {KEY}"), "found 401 (wrong key ***); check the key"),
        (httpx.Response(404, json={"error": "no model e"}), "check the address"),
        (httpx.Response(400, text="x" * 10**6), "found 400"),
        (
            httpx.Response(200, content=gzip.compress(b"0" * 10**6), headers={"Content-Encoding": "gzip"}),
            "not compressed",
        ),
    ],
)
def test_what_can_not_be_used_is_refused_at_once(reply, told):
    ours, clock, seen = server(reply)
    message = refused(ours)
    assert told in message and len(message) < 500
    assert len(seen) == 1 and not clock.waits


def test_the_dimension_holds_from_reply_to_reply():
    ours, _, _ = server(rows([1.0, 2.0]), rows([1.0, 2.0, 3.0]))
    ours.embed(["a"])
    assert "expected vectors of 2 numbers, found 3" in refused(ours, ["a"])
    ours, _, _ = server(good, dimension=2)
    assert "expected vectors of 2 numbers, found 3" in refused(ours, ["a"])
    assert ours.one("a") is None and ours.failures == 1


@pytest.mark.parametrize(
    "passing",
    [httpx.Response(500), httpx.Response(429), fail(httpx.ReadTimeout("slow")), fail(httpx.ConnectError("no"))],
)
def test_what_may_pass_is_tried_again(passing):
    ours, clock, seen = server(passing, passing, good)
    assert ours.embed(["a"]).tolist() == [vector("a")]
    assert len(seen) == 3 and clock.waits == [0.5, 1.0]


@pytest.mark.parametrize(
    "passing, told",
    [
        (httpx.Response(503, text="loading"), "found 503 (loading); tried 4 times"),
        (fail(httpx.ReadTimeout("slow")), "ReadTimeout: slow; is the server up?; tried 4 times"),
        (fail(httpx.ConnectError(f"refused {KEY}")), "ConnectError: refused ***"),
    ],
)
def test_what_does_not_pass_is_an_error_in_the_end(passing, told):
    ours, clock, seen = server(passing)
    assert told in refused(ours)
    assert len(seen) == TRIES and clock.waits == [0.5, 1.0, 2.0]


@pytest.mark.parametrize("asked, waited", [("7", 7.0), ("9" * 5000, LONGEST), ("Wed, 21 Oct 2026", 0.5), ("-5", 0.5)])
def test_the_server_says_how_long_to_wait(asked, waited):
    ours, clock, _ = server(httpx.Response(429, headers={"Retry-After": asked}), good)
    ours.embed(["a"])
    assert clock.waits == [waited]


class Drip(httpx.SyncByteStream):
    """A body without end: pieces of some bytes, each of which takes some seconds."""

    def __init__(self, clock, size, seconds):
        self.clock, self.size, self.seconds, self.sent = clock, size, seconds, 0

    def __iter__(self):
        while True:
            self.clock.now += self.seconds
            self.sent += self.size
            yield b"0" * self.size


@pytest.mark.parametrize("status", [200, 400, 503])
def test_a_huge_answer_is_not_swallowed(status):
    ours, clock, seen = server(lambda _: httpx.Response(status, stream=drip))
    drip = Drip(clock, 2**20, 0.0)
    assert "expected a reply of at most 33,554,432 bytes, found a longer one" in refused(ours)
    assert drip.sent == LARGEST + 2**20 and len(seen) == 1


def test_an_answer_that_drips_is_left():
    ours, clock, seen = server(lambda _: httpx.Response(200, stream=drip), timeout=5.0)
    drip = Drip(clock, 1024, 1.0)
    assert "expected a reply within 5 seconds" in refused(ours)
    assert len(seen) == TRIES and drip.sent == 6 * 1024 * TRIES


def test_one_answers_and_counts_nothing():
    ours, _, seen = server(good)
    assert ours.one("abc") == vector("abc") and ours.failures == 0
    assert seen[0].extensions["timeout"] == dict.fromkeys(("connect", "read", "write", "pool"), 0.25)


@pytest.mark.parametrize(
    "broken", [httpx.Response(500), httpx.Response(200, html="<p>"), fail(httpx.ConnectTimeout("late"))]
)
def test_one_goes_on_without_an_endpoint_that_is_down_and_comes_back_to_it(broken):
    ours, clock, seen = server(*[broken] * (IN_A_ROW + 1), good)
    for _ in range(10):
        assert ours.one("a") is None
    assert ours.failures == 10 and len(seen) == IN_A_ROW and not clock.waits
    clock.now += REST
    assert ours.one("a") is None and ours.one("a") is None  # still down: one look, then rest again
    assert ours.failures == 12 and len(seen) == IN_A_ROW + 1
    clock.now += REST
    assert ours.one("a") == vector("a") and ours.one("b") == vector("b")
    assert ours.failures == 12


def test_a_failure_now_and_then_does_not_stop_the_asking():
    ours, _, seen = server(*[httpx.Response(500), good] * 6)
    assert [ours.one("a") is None for _ in range(12)] == [True, False] * 6
    assert ours.failures == 6 and len(seen) == 12


@pytest.mark.parametrize(
    "url",
    [
        "",
        "fake:1234",
        "ftp://fake/v1",
        "http://",
        "http:///v1",
        "http://fa ke/v1",
        "http://a:99999999/v1",
        "h\n",
        "http://a..b/v1",
        f"http://{'a' * 64}/v1",
    ],
)
def test_an_address_that_cannot_be_used_is_refused(url):
    with pytest.raises(InputError, match="expected an address such as"):
        Embeddings(url, "e")


@pytest.mark.parametrize("url", [f"http://me:{KEY}@fake/v1", f"http://{KEY}@fake/v1"])
def test_a_password_in_the_address_is_refused_and_not_shown(url):
    with pytest.raises(InputError, match="give the key on its own") as caught:
        Embeddings(url, "e")
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("key", ["", " ", f"{KEY}\n", f" {KEY}", f"{KEY}\r\nX: 1", f"{KEY}é"])
def test_a_key_that_cannot_be_sent_is_refused_and_not_shown(key):
    with pytest.raises(InputError, match="expected a key of printable ASCII") as caught:
        Embeddings(URL, "e", key)
    assert KEY not in "".join(traceback.format_exception(caught.value))


def test_the_key_is_not_in_what_a_debugger_prints():
    ours, _, _ = server(good)
    assert KEY not in repr(ours) and KEY not in str(ours)


def test_a_query_may_hold_a_key_and_is_not_shown():
    transport = httpx.MockTransport(lambda _: httpx.Response(404))
    with pytest.raises(BackendError) as caught:
        Embeddings(f"{URL}?key={KEY}", "e", transport=transport).embed(["a"])
    assert KEY not in str(caught.value) and f"{URL}/embeddings: expected" in str(caught.value)


def test_numbers_arrive_as_they_were_sent():
    ours, _, _ = server(rows([1, 2.5e-300], [-(2**53), math.pi]))
    assert ours.embed(["a", "b"]).tolist() == [[1.0, 2.5e-300], [-(2.0**53), math.pi]]


def test_prompts_that_come_meanwhile_do_not_lengthen_the_rest():
    ours, clock, seen = server(*[httpx.Response(500)] * IN_A_ROW, good)
    assert [ours.one("a") for _ in range(IN_A_ROW)] == [None] * IN_A_ROW
    for _ in range(4):
        assert ours.one("a") is None and len(seen) == IN_A_ROW
        clock.now += REST / 4
    assert ours.one("a") == vector("a")
