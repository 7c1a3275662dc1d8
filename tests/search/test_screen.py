"""The pruner before a trial: it skips what is dominated, audits find out a liar, and the archive decides alone."""

import math
from dataclasses import replace

import numpy as np
import pytest

from autotts.policy.allocation import Point, envelope
from autotts.predict.arm_learning import fit_arms
from autotts.predict.arms import Forecasts
from autotts.search.archive import Archive, Trial
from autotts.search.screen import Audits, Screen, above, at_least, frontier, heights
from tests.predict.surface import ARMS, LEVELS, SPACE, WORK, seen, some, truth

LEVEL = "3"
SKEPTIC = Screen(audit=10, seed=1)


class Oracle:
    """Foretells by a rule of its own; `sd` says how sure it is."""

    def __init__(self, value, sd=0.005, fallback=False):
        self.value, self.sd, self.fallback = value, sd, fallback

    def forecast(self, arms, level):
        n = len(arms)
        value = np.array([self.value(arm) for arm in arms])
        cost = np.array([truth(arm, level)[1] for arm in arms])
        return Forecasts(value, np.full(n, self.sd), cost, np.full(n, 1e-3))


def right(arm):
    return truth(arm, LEVEL)[0]


def done(arm, number=0, kind="designed", value=None, prompts=100):
    exact, cost = truth(arm, LEVEL)
    return Trial(arm, kind, number, "complete", exact if value is None else value, cost, prompts)


def archive(trials=(), number=1, **rest):
    return Archive(LEVEL, LEVELS, SPACE, WORK, tuple(trials), round=number, prompts=100, **rest)


START = [done(arm) for arm in ARMS[::25]]


def test_a_perfect_predictor_skips_dominated_arms_and_no_others():
    here = archive(START)
    curve = frontier(here.trials)
    verdicts = SKEPTIC.judge(here, ARMS, Oracle(right))
    assert [v.arm for v in verdicts] == list(ARMS)
    dropped = [v.arm for v in verdicts if v.skip or v.audited]
    assert len(dropped) > 0.5 * len(ARMS)
    for arm in dropped:
        value, cost = truth(arm, LEVEL)
        assert value < heights(curve, np.array([cost]))[0]
    # What is left out would not have changed the frontier of everything.
    points = [Point(arm, *truth(arm, LEVEL)) for arm in ARMS]
    kept = [p for p in points if p.arm not in dropped or p.arm in {t.arm for t in START}]
    assert envelope(kept) == envelope(points)


def test_one_skip_in_ten_is_audited_and_the_same_each_time():
    verdicts = SKEPTIC.judge(archive(START), ARMS, Oracle(lambda arm: 0.01))
    audited = [v for v in verdicts if v.audited]
    low = [v for v in verdicts if v.chance < SKEPTIC.error]
    assert 0.05 * len(low) < len(audited) < 0.16 * len(low)
    assert not any(v.skip and v.audited for v in verdicts)
    assert all(v.skip or v.audited for v in low)
    assert "audit" in audited[0].why and "below 0.05" in next(v for v in verdicts if v.skip).why
    assert SKEPTIC.judge(archive(START), ARMS, Oracle(lambda arm: 0.01)) == verdicts
    shuffled = SKEPTIC.judge(archive(START), ARMS[::-1], Oracle(lambda arm: 0.01))
    assert shuffled[::-1] == verdicts
    others = replace(SKEPTIC, seed=2).judge(archive(START), ARMS, Oracle(lambda arm: 0.01))
    assert [v.arm for v in others if v.audited] != [v.arm for v in audited]


def test_a_predictor_that_knows_nothing_skips_nothing():
    verdicts = SKEPTIC.judge(archive(START), ARMS, Oracle(lambda arm: 0.5, sd=0.3))
    assert not any(v.skip or v.audited for v in verdicts)


@pytest.mark.parametrize(
    ("trials", "model", "why"),
    [
        (START, None, "nothing foretells"),
        (START, Oracle(lambda arm: 0.0, fallback=True), "too little was seen"),
        ([], Oracle(lambda arm: 0.0), "fewer than 3 arms"),
        (START[:2], Oracle(lambda arm: 0.0), "fewer than 3 arms"),
    ],
)
def test_nothing_is_skipped_without_ground_to_stand_on(trials, model, why):
    verdicts = SKEPTIC.judge(archive(trials), ARMS[:50], model)
    assert not any(v.skip or v.audited for v in verdicts)
    assert all(why in v.why for v in verdicts)


def test_no_arms_no_verdicts():
    assert SKEPTIC.judge(archive(START), [], Oracle(right)) == []


def test_the_chance_is_that_of_a_normal_at_the_frontier_and_one_below_its_cheapest_arm():
    curve = [Point("a", 0.4, 100.0), Point("b", 0.8, 300.0)]
    assert heights(curve, np.array([50.0, 100.0, 200.0, 900.0])).tolist() == [-math.inf, 0.4, pytest.approx(0.6), 0.8]
    exact = Forecasts(np.array([0.5, 0.6, 0.1]), np.full(3, 0.1), np.array([200.0, 200.0, 50.0]), np.zeros(3))
    assert above(exact, curve) == pytest.approx([0.158655, 0.5, 1.0], abs=1e-5)
    # Where the cost is unsure, a fifth of the mass that lies below the cheapest arm counts in full.
    unsure = Forecasts(np.array([0.1]), np.array([0.01]), np.array([120.0]), np.array([0.2]))
    assert above(unsure, curve)[0] == pytest.approx(0.2)


def test_nothing_is_tried_beside_a_cheap_arm_that_is_always_right():
    cheap = min((done(arm) for arm in ARMS), key=lambda t: t.cost)
    here = archive([replace(cheap, value=1.0), *START])
    verdicts = SKEPTIC.judge(here, ARMS, Oracle(lambda arm: 0.999, sd=0.01))
    dear = [v for v in verdicts if truth(v.arm, LEVEL)[1] > 1.01 * cheap.cost]
    assert len(dear) > 0.9 * len(ARMS)
    assert all(v.skip or v.audited for v in dear)


# ------------------------------------------------------------ a whole search


def search(model, *, rounds=40, size=12, screen=SKEPTIC, luck=None, first=START):
    """Propose all arms in turn; what is skipped and what is run goes into the archive, round by round."""
    here, left, stopped = archive(first), [a for a in ARMS if a not in {t.arm for t in first}], None
    for number in range(1, rounds + 1):
        here = replace(here, round=number)
        waiting = screen.waiting(here)
        again, fresh = waiting[:size], left[:size]
        left = left[len(fresh) :]
        trials = [_run(arm, number, "requeued", luck) for arm in again]
        for v in screen.judge(here, fresh, model):
            if v.skip:
                trials.append(Trial(v.arm, "random", number, "skipped", trace=v.why))
            else:
                trials.append(_run(v.arm, number, "audit" if v.audited else "random", luck))
        here = replace(here, trials=(*here.trials, *trials))
        if stopped is None and screen.stopped(here):
            stopped = number
        if not (left or screen.waiting(here)):
            break
    return here, stopped


def _run(arm, number, kind, luck):
    if luck is None:
        return done(arm, number, kind)
    found = seen(arm, LEVEL, luck, 100)
    return Trial(arm, kind, number, "complete", found.value, found.cost, 100)


def test_audits_stop_a_predictor_that_turns_things_upside_down_and_all_that_was_skipped_comes_back():
    weak = [t for t in (done(arm) for arm in ARMS) if t.value < 0.3][::12]
    here, stopped = search(Oracle(lambda arm: 0.6 - right(arm)), first=weak, rounds=400)
    assert stopped is not None
    assert SKEPTIC.audits(here).done <= 12
    assert "audits stood above the frontier" in SKEPTIC.stopped(here)
    tried = {t.arm for t in here.trials if t.state == "complete"}
    assert tried == set(ARMS)
    assert SKEPTIC.waiting(here) == []
    verdicts = SKEPTIC.judge(here, ARMS, Oracle(lambda arm: 0.0))
    assert not any(v.skip or v.audited for v in verdicts)


def test_a_right_predictor_is_left_alone_also_with_measured_accuracies():
    for seed in range(3):
        here, stopped = search(Oracle(right), luck=np.random.default_rng(seed))
        skipped = sum(t.state == "skipped" for t in here.trials)
        assert stopped is None
        assert SKEPTIC.waiting(here) == []
        assert skipped > 0.5 * len(ARMS)


def test_contradictions_stay_within_the_stated_rate_where_forecasts_are_calibrated():
    """Frontier of two arms; true accuracies are what the forecast says, give or take what it says."""
    rng = np.random.default_rng(0)
    base = [Trial("low", "designed", 0, "complete", 0.5, 1.0, 10**6), Trial("top", "designed", 0, "complete", 0.6, 2.0)]
    for sd in (0.002, 0.05, 0.2):
        # The worst case: every skip is just below what is skipped.
        value = 0.6 - 1.645 * sd
        hits = Audits(0, 0)
        for i in range(400):
            truly = min(1.0, max(0.0, value + sd * rng.normal()))
            audit = Trial(f"x{i}", "audit", 1, "complete", rng.binomial(100, truly) / 100, 3.0, 100)
            found = Screen().audits(archive([*base, audit]))
            hits = Audits(hits.done + found.done, hits.against + found.against)
        assert hits.done == 400
        assert hits.against / hits.done < 0.05 + 0.025  # two standard errors


def test_audits_count_as_defined():
    base = [done(arm) for arm in ARMS[::25]]
    top = max(t.value for t in base)
    high = replace(done(ARMS[1], 2, "audit"), value=1.0, cost=10 * max(t.cost for t in base))
    assert SKEPTIC.audits(archive([*base, high])) == Audits(1, 1)
    # Within the noise of its prompts, stopped in its race, or of another kind: no contradiction.
    assert SKEPTIC.audits(archive([*base, replace(high, value=top + 0.02)])) == Audits(1, 0)
    assert SKEPTIC.audits(archive([*base, replace(high, state="pruned")])) == Audits(1, 0)
    assert SKEPTIC.audits(archive([*base, replace(high, kind="free")])) == Audits(0, 0)
    assert SKEPTIC.audits(archive([*base, replace(high, state="skipped")])) == Audits(0, 0)
    # Arms of the same or later rounds, which the audit may have brought about, do not hide it.
    twin = replace(high, kind="free", arm=ARMS[2])
    assert SKEPTIC.audits(archive([*base, high, twin])) == Audits(1, 1)
    assert SKEPTIC.audits(archive([*base, high, replace(twin, round=1)])) == Audits(1, 0)
    # Audits of other levels count, against the frontiers there.
    assert SKEPTIC.audits(archive(base, others={"1": (*base, high), "2": (high,)})) == Audits(2, 1)


def test_two_contradictions_in_seven_audits_stop_and_one_alone_does_not():
    base = [done(arm) for arm in ARMS[::25]]
    dear = 10 * max(t.cost for t in base)

    def audits(against, confirming):
        made = [replace(done(ARMS[i], 1, "audit"), value=1.0, cost=dear) for i in range(against)]
        return archive(
            [*base, *made, *(replace(done(ARMS[i], 1, "audit"), value=0.0) for i in range(10, 10 + confirming))]
        )

    assert SKEPTIC.stopped(audits(0, 0)) is None
    assert SKEPTIC.stopped(audits(1, 0)) is None
    assert SKEPTIC.stopped(audits(2, 5)) is not None
    assert SKEPTIC.stopped(audits(2, 6)) is None


def test_waiting_holds_each_skipped_arm_once_and_not_what_was_tried_since():
    base = [done(arm) for arm in ARMS[::25]]
    dear = 10 * max(t.cost for t in base)
    liars = [replace(done(arm, 3, "audit"), value=1.0, cost=dear) for arm in ARMS[1:3]]
    skipped = [Trial(arm, "random", number, "skipped") for number, arm in ((1, ARMS[4]), (1, ARMS[3]), (2, ARMS[4]))]
    assert SKEPTIC.waiting(archive([*base, *skipped])) == []
    here = archive([*base, *skipped, *liars], 4)
    assert SKEPTIC.waiting(here) == [ARMS[4], ARMS[3]]
    later = replace(here, trials=(*here.trials, done(ARMS[4], 4, "requeued")))
    assert SKEPTIC.waiting(later) == [ARMS[3]]


def test_binomial_tail_against_enumeration():
    from itertools import product

    for of in range(6):
        for count in range(of + 2):
            sure = sum(0.3 ** sum(t) * 0.7 ** (of - sum(t)) for t in product((0, 1), repeat=of) if sum(t) >= count)
            assert at_least(count, of, 0.3) == pytest.approx(sure)


# ------------------------------------------------------------ with a learned predictor


def test_a_learned_predictor_skips_much_and_loses_little():
    rng = np.random.default_rng(7)
    found = some(100, rng, prompts=100)
    model = fit_arms(found, levels=LEVELS, work=WORK, seed=0)
    first = [Trial(s.arm, "designed", 0, "complete", s.value, s.cost, 100) for s in found if s.level == LEVEL]
    verdicts = SKEPTIC.judge(archive(first), ARMS, model)
    skipped = [v.arm for v in verdicts if v.skip]
    assert len(skipped) > 0.3 * len(ARMS)
    curve = envelope([Point(arm, *truth(arm, LEVEL)) for arm in ARMS])
    kept = [p.arm for p in curve if p.arm not in skipped]
    rest = envelope([Point(arm, *truth(arm, LEVEL)) for arm in ARMS if arm not in skipped])
    costs = np.array([p.cost for p in curve])
    assert len(kept) >= 0.5 * len(curve)
    assert (heights(curve, costs) - np.maximum(heights(rest, costs), 0)).max() < 0.03
