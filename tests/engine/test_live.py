"""Plans on an event loop: what breaks breaks alone, what is started ends with its scope, and the bill is settled."""

import asyncio
from random import Random

import pytest

from autotts.core.cost import Prices
from autotts.core.node import Choice, root_node
from autotts.core.plan import Draw, Join, Offer, Spec
from autotts.core.world import Binding
from autotts.engine.live import search, serve
from autotts.engine.memo import Memo, Memory
from autotts.errors import PlanError
from autotts.strategies import STRATEGIES
from autotts.worlds.toy import Skill, Toy
from tests.engine.worlds import PROMPT, Jitter, Paced, jump, run, same

FREE = Binding("S@1", prices=Prices(prompt=0))
SURE = Skill(fail=0, mute=0, length=(20, 60))
TOY = Toy({"S": FREE}, {"S@1": SURE})
VOTE = STRATEGIES["vote"](n=3, model="S")
FIRST = STRATEGIES["first_finish"](n=6, k=1, model="S")


class Breaking:
    """A world that breaks on one prompt."""

    def __init__(self, toy, bad):
        self.toy, self.bad, self.bindings = toy, bad, toy.bindings

    async def answer(self, order, states, meter):
        for _ in range(3):
            await asyncio.sleep(0)
        if states[0] == self.bad:
            raise OSError("the world broke")
        return self.toy.reply(order, states)


def known(memo, name):
    return memo.root(root_node(name, PROMPT), name)


async def together(memo, names, arm=VOTE):
    roots = [known(memo, name) for name in names]
    plans = [search(arm.plan(root, Random(0)), root, memo) for root in roots]
    return await asyncio.gather(*plans, return_exceptions=True)


def test_a_broken_draw_fails_its_own_plan_and_is_not_kept():
    samples = Memory()

    async def go():
        async with Memo(Breaking(TOY, "bad"), samples) as memo:
            ended = await together(memo, ["a", "bad", "b", "bad"])
            again = await together(memo, ["bad", "c"])
        return ended, again, memo

    ended, again, memo = asyncio.run(go())
    assert [type(x).__name__ for x in ended] == ["Outcome", "OSError", "Outcome", "OSError"]
    assert [type(x).__name__ for x in again] == ["OSError", "Outcome"]
    assert len(samples.replies) == memo.made == 9 and memo.running == 0


def test_a_broken_draw_that_nobody_waits_for_breaks_nothing():
    class Late(Toy):
        async def answer(self, order, states, meter):
            reply = self.reply(order, states)
            if order.ask.node.depth == 0 and reply.usage.generated > 20:
                meter.add(reply.usage.generated)
                for _ in range(20):
                    await asyncio.sleep(0)
                raise OSError("late")
            return reply

    bimodal = Late({"S": FREE}, {"S@1": Skill(fail=0.5, mute=0, length=(50, 50))})

    def plan(root):
        got = yield Join([Draw(root, Spec(model="S")) for _ in range(12)], lambda values: True)
        return Choice(got.values[0], 1.0)

    async def go():
        async with Memo(bimodal, Memory()) as memo:
            root = known(memo, "p")
            return await search(plan(root), root, memo), memo.running

    outcome, running = asyncio.run(go())
    assert outcome.ended == "returned" and running > 0


def test_dropped_draws_run_to_their_end_and_are_kept():
    """Progress lets virtual time pass a draw that still runs: it ends later, is stored, is spend and not cost."""

    async def go(seed):
        samples = Memory()
        async with Memo(Jitter(TOY, seed), samples) as memo:
            root = known(memo, f"problem {seed}")
            outcome = await search(FIRST.plan(root, Random(seed)), root, memo)
            running = memo.running
        return outcome, running, samples, memo

    late = 0
    for seed in range(40):
        outcome, running, samples, memo = asyncio.run(go(seed))
        late += running > 0
        assert len(samples.replies) == 6
        assert same(outcome) == same(run(FIRST, TOY, seed))
        assert memo.spend["S@1"].generated >= outcome.cost
    assert late > 4


def test_a_cancelled_plan_leaves_the_shared_flights_to_others():
    async def go():
        world = Paced(TOY)
        async with Memo(world, Memory()) as memo:
            root = known(memo, "p")
            one = asyncio.create_task(search(VOTE.plan(root, Random(0)), root, memo))
            two = asyncio.create_task(search(VOTE.plan(root, Random(0)), root, memo))
            await asyncio.sleep(0.005)
            one.cancel()
            outcome = await two
            assert one.cancelled()
            alone = asyncio.create_task(search(FIRST.plan(root, Random(0)), root, memo))
            await asyncio.sleep(0.005)
            alone.cancel()
        return outcome, world, memo

    outcome, world, memo = jump(go())
    assert outcome.ended == "returned" and world.cancelled == 0
    assert world.calls == 6 == memo.made  # what the cancelled plan began was waited for
    assert memo.reused == 3 + 3


def test_leaving_the_scope_by_an_exception_cancels_what_runs():
    async def go():
        world = Paced(Toy({"S": FREE}, {"S@1": Skill(length=(10**6, 10**6), fail=0, mute=0)}))
        memo = Memo(world, Memory())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.0105), memo:
                root = known(memo, "p")
                await search(VOTE.plan(root, Random(0)), root, memo)
        return world, memo, asyncio.get_running_loop().time()

    world, memo, moment = jump(go())
    assert world.cancelled == 3 and memo.running == 0 and moment < 0.1
    assert memo.spend["S@1"].cancelled == world.made["S@1"] == 33  # spend counts what was made


def test_a_cancellation_while_the_scope_waits_cancels_what_runs():
    async def go():
        world = Paced(Toy({"S": FREE}, {"S@1": Skill(length=(10**6, 10**6), fail=0, mute=0)}))

        async def scope():
            async with Memo(world, Memory()) as memo:
                root = known(memo, "p")
                plan = asyncio.create_task(search(VOTE.plan(root, Random(0)), root, memo))
                await asyncio.sleep(0.005)
                plan.cancel()

        task = asyncio.create_task(scope())
        await asyncio.sleep(0.010)
        assert not task.done() and world.cancelled == 0
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return world

    assert jump(go()).cancelled == 3


def test_a_memo_outside_its_scope_says_so():
    async def go():
        memo = Memo(TOY, Memory())
        root = known(memo, "p")
        await search(VOTE.plan(root, Random(0)), root, memo)

    with pytest.raises(RuntimeError, match="async with Memo"):
        asyncio.run(go())


def test_a_store_that_cannot_keep_a_draw_fails_the_plan():
    class Full(Memory):
        def put(self, order, reply):
            raise OSError("no space left")

    async def go():
        async with Memo(TOY, Full()) as memo:
            return await together(memo, ["a"])

    assert isinstance(asyncio.run(go())[0], OSError)


def wrong(root):
    yield Join([Draw(root, Spec(model="S"))])
    return 1 / 0


def stranger(root):
    yield Join([Draw(root_node("another", 3), Spec(model="S"))])


def twice(root):
    ask = Draw(root, Spec(model="S"))
    yield Join([ask, ask])


def unbound(root):
    yield Join([Draw(root, Spec(model="XL"))])


def beyond(root):
    (node,) = (yield Join([Draw(root, Spec(model="S"))])).slots
    yield Join([Draw(node, Spec(model="S"))])


def not_an_ask(root):
    yield Join(["draw"])


def not_a_join(root):
    yield Draw(root, Spec(model="S"))


BUGS = [
    (wrong, ZeroDivisionError, "division by zero"),
    (stranger, PlanError, "has not arrived"),
    (twice, PlanError, "twice in one Join"),
    (unbound, PlanError, "'XL', which this world does not bind; it binds S"),
    (beyond, PlanError, "extends a node that is done"),
    (not_an_ask, PlanError, "found str"),
    (not_a_join, PlanError, "Join or Offer, found Draw"),
]


@pytest.mark.parametrize(("bug", "error", "words"), BUGS)
def test_a_wrong_plan_fails_alone_and_is_closed(bug, error, words):
    closed = []

    def guarded(root):
        try:
            return (yield from bug(root))
        finally:
            closed.append(True)

    async def go():
        async with Memo(Jitter(TOY, 1), Memory()) as memo:
            root = known(memo, "p")
            good = asyncio.create_task(search(VOTE.plan(root, Random(0)), root, memo))
            with pytest.raises(error, match=words):
                await search(guarded(root), root, memo)
            return await good

    assert asyncio.run(go()).ended == "returned"
    root = root_node("p", PROMPT)
    with pytest.raises(error, match=words):
        jump(serve(guarded(root), root, None, Paced(TOY)))
    assert closed == [True, True]


# ---------------------------------------------------------------- on the clock


def test_draws_are_cancelled_the_moment_they_are_not_needed():
    world = Paced(TOY)
    root = root_node("p", PROMPT)
    outcome = jump(serve(FIRST.plan(root, Random(0)), root, None, world))
    assert outcome.ended == "returned" and outcome.ticks == outcome.choice.node.tokens
    assert 1 <= world.cancelled <= 5
    assert outcome.cost == sum(world.made.values()) < 6 * 60


def test_a_deadline_ends_with_the_last_offer():
    root = root_node("p", PROMPT)
    arm = STRATEGIES["adaptive"](most=64, threshold=1.0, model="S")
    outcome = jump(serve(arm.plan(root, Random(0)), root, None, Paced(TOY), deadline=0.2))
    assert (outcome.ended, outcome.ticks) == ("deadline", 200)
    assert outcome.choice == outcome.offers[-1]
    # its token begins at the very moment of the deadline, or does not
    assert outcome.usage["S@1"].generated + outcome.usage["S@1"].cancelled in (200, 201)


def test_a_hang_up_settles_the_bill():
    async def go():
        hang_up = asyncio.Event()
        asyncio.get_running_loop().call_later(0.0405, hang_up.set)
        root = root_node("p", PROMPT)
        world = Paced(TOY)
        outcome = await serve(VOTE.plan(root, Random(0)), root, None, world, hang_up=hang_up)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return outcome, world

    outcome, world = jump(go())
    assert outcome.ended == "hang-up" and outcome.cost == world.made["S@1"]


def test_cancelling_a_served_plan_ends_its_draws():
    async def go():
        world = Paced(TOY)
        root = root_node("p", PROMPT)
        task = asyncio.create_task(serve(VOTE.plan(root, Random(0)), root, None, world, deadline=9))
        await asyncio.sleep(0.0105)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return world

    assert jump(go()).cancelled == 3


def test_a_broken_world_is_told_as_itself():
    root = root_node("p", PROMPT)
    with pytest.raises(OSError, match="the world broke"):
        jump(serve(VOTE.plan(root, Random(0)), root, "bad", Breaking(TOY, "bad")))


def test_an_offer_that_breaks_at_the_deadline_is_told():
    def plan(root):
        got = yield Join([Draw(root, Spec(model="S")) for _ in range(9)], offer=lambda values: 1 / 0)
        return got.slots[0]

    root = root_node("p", PROMPT)
    with pytest.raises(ZeroDivisionError):
        jump(serve(plan(root), root, None, Paced(TOY), deadline=0.05))


def test_a_world_that_shows_its_tokens_only_at_the_end_is_stopped_there():
    class Blunt(Toy):
        async def answer(self, order, states, meter):
            return self.reply(order, states)

    root = root_node("p", PROMPT)

    def plan(root):
        for _ in range(5):
            (node,) = (yield Join([Draw(root, Spec(model="S"))])).slots
            yield Offer(Choice(node, 1.0))

    outcome = asyncio.run(
        serve(plan(root), root, None, Blunt({"S": FREE}, {"S@1": Skill(length=(9, 9), fail=0)}), cap=20)
    )
    assert outcome.ended == "cap" and outcome.cost == 27  # what was in flight
    assert len(outcome.offers) == 2
