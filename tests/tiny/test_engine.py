"""Continuous batching: what is drawn depends on the request alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from threading import Event as Flag

import numpy as np
import pytest

from autotts.errors import InputError
from autotts.tiny import graph
from autotts.tiny.codec import END, NEWLINE, WRITABLE, encode
from autotts.tiny.engine import Completion, Engine, Event, Request
from autotts.tiny.model import Model, Rows, load
from tests.tiny.collect import complete
from tests.tiny.random_models import write_model

PROMPTS = [encode(f"solve: {text}\n") for text in ("1+2-3+4", "80+5*9-63", "12*3-4*5+6", "299-17*13+8-100")]


def draws(count: int, **changes: object) -> list[Request]:
    """Requests of all kinds, mixed."""
    kinds: list[dict[str, object]] = [
        {"temperature": 1.0},
        {"temperature": 0.0},
        {"temperature": 0.7, "top_p": 0.9},
        {"temperature": 1.3, "stop": "step"},
        {"temperature": 1.0, "stop": 5},
        {"temperature": 0.6, "max_new": 9},
    ]
    return [
        Request(PROMPTS[i % len(PROMPTS)], **({"seed": i, "max_new": 30} | kinds[i % len(kinds)] | changes))  # type: ignore[arg-type]
        for i in range(count)
    ]


def alone(model: Model, requests: Sequence[Request]) -> list[Completion]:
    """Each draw by itself, with nothing kept from the ones before."""
    found = []
    for request in requests:
        with Engine({"m": model}, workers=1, width=1, prefix_bytes=0) as engine:
            found += complete(engine, "m", [request])
    return found


@pytest.mark.parametrize("batch", [3, 32, 128])
def test_a_draw_is_the_same_bits_alone_and_in_any_batch(small: Model, batch: int) -> None:
    requests = draws(batch)
    watched = requests[:: max(1, batch // 6)]
    with Engine({"m": small}, workers=1, width=batch) as engine:
        together = complete(engine, "m", requests)
    assert together[:: max(1, batch // 6)] == alone(small, watched)


def test_a_large_model_draws_the_same_bits_in_any_batch(large: Model) -> None:
    requests = draws(40, max_new=6)
    with Engine({"m": large}, workers=1, width=32) as engine:
        together = complete(engine, "m", requests)
    assert together[5::12] == alone(large, requests[5::12])


def test_workers_widths_and_kept_prefixes_are_invisible(small: Model) -> None:
    requests = draws(60)
    found = []
    for workers, width, kept in ((2, 32, 1 << 25), (1, 7, 0), (3, 5, 40_000)):
        with Engine({"m": small}, workers=workers, width=width, prefix_bytes=kept) as engine:
            found.append(complete(engine, "m", requests))
    assert found[0] == found[1] == found[2]


def test_every_row_of_a_step_is_the_same_bits_in_any_batch_and_at_any_padding(large: Model) -> None:
    rng = np.random.default_rng(0)
    texts = rng.integers(1, WRITABLE.stop, (128, 24))
    late = rng.integers(0, 12, 128)  # rows are of different lengths

    def logits(rows: list[int], longest: int = 0) -> list[bytes]:
        memory = Rows(large, len(rows))
        memory.cache[:] = 7.0  # what lies behind a row's tokens must not matter
        found: list[list[bytes]] = [[] for _ in rows]
        for step in range(24):
            memory.ids[:, 0] = texts[rows, memory.lengths]
            memory.step(len(rows))
            for i, row in enumerate(rows):
                if step >= late[row]:
                    found[i].append(memory.logits[i].tobytes())
                    memory.lengths[i] += 1
        return [b"".join(parts) for parts in found]

    whole = logits(list(range(128)))
    for some in ([5], [0, 64, 127], list(range(40, 72))):
        assert logits(some) == [whole[row] for row in some]


def test_a_greedy_draw_takes_the_likeliest_token_each_time(small: Model) -> None:
    request = Request(PROMPTS[1], temperature=0.0, max_new=25)
    with Engine({"m": small}, workers=1) as engine:
        (done,) = complete(engine, "m", [request])
    memory, path = Rows(small, 1), list(PROMPTS[1])
    expected = []
    for position in range(len(path) + len(done.ids) - 1):
        memory.ids[0, 0] = path[position]
        memory.step(1)
        memory.lengths += 1
        if position >= len(PROMPTS[1]) - 1:
            logits = memory.logits[0].astype(np.float64)
            token = int(logits.argmax()) + WRITABLE.start
            expected.append((token, logits.max() - np.log(np.exp(logits - logits.max()).sum()) - logits.max()))
            path.append(token)
    assert done.ids == tuple(token for token, _ in expected)
    np.testing.assert_allclose(done.logprobs, [logprob for _, logprob in expected], atol=1e-9)


def test_draws_follow_the_models_distribution(small: Model) -> None:
    """First tokens of many draws against the model's own probabilities, at two temperatures and under top-p."""
    with Engine({"m": small}) as engine:
        one = [Request(PROMPTS[0] + (token,), max_new=0) for token in WRITABLE]
        logprobs = np.array([done.logprobs[-1] for done in complete(engine, "m", one)])
        count = 4000
        for temperature, top_p in ((1.0, 1.0), (0.6, 1.0), (1.0, 0.8)):
            requests = [Request(PROMPTS[0], seed, temperature, top_p, 1) for seed in range(count)]
            seen = np.bincount([done.ids[0] - WRITABLE.start for done in complete(engine, "m", requests)], minlength=17)
            expected = np.exp(logprobs / temperature)
            expected /= expected.sum()
            if top_p < 1:
                order = np.argsort(-expected)
                kept = order[: int(np.searchsorted(np.cumsum(expected[order]), top_p)) + 1]
                expected = np.where(np.isin(np.arange(17), kept), expected, 0.0)
                expected /= expected.sum()
            assert seen[expected == 0].sum() == 0
            deviation = np.abs(seen / count - expected) / np.sqrt(expected * (1 - expected) / count + 1e-9)
            assert deviation[expected > 0].max() < 4.5
    np.testing.assert_allclose(np.exp(logprobs).sum(), 1.0, atol=1e-9)


def test_draws_stop_where_they_should(small: Model) -> None:
    requests = draws(90, temperature=1.3)
    with Engine({"m": small}) as engine:
        found = complete(engine, "m", requests)
    assert {done.finish for done in found} == {"end", "step", "length"}
    for request, done in zip(requests, found, strict=True):
        most = min(request.max_new, request.stop) if isinstance(request.stop, int) else request.max_new
        assert len(done.ids) == len(done.logprobs) <= most
        assert END not in done.ids[:-1]
        if request.stop == "step":
            assert NEWLINE not in done.ids[:-1]
        expected = "end" if done.ids[-1] == END else "step" if done.finish == "step" else "length"
        assert done.finish == expected
        assert (done.finish == "step") == (request.stop == "step" and done.ids[-1] == NEWLINE)
        assert done.finish != "length" or len(done.ids) == most
        assert set(done.ids) <= set(WRITABLE)


def test_a_path_goes_on_as_if_it_had_never_stopped(small: Model) -> None:
    """Greedy steps, one request each, are the greedy draw in one piece: bit for bit, kept prefix or not."""
    whole = Request(PROMPTS[2], temperature=0.0, max_new=40)
    for kept in (0, 1 << 25):
        with Engine({"m": small}, prefix_bytes=kept) as engine:
            (done,) = complete(engine, "m", [whole])
            ids: tuple[int, ...] = ()
            logprobs: tuple[float, ...] = ()
            while len(ids) < len(done.ids):
                size = min(7, len(done.ids) - len(ids))
                (piece,) = complete(engine, "m", [Request(PROMPTS[2] + ids, temperature=0.0, stop=size)])
                ids, logprobs = ids + piece.ids, logprobs + piece.logprobs
            assert (ids, logprobs) == (done.ids, done.logprobs)


def test_a_text_is_read_as_it_was_drawn(small: Model) -> None:
    requests = draws(12)
    with Engine({"m": small}) as engine:
        found = complete(engine, "m", requests)
        texts = [Request(r.prompt_ids + d.ids, max_new=0) for r, d in zip(requests, found, strict=True)]
        read = complete(engine, "m", texts)
    for request, drawn, again in zip(requests, found, read, strict=True):
        assert again.ids == ()
        assert again.logprobs[len(request.prompt_ids) - 1 :] == drawn.logprobs


def test_a_cancelled_draw_frees_its_place(small: Model) -> None:
    """With one place, what waits comes only when the endless draw before it is cancelled."""
    ready, cancelled = Flag(), Flag()
    seen: list[Event] = []

    def take(events: Sequence[Event]) -> None:
        seen.extend(events)
        for event in events:
            if event.ticket is endless and event.done is None:
                ready.set()
            if event.done is not None and event.done.finish == "cancelled":
                cancelled.set()

    request = _endless(small)
    with Engine({"m": small}, workers=1, width=1) as engine:
        endless = engine.submit("m", request, take, watched=True)
        assert ready.wait(60)
        endless.cancel()
        endless.cancel()
        (other,) = complete(engine, "m", [Request(PROMPTS[0], seed=3, max_new=5)])
        assert cancelled.wait(60)
    assert other == alone(small, [Request(PROMPTS[0], seed=3, max_new=5)])[0]
    last = [event for event in seen if event.ticket is endless][-1]
    assert last.done is not None
    assert sum(event.written for event in seen if event.ticket is endless) == len(last.done.ids)
    assert len(last.done.ids) < request.max_new


def _endless(model: Model) -> Request:
    """A draw that takes long: the longest of a few."""
    several = [Request(PROMPTS[0], seed, 1.0, max_new=240) for seed in range(32)]
    with Engine({"m": model}) as engine:
        found = complete(engine, "m", several)
    return max(zip(several, found, strict=True), key=lambda pair: len(pair[1].ids))[0]


def test_cancelling_one_reader_does_not_hold_up_those_who_wait_for_its_prefix(small: Model) -> None:
    requests = [Request(PROMPTS[3], seed, 1.0, max_new=4) for seed in range(20)]
    found: dict[int, Completion] = {}
    ready = Flag()

    def take(events: Sequence[Event]) -> None:
        found.update((event.ticket.tag, event.done) for event in events if event.done is not None)
        if len(found) == len(requests):
            ready.set()

    with Engine({"m": small}, workers=1, width=4) as engine:
        tickets = engine.submit_all("m", requests, take, tags=range(20))
        tickets[0].cancel()
        assert ready.wait(60)
    assert [found[i] for i in range(1, 20)] == alone(small, requests[1:])


def test_closing_ends_the_threads_and_reports_what_is_left(small: Model) -> None:
    events: list[Event] = []
    engine = Engine({"m": small}, workers=2, width=2)
    with engine:
        engine.submit_all("m", [Request(PROMPTS[0], i, max_new=200) for i in range(50)], events.extend)
    done = [event.done for event in events if event.done is not None]
    assert len(done) == 50
    assert "cancelled" in {one.finish for one in done}
    with pytest.raises(RuntimeError, match="closed"):
        engine.submit("m", Request(PROMPTS[0]), events.extend)


def test_a_broken_model_is_told_to_everyone_who_waits(tmp_path: Path) -> None:
    model = load(write_model(tmp_path / "m", "S"))
    broken = Model("m", model.shape, "r", 1, None, model.tensors)
    with Engine({"m": broken}) as engine, pytest.raises(AttributeError):
        complete(engine, "m", draws(5))


@pytest.mark.parametrize(
    "request_",
    [Request(()), Request((5,) * 256), Request((5,), temperature=-1.0), Request((5,), top_p=0.0)],
)
def test_a_request_that_makes_no_sense_is_refused(small: Model, request_: Request) -> None:
    with Engine({"m": small}) as engine, pytest.raises(InputError):
        engine.submit("m", request_, print)


def test_an_unknown_model_is_refused_by_name(small: Model) -> None:
    with Engine({"m": small}) as engine, pytest.raises(InputError, match="'XL'"):
        engine.submit("XL", Request((5,)), print)


def test_the_longest_path_ends_with_the_context(small: Model) -> None:
    with Engine({"m": small}) as engine:
        (done,) = complete(engine, "m", [Request((5,) * 250, temperature=0.0)])
    assert len(done.ids) <= 6


@pytest.mark.parametrize("damage", ["missing", "truncated", "config", "shape", "tensors"])
def test_a_damaged_model_is_an_input_error(tmp_path: Path, damage: str) -> None:
    folder = write_model(tmp_path / "m", "S")
    if damage == "missing":
        shutil.rmtree(folder)
    elif damage == "truncated":
        file = folder / "model.safetensors"
        file.write_bytes(file.read_bytes()[:1000])
    elif damage == "tensors":
        shutil.copy(write_model(tmp_path / "l", "L") / "model.safetensors", folder / "model.safetensors")
    else:
        config = json.loads((folder / "config.json").read_text())
        config = {} if damage == "config" else {**config, "hidden_size": 100}
        (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=str(tmp_path)):
        load(folder)


def test_the_committed_graphs_are_what_the_code_builds() -> None:
    pytest.importorskip("onnx")
    for shape in graph.EMBEDDED.values():
        assert shape.file.read_bytes() == graph.build(shape)
