"""The reward model's scores: one rule, whatever is kept."""

from __future__ import annotations

import json
import math
from pathlib import Path
from threading import Event as Flag

import pytest

from autotts.errors import InputError
from autotts.tiny.codec import END, NEWLINE, encode
from autotts.tiny.engine import Engine, Request
from autotts.tiny.model import Model
from autotts.tiny.scorer import Calibration, Scored, Scorer, read_calibration
from tests.tiny.collect import complete

CALIBRATION = Calibration(0.4, 3.0)
TEXTS = [
    (*encode(f"solve: {prompt}\n{solution}"), END)
    for prompt in ("1+2-3+4", "80+5*9-63")
    for solution in ("3-3+4\n0+4\nanswer: 4", "3-3+4\n3+1\nanswer: 4", "3-3+4\n0+4\nanswer: 5", "answer: 4")
]


def scores(model: Model, texts: list[tuple[int, ...]], **options: int) -> list[float]:
    with Engine({"p": model}, **options) as engine:
        return Scorer(engine, "p", CALIBRATION).score(texts)


def test_a_score_is_the_product_over_solution_tokens(small: Model) -> None:
    with Engine({"p": small}) as engine:
        read = complete(engine, "p", [Request(text, max_new=0) for text in TEXTS])
        found = Scorer(engine, "p", CALIBRATION).score(TEXTS)
    for text, value, one in zip(TEXTS, found, read, strict=True):
        start = text.index(NEWLINE) + 1
        own = one.logprobs[start - 1 :]
        assert len(own) == len(text) - start
        assert value == pytest.approx(math.prod(1 / (1 + math.exp(-(0.4 * x + 3.0))) for x in own), rel=1e-12)
        assert 0 < value < 1


def test_a_score_does_not_depend_on_what_is_kept(small: Model) -> None:
    apart = [scores(small, [text], workers=1, width=1, prefix_bytes=0)[0] for text in TEXTS]
    assert scores(small, TEXTS) == apart
    assert scores(small, TEXTS[::-1], width=2) == apart[::-1]
    with Engine({"p": small}, workers=1) as engine:
        scorer = Scorer(engine, "p", CALIBRATION)
        for text in TEXTS:  # step by step, as a beam does
            for end in (i + 1 for i, token in enumerate(text) if token == NEWLINE):
                scorer.score([text[:end]])
        assert scorer.score(TEXTS) == apart


def test_a_text_is_scored_once_however_often_it_is_asked_for(small: Model) -> None:
    seen: list[tuple[int, ...]] = []

    class Counting(Engine):
        def submit(self, model, request, sink, *, watched=False, tag=None):  # type: ignore[no-untyped-def]
            seen.append(request.prompt_ids)
            return super().submit(model, request, sink, watched=watched, tag=tag)

    with Counting({"p": small}) as engine:
        scorer = Scorer(engine, "p", CALIBRATION)
        values = scorer.score(TEXTS * 5)
        assert values == scorer.score(TEXTS) * 5
        assert scorer.known(TEXTS[0]) == values[0]
    assert sorted(seen) == sorted(TEXTS)


def test_who_withdraws_gets_nothing_and_the_others_their_score(small: Model) -> None:
    found: list[Scored] = []
    ready = Flag()

    def take(scored: object) -> None:
        found.extend(scored)  # type: ignore[call-overload]
        ready.set()

    with Engine({"p": small}, workers=1) as engine:
        scorer = Scorer(engine, "p", CALIBRATION)
        first, second = object(), object()
        scorer.submit(TEXTS[0], take, first)
        scorer.submit(TEXTS[0], take, second)
        scorer.withdraw(TEXTS[0], first)
        scorer.submit(TEXTS[1], take, "gone")
        scorer.withdraw(TEXTS[1], "gone")
        assert ready.wait(60)
    assert [one.tag for one in found] == [second] or [one.tag for one in found] == [first, second]


def test_extreme_logprobs_have_a_probability() -> None:
    calibration = Calibration(3.0, 5.0)
    assert calibration.valid(0.0) == pytest.approx(1 / (1 + math.exp(-5)))
    assert 0 <= calibration.valid(-1e6) < 1e-300
    assert calibration.valid(1e6) == 1.0


@pytest.mark.parametrize("content", ["", "{}", '{"a": 1}', '{"a": "x", "b": 2}', "[1, 2]"])
def test_a_broken_calibration_is_an_input_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "prm.json").write_text(content)
    with pytest.raises(InputError, match=r"prm\.json"):
        read_calibration(tmp_path / "prm.json")
    (tmp_path / "prm.json").write_text(json.dumps({"a": 0.5, "b": 1}))
    assert read_calibration(tmp_path / "prm.json") == Calibration(0.5, 1.0)
