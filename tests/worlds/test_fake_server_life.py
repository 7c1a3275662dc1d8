"""The fake server keeps its pace, serves several clients, and reads what comes over its wire."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from autotts.errors import InputError
from autotts.worlds.fake_server import FakeModel, FakeServer, Pace, echo, serving
from autotts.worlds.fake_server.text import pieces
from tests.worlds.fakes import FORM, STREAM, WORDS, Time, fake, on, post, until

# ---------------------------------------------------------------- pace


def test_a_request_takes_the_time_of_its_tokens() -> None:
    time = Time()
    server = fake(pace=Pace(rate=10.0, first=2.0, chunk=7), sleep=time.sleep, clock=time)
    post(server, STREAM)
    assert time.now == pytest.approx(2.0 + 40 / 10.0)
    assert Pace(rate=10.0, slowdown=0.5).seconds(20, others=3) == pytest.approx(2.0 * 2.5)


def test_requests_wait_for_their_place_and_are_refused_where_the_queue_is_full() -> None:
    server = fake(pace=Pace(rate=2000.0, chunk=1, running=1, queue=1))

    async def work(client: httpx.AsyncClient) -> list[int]:
        asked: list[asyncio.Task[httpx.Response]] = []
        for _ in range(3):
            asked.append(asyncio.create_task(client.post("/completions", json=FORM)))
            await until(lambda: server.counts.requests == len(asked))
        return [answer.status_code for answer in await asyncio.gather(*asked)]

    assert on(server, work) == [200, 200, 503]
    assert (server.counts.finished, server.counts.refused) == (2, 1)


def test_clients_that_hang_up_together_leave_the_queue_in_order() -> None:
    server = fake(pace=Pace(rate=20.0, chunk=1, running=2))

    async def work(client: httpx.AsyncClient) -> None:
        asked = [asyncio.create_task(client.post("/completions", json=FORM | {"seed": i % 4})) for i in range(9)]
        await until(lambda: server.counts.requests == 9)
        for one in asked:
            one.cancel()
        await until(lambda: server.counts.cancelled == 9)

    on(server, work)
    by = {record.asked for record in server.records}
    assert len(by) == 4 and all(record.ended is not None for record in server.records)


def test_what_is_above_a_limit_is_told_when_to_come_back() -> None:
    time = Time()
    server = fake(pace=Pace(requests_per_minute=2), sleep=time.sleep, clock=time)

    async def work(client: httpx.AsyncClient) -> None:
        statuses = [await client.post("/completions", json=FORM) for _ in range(3)]
        assert [one.status_code for one in statuses] == [200, 200, 429]
        wait = float(statuses[-1].headers["retry-after"])
        assert wait == pytest.approx(30.0, abs=0.01)
        time.now += wait
        assert (await client.post("/completions", json=FORM)).status_code == 200

    on(server, work)
    tokens = fake(pace=Pace(tokens_per_minute=150), sleep=time.sleep, clock=time)

    async def more(client: httpx.AsyncClient) -> list[int]:
        return [(await client.post("/completions", json=FORM)).status_code for _ in range(2)]

    assert on(tokens, more) == [200, 429]


def test_clients_beside_each_other_get_their_own_answers() -> None:
    server = FakeServer([FakeModel("a", echo("alpha " * 30)), FakeModel("b", echo("beta " * 20))], pace=Pace(chunk=1))

    async def work(client: httpx.AsyncClient) -> None:
        async def ask(model: str) -> str:
            form = {**FORM, "model": model}
            return str((await client.post("/completions", json=form)).json()["choices"][0]["text"])

        texts = await asyncio.gather(*(ask("ab"[i % 2]) for i in range(16)))
        assert texts == [("alpha " * 30, "beta " * 20)[i % 2] for i in range(16)]

    on(server, work)
    counts = server.counts
    assert counts.by_model["a"].generated == 8 * len(pieces("alpha " * 30))
    assert counts.by_model["b"].generated == 8 * len(pieces("beta " * 20))
    assert counts.generated == sum(record.generated for record in server.records)


# ---------------------------------------------------------------- its life and its wire


def test_it_serves_scripts_without_an_event_loop() -> None:
    with serving(fake()) as server:
        assert httpx.post(f"{server.url}/completions", json=FORM).json()["choices"][0]["text"] == WORDS
        server.call_restart()
        assert httpx.get(f"{server.url}/models").status_code == 200
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.url}/models")
    assert server.counts.finished == 1


def test_a_port_that_is_taken_is_an_error_of_the_user() -> None:
    with serving(fake()) as server:
        port = int(server.url.split(":")[2].split("/")[0])
        with pytest.raises(InputError, match=f"cannot listen on 127.0.0.1:{port}"), serving(fake(port=port)):
            pass


def test_requests_in_pieces_in_chunks_and_behind_each_other_are_read() -> None:
    body = json.dumps(FORM).encode()
    head = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\n"
    plain = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    chunked = head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % 10 + body[:10]
    chunked += b"\r\n%x\r\n" % (len(body) - 10) + body[10:] + b"\r\n0\r\n\r\n"

    async def run(*parts: bytes) -> bytes:
        async with fake() as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.split(":")[2].split("/")[0]))
            for part in parts:
                writer.write(part)
                await asyncio.sleep(0.002)
            said = await reader.read()
            writer.close()
            await writer.wait_closed()
            return said

    last = plain.replace(b"Host: x", b"Connection: close")
    said = asyncio.run(run(plain[:20], plain[20:150], plain[150:] + chunked + last))
    assert said.count(b"HTTP/1.1 200 OK") == 3 and said.count(WORDS.encode()) == 3
    assert asyncio.run(run(b"hello\r\n\r\n")).startswith(b"HTTP/1.1 400")
    assert asyncio.run(run(head + b"Content-Length: many\r\n\r\n")).startswith(b"HTTP/1.1 400")
    assert b"not JSON" in asyncio.run(run(head + b"Connection: close\r\nContent-Length: 1\r\n\r\n{"))


def test_the_client_of_openai_understands_it() -> None:
    openai = pytest.importorskip("openai")
    with serving(fake(key="k")) as server:
        client = openai.OpenAI(base_url=server.url, api_key="k", max_retries=0)
        with client:
            messages = [{"role": "user", "content": "hello"}]
            whole = client.chat.completions.create(model="small", messages=messages)
            assert whole.choices[0].message.content == WORDS
            chunks = client.chat.completions.create(model="small", messages=messages, stream=True)
            assert "".join(one.choices[0].delta.content for one in chunks) == WORDS
            with pytest.raises(openai.NotFoundError):
                client.chat.completions.create(model="large", messages=messages)


def test_a_server_can_go_on_with_what_was_hung_up_on() -> None:
    server = fake(pace=Pace(rate=2000.0, chunk=1), without=("cancel",))

    async def work(client: httpx.AsyncClient) -> None:
        with pytest.raises(httpx.ReadTimeout):
            await client.post("/completions", json=FORM, timeout=0.005)
        await until(lambda: server.counts.finished == 1)

    on(server, work)
    assert (server.counts.generated, server.counts.cancelled) == (40, 0)
