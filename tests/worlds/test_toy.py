"""The toy world does what its skills say."""

import math
from random import Random
from statistics import fmean

import pytest

from autotts.core.node import root_node
from autotts.core.plan import Blend, Draw, Join, Score, Spec
from autotts.core.world import Binding
from autotts.engine.replay import replay
from autotts.strategies import STRATEGIES
from autotts.worlds.toy import Skill, Toy

COUNT = 4000
BIND = {"S": Binding("S@1"), "prm": Binding("prm@1")}


def asked(toy, asks, name="p"):
    """The values of some asks about one root."""

    def plan(root):
        got = yield Join(asks(root))
        return got.slots

    root = root_node(name, 7)
    return replay(plan(root), root, toy.script({root.key: None}), toy.bindings).choice


def draws(skill, spec, count=COUNT):
    return asked(Toy(BIND, {"S@1": skill}), lambda root: [Draw(root, spec) for _ in range(count)])


def near(share, chance, count=COUNT):
    """Within five standard errors."""
    return abs(share - chance) <= 5 * math.sqrt(max(chance * (1 - chance), 1e-9) / count) + 1e-9


@pytest.mark.parametrize("right", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(("fail", "mute"), [(0.0, 0.0), (0.2, 0.1)])
def test_whole_draws_are_right_as_often_as_stated(right, fail, mute):
    nodes = draws(Skill(right=right, fail=fail, mute=mute), Spec(model="S"))
    assert near(fmean(node.failed for node in nodes), fail)
    assert near(fmean(node.answer == "gold" for node in nodes), (1 - fail) * (1 - mute) * right)
    assert near(fmean(not node.failed and node.answer is None for node in nodes), (1 - fail) * mute)
    wrong = [node.answer for node in nodes if node.answer not in (None, "gold")]
    assert right == 1.0 or near(fmean(answer == "w1" for answer in wrong), 1 / 3, len(wrong))
    assert all(20 <= node.tokens <= 60 for node in nodes if not node.failed)


def test_a_right_path_of_four_steps_is_right_with_the_fourth_power():
    """One prefix after another: step**steps, whatever is scored on the way."""
    skill = Skill(step=0.8, steps=4, length=(40, 40), fail=0, mute=0)
    toy = Toy(BIND, {"S@1": skill})

    def walk(root):
        node = root
        while not node.done:
            (node,) = (yield Join([Draw(node, Spec(stop="step", model="S"))])).slots
        return node

    ends = []
    for i in range(1200):
        root = root_node(f"p{i}", 7)
        ends.append(replay(walk(root), root, toy.script({root.key: None}), toy.bindings).choice)
    assert {node.depth for node in ends} == {4} and {node.tokens for node in ends} == {10}
    assert near(fmean(node.answer == "gold" for node in ends), 0.8**4, 1200)


def test_a_noiseless_scorer_knows_right_from_wrong():
    toy = Toy(BIND, {"S@1": Skill(fail=0, mute=0), "prm@1": Skill(noise=0, fail=0)})

    def plan(root):
        nodes = (yield Join([Draw(root, Spec(model="S")) for _ in range(50)])).slots
        return nodes, (yield Join([Score(node, "prm") for node in nodes])).slots

    root = root_node("p", 7)
    nodes, scores = replay(plan(root), root, toy.script({root.key: None}), toy.bindings).choice
    assert scores == [0.75 if node.answer == "gold" else 0.35 for node in nodes]


def test_a_scorer_that_fails_says_nan():
    toy = Toy(BIND, {"prm@1": Skill(fail=1.0)})
    assert math.isnan(asked(toy, lambda root: [Score(root, "prm")])[0])


def test_few_texts_and_greedy_draws_repeat_themselves():
    assert len({node.digest for node in draws(Skill(), Spec(model="S"), 300)}) == 300
    three = draws(Skill(texts=3), Spec(model="S"), 300)
    assert len({node.digest for node in three}) == 3
    greedy = draws(Skill(), Spec(model="S", temperature=0.0), 20)
    assert len({(node.digest, node.answer, node.tokens) for node in greedy}) == 1
    assert len({node.key for node in greedy}) == 20


def test_max_tokens_cuts_a_path_and_nothing_can_be_read():
    toy = Toy({"S": Binding("S@1", max_tokens=30)}, {"S@1": Skill(length=(40, 40), fail=0, mute=0)})
    (whole,) = asked(toy, lambda root: [Draw(root, Spec(model="S"))])
    assert (whole.tokens, whole.done, whole.answer) == (30, True, None)

    def chunks(root):
        nodes = [root]
        while not nodes[-1].done:
            nodes += (yield Join([Draw(nodes[-1], Spec(stop=20, model="S"))])).slots
        return nodes[1:]

    root = root_node("p", 7)
    nodes = replay(chunks(root), root, toy.script({root.key: None}), toy.bindings).choice
    assert [(node.tokens, node.answer) for node in nodes] == [(20, None), (10, None)]


def test_a_probe_knows_more_the_later_it_is_asked():
    toy = Toy(BIND, {"S@1": Skill(right=1.0, length=(100, 100), fail=0, mute=0)})
    probe = Spec(move="probe", model="S")

    def plan(root, stop):
        (node,) = (yield Join([Draw(root, Spec(stop=stop, model="S"))])).slots
        return (yield Join([Draw(node, probe) for _ in range(COUNT)])).slots

    for stop in (20, 70):
        root = root_node("p", 7)
        nodes = replay(plan(root, stop), root, toy.script({root.key: None}), toy.bindings).choice
        assert near(fmean(node.answer == "gold" for node in nodes), stop / 100)
        assert all(node.done and node.tokens == 2 for node in nodes)


def test_a_blend_follows_the_most():
    toy = Toy(BIND, {"S@1": Skill(right=1.0, fail=0, mute=0)})

    def plan(root):
        nodes = (yield Join([Draw(root, Spec(model="S")) for _ in range(3)])).slots
        return (yield Join([Blend(tuple(nodes), Spec(model="S"))])).slots[0]

    root = root_node("p", 7)
    outcome = replay(plan(root), root, toy.script({root.key: None}), toy.bindings)
    assert outcome.choice.answer == "gold"


def test_a_vote_gains_what_the_binomial_says():
    """Against a single wrong answer: P(at least 3 of 5) at 0.6 is 0.68256; three wrong ones only help."""
    toy = Toy(BIND, {"S@1": Skill(right=0.6, fail=0, mute=0)})
    arm, right = STRATEGIES["vote"](n=5, model="S"), 0
    for i in range(600):
        root = root_node(f"p{i}", 7)
        outcome = replay(arm.plan(root, Random(i)), root, toy.script({root.key: None}), toy.bindings)
        right += outcome.choice.node.answer == "gold"
    assert 0.68256 - 0.1 < right / 600 < 0.9
