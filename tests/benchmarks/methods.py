"""The methods that the benchmark of searches compares, by name."""

from __future__ import annotations

import time
from typing import Any

import optuna

from tests.benchmarks.curves import Curve
from tests.benchmarks.halving import halving
from tests.benchmarks.searching import ROUNDS, TOKENS, Draw, Method, Trial, plain, study

OURS = "ours"
# The recipe as it is, but for what past studies of the same task and models tell: that is a line of its own.
DESIGNED: dict[str, Any] = {"start": "designed"}
# Others have the same shared draws, free arms, races and growing prompts, and nothing else of ours.
BARE: dict[str, Any] = {"start": "none", "pruning": ()}


def other(proposer: str) -> Method:
    """Another proposer in the same races, on the same shared draws."""
    return Method({**BARE, "proposer": proposer}, neighbours=False)


METHODS: dict[str, Method] = {
    OURS: Method(DESIGNED),
    "ours, with a past study": Method({"start": "memory"}),
    "random": other("random"),
    "tpe": other("tpe"),
    "nsga2": other("nsga2"),
    "successive halving": Method({}, play=halving),
    "insight rules": other("insight"),
    "covering": other("covering"),
    "tpe, fresh draws": Method({}, sharing=False, play=plain),
    "ours without shared draws": Method(DESIGNED, sharing=False),
    "ours without racing": Method({**DESIGNED, "block": 10**6, "first": 10**6}),
    "ours without prediction before": Method({**DESIGNED, "pruning": ("during", "allocation")}),
    "ours without prediction during": Method({**DESIGNED, "pruning": ("before", "allocation")}),
    "ours without prediction in allocation": Method({**DESIGNED, "pruning": ("before", "during")}),
    "ours without the designed start": Method({"start": "none"}, neighbours=False),
    "random, with our start": Method({**DESIGNED, "pruning": (), "proposer": "random"}),
    "tpe, with our start": Method({**DESIGNED, "pruning": (), "proposer": "tpe"}),
    "random, with our allocation": Method({"start": "none", "pruning": ("allocation",), "proposer": "random"}, False),
    "tpe, with our allocation": Method({"start": "none", "pruning": ("allocation",), "proposer": "tpe"}, False),
    "ours without any prediction": Method({**DESIGNED, "pruning": ()}),
    "ours, tpe in place of guided": Method({**DESIGNED, "proposer": "tpe"}),
}


def play(draw: Draw, name: str, rounds: int = ROUNDS, most: int = TOKENS) -> Curve:
    """One method on the prompts of one seed."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    began, method, trial = time.monotonic(), METHODS[name], Trial(draw, rounds, most)
    (method.play or study)(trial, method)
    return Curve(
        name,
        draw.seed,
        tuple(trial.tokens),
        tuple(h.gain for h in trial.heights),
        tuple(h.plain for h in trial.heights),
        draw.final.gain,
        draw.final.plain,
        time.monotonic() - began,
        trial.raced,
        trial.ended,
    )
