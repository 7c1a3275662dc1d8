"""The scheduler against the naive engine, and the rules of `Join`, one by one."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from autotts.core.cost import Prices
from autotts.core.node import Choice, Node, root_node
from autotts.core.plan import Blend, Draw, Join, Offer, Score, Spec
from autotts.core.world import Binding
from autotts.engine.orders import Keys
from autotts.engine.scheduler import Scheduler
from autotts.strategies import STRATEGIES
from autotts.worlds.toy import Skill, Toy
from tests.engine.chaos import Chaos
from tests.engine.count import disagreements
from tests.engine.worlds import run, toys

seeds = st.integers(0, 10**6)


@given(toys(), seeds, st.floats(0, 1.1))
def test_chaos_costs_what_the_naive_engine_counts(toy, seed, share):
    """Nested, handed on, cancelled, blended, scored twice; the cap somewhere inside the run."""
    free = run(Chaos(), toy, seed)
    assert disagreements(Chaos(), toy, seed) == []
    assert disagreements(Chaos(), toy, seed, cap=int(free.cost * share)) == []


# ---------------------------------------------------------------- the rules, one by one

PRICES = Prices(prompt=2, cached=1, generated=3, call=10)
BIND = {role: Binding(name, prices=PRICES) for role, name in [("S", "S@1"), ("twin", "S@1"), ("prm", "prm@1")]}
SURE = Skill(fail=0, mute=0, length=(20, 60), verdict=6)
TOY = Toy(BIND, {"S@1": SURE, "prm@1": SURE})
WHOLE = Spec(model="S")


def begin(plan, toy=TOY, **limits):
    """A scheduler of a plan, and its world."""
    root = root_node("p", 7)
    scheduler = Scheduler(plan(root), root, toy.bindings, **limits)
    scheduler.start()
    return scheduler, toy.script({root.key: None})


def ended(plan, toy=TOY, **limits):
    scheduler, script = begin(plan, toy, **limits)
    while scheduler.outcome is None:
        for order in scheduler.take_wanted():
            scheduler.deliver(order, script(order))
        scheduler.step()
    return scheduler.outcome


def test_sample_keys_are_a_file_format():
    """Stores keep samples by these: a change needs a decision and a migration."""
    root = root_node("solve: 1+2", 9)
    node = Node(b"k" * 16, 1, True, None, b"d" * 16, 5)
    spec = Spec(stop=5, model="S", temperature=1, top_p=0.9, nudge="go")
    keys = Keys(BIND)
    asks = [Draw(root, WHOLE), Draw(root, WHOLE), Draw(root, spec), Blend((root, node), WHOLE), Score(node, "prm")]
    assert root.key.hex() == "297acfce248501adc833db1f5872c670"
    assert [keys.of(ask)[1].hex() for ask in asks] == [
        "4661733a44246b764cc0418aebcb4bff",
        "c9e72ddaa3e1002d7c8866bb4b6d2da4",
        "ad6ada985ea0d5523160c95f84b8be21",
        "cc8e7ebaccfaef02764dfe17bb2e4b6b",
        "a5f09f3a5b1af5aefc4f13d0bf110f61",
    ]


def test_equal_specs_of_two_roles_of_one_model_are_numbered_draws_of_one_family():
    def plan(root):
        got = yield Join([Draw(root, Spec(model="S", temperature=1)), Draw(root, Spec(model="twin", temperature=1.0))])
        return got.slots

    def two(root):
        return (yield Join([Draw(root, Spec(model="S", temperature=1.0)) for _ in range(2)])).slots

    assert [node.key for node in ended(plan).choice] == [node.key for node in ended(two).choice]


def test_draws_of_a_small_vote_are_draws_of_a_large_one():
    keys = []
    for n in (4, 16):
        scheduler, _ = begin(lambda root, n=n: STRATEGIES["vote"](n=n, model="S").plan(root, None))
        keys.append([order.key for order in scheduler.take_wanted()])
    assert keys[0] == keys[1][:4] and len(set(keys[1])) == 16


def test_a_shared_prefix_is_charged_once():
    """One prompt read, the other draws find it; a continuation finds what was generated."""

    def plan(root):
        nodes = (yield Join([Draw(root, Spec(stop=5, model="S")) for _ in range(3)])).slots
        return (yield Join([Draw(nodes[0], WHOLE)])).slots[0]

    outcome = ended(plan)
    usage = outcome.usage["S@1"]
    assert (usage.prompt, usage.cached, usage.calls) == (7, 7 + 7 + 12, 4)
    assert outcome.cost == 2 * 7 + 26 + 3 * usage.generated + 10 * 4


def test_a_cancelled_draw_costs_what_it_had_made():
    def plan(root):
        return (yield Join([Draw(root, WHOLE) for _ in range(4)], lambda values: True)).values[0]

    outcome = ended(plan)
    usage = outcome.usage["S@1"]
    assert usage.generated == outcome.ticks and usage.cancelled == 3 * outcome.ticks
    half = {name: replace(binding, ticks=2) for name, binding in BIND.items()}
    chunk = Toy(half, {"S@1": SURE})

    def odd(root):  # at tick 1 the first of a token's two ticks has begun
        def instant():
            return 1
            yield

        draw = Draw(root, WHOLE)
        got = yield Join([draw, Draw(root, Spec("probe", model="S"))], lambda values: True)
        assert got.pending == [draw]
        yield Join([draw, instant()], lambda values: True)
        return None

    outcome = ended(odd, chunk)
    assert (outcome.ticks, outcome.usage["S@1"].cancelled) == (4, 2)


def test_an_order_that_is_dropped_in_the_turn_that_issued_it_is_never_begun():
    def instant():
        return 1
        yield

    def inner(root):
        yield Join([Draw(root, WHOLE), instant()], lambda values: True)
        return 2

    def plan(root):
        yield Join([inner(root)])

    scheduler, _ = begin(plan)
    wanted = scheduler.wanted[:]
    scheduler.step()
    scheduler.step()
    assert [order.live for order in wanted] == [False]
    assert scheduler.take_wanted() == [] and scheduler.take_dropped() == wanted
    assert scheduler.outcome.usage["S@1"].prompt == 7  # it is charged all the same


def test_offers_of_a_sub_plan_stay_inside():
    def plan(root):
        def inner():
            yield Offer(Choice(root, 1.0))
            yield Join([Draw(root, WHOLE)])

        yield Join([inner()])

    outcome = ended(plan, cap=60)
    assert outcome.ended == "cap" and outcome.choice is None and not outcome.offers


def test_a_plan_ends_at_the_last_instant_that_fits():
    def plan(root):
        return (yield Join([Draw(root, WHOLE), Draw(root, WHOLE)])).slots

    prompts = 10 + 2 * 7 + 10 + 7
    for cap in range(prompts, prompts + 25):
        outcome = ended(plan, cap=cap)
        assert (outcome.ended, outcome.ticks) == ("cap", (cap - prompts) // 6)
        assert outcome.cost == prompts + 6 * outcome.ticks
    assert ended(plan, cap=prompts - 1).usage["S@1"].calls == 1  # the second prompt is not sent


def test_a_text_is_scored_once_in_a_plan():
    def plan(root):
        nodes = (yield Join([Draw(root, Spec(model="S", temperature=0.0)) for _ in range(3)])).slots
        together = (yield Join([Score(node, "prm") for node in nodes])).slots
        again = (yield Join([Score(nodes[0], "prm")])).slots
        return nodes, together + again

    outcome = ended(plan)
    nodes, scores = outcome.choice
    assert len(set(scores)) == 1 and len(scores) == 4
    usage = outcome.usage["prm@1"]
    assert (usage.prompt, usage.cached, usage.generated, usage.calls) == (7 + nodes[0].tokens, 0, 6, 1)
    assert outcome.ticks == nodes[0].tokens + 6 and outcome.asks == 7


def test_a_score_that_another_waits_for_is_handed_on():
    """The first to ask goes away: the other gets it at the same moment, and nothing is charged twice."""

    def asks(root, enough):
        nodes = (yield Join([Draw(root, Spec(model="S", temperature=0.0)) for _ in range(2)])).slots
        first, second = Score(nodes[0], "prm"), Score(nodes[1], "prm")
        probe = Draw(root, Spec("probe", model="S"))
        yield Join([first, second, probe], enough)
        got = yield Join([second])
        return nodes, got.slots

    kept = ended(lambda root: asks(root, None))
    handed = ended(lambda root: asks(root, lambda values: len(values) == 1))
    assert handed.choice[1] == [ended(lambda root: asks(root, None)).choice[1][0]]
    assert handed.usage["prm@1"] == kept.usage["prm@1"] and handed.cost == kept.cost
    assert handed.ticks == kept.ticks


def test_a_score_that_was_dropped_is_charged_again():
    def plan(root):
        (node,) = (yield Join([Draw(root, Spec(model="S"))])).slots
        yield Join([Score(node, "prm"), Draw(root, Spec("probe", model="S"))], lambda values: True)
        return (yield Join([Score(node, "prm")])).slots[0], node

    outcome = ended(plan)
    usage, whole = outcome.usage["prm@1"], 7 + outcome.choice[1].tokens
    assert (usage.prompt, usage.cached, usage.generated, usage.cancelled, usage.calls) == (whole, whole, 6, 2, 2)


def test_a_prompt_is_checked_against_the_cap_before_it_is_sent_on_the_clock():
    """Several orders in one turn, beside what runs; a cached prompt has a price."""

    def plan(root):
        first = Draw(root, WHOLE)
        yield Join([first, Draw(root, Spec("probe", model="S"))], lambda values: True)
        yield Join([first, *[Draw(root, WHOLE) for _ in range(5)]])

    scheduler, script = begin(plan, on_clock=True, cap=100)
    long, probe = scheduler.take_wanted()  # 24 and 17
    long.meter.add(4)  # 12
    probe.meter.add(2)  # 6
    scheduler.arrive(probe, script(probe), 0)  # 59, and two more prompts fit
    assert scheduler.outcome.ended == "cap" and scheduler.outcome.cost == 93
    assert scheduler.outcome.usage["S@1"].calls == 4
    assert scheduler.take_wanted() == []
