"""What a model's table says of its costs: sizes and shape over a built-in card, prices, and the measured speed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from autotts.core.cost import BYTES, ModelCard
from autotts.core.latency import Latency
from autotts.worlds.models.table import Table

_COUNTS: Final = ("parameters", "active_parameters", "expert_parameters")
_SHAPE: Final = ("layers", "heads", "kv_heads", "head_dim")
_EXPERTS: Final = ("experts", "experts_per_token")
_FORMS: Final = ("quantisation", "kv_quantisation")
_PRICES: Final = ("usd_prompt", "usd_cached", "usd_generated")
CARD_KEYS: Final = (*_COUNTS, *_SHAPE, *_EXPERTS, *_FORMS, *_PRICES, "latency")

COEFFICIENTS: Final = ("a", "b", "c", "n", "k0", "m")
LATENCY_KEYS: Final = (*COEFFICIENTS, "batch", "pad", "r2", "worst")
_LEAST: Final = 1000  # fewer parameters than any model has: a count in billions, given by mistake


def read_card(table: Table, start: ModelCard, *, reads: bool = False) -> ModelCard:
    """A card with a table's own keys over those of `start`; what does not fit together is an error.

    `reads` says that the model reads and writes nothing, as reward models do.
    """
    own: dict[str, Any] = {key: table.whole(key, least=_LEAST, example="4.02e9") for key in _COUNTS}
    own |= {key: table.whole(key) for key in (*_SHAPE, *_EXPERTS)}
    own |= {key: table.choice(key, tuple(BYTES), "") for key in _FORMS if key in table.data}
    own |= {key: table.number(key) for key in _PRICES}
    given = {key: value for key, value in own.items() if value is not None}
    if "latency" in table.data:
        given["latency"] = read_latency(table.table("latency"), reads=reads)
    card = replace(start, **_with_experts(table, start, given))
    _check(table, card)
    return card


def read_latency(table: Table, *, reads: bool = False) -> Latency:
    """A measured speed, as `autotts models measure` writes it."""
    table.only(LATENCY_KEYS)
    found: dict[str, float] = {key: table.number(key) or 0.0 for key in COEFFICIENTS}
    if reads and not (found["a"] or found["b"] or found["c"]):
        raise table.wrong("c", "seconds of a prompt (a, b, c) above 0", "none")
    if not reads and not (found["n"] or found["k0"] or found["m"]):
        raise table.wrong("n", "seconds of a generated token (n, k0, m) above 0", "none")
    fitted = {key: table.data.get(key) for key in ("r2", "worst")}
    for key, value in fitted.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise table.wrong(key, "a number")
    return Latency(
        **found, batch=table.whole("batch") or 1, pad=table.whole("pad") or 128, r2=fitted["r2"], worst=fitted["worst"]
    )


def _with_experts(table: Table, start: ModelCard, given: Mapping[str, Any]) -> dict[str, Any]:
    """What is given, and the active parameters that its number of experts means."""
    count = given.get("experts_per_token")
    if count is None or "active_parameters" in given or start.active_parameters is None:
        return dict(given)
    base = replace(start, **{key: given[key] for key in ("experts", "expert_parameters") if key in given})
    if base.experts is None or base.experts_per_token is None or base.expert_parameters is None:
        raise table.wrong(
            "active_parameters",
            f"a count, as its card does not say what {count} experts a token make of it",
        )
    if count > base.experts:
        raise table.wrong("experts_per_token", f"at most the {base.experts} experts that there are")
    return {**given, "active_parameters": base.with_experts(count).active_parameters}


def _check(table: Table, card: ModelCard) -> None:
    """See that the parts of a card fit together."""
    if card.active_parameters and card.parameters and card.active_parameters > card.parameters:
        raise table.wrong("active_parameters", f"at most its {card.parameters} parameters", str(card.active_parameters))
    if card.experts and card.experts_per_token and card.experts_per_token > card.experts:
        raise table.wrong("experts_per_token", f"at most the {card.experts} experts that there are")
    missing = [key for key in _SHAPE if getattr(card, key) is None]
    if 0 < len(missing) < len(_SHAPE):
        raise table.wrong(missing[0], f"a count, as all of {', '.join(_SHAPE)} are needed or none", "nothing")
    if card.heads and card.kv_heads and card.heads % card.kv_heads:
        raise table.wrong("kv_heads", f"a divisor of its {card.heads} heads", str(card.kv_heads))
    if any(getattr(card, key) is not None for key in _PRICES):
        for key in ("usd_prompt", "usd_generated"):
            if getattr(card, key) is None:
                raise table.wrong(key, "a price in dollars per million tokens beside the other prices", "nothing")
