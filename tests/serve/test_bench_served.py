"""A small share of the benchmarks of the server: that they run, and that what they look for is so."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.benchmarks import served_equal, served_hangups, served_overload, served_soak
from tests.benchmarks.backend import stack
from tests.benchmarks.served import PACE, PLAIN, Turns, compare

pytestmark = pytest.mark.slow


def test_a_served_policy_is_the_one_that_was_measured(tmp_path: Path) -> None:
    with served_equal.fake(tmp_path) as on:
        before, after = served_equal.compared(on, 6, alike=True)
    assert {level.prompts for level in after.values()} == {6}
    assert served_equal.wrongs(on.name, before, after) == []


def test_nothing_is_left_of_requests_of_all_kinds(tmp_path: Path) -> None:
    with served_soak.served(tmp_path) as (found, app):
        marks = asyncio.run(served_soak.soak(app, found.world, 800, 200))
    assert marks.statuses["200"] and marks.statuses["400"] and marks.statuses["hung up"]
    assert served_soak.wrongs(marks) == []


def test_what_clients_hung_up_on_ends(tmp_path: Path) -> None:
    with stack(tmp_path, served_hangups.PACE, *served_hangups.OPTIONS) as on:
        ends = asyncio.run(served_hangups.hung_up(on, 80))
    assert ends.waiting and ends.midway
    assert max(ends.backend) < float("inf") and max(ends.gate) < float("inf")


def test_too_many_requests_are_refused_and_the_others_answered(tmp_path: Path) -> None:
    found = served_overload.overloaded(tmp_path, minutes=0.05, times=4.0)
    assert set(found.statuses) == {"200", "429"}
    assert not found.bare
    assert found.spent <= found.budget * found.requests + found.bound


def test_both_ways_to_a_backend_are_compared(tmp_path: Path) -> None:
    with stack(tmp_path, PACE, arms=PLAIN) as on:
        found = asyncio.run(compare(on, Turns(50.0, seconds=0.2, turns=2)))
    assert {name: len(way.seen) for name, way in found.items()} == {"directly": 20, "auto": 20, "by name": 20}
    assert all(way.ms(0.5) >= 1e3 * PACE.seconds for way in found.values())  # an answer cannot be there before
