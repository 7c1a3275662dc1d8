"""Fitted speeds: known coefficients are found again, and what records cannot tell is said."""

from __future__ import annotations

from dataclasses import astuple, replace
from itertools import product

import numpy as np
import pytest
from scipy.optimize import nnls

from autotts.core.latency import Latency
from autotts.errors import InputError
from autotts.estimate.latency import Record, _non_negative, fit

# EdgeReasoning's coefficients of its 1.5B, 8B and 14B models (fp16, Jetson AGX Orin), and a share of each sequence.
KNOWN = [
    Latency(1.56e-7, 2.3e-6, 0.046, 0.0236, 0.0004, 1.5e-7),
    Latency(6.6e-7, 2.9e-4, 0.104, 0.1004, 0.002, 6.9e-7),
    Latency(1.23e-6, 5.3e-4, 0.189, 0.1866, 0.003, 1.13e-6),
]
GRID = list(product((100, 500, 1000, 2000, 4000), (1, 64, 512), (1, 4, 16)))


def measured(true: Latency, grid: list[tuple[int, int, int]], noise: float = 0.0, seed: int = 0) -> list[Record]:
    rng = np.random.default_rng(seed)
    return [Record(i, o, n, true.seconds(i, o, n) * float(np.exp(noise * rng.standard_normal()))) for i, o, n in grid]


def coefficients(latency: Latency) -> tuple[float, ...]:
    return astuple(latency)[:6]


@pytest.mark.parametrize("true", KNOWN)
def test_known_coefficients_are_found_again(true: Latency) -> None:
    found = fit(measured(true, GRID))
    assert coefficients(found.latency) == pytest.approx(coefficients(true), rel=1e-5)
    assert found.notes == ()
    assert found.latency.r2 == pytest.approx(1) and found.latency.worst == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("true", KNOWN)
def test_noise_of_two_percent_leaves_predictions_within_as_much(true: Latency) -> None:
    found = fit(measured(true, GRID, noise=0.02)).latency
    assert 0.02 < (found.worst or 0) < 0.1 and (found.r2 or 0) > 0.99
    for i, o, n in ((300, 200, 2), (3000, 1000, 8), (1500, 1, 1)):  # not measured
        assert found.seconds(i, o, n) == pytest.approx(true.seconds(i, o, n), rel=0.03)
    assert found.n == pytest.approx(true.n, rel=0.05)


def test_no_coefficient_is_negative() -> None:
    flat = replace(KNOWN[0], a=0.0, m=0.0, k0=0.0)
    for seed in range(20):
        assert min(coefficients(fit(measured(flat, GRID, noise=0.1, seed=seed)).latency)) >= 0


def test_the_optimum_is_that_of_nnls() -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        design = rng.normal(size=(12, 5)) + 0.3
        found = _non_negative(design, "abcde")
        assert found == pytest.approx(nnls(design, np.ones(12))[0], abs=1e-9)


def test_prices_are_of_the_largest_batch_or_the_one_that_is_asked_for() -> None:
    records = measured(KNOWN[0], GRID)
    assert fit(records).latency.batch == 16
    assert fit(records, batch=4).latency.batch == 4


def test_one_batch_size_cannot_tell_a_sequences_own_work() -> None:
    found = fit(measured(KNOWN[1], [x for x in GRID if x[2] == 4]))
    assert len(found.notes) == 1 and "it needs 2 batch sizes, found 4 only" in found.notes[0]
    assert found.latency.k0 == 0
    assert found.latency.n == pytest.approx(KNOWN[1].n + 4 * KNOWN[1].k0, rel=1e-5)
    assert found.latency.seconds(800, 90, 4) == pytest.approx(KNOWN[1].seconds(800, 90, 4), rel=1e-5)


def test_few_prompt_lengths_leave_out_what_they_cannot_tell() -> None:
    two = fit(measured(KNOWN[1], [x for x in GRID if x[0] in (100, 1000)]))
    assert two.latency.a == 0 and "prompts of 3 lengths, found 2" in two.notes[0] and len(two.notes) == 1
    one = fit(measured(KNOWN[1], [x for x in GRID if x[0] == 100]))
    assert one.latency.a == one.latency.b == 0 and len(one.notes) == 2
    assert one.latency.prefill(100) == pytest.approx(KNOWN[1].prefill(100), rel=1e-5)


def test_a_model_that_only_reads_has_a_prefill_and_nothing_else() -> None:
    true = Latency(a=2e-9, b=3e-5, c=0.01)
    found = fit([Record(i, 1, 1, true.prefill(i)) for i in (100, 500, 1000, 2000, 4000)], reads=True)
    assert found.notes == ()
    assert (found.latency.n, found.latency.k0, found.latency.m, found.latency.batch) == (0.0, 0.0, 0.0, 1)
    assert found.latency.prefill(3000) == pytest.approx(true.prefill(3000), rel=1e-5)


def test_records_that_cannot_tell_prefill_from_decode_are_refused() -> None:
    alike = [(i, 64, n) for i in (100, 1000, 4000) for n in (1, 4)]
    with pytest.raises(InputError, match="cannot tell a, b, c, n, k0, m apart: measure answers of two lengths"):
        fit(measured(KNOWN[0], alike))


@pytest.mark.parametrize(
    "broken", [Record(0, 1, 1, 1.0), Record(1, 0, 1, 1.0), Record(1, 1, 0, 1.0), Record(1, 1, 1, 0.0)]
)
def test_what_is_no_measurement_is_refused(broken: Record) -> None:
    with pytest.raises(InputError, match="measurement 46: expected a prompt"):
        fit([*measured(KNOWN[0], GRID), broken])
    with pytest.raises(InputError, match="measurement 1: expected a prompt"):
        fit([replace(broken, prompt=1, generated=1, batch=1, seconds=float("nan"))])


def test_too_few_measurements_are_refused() -> None:
    with pytest.raises(InputError, match="at least 4 measurements, found 3"):
        fit(measured(KNOWN[0], GRID[:3]))
