"""A request's own budget: its cap is hard, its effort is granted while the account has it, and the mean holds."""

import json
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotts.errors import BudgetError, InputError
from autotts.policy import routing
from autotts.policy.controller import Controller, Uncontrolled, Wish
from autotts.policy.schema import Policy
from tests.benchmarks.controller import BUDGET, FRONTIERS, SPREADS, policy_of
from tests.policy.policies import policy_data

SIX = policy_of(FRONTIERS["6"])
COSTS = [setting.expected.cost for setting in SIX.frontier]
BINNED = Policy.loads(json.dumps(policy_data()))

WISHES = st.builds(
    Wish,
    effort=st.none() | st.floats(COSTS[0], 10 * COSTS[-1]),
    cap=st.none() | st.floats(COSTS[0], 100 * COSTS[-1]),
)
# What comes next: an ask with its wish, or the end of a running request at a share of its cap.
EVENTS = st.lists(st.one_of(WISHES, st.tuples(st.integers(0, 9), st.sampled_from([0.0, 0.01, 0.3, 0.9, 1.0]))))


def served(control, wish, count, seed=0, times=1.0):
    """Requests one after another, all with the same wish; what they had and cost."""
    rng, out = random.Random(seed), []
    for number in range(count):
        asked = control.ask("x", f"{seed} {number}", wish(number))
        whole = round(asked.routed.cost * times * SPREADS["log-normal, p95 2.5"](rng))
        cost = min(asked.cap, whole)
        control.tell(asked, cost)
        out.append((asked, cost, whole))
    return out


# ---------------------------------------------------------------- the bound


@settings(max_examples=200, deadline=None)
@given(EVENTS, st.floats(0.2, 20))
def test_whatever_requests_wish_the_bound_holds(events, budget):
    control = Controller(SIX, budget * BUDGET)
    running, spent = [], 0
    for number, event in enumerate(events):
        if isinstance(event, Wish):
            asked = control.ask(f"prompt {number}", "", event)
            running.append(asked)
            assert event.cap is None or asked.cap <= event.cap
            assert asked.cap >= math.floor(min(event.cap or math.inf, 0.5 * budget * BUDGET)) - 1
        elif running:
            done = running.pop(event[0] % len(running))
            cost = math.floor(event[1] * done.cap)
            control.tell(done, cost)
            spent += cost
        state = control.state
        aside = sum(asked.reserved for asked in running)
        assert spent + aside <= budget * BUDGET * state.requests + control.bound + 1


@pytest.mark.parametrize("times", [0.5, 1.0, 1.6])
def test_the_mean_settles_at_the_budget_though_all_wish_for_the_best(times):
    control = Controller(SIX, BUDGET)
    out = served(control, lambda number: Wish(effort=COSTS[-1]), 1500, times=times)
    assert 0.95 < control.state.mean / BUDGET < 1.006
    assert sum(cost < whole for _, cost, whole in out) < 0.06 * len(out)


def test_a_few_that_wish_for_the_best_get_it_and_the_others_pay_for_it():
    control = Controller(SIX, BUDGET)
    out = served(control, lambda number: Wish(effort=COSTS[-1]) if number % 100 == 0 else Wish(), 4000)
    wished = [asked.effort for number, (asked, _, _) in enumerate(out) if number % 100 == 0 and number > 200]
    others = [asked.effort for number, (asked, _, _) in enumerate(out) if number % 100 and number > 200]
    assert sum(effort == COSTS[-1] for effort in wished) > 0.8 * len(wished)
    assert sum(others) / len(others) < 0.97 * BUDGET
    assert 0.95 < control.state.mean / BUDGET < 1.006


def test_those_that_wish_for_the_best_leave_something_to_others():
    control = Controller(SIX, BUDGET)
    burst = [control.ask("x", str(number), Wish(effort=COSTS[-1])) for number in range(30)]
    assert burst[0].effort > 2 * BUDGET
    assert burst[-1].effort < 1.5 * BUDGET
    assert control.ask("x", "another").cap > 0.9 * BUDGET


# ---------------------------------------------------------------- effort


def test_an_effort_below_the_controllers_own_is_taken_as_it_is():
    control = Controller(SIX, BUDGET)
    for dial in (0.0, 0.1, 0.25):
        wished = SIX.effort(dial)
        asked = control.ask("x", "", Wish(effort=wished))
        assert asked.effort == wished
        assert asked.routed == SIX.route("x", wished)


def test_an_effort_beyond_the_dearest_setting_is_the_dearest():
    control = Controller(SIX, 20 * BUDGET)
    assert control.ask("x", "", Wish(effort=1e30)).routed.id == "a6"
    assert Uncontrolled(SIX).ask("x", "", Wish(effort=1e30)).routed.id == "a6"


@given(st.lists(st.floats(0, 1), min_size=2))
def test_the_dial_goes_from_the_cheapest_to_the_dearest_setting(dials):
    efforts = [SIX.effort(dial) for dial in sorted(dials)]
    assert efforts == sorted(efforts)
    assert (SIX.effort(0), SIX.effort(0.0)) == (COSTS[0], COSTS[0])
    assert (SIX.effort(1), SIX.effort(1.0)) == (COSTS[-1], COSTS[-1])
    assert SIX.effort(0.5) == pytest.approx(math.sqrt(COSTS[0] * COSTS[-1]))
    for dial in dials:
        SIX.route("x", SIX.effort(dial))


@pytest.mark.parametrize("dial", [-0.1, 1.1, math.nan, math.inf])
def test_a_dial_that_is_none_is_refused(dial):
    with pytest.raises(InputError, match=r"from 0 \(cheapest\) to 1 \(best\)"):
        SIX.effort(dial)


def test_a_dial_from_a_setting_that_costs_nothing():
    data = json.loads(SIX.dumps())
    data["frontier"][0]["expected"]["cost"] = 0.0
    policy = SIX.model_validate_json(json.dumps(data))
    assert [policy.effort(dial) for dial in (0, 0.5, 1)] == [0.0, COSTS[-1] / 2, COSTS[-1]]


# ---------------------------------------------------------------- cap


@pytest.mark.parametrize("make", [lambda: Controller(SIX, BUDGET), lambda: Uncontrolled(SIX, COSTS[-1])])
@pytest.mark.parametrize("cap", [0.2, 0.35, 0.7, 1.3])
def test_an_arm_is_taken_that_fits_under_the_cap(make, cap):
    control = make()
    for number in range(50):
        asked = control.ask("x", str(number), Wish(cap=cap * BUDGET))
        assert asked.cap <= cap * BUDGET
        assert asked.forecast * 1.2 <= cap * BUDGET or asked.routed.id == "a1"
        control.tell(asked, min(asked.cap, asked.routed.cost))
    if cap == 1.3:
        assert asked.routed.id != "a1"


def test_what_a_wish_has_capped_shows_nothing_about_costs():
    control = Controller(SIX, BUDGET)
    before = control.state.ratio
    for number in range(200):
        asked = control.ask("x", str(number), Wish(cap=0.25 * BUDGET))
        assert asked.tight
        control.tell(asked, 0.1 * asked.cap)
    assert control.state.ratio == before
    asked = control.ask("x", "wide", Wish(cap=1e6 * BUDGET))
    assert not asked.tight
    control.tell(asked, 0.9 * asked.routed.cost)
    assert control.state.ratio != before


@pytest.mark.parametrize("make", [lambda: Controller(SIX, BUDGET), lambda: Uncontrolled(SIX)])
@pytest.mark.parametrize("wish", [Wish(cap=0.9 * COSTS[0]), Wish(effort=0.9 * COSTS[0]), Wish(COSTS[3], 1e-9)])
def test_a_wish_that_nothing_meets_is_refused_and_does_not_count(make, wish):
    control = make()
    with pytest.raises(BudgetError, match=r"below the cheapest arm .*vote\(n=1, model=S\) costs 200 k"):
        control.ask("x", "", wish)
    assert control.state == make().state


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_amounts_that_make_no_sense_are_refused(value):
    for name in ("effort", "cap"):
        with pytest.raises(InputError, match=f"{name} of a request: expected a finite number"):
            Wish(**{name: value})


# ---------------------------------------------------------------- a look that was made, and no control


@pytest.mark.parametrize("make", [lambda: Controller(BINNED), lambda: Uncontrolled(BINNED)])
def test_a_prompt_that_was_looked_at_is_not_looked_at_again(make):
    seen = routing.look(BINNED, "1+1=")
    other = routing.Look("1+1=", "L5", {"L5": 1.0}, None, "seen before")
    assert make().ask("1+1=", "t", seen=seen) == make().ask("1+1=", "t")
    asked = make().ask("1+1=", "t", seen=other)
    assert (asked.routed.bin, asked.routed.fallback) == ("L5", "seen before")


@pytest.mark.parametrize("budget", [None, 1e6, 2e7])
def test_without_control_the_policy_is_obeyed_as_it_stands(budget):
    control = Uncontrolled(BINNED.model_copy(update={"cap": 5e6}), budget)
    for number in range(20):
        asked = control.ask(f"{number}+1=", str(number))
        assert asked.routed == BINNED.route(f"{number}+1=", budget, str(number))
        assert asked.cap == 5_000_000
        control.tell(asked, 1000)
    state = control.state
    assert (state.requests, state.running, state.spent, state.mean, state.room) == (20, 0, 20_000, 1000, None)
    with pytest.raises(InputError, match="each once"):
        control.tell(asked, 1000)
    with pytest.raises(InputError, match="finite cost"):
        control.tell(control.ask("x"), math.nan)


def test_without_control_the_smaller_cap_counts():
    control = Uncontrolled(BINNED.model_copy(update={"cap": 5e6}))
    assert control.ask("x", "", Wish(cap=2e6)).cap == 2_000_000
    assert control.ask("x", "", Wish(cap=9e6)).cap == 5_000_000
    assert Uncontrolled(BINNED).ask("x").cap is None


# ---------------------------------------------------------------- another policy


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.one_of(st.floats(0.2, 20), st.none(), st.tuples(st.integers(0, 9), st.sampled_from([0.0, 0.3, 1.0])))),
    st.floats(0.2, 20),
)
def test_policies_that_come_and_go_never_bring_a_second_allowance(events, budget):
    control = Controller(SIX, budget * BUDGET)
    first, granted, running, spent = control.bound, 0.0, [], 0
    policies = [SIX, policy_of(FRONTIERS["10"]).model_copy(update={"unit": "flops"})]
    for number, event in enumerate(events):
        if isinstance(event, float):
            control.adopt(policies[number % 2], event * BUDGET)
        elif event is None:
            granted += control.budget
            running.append(control.ask(f"prompt {number}"))
        elif running:
            done = running.pop(event[0] % len(running))
            cost = math.floor(event[1] * done.cap)
            control.tell(done, cost)
            spent += cost
        assert spent + sum(asked.reserved for asked in running) <= granted + first + 1


def test_another_policy_goes_on_with_the_account_and_learns_anew():
    control = Controller(SIX, BUDGET)
    served(control, lambda number: Wish(), 300, times=2.0)
    late, state = control.ask("x"), control.state
    assert state.ratio > 1.5
    control.adopt(policy_of(FRONTIERS["3"]), 2 * BUDGET)
    assert control.budget == 2 * BUDGET
    assert control.state.room == pytest.approx(state.room)
    assert (control.state.requests, control.state.running, control.state.spent) == (301, 1, state.spent)
    fresh = control.state.ratio
    assert fresh == pytest.approx(1.1)
    control.tell(late, late.cap)
    assert control.state.ratio == fresh
    asked = control.ask("x")
    assert asked.routed.id in ("a1", "a2", "a3")
    control.tell(asked, 2 * asked.routed.cost)
    assert control.state.ratio > fresh


@pytest.mark.parametrize("make", [lambda: Controller(SIX, BUDGET), lambda: Uncontrolled(SIX, BUDGET)])
def test_a_policy_that_cannot_be_obeyed_changes_nothing(make):
    control = make()
    with pytest.raises(BudgetError):
        control.adopt(SIX, 0.01 * BUDGET)
    assert control.ask("x") == make().ask("x")
    if isinstance(control, Controller):
        with pytest.raises(InputError, match="expected a policy in flops, found one in usd"):
            control.adopt(SIX.model_copy(update={"unit": "usd"}))


def test_without_control_another_policy_is_obeyed_at_once():
    control = Uncontrolled(SIX, BUDGET)
    late = control.ask("x")
    control.adopt(BINNED, 2e7)
    assert control.ask("1+1=", "t").routed == BINNED.route("1+1=", 2e7, "t")
    control.tell(late, 5)
    assert control.state.spent == 5
