"""Outcomes are kept once, exactly, beside each other's studies; a study keeps its recipe."""

from pathlib import Path

import pytest

from autotts.errors import StoreError
from autotts.store import database
from autotts.store.meta import Meta
from autotts.store.outcomes import Graded, Outcomes

BIG = 2**60 + 1  # more than a float can hold exactly


def row(number: int, **changes: object) -> Graded:
    values: dict[str, object] = {
        "arm": "vote(n=8)",
        "prompt": f"L1/{number:04d}",
        "epoch": 0,
        "answer": "3",
        "correct": 1.0,
        "cost": BIG + number,
    }
    return Graded(**{**values, **changes})  # type: ignore[arg-type]


def test_outcomes_come_back_exactly_and_in_order(tmp_path: Path) -> None:
    engine = database.open(f"sqlite:///{tmp_path / 'a.db'}")
    outcomes = Outcomes(engine)
    rows = [row(n) for n in range(50)]
    rows += [row(0, arm="one()", answer=None, correct=0.25, cost=12.5, trial=7, ended="cap"), row(0, epoch=1)]
    outcomes.add("math", rows)
    outcomes.add("math", [])
    loaded = Outcomes(engine).load("math")
    assert loaded == sorted(rows, key=lambda r: (r.arm, r.prompt, r.epoch))
    assert {r.cost for r in loaded} >= {BIG, BIG + 49, 12.5}
    assert outcomes.load("another") == []
    engine.dispose()


def test_adding_again_changes_nothing(tmp_path: Path) -> None:
    engine = database.open(f"sqlite:///{tmp_path / 'a.db'}")
    outcomes = Outcomes(engine)
    outcomes.add("math", [row(1), row(2)])
    outcomes.add("math", [row(1, correct=0.0), row(3)])
    outcomes.add("other", [row(1, correct=0.0)])
    assert outcomes.load("math") == [row(1), row(2), row(3)]
    assert outcomes.load("other") == [row(1, correct=0.0)]
    engine.dispose()


def test_outcomes_are_added_all_or_none(tmp_path: Path) -> None:
    engine = database.open(f"sqlite:///{tmp_path / 'a.db'}")
    outcomes = Outcomes(engine)
    with pytest.raises(StoreError):
        outcomes.add("math", [row(1), row(2, correct=None)])
    assert outcomes.load("math") == []
    engine.dispose()


def test_a_value_is_replaced(tmp_path: Path) -> None:
    engine = database.open(f"sqlite:///{tmp_path / 'a.db'}")
    meta = Meta(engine)
    assert meta.get("math/round") is None
    meta.set("math/round", {"done": 1, "names": ["x", "\u00e9"]})
    meta.set("math/round", {"done": 2})
    assert Meta(engine).get("math/round") == {"done": 2}
    engine.dispose()


def test_a_study_is_claimed_once_and_another_recipe_is_an_error(tmp_path: Path) -> None:
    engine = database.open(f"sqlite:///{tmp_path / 'a.db'}")
    meta = Meta(engine)
    recipe = {"seed": 1, "unit": "flops", "models": {"S": {"revision": "a1"}}, "levels": (1, 2)}
    assert meta.claim("math", recipe) is True
    assert meta.claim("math", recipe) is False
    other = {**recipe, "seed": 2, "models": {"S": {"revision": "b2"}}, "cap": 5}
    with pytest.raises(StoreError) as caught:
        meta.claim("math", other)
    message = str(caught.value)
    assert "a.db holds another study named 'math'" in message and "--out" in message
    assert "cap is not given there and 5 here" in message
    assert 'models.S.revision is "a1" there and "b2" here' in message
    assert "seed is 1 there and 2 here" in message and "unit" not in message
    assert meta.claim("50%_off", other) is True
    assert meta.studies() == ["50%_off", "math"]
    engine.dispose()
