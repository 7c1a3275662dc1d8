"""What a token of a model costs, by what its card says."""

from __future__ import annotations

import pytest

from autotts.core.cost import ModelCard, Prices
from autotts.errors import InputError

SHAPE = {"layers": 2, "heads": 4, "kv_heads": 1, "head_dim": 8}


def test_flops_are_two_a_parameter_and_attention_by_position() -> None:
    whole = ModelCard("S", "1", 1_000, **SHAPE)
    assert whole.prices("flops") == Prices(2000, 0, 2000, 256, 256)
    assert ModelCard("S", "1", 1_000, 300, **SHAPE).prices("flops").generated == 600
    assert whole.prices("flops").of_generated(10, 2) == 2 * 2000 + 256 * (10 + 11)
    assert whole.prices("eflops").generated_context == 256 + 4 * 1 * 8 * 2 * 562.5


def test_without_any_shape_attention_is_left_out_of_flops_only() -> None:
    bare = ModelCard("S", "1", 1_000)
    assert bare.prices("flops") == Prices(2000, 0, 2000)
    assert ModelCard("S", "1", None, 300).prices("flops") == Prices(600, 0, 600)
    with pytest.raises(InputError, match="its eflops are unknown"):
        bare.prices("eflops")


@pytest.mark.parametrize("missing", SHAPE)
def test_half_a_shape_or_no_size_is_an_error_and_not_a_zero(missing: str) -> None:
    for unit in ("flops", "eflops"):
        with pytest.raises(InputError, match=f"its {unit} are unknown"):
            ModelCard("S", "1", 1_000, **{**SHAPE, missing: None}).prices(unit)
        with pytest.raises(InputError, match=f"its {unit} are unknown"):
            ModelCard("S", "1", **SHAPE).prices(unit)


def test_units_that_need_no_size() -> None:
    bare = ModelCard("S", "1")
    assert bare.prices("tokens") == Prices() and bare.prices("calls") == Prices(0, 0, 0, call=1)
    for unit, words in (("usd", "no price per million"), ("s", "no speed is known")):
        with pytest.raises(InputError, match=words):
            bare.prices(unit)
    assert ModelCard("S", "1", usd_prompt=1.0, usd_generated=2.0).prices("usd") == Prices(10**6, 10**6, 2 * 10**6)
