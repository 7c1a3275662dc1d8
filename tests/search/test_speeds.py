"""A model's speed, measured against a server whose pace is known: what is fitted, written down, and then priced."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from autotts.core.cost import PARTS, ModelCard
from autotts.errors import BackendError, InputError
from autotts.estimate.latency import Record, fit
from autotts.search.speeds import Expected, Measured, Sizes, _beside, failed, measure, sizes_of
from autotts.search.timing import Timed, opened_alone, scored, timed
from autotts.worlds.catalogue import session
from autotts.worlds.fake_server import FakeModel, FakeServer, Faults, Judge, Pace, Scorer, Solver, echo, serving
from autotts.worlds.models.entry import Entry, Scoring, Server
from autotts.worlds.models.read import read_models
from autotts.worlds.models.write import write_latency

RATE = 2000.0
SLOWDOWN = 0.1
MODELS = (
    FakeModel("small", Solver(0.8)),
    FakeModel("short", echo("no")),
    FakeModel("tight", Solver(0.8), context=200),
    FakeModel("prm", marks=Scorer(per="step", classes=2)),
    FakeModel("judge", Judge(Scorer(0.75))),
)
FEW = Sizes(prompts=(60, 200, 600), tokens=96, batches=(1, 4), repeats=1)


def entry(*servers: FakeServer, served: str = "small", **fields: Any) -> Entry:
    known: dict[str, Any] = {"servers": tuple(Server(server.url) for server in servers)} | fields
    return Entry(served, "openai", served, ModelCard(served, ""), **known)


def quiet(expected: Expected) -> Callable[[int, int], None]:
    return lambda done, total: None


def measured(
    made: Callable[[FakeServer], Entry] = entry,
    sizes: Sizes = FEW,
    tell: Callable[[Expected], Callable[[int, int], None]] = quiet,
    **options: Any,
) -> tuple[Measured, FakeServer]:
    known: dict[str, Any] = {"pace": Pace(rate=RATE, slowdown=SLOWDOWN, chunk=2)} | options
    with serving(FakeServer(MODELS, **known)) as server:
        return asyncio.run(measure(made(server), sizes, seed=1, tell=tell)), server


# ---------------------------------------------------------------- what a draw says


def test_moments_tell_when_tokens_were_there() -> None:
    draw = Timed(10, 9, ((1.0, 1.0), (2.0, 5.0), (4.0, 9.0)))
    assert (draw.first, draw.ends) == (1.0, 4.0)
    assert draw.rate == pytest.approx(8 / 3)
    assert [draw.made_by(seconds) for seconds in (1.0, 1.5, 3.0, 9.0)] == [1.0, 3.0, 7.0, 9.0]
    assert [draw.reached(tokens) for tokens in (1, 5, 7)] == [1.0, 2.0, 3.0]
    assert Timed(10, 3, ((1.0, 3.0),)).rate is None


def test_a_timed_draw_counts_as_the_server_does() -> None:
    async def work(server: FakeServer) -> Timed:
        with opened_alone(entry(server, max_tokens=64)) as world:
            async with session(world):
                return await timed(world, "small", "What is 12 + 30 * 2 - 7?")

    with serving(FakeServer(MODELS, pace=Pace(rate=RATE, chunk=2))) as server:
        draw = asyncio.run(work(server))
        assert (draw.prompt, draw.generated) == (server.counts.prompt, server.counts.generated)
    moments, counts = zip(*draw.moments, strict=True)
    assert list(moments) == sorted(moments) and moments[0] > 0
    assert counts[-1] == draw.generated and all(a < b for a, b in pairwise(counts))


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        ("502", BackendError, "HTTP 502"),
        ("bad_json", BackendError, "expected a chunk in JSON"),
    ],
)
def test_a_draw_that_fails_is_an_error_that_says_why(fault: str, kind: type[Exception], words: str) -> None:
    async def work(server: FakeServer) -> None:
        with opened_alone(entry(server)) as world:
            async with session(world):
                await timed(world, "small", "What is 1 + 2?")

    with serving(FakeServer(MODELS, faults=Faults(rates={fault: 1.0}))) as server, pytest.raises(kind, match=words):
        asyncio.run(work(server))


def test_a_score_is_timed_and_one_that_cannot_be_read_is_an_error() -> None:
    async def work(one: Entry) -> tuple[float, int, float]:
        with opened_alone(one) as world:
            async with session(world):
                return await scored(world, one.name, "What is 1 + 2?", "It is 3.\n\nThe answer is 3.")

    with serving(FakeServer(MODELS)) as server:
        prm = entry(server, served="prm", scoring=Scoring("process", "qwen-prm"))
        value, tokens, seconds = asyncio.run(work(prm))
        assert 0 < value < 1 and tokens == server.counts.prompt and seconds > 0
        with pytest.raises(InputError, match="expected a score, found an answer that cannot be read as one"):
            asyncio.run(work(entry(server, served="small", scoring=Scoring("process", "qwen-prm"))))


# ---------------------------------------------------------------- speeds


def steady(first: float, *, rate: float = 100.0, tokens: int = 101) -> Timed:
    """A draw whose tokens come one after another."""
    return Timed(50, tokens, tuple((first + i / rate, 1.0 + i) for i in range(tokens)))


def test_side_by_side_only_the_time_counts_in_which_all_write() -> None:
    singles = [steady(0.2, rate=400.0), steady(0.1, rate=400.0), steady(0.3, rate=400.0)]
    record = _beside([steady(0.5), steady(0.75), steady(1.0), steady(0.6)], singles)
    # From 1.0, when the last began, to 1.5, when the first was done; behind 0.2 s of prefill.
    assert record is not None
    assert (record.prompt, record.generated, record.batch) == (50, 51, 4)
    assert record.seconds == pytest.approx(0.7)
    assert _beside([steady(0.5), steady(1.4)], singles) is None  # a tenth of it was side by side
    assert _beside([steady(0.5), steady(2.0)], singles) is None
    assert _beside([steady(0.5), steady(0.5)], []) is None
    many = _beside([*(steady(0.5) for _ in range(15)), steady(2.0)], singles)
    assert many is not None and (many.generated, many.batch) == (101, 16)


def test_a_known_rate_is_found_again_and_prices_in_seconds_follow(tmp_path: Path) -> None:
    found, server = measured()
    speed = found.latency
    for batch in (1, 4):
        each = speed.decode(200, 100, batch) / 100
        true = (1 + SLOWDOWN * (batch - 1)) / RATE
        assert true / 2 < each < true * 2
    assert speed.batch == 4 and speed.r2 is not None and speed.r2 > 0.5
    assert {record.batch for record in found.records} == {1, 4}
    assert len({record.prompt for record in found.records}) == 3

    file = tmp_path / "models.toml"
    file.write_text(f'[models.small]\nendpoint = "{server.url}"\nmodel = "small"\n')
    with pytest.raises(InputError, match="no speed is known"):
        read_models(file, {})["small"].card.prices("s")
    write_latency(file, "small", speed)
    prices = read_models(file, {})["small"].card.prices("s")
    share = prices.generated + 200 * prices.generated_context
    assert 1 / RATE / 4 / 2 < share / PARTS["s"] < (1 + 3 * SLOWDOWN) / RATE * 2


def test_it_says_before_what_it_will_take_and_takes_that() -> None:
    told: list[Expected] = []
    steps: list[tuple[int, int]] = []

    def tell(expected: Expected) -> Callable[[int, int], None]:
        told.append(expected)
        return lambda done, total: steps.append((done, total))

    card = ModelCard("small", "", usd_prompt=1.0, usd_generated=2.0)
    found, server = measured(lambda server: replace(entry(server), card=card), tell=tell)
    (expected,) = told
    counts = server.counts
    assert (expected.model, expected.where) == ("small", server.url)
    assert expected.requests == counts.requests == 1 + 3 + 2 * 4
    assert expected.generated == counts.generated == 12 * 96
    assert expected.prompt == pytest.approx(counts.prompt, rel=0.2)
    assert expected.dollars is not None and expected.dollars.startswith("$0.0")
    assert expected.seconds > 0
    assert steps == [(1, 11), (2, 11), (3, 11), (7, 11), (11, 11)]
    assert found.notes == ()


def test_no_cache_knows_the_prompts_of_draws_alone() -> None:
    _, server = measured(cache_block=16)
    alone = [record for record in server.records if record.prompt][:4]
    template = 16  # the first block may hold nothing but the template
    assert all(record.cached <= template for record in alone)


def test_draws_that_end_by_themselves_are_measured_as_they_come() -> None:
    def plain(server: FakeServer) -> Entry:
        return entry(server, served="small")

    found, server = measured(plain, openai=True, strict=True)  # it refuses ignore_eos
    assert any("end by themselves" in note for note in found.notes)
    assert server.counts.refused == 1
    assert found.latency.n + found.latency.k0 + found.latency.m > 0


def test_a_server_with_few_places_is_measured_at_what_it_takes() -> None:
    found, _ = measured(sizes=replace(FEW, batches=(1, 2, 8)), pace=Pace(rate=RATE, chunk=2, running=2))
    assert found.latency.batch == 2
    assert any("8 draws after about 60 tokens hardly ran side by side" in note for note in found.notes)


def test_of_several_servers_the_first_is_measured() -> None:
    with serving(FakeServer(MODELS)) as other:
        found, server = measured(lambda server: entry(server, other))
        assert other.counts.requests == 0 and server.counts.requests > 0
    assert "of its 2 servers the first was measured; the others are taken to be as fast" in found.notes


def test_prompts_fit_into_a_small_context() -> None:
    def tight(server: FakeServer) -> Entry:
        return entry(server, served="tight", context=200)

    with serving(FakeServer(MODELS, pace=Pace(rate=RATE, chunk=2))) as server:
        one = tight(server)
        found = asyncio.run(measure(one, sizes_of(one, 2), seed=1, tell=quiet))
        assert server.counts.refused == 0
    assert max(record.prompt + record.generated for record in found.records) <= 200


def test_a_reward_model_is_measured_by_what_it_reads() -> None:
    def prm(server: FakeServer) -> Entry:
        return entry(server, served="prm", scoring=Scoring("process", "qwen-prm"))

    found, server = measured(prm, sizes=replace(FEW, repeats=2), pace=Pace(first=0.01))
    assert server.counts.generated == 0 and server.counts.requests == 7
    assert (found.latency.n, found.latency.k0, found.latency.m) == (0.0, 0.0, 0.0)
    assert 0.005 < found.latency.prefill(500) < 0.1
    assert "alone" not in found.as_dict()["tokens_per_s"]


def test_a_judge_is_measured_as_a_model_that_draws() -> None:
    found, _ = measured(lambda server: entry(server, served="judge", scoring=Scoring("judge", "score")))
    assert 1 / RATE / 2 < found.latency.decode(200, 100) / 100 < 2 / RATE


def test_a_dead_server_is_a_dead_backend_at_once() -> None:
    async def work() -> None:
        one = Entry("small", "openai", "small", ModelCard("small", ""), servers=(Server("http://127.0.0.1:9/v1"),))
        await measure(one, FEW, seed=1, tell=quiet)

    with pytest.raises(BackendError, match="no connection"):
        asyncio.run(work())


def test_answers_that_come_at_once_tell_no_speed() -> None:
    sizes = Sizes(prompts=(30, 60, 90), tokens=16, batches=(1,), repeats=2, first=16)
    with pytest.raises(InputError, match=r"cannot tell|came at once"):
        measured(lambda server: entry(server, served="short"), sizes=sizes, openai=True, strict=True)


@pytest.mark.parametrize(
    ("context", "most", "batch", "sizes"),
    [
        (None, 256, 32, Sizes()),
        (131072, 256, 32, Sizes()),
        (None, 1, 32, Sizes(batches=(1,))),
        (None, 16, 32, Sizes(batches=(1, 4, 16))),
        (256, 256, 2, Sizes(prompts=(14, 38, 115), tokens=64, batches=(1, 2), first=16)),
    ],
)
def test_sizes_are_those_that_fit(context: int | None, most: int, batch: int, sizes: Sizes) -> None:
    one = Entry("s", "openai", "s", ModelCard("s", ""), servers=(Server("http://h/v1", most=most),), context=context)
    assert sizes_of(one, batch) == sizes


def test_what_failed_gives_the_exit_code() -> None:
    good = Measured("a", fit([Record(n, o, 1, n + o) for n in (100, 500) for o in (1, 9)]).latency, (), ())
    assert failed([good]) == 0
    assert failed([good, InputError("x")]) == 2
    assert failed([InputError("x"), BackendError("y"), good]) == 4
