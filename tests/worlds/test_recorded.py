"""A recorded pool answers plans with its samples, and refuses what it cannot know."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from random import Random

import numpy as np
import pytest

from autotts.core.node import Choice, Node, root_node
from autotts.core.plan import Blend, Draw, Join, Offer, Plan, Score, Spec
from autotts.core.world import Binding
from autotts.engine.orders import Outcome
from autotts.engine.replay import replay
from autotts.errors import InputError, PlanError
from autotts.estimate.replayed import Pool, estimate
from autotts.strategies.arms import parse
from autotts.worlds.recorded import Exhausted, Recording
from autotts.worlds.toy import Toy
from tests.pools.make import LARGE, SMALL, make

S = Spec(model="S", temperature=0.7)
PROBE = Spec(move="probe", model="S", temperature=0.0)


def play(world: Recording, plan: Callable[[Node], Plan], problem: int = 0, order=None) -> tuple[list, Outcome]:  # type: ignore[no-untyped-def]
    """Everything that a plan collects in a list, and its outcome."""
    run = world.run(problem, order)
    got: list = []

    def collecting(root: Node) -> Plan:
        got.extend((yield from plan(root)))
        return None

    return got, replay(collecting(run.root), run.root, run.script, world.bindings)


def asking(*asks: Callable[[Node], object]) -> Callable[[Node], Plan]:
    """A plan that asks one thing after another, each about what arrived before."""

    def plan(root: Node) -> Plan:
        node, out = root, []
        for ask in asks:
            (node,) = (yield Join([ask(node)])).slots
            out.append(node)
        return out

    return plan


def test_the_nth_draw_is_the_nth_sample_of_the_ordering() -> None:
    pool = make(problems=3, counts=5)
    world, drawn = Recording(pool), pool.drawn[1]
    order = [3, 0, 4, 2, 1]
    spec = Spec(model="L", temperature=0.7)

    def plan(root: Node) -> Plan:
        first = yield Join([Draw(root, spec) for _ in range(2)])
        later = yield Join([Draw(root, replace(spec)) for _ in range(3)])  # an equal spec, not the same one
        return [*first.slots, *later.slots]

    nodes, out = play(world, plan, 2, lambda number: order)
    place = [int(drawn.start[2]) + i for i in order]
    assert [n.tokens for n in nodes] == drawn.tokens[place].tolist()
    assert [n.answer for n in nodes] == [
        None if drawn.answer[i] < 0 else pool.answers[2][drawn.answer[i]] for i in place
    ]
    assert all(n.done and not n.failed for n in nodes) and len({n.key for n in nodes}) == 5
    assert out.cost == drawn.tokens[place].sum() and out.asks == 5
    assert out.usage["pool:made0:L"].calls == 5


def test_whole_draws_and_draws_in_chunks_take_from_one_sequence() -> None:
    world = Recording(pool := make(counts=6, longest=500))
    tokens = pool.drawn[0].tokens[:6].tolist()

    def plan(root: Node) -> Plan:
        (whole,) = (yield Join([Draw(root, S)])).slots
        (part,) = (yield Join([Draw(root, replace(S, stop=1))])).slots
        (last,) = (yield Join([Draw(root, S)])).slots
        (rest,) = (yield Join([Draw(part, S)])).slots
        return [whole, part, last, rest]

    (whole, part, last, rest), out = play(world, plan)
    assert [whole.tokens, part.tokens + rest.tokens, last.tokens] == tokens[:3]
    assert part.tokens == 1 and not part.done and part.answer is None
    assert out.cost == sum(tokens[:3])
    assert out.ticks == sum(tokens[:3])


def test_a_draw_in_chunks_is_the_whole_draw() -> None:
    world = Recording(pool := make(counts=4, every=5))
    for sample in range(4):
        total = int(pool.drawn[0].tokens[sample])

        def plan(root: Node) -> Plan:
            node, out = root, []
            while not node.done:
                (node,) = (yield Join([Draw(node, replace(S, stop=5))])).slots
                out.append(node)
            (whole,) = (yield Join([Draw(root, S)])).slots
            return [*out, whole]

        order = [sample, sample]
        nodes, out = play(world, plan, 0, lambda number, order=order: order)
        *parts, whole = nodes
        assert sum(n.tokens for n in parts) == total == whole.tokens
        assert len(parts) == -(-total // 5)
        assert (parts[-1].answer, parts[-1].digest) == (whole.answer, whole.digest)
        assert len({n.digest for n in parts}) == len(parts)
        assert out.cost == 2 * total  # what is shared with a path is shown, and not paid, twice


def test_a_probe_is_what_was_recorded_at_that_place_and_fails_beyond() -> None:
    pool = make(counts=30, every=5, longest=60)
    world = Recording(pool, probe_tokens=3)
    drawn = pool.drawn[0]
    beyond = 0
    for sample in range(30):
        steps = (int(drawn.tokens[sample]) - 1) // 5  # a draw that ends here is not probed
        recorded = drawn.probe[drawn.probe_start[sample] : drawn.probe_start[sample + 1]]

        def plan(root: Node, steps: int = steps) -> Plan:
            node, out = root, []
            for _ in range(steps):
                (node,) = (yield Join([Draw(node, replace(S, stop=5))])).slots
                out.append((yield Join([Draw(node, PROBE)])).slots[0])
                assert not node.done
            return out

        probes, out = play(world, plan, 0, lambda number, sample=sample: [sample])
        for i, probe in enumerate(probes):
            known = i < len(recorded) and recorded[i] >= 0
            assert probe.answer == (pool.answers[0][recorded[i]] if known else None)
            assert probe.failed == (not known) and probe.done and probe.tokens == 3
        beyond += steps > len(recorded)
        assert out.cost == steps * 8 == out.ticks
    assert beyond, "no sample of this pool lacks a probe"


def test_the_recorded_score_is_a_scorer_that_costs_nothing() -> None:
    pool = make([SMALL], counts=4, scored=True)
    pool.drawn[0].score[1] = math.nan
    world = Recording(pool)
    assert world.scorers == ("score",) and Recording(make()).scorers == ()

    def plan(root: Node) -> Plan:
        nodes = (yield Join([Draw(root, S), Draw(root, S), Draw(root, replace(S, stop=50))])).slots
        return (yield Join([Score(n, "score") for n in nodes])).slots

    scores, out = play(world, plan)
    assert [scores[0], scores[2]] == [pool.drawn[0].score[0], pool.drawn[0].score[2]] and math.isnan(scores[1])
    assert out.cost == pool.drawn[0].tokens[:3].sum()


def test_scores_that_are_no_shares_are_read_as_logits() -> None:
    pool = make([SMALL], counts=3, scored=True)
    pool.drawn[0].score[:3] = [0.0, 2.0, -900.0]
    world = Recording(pool)

    def plan(root: Node) -> Plan:
        nodes = (yield Join([Draw(root, S) for _ in range(3)])).slots
        return (yield Join([Score(n, "score") for n in nodes])).slots

    assert play(world, plan)[0] == pytest.approx([0.5, 1 / (1 + math.exp(-2)), 0.0])
    assert any("scores of S lie outside 0 to 1" in note for note in world.notes(scored=True))
    assert not any("logits" in note for note in Recording(make(scored=True)).notes(scored=True))
    assert not any("score" in note for note in world.notes())


def test_draws_without_any_recorded_answer_have_each_their_own() -> None:
    pool = make([SMALL], counts=3)
    pool.drawn[0].answer[:] = -1
    nodes, _ = play(Recording(pool), lambda root: (yield from _many(root, 3)))
    assert len({n.answer for n in nodes}) == 3 and None not in {n.answer for n in nodes}


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (asking(lambda r: Draw(r, replace(S, stop="step"))), "where a step ends"),
        (asking(lambda r: Draw(r, replace(S, stop=0))), "at least one token, found stop=0"),
        (asking(lambda r: Draw(r, replace(S, move="vary"))), "'vary'"),
        (asking(lambda r: Draw(r, replace(S, nudge="Wait"))), "'Wait'"),
        (asking(lambda r: Draw(r, replace(S, temperature=0.3))), "has S at temperature=0.7, top_p=1: write that"),
        (asking(lambda r: Draw(r, replace(S, top_p=0.9))), "top_p 0.9 was not recorded"),
        (asking(lambda r: Blend((r, r), S)), "several"),
        (asking(lambda r: Score(r, "score")), "whole draws were scored"),
        (asking(lambda r: Draw(r, S), lambda n: Draw(n, PROBE)), "a draw that has ended"),
        (
            asking(lambda r: Draw(r, replace(S, stop=7)), lambda n: Draw(n, PROBE)),
            "after 7 tokens; S was probed every 5",
        ),
        (
            asking(lambda r: Draw(r, replace(S, stop=5)), lambda n: Draw(n, replace(PROBE, model="L"))),
            "what L says of a text of S",
        ),
        (asking(lambda r: Draw(r, replace(S, stop=5)), lambda n: Score(n, "score")), "whole draws were scored"),
        (
            asking(lambda r: Draw(r, replace(S, stop=5)), lambda n: Draw(n, Spec(model="L", temperature=0.7))),
            "how L goes on with a text of S",
        ),
    ],
)
def test_what_the_pool_cannot_know_is_an_error_that_says_so(plan: Callable[[Node], Plan], words: str) -> None:
    pool = make(counts=2, every=5, longest=60, scored=True)
    for drawn in pool.drawn:
        drawn.tokens[:] = 60
    with pytest.raises(InputError, match=r"the pool made|one token") as error:
        play(Recording(pool), plan)
    assert words in str(error.value)


def test_a_branch_is_an_error_and_so_is_a_second_opinion() -> None:
    pool = make(every=5)
    pool.drawn[0].tokens[:] = 40

    def twice(spec: Spec) -> Callable[[Node], Plan]:
        def plan(root: Node) -> Plan:
            (part,) = (yield Join([Draw(root, replace(S, stop=5))])).slots
            return (yield Join([Draw(part, spec), Draw(part, spec)])).slots

        return plan

    with pytest.raises(InputError, match="a branch"):
        play(Recording(pool), twice(S))
    with pytest.raises(InputError, match="second probe"):
        play(Recording(pool), twice(replace(PROBE, temperature=0.5)))
    probes, _ = play(Recording(pool), twice(PROBE))
    assert probes[0].answer == probes[1].answer and probes[0].key != probes[1].key


def test_no_probes_no_tokens_no_score() -> None:
    pool = make()
    pool.drawn[0].tokens[:] = -1
    with pytest.raises(InputError, match="tokens were not recorded"):
        play(Recording(pool), asking(lambda r: Draw(r, replace(S, stop=5))))
    (node,), out = play(Recording(pool, unit="calls"), asking(lambda r: Draw(r, S)))
    assert (node.tokens, out.cost) == (0, 1)
    pool = make(longest=1)
    pool.drawn[0].tokens[:] = 40
    with pytest.raises(InputError, match="recorded without probes"):
        play(Recording(pool), asking(lambda r: Draw(r, replace(S, stop=5)), lambda n: Draw(n, PROBE)))
    with pytest.raises(PlanError, match="the role 'score'"):
        play(Recording(pool), asking(lambda r: Draw(r, S), lambda n: Score(n, "score")))
    scored = make(scored=True)
    with pytest.raises(PlanError, match="the role 'prm'"):
        play(Recording(scored), asking(lambda r: Draw(r, S), lambda n: Score(n, "prm")))


def test_more_draws_than_were_recorded() -> None:
    world = Recording(make(counts={0: 3}))
    with pytest.raises(Exhausted, match=r"more draws of S \(temperature=0.7, top_p=1\) than .* of problem p0: 3"):
        play(world, lambda root: (yield from _many(root, 4)))
    with pytest.raises(Exhausted, match="of problem p1: 0"):
        play(world, lambda root: (yield from _many(root, 1)), 1)


def _many(root: Node, count: int) -> Plan:
    return (yield Join([Draw(root, S) for _ in range(count)])).slots


def test_draws_that_are_not_independent_are_drawn_once() -> None:
    world = Recording(make([replace(SMALL, strategy="beam_search(n=4)")]))
    assert len(play(world, lambda root: (yield from _many(root, 1)))[0]) == 1
    with pytest.raises(InputError, match=r"'beam_search\(n=4\)': it can be drawn from once"):
        play(world, lambda root: (yield from _many(root, 2)))


def test_what_was_not_recorded_fits_any_value_and_what_was_fits_best() -> None:
    unknown = replace(SMALL, temperature=None, top_p=None)
    world = Recording(make([unknown, replace(SMALL, temperature=0.3)]))
    assert [world.family("S", t, 0.9) for t in (0.3, 0.7)] == [0, 0]
    assert [world.family("S", t, 1.0) for t in (0.3, 0.7)] == [1, 0]
    with pytest.raises(InputError, match="'M' is not in the pool made; it has S"):
        world.family("M", 0.7, 1.0)
    with pytest.raises(InputError, match="it has S"):
        Recording(make([SMALL]), roles=["M"])


def test_prompts_are_paid_once_where_they_are_known() -> None:
    pool = make(prompt_tokens=11)
    world = Recording(pool, unit="flops", roles=["S"])
    assert world.models == ("S",) and set(world.bindings) == {"S"}
    nodes, out = play(world, lambda root: (yield from _many(root, 2)))
    assert out.cost == 2000 * (11 + sum(n.tokens for n in nodes))
    assert len(world.notes()) == 1 and "attention is not counted" in world.notes()[0]
    assert any("prompt tokens were not recorded" in note for note in Recording(make()).notes())
    assert Recording(make(), unit="calls").notes() == ()
    assert world.root("what is 1?")[1] == 1
    with pytest.raises(InputError, match=r"'what\?' is not in the pool"):
        world.root("what?")
    with pytest.raises(InputError, match="no parameter count"):
        Recording(make([replace(LARGE, parameters=None)]), unit="flops")


def test_replays_agree_with_the_exact_estimates() -> None:
    """Over many shuffles, the mean of replays is what the formulas say, within its error."""
    pool = make(problems=3, counts=7, seed=3, wrong=2)
    world, drawn = Recording(pool), pool.drawn[0]
    shape = (3, 7)
    arrays = Pool(
        drawn.answer.reshape(shape),
        drawn.correct.reshape(shape) > 0,
        np.zeros(3),
        drawn.tokens.reshape(shape).astype(float),
        drawn.tokens.reshape(shape),
        np.tile(np.arange(7), (3, 1)),
    )
    for text in ("one(", "vote(n=3, ", "first_finish(n=4, ", "adaptive(most=5, "):
        arm = parse(f"{text}model=S, temperature=0.7)")
        exact = estimate(arrays, arm, orders=3000)
        rng, right, cost = np.random.default_rng(0), np.zeros((3, 1500)), np.zeros((3, 1500))
        for p in range(3):
            for r in range(1500):
                order = rng.permutation(7).tolist()
                run = world.run(p, lambda number, order=order: order)
                out = replay(arm.plan(run.root, Random(0)), run.root, run.script, world.bindings)
                assert out.choice is not None
                right[p, r], cost[p, r] = out.choice.node.answer == "gold", out.cost
        assert np.abs(cost.mean(1) - exact.cost).max() < 5 * cost.std() / 1500**0.5, text
        assert np.abs(right.mean(1) - exact.value).max() < 0.06, text  # five standard errors


def test_what_was_found_of_a_node() -> None:
    world = Recording(make(every=5))
    run = world.run(0)
    seen: list[Node] = []

    def plan(root: Node) -> Plan:
        seen.extend(
            (yield Join([Draw(root, S), Draw(root, replace(S, stop=1)), Draw(root, replace(S, stop=900))])).slots
        )
        yield Offer(Choice(seen[0], 1.0))
        return None

    replay(plan(run.root), run.root, run.script, world.bindings)
    whole, piece, done = seen
    assert run.find(whole) == (world.shelf(0, 0), 0) and run.find(done) == (world.shelf(0, 0), 2)
    assert run.find(piece) is None and run.find(run.root) is None
    before = world.shelf(0, 0)
    world.forget(0)
    assert world.shelf(0, 0) is not before


@pytest.mark.slow
def test_a_vote_over_64_is_replayed_fast() -> None:
    """A recorded draw is looked up: it takes no longer than one of a toy, which is computed."""
    world, arm = Recording(make(problems=20, counts=64)), parse("vote(n=64, model=S, temperature=0.7)")
    toy = Toy({"S": Binding("S@1")})

    def recorded() -> None:
        for p in range(20):
            run = world.run(p)
            replay(arm.plan(run.root, Random(0)), run.root, run.script, world.bindings)

    def computed() -> None:
        for p in range(20):
            root = root_node(f"problem {p}", 7)
            replay(arm.plan(root, Random(0)), root, toy.script({root.key: None}), toy.bindings)

    assert quickest(recorded) < quickest(computed)


def quickest(work: Callable[[], None]) -> float:
    """Seconds of this process: the best of five."""
    times = []
    for _ in range(5):
        begun = time.process_time()
        work()
        times.append(time.process_time() - begun)
    return min(times)
