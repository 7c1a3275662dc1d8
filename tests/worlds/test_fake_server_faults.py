"""What goes wrong at the fake server goes wrong as it should, its pace holds, and its own count is exact."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from itertools import pairwise
from typing import Any

import httpx
import pytest

from autotts.errors import InputError
from autotts.worlds.fake_server import KINDS, FakeModel, FakeServer, Faults, Pace, Solver
from autotts.worlds.fake_server.text import pieces
from tests.worlds.fakes import FORM, STREAM, WORDS, fake, faulty, on, post, until

# ---------------------------------------------------------------- hanging up


@pytest.mark.parametrize("chunk", [1, 5])
def test_a_hang_up_stops_a_stream_within_one_chunk_and_is_counted_to_the_token(chunk: int) -> None:
    turns = asyncio.Queue[None]()

    async def sleep(seconds: float) -> None:  # a chunk goes out when the test says so
        await turns.get()

    server = fake(pace=Pace(chunk=chunk), sleep=sleep)

    async def work(client: httpx.AsyncClient) -> None:
        turns.put_nowait(None)
        async with client.stream("POST", "/completions", json=STREAM) as answer:
            lines = answer.aiter_lines()
            for _ in range(3):
                turns.put_nowait(None)
                while not (await anext(lines)).startswith("data:"):
                    pass
            while server.counts.generated < 4 * chunk:
                await asyncio.sleep(0)
        await until(lambda: server.counts.cancelled == 1)
        for _ in range(10):
            turns.put_nowait(None)
            await asyncio.sleep(0)

    on(server, work)
    counts = server.counts
    assert (counts.cancelled, counts.finished, counts.generated, counts.prompt) == (1, 0, 4 * chunk, 2)
    assert server.records[0].outcome == "cancelled" and counts.by_outcome["cancelled"].generated == 4 * chunk


def test_a_hang_up_stops_an_answer_that_does_not_stream() -> None:
    server = fake(pace=Pace(rate=100.0, chunk=1))

    async def work(client: httpx.AsyncClient) -> None:
        with suppress(httpx.ReadTimeout):
            await client.post("/completions", json=FORM, timeout=0.03)
        await until(lambda: server.counts.cancelled == 1)

    on(server, work)
    assert server.counts.generated < 40


def test_a_request_that_is_cancelled_in_the_queue_generated_nothing() -> None:
    server = fake(pace=Pace(rate=1.0, running=1))

    async def work(client: httpx.AsyncClient) -> None:
        first = asyncio.create_task(client.post("/completions", json=FORM))
        await until(lambda: server.counts.prompt == 2)
        second = asyncio.create_task(client.post("/completions", json=FORM))
        await until(lambda: server.counts.requests == 2)
        for task in (second, first):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await until(lambda: server.counts.cancelled == 2)

    on(server, work)
    assert (server.counts.prompt, server.counts.generated) == (2, 0)


# ---------------------------------------------------------------- faults


@pytest.mark.parametrize(
    ("kind", "status"), [("429", 429), ("429_bare", 429), ("500", 500), ("502", 502), ("503", 503)]
)
def test_faults_that_are_an_error(kind: str, status: int) -> None:
    server = faulty(kind)
    answer = post(server)
    assert answer.status_code == status
    assert ("retry-after" in answer.headers) == (kind == "429")
    assert answer.text.startswith("<html>") == (kind == "502")
    assert (server.counts.broken, server.counts.generated, server.counts.prompt) == (1, 0, 0)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("reset", httpx.ReadError),
        ("reset_midway", httpx.ReadError),
        ("refused", httpx.ReadError),
        ("restart", httpx.ReadError),
        ("half", httpx.RemoteProtocolError),
        ("garbage", httpx.RemoteProtocolError),
    ],
)
def test_faults_that_break_a_connection(kind: str, error: type[Exception]) -> None:
    server = faulty(kind)
    with pytest.raises(error):
        post(server)
    counts = server.counts
    assert (counts.broken, counts.requests) == (1, 1)
    assert (counts.generated > 0) == (kind in ("reset_midway", "half"))


@pytest.mark.parametrize("kind", ["hang", "hang_midway"])
@pytest.mark.parametrize("form", [FORM, STREAM])
def test_faults_that_hang(kind: str, form: dict[str, Any]) -> None:
    server = faulty(kind)

    async def work(client: httpx.AsyncClient) -> None:
        with pytest.raises(httpx.ReadTimeout):
            await client.post("/completions", json=form, timeout=0.05)
        await until(lambda: server.counts.broken == 1)

    on(server, work)
    assert server.counts.prompt == 2
    assert (server.counts.generated > 0) == (kind == "hang_midway")


def test_refused_connections_are_refused_for_a_moment() -> None:
    server = fake(faults=Faults(listed=("refused",), down=0.05))

    async def work(client: httpx.AsyncClient) -> int:
        refused = 0
        with pytest.raises(httpx.ReadError):
            await client.post("/completions", json=FORM)
        while True:
            try:
                answer = await client.post("/completions", json=FORM)
            except httpx.ConnectError:
                refused += 1
                await asyncio.sleep(0.005)
            else:
                assert answer.json()["choices"][0]["text"] == WORDS
                return refused

    assert on(server, work) > 0
    assert (server.counts.finished, server.counts.broken) == (1, 1)


@pytest.mark.parametrize("fault", ["half", "reset_midway", "hang_midway"])
def test_the_tokens_of_a_broken_stream_are_counted(fault: str) -> None:
    server = faulty(fault, pace=Pace(chunk=3))

    async def work(client: httpx.AsyncClient) -> tuple[str, int, bool]:
        said, told, done = "", 0, False
        with suppress(httpx.ReadError, httpx.ReadTimeout):
            async with client.stream("POST", "/completions", json=STREAM, timeout=0.1) as answer:
                async for line in answer.aiter_lines():
                    done = done or line == "data: [DONE]"
                    if line.startswith("data: {"):
                        chunk = json.loads(line[6:])
                        said += chunk["choices"][0]["text"]
                        told = chunk["usage"]["completion_tokens"]
        await until(lambda: server.counts.broken == 1)
        return said, told, done

    said, told, done = on(server, work)
    assert not done and WORDS.startswith(said)
    assert len(pieces(said)) == told <= server.counts.generated < 40
    assert told == server.counts.generated or fault == "reset_midway"  # a reset may overtake what was sent
    assert server.records[0].fault == fault


@pytest.mark.parametrize("stream", [False, True])
def test_faults_of_content(stream: bool) -> None:
    form = STREAM if stream else FORM

    def said(kind: str) -> bytes:
        return post(faulty(kind, pace=Pace(chunk=3)), form).content

    def parsed(data: bytes) -> list[dict[str, Any]]:
        if not stream:
            return [json.loads(data)]
        return [json.loads(line[6:]) for line in data.decode().split("\n\n") if line.startswith("data: {")]

    with pytest.raises(json.JSONDecodeError):
        parsed(said("bad_json"))
    with pytest.raises(UnicodeDecodeError):
        said("bad_utf8").decode()
    assert all(one["choices"] == [] for one in parsed(said("no_choices")))
    assert {len(one["choices"]) for one in parsed(said("two_choices"))} == ({0, 2} if stream else {2})
    assert not any("usage" in one for one in parsed(said("no_usage")))
    other = parsed(said("other_model"))
    assert {one["model"] for one in other} == {"another-model"}
    assert "".join(choice["text"] for one in other for choice in one["choices"]) == "This is another model."
    if stream:
        twice = parsed(said("duplicate"))
        assert len(twice) == 14 + 1 + 1
        assert sum(first["choices"] == second["choices"] for first, second in pairwise(twice)) == 1


def test_an_answer_does_not_depend_on_the_faults_before_it() -> None:
    def answers(faults: Faults) -> list[str]:
        server = FakeServer([FakeModel("small", Solver(0.6))], faults=faults)

        async def work(client: httpx.AsyncClient) -> list[str]:
            texts = []
            for seed in range(30):
                while True:
                    form = {**FORM, "prompt": "What is 35 + 48 * 12?", "seed": seed}
                    with suppress(httpx.HTTPError, ValueError):
                        answer = (await client.post("/completions", json=form)).json()
                        if len(answer.get("choices", ())) == 1 and answer["model"] == "small":
                            texts.append(answer["choices"][0]["text"])
                            break
            return texts

        texts = on(server, work)
        assert (server.counts.broken > 3) == bool(faults.rates)
        finished = server.counts.by_outcome["finished"]
        assert finished.generated == sum(len(pieces(text)) for text in texts)
        assert finished.finished == 30
        return texts

    assert answers(Faults()) == answers(Faults.evenly(0.5, seed=1))


def test_faults_are_drawn_by_number_and_at_their_rates() -> None:
    faults = Faults(seed=3, rates={"500": 0.1, "reset": 0.2}, listed=(None, "hang"))
    drawn = [faults.of(i) for i in range(3000)]
    assert drawn[:2] == [None, "hang"] and drawn == [faults.of(i) for i in range(3000)]
    assert abs(drawn.count("500") - 300) < 60 and abs(drawn.count("reset") - 600) < 80
    assert drawn != [Faults(seed=4, rates=faults.rates).of(i) for i in range(3000)]
    assert set(Faults.evenly(1.0, hangs=True).rates) == set(KINDS)
    for wrong in ({"rates": {"oops": 0.1}}, {"rates": {"500": 0.7, "502": 0.7}}, {"listed": ("oops",)}):
        with pytest.raises(InputError):
            Faults(**wrong)


def test_a_restart_breaks_what_runs_and_is_survived() -> None:
    server = fake(pace=Pace(rate=100.0, chunk=1), cache_block=1)

    async def work(client: httpx.AsyncClient) -> None:
        running = asyncio.create_task(client.post("/completions", json=FORM))
        await until(lambda: server.counts.generated > 0)
        await server.restart(after=0.01)
        with pytest.raises(httpx.ReadError):
            await running
        answer = (await client.post("/completions", json={**FORM, "max_tokens": 1})).json()
        assert answer["usage"]["prompt_tokens_details"]["cached_tokens"] == 0  # the cache is lost

    on(server, work)
    assert (server.counts.broken, server.counts.finished) == (1, 1)
