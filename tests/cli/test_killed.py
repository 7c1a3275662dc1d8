"""A study that is killed again and again loses no finished draw, pays for what was made, and ends as if it had not."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from autotts.engine.capped import AHEAD
from tests.benchmarks.killed import after, at, tell, wrongs
from tests.benchmarks.killing import Watch, finish, place, probed, tokens, watched

LIMIT = 2_000_000
MOST = 500  # tokens that are set aside for one draw, at most


@pytest.mark.slow
def test_a_study_that_is_killed_loses_nothing_and_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    rng = Random(8)
    with watched() as server:
        whole = place(tmp_path / "whole", server.url, LIMIT, search=8, trials=4)
        finish(whole.start())
        probes, total = probed(whole, server), server.count()
        assert whole.ledger() == (sum(map(tokens, server.settled())), 0)
    with watched() as server:
        watch = Watch(place(tmp_path / "killed", server.url, LIMIT, search=8, trials=4), server, probes)
        assert watch.live(after(rng.random()))
        for _ in range(3):
            assert watch.live(at(server.count() + rng.randint(1, total // 5))), "it ended too early to be killed"
        finish(watch.place.start())
        told = tell(watch, whole)
    assert wrongs(told) == []
    assert told.repeated > 0 and told.kinds["lost"] > 0  # it was killed at work
    for kill in watch.kills:
        assert kill.held <= 2 * (kill.in_flight + kill.late + AHEAD) * MOST
