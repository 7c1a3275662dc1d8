"""One running mean budget that several servers hold: nothing is ever spent twice, whoever is killed."""

import asyncio
import itertools
import math
import os
import random
import subprocess
import sys

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects import postgresql

from autotts.errors import BudgetError, StoreError
from autotts.policy.controller import Controller, Wish
from autotts.serve.bank import Bank, account_of
from autotts.store import database, migrations
from autotts.store.accounts import SILENCE, Holder, Holding
from autotts.store.schema import ACCOUNT, HOLDER
from tests.benchmarks.controller import BUDGET, FRONTIERS, SPREADS, policy_of

SIX = policy_of(FRONTIERS["6"])
BOUND = math.floor(Controller(SIX, BUDGET).bound)


@pytest.fixture
def engine(tmp_path):
    engine = database.open(f"sqlite:///{tmp_path / 'a.db'}")
    yield engine
    engine.dispose()


class Breaking:
    """An account whose next turn may fail: before it is written down, or after, when nobody hears of it."""

    def __init__(self, holder):
        self.holder = holder
        self.fails = None

    def turn(self, holding, **rest):
        fails, self.fails = self.fails, None
        if fails == "before":
            raise StoreError("the line is cut")
        share = self.holder.turn(holding, **rest)
        if fails == "after":
            raise StoreError("the line was cut")
        return share

    def close(self, holding, **rest):
        self.holder.close(holding, **rest)


class Server:
    """A controller with its bank, without any real time."""

    def __init__(self, engine, clock, servers=1, account="a"):
        self.control = Controller(SIX, BUDGET)

        def hold(name, opening):
            self.account = Breaking(Holder(engine, f"{account} {name}", opening, clock=clock))
            return self.account

        self.hold = hold
        self.bank = Bank(self.control, hold(account_of(SIX, float(BUDGET)), BOUND), servers=servers)
        self.running = []


def balance(engine, account="a", policy=SIX, budget=float(BUDGET)):
    with database.reading(engine) as connection:
        name = f"{account} {account_of(policy, budget)}"
        query = sa.select(ACCOUNT.c.balance).where(ACCOUNT.c.account == name)
        return int(connection.execute(query).scalar_one())


def holders(engine):
    with database.reading(engine) as connection:
        return connection.execute(sa.select(HOLDER)).all()


# ---------------------------------------------------------------- money is conserved

WHO = st.integers(0, 3)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), WHO, st.sampled_from([None, 0.3, 6.4])),
        st.tuples(st.just("tell"), WHO, st.sampled_from([0.0, 0.1, 0.5, 1.0, 1.0])),
        st.tuples(st.just("beat"), WHO, st.sampled_from([None, None, None, "before", "after"])),
        st.tuples(st.just("kill"), WHO, st.none()),
        st.tuples(st.just("close"), WHO, st.none()),
        st.tuples(st.just("wait"), st.just(0), st.sampled_from([1.0, SILENCE])),
    ),
    max_size=60,
)


async def lived(engine, steps, account):
    """The steps by four servers, each of which is started anew when it is next needed."""
    now, servers, spent, asked = [0.0], {}, 0, 0
    for what, who, how in steps:
        if what == "wait":
            now[0] += how
            continue
        if who not in servers:
            servers[who] = Server(engine, lambda: now[0], account=account)
            await servers[who].bank.__aenter__()
        server = servers[who]
        if what == "ask":
            wish = Wish(effort=None if how is None else how * BUDGET)
            server.running.append(server.control.ask(str(asked), "", wish))
            asked += 1
        elif what == "tell" and server.running:
            done = server.running.pop(0)
            cost = math.floor(how * done.cap)
            server.control.tell(done, cost)
            spent += cost
        elif what == "beat":
            server.account.fails = how
            await server.bank.beat()
            assert bool(server.bank.problem) == (how is not None)
        elif what == "kill":
            spent += sum(one.reserved for one in servers.pop(who).running)  # it may have cost all of it
        elif what == "close":
            for one in server.running:
                server.control.tell(one, one.cap)
                spent += one.cap
            await servers.pop(who).bank.__aexit__(None, None, None)
        aside = sum(one.reserved for server in servers.values() for one in server.running)
        room = sum(server.control.spare for server in servers.values())
        # All that could be spent without another request, in all places, is never more than was granted.
        assert spent + aside + room + balance(engine, account) <= BUDGET * asked + BOUND
    for who in list(servers):
        await servers[who].bank.__aexit__(None, None, None)


@pytest.fixture(scope="module")
def accounts(tmp_path_factory):
    """A database, and names of accounts that it does not have yet."""
    engine = database.open(f"sqlite:///{tmp_path_factory.mktemp('bank') / 'a.db'}")
    yield engine, map(str, itertools.count())
    engine.dispose()


@settings(max_examples=40, deadline=None)
@given(steps=STEPS)
def test_whatever_happens_to_servers_the_bound_of_one_holds_for_all(accounts, steps):
    engine, names = accounts
    asyncio.run(lived(engine, steps, next(names)))


def test_all_is_given_back_at_the_end_and_a_new_start_gets_no_second_allowance(engine):
    async def life():
        for _ in range(3):
            server = Server(engine, lambda: 0.0)
            async with server.bank:
                assert server.control.spare == BOUND
                assert balance(engine) == 0
            assert balance(engine) == BOUND
            assert holders(engine) == []

    asyncio.run(life())


def test_a_server_that_is_killed_takes_with_it_what_it_held_and_no_more(engine):
    async def life():
        now = [0.0]
        first, second = Server(engine, lambda: now[0], 2), Server(engine, lambda: now[0], 2)
        async with first.bank:
            await second.bank.__aenter__()
            assert first.control.spare == second.control.spare == BOUND // 2
            now[0] += SILENCE  # the second beats no more
            await first.bank.beat()
            now[0] += SILENCE
            await first.bank.beat()
            assert first.control.spare == BOUND // 2
            assert len(holders(engine)) == 1
        assert balance(engine) == BOUND // 2

    asyncio.run(life())


def test_servers_share_alike_whoever_has_more(engine):
    async def life():
        servers = [Server(engine, lambda: 0.0) for _ in range(3)]
        for server in servers:
            await server.bank.__aenter__()
        assert [server.control.spare for server in servers] == [BOUND, 0, 0]
        for _ in range(2):
            for server in servers:
                await server.bank.beat()
        assert [server.control.spare for server in servers] == [BOUND // 3] * 3
        asked = servers[1].control.ask("x")
        servers[1].control.tell(asked, 0)
        for _ in range(3):
            for server in servers:
                await server.bank.beat()
        assert [server.control.spare for server in servers] == pytest.approx([(BOUND + BUDGET) / 3] * 3, abs=2)
        assert (servers[0].bank.requests, servers[0].bank.spent) == (1, 0)

    asyncio.run(life())


def test_a_turn_that_was_not_heard_of_is_made_up_for(engine):
    async def life():
        first, second = Server(engine, lambda: 0.0), Server(engine, lambda: 0.0)
        async with first.bank, second.bank:
            for fails in ("before", "after"):
                await first.bank.beat()
                second.control.tell(second.control.ask("x"), 0)
                second.account.fails = fails
                await second.bank.beat()
                await second.bank.beat()
                for server in (first, second) * 3:
                    await server.bank.beat()
            assert first.control.spare == second.control.spare == (BOUND + 2 * BUDGET) // 2

    asyncio.run(life())


def test_while_the_database_is_down_a_server_goes_on_and_says_so(engine):
    said = []

    async def life():
        server = Server(engine, lambda: 0.0)
        server.bank._tell = said.append
        async with server.bank:
            for _ in range(3):
                server.account.fails = "before"
                await server.bank.beat()
                asked = server.control.ask("x")
                server.control.tell(asked, asked.cap)
            assert server.control.state.spent > 3 * BUDGET
            assert said == ["the line is cut"]
            await server.bank.beat()
        assert said == ["the line is cut", ""]
        assert balance(engine) == 3 * BUDGET + BOUND - server.control.state.spent

    asyncio.run(life())


def test_another_policy_has_an_account_of_its_own_and_the_old_one_gets_back_what_it_lent(engine):
    other = policy_of(FRONTIERS["3"])

    async def life():
        server = Server(engine, lambda: 0.0)
        async with server.bank:
            running = server.control.ask("x")
            at_once = []
            await server.bank.adopt(
                other, 2 * BUDGET, server.hold, lambda policy: at_once.append((policy, balance(engine)))
            )
            assert at_once == [(other, 0)]  # before its account is left
            assert balance(engine) == BOUND + BUDGET - running.reserved
            assert server.control.spare == 2 * BOUND
            server.control.tell(running, 0)
            assert server.control.spare == 2 * BOUND + running.reserved
            with pytest.raises(BudgetError):
                await server.bank.adopt(other, 0.01 * BUDGET, server.hold)
            assert (server.bank.requests, server.bank.spent) == (0, 0)
            server.control.tell(server.control.ask("x"), 7)
            await server.bank.beat()
            assert (server.bank.requests, server.bank.spent) == (1, 7)
            assert server.bank.problem == ""
        assert balance(engine, policy=other, budget=2.0 * BUDGET) == 2 * BOUND + running.reserved + 2 * BUDGET - 7

    asyncio.run(life())


def test_a_server_that_was_taken_for_dead_is_counted_again_and_its_requests_once(engine):
    now = [0.0]
    first, second = (Holder(engine, "a", 100, clock=lambda: now[0]) for _ in range(2))
    first.turn(Holding(0, 0, 5, 50), most=1000)
    second.turn(Holding(0, 0), most=1000)
    now[0] += SILENCE
    assert second.turn(Holding(0, 0), most=1000).others == 0
    share = first.turn(Holding(100, 90, 7, 70), most=1000)
    assert (share.requests, share.spent, share.others) == (0, 70, 1)
    assert second.turn(Holding(0, 0), most=1000).requests == 7


def test_what_is_saved_beyond_a_few_full_accounts_is_given_up(engine):
    holder = Holder(engine, "a", 100)
    assert holder.turn(Holding(0, 0), most=1000).taken == 100
    holder.turn(Holding(-5000, 0), most=1000)
    with database.reading(engine) as connection:
        row = connection.execute(sa.select(HOLDER.c.net)).scalar_one()
    assert row == str(-5000 + 1000)


# ---------------------------------------------------------------- the mean of all


def test_the_mean_of_all_servers_settles_at_the_budget(engine):
    count, rng = 3, random.Random(4)

    async def life():
        servers = [Server(engine, lambda: 0.0, count) for _ in range(count)]
        for server in servers:
            await server.bank.__aenter__()
        spent, cut, worst = 0, 0, -1.0
        for number in range(1, 1601):
            control = servers[rng.choice([0, 0, 1, count - 1])].control  # some have more to do
            asked = control.ask("x", str(number))
            whole = round(asked.routed.cost * 1.25 * SPREADS["log-normal, p95 2.5"](rng))
            cost = min(asked.cap, whole)
            control.tell(asked, cost)
            spent, cut = spent + cost, cut + (cost < whole)
            if number % 40 == 0:
                for server in servers:
                    await server.bank.beat()
            if number >= 300:
                worst = max(worst, spent / (number * BUDGET) - 1)
        assert worst <= 0.02
        assert 0.95 < spent / (1600 * BUDGET) < 1.006
        assert cut < 0.1 * 1600
        efforts = [server.control.state.effort for server in servers if server.control.state.requests > 300]
        assert max(efforts) < 1.5 * min(efforts)
        assert servers[0].bank.spent == pytest.approx(spent, rel=0.02)

    asyncio.run(life())


# ---------------------------------------------------------------- the database


def test_the_accounts_are_written_for_postgresql_too():
    made = []
    dialect = postgresql.dialect()
    mock = sa.create_mock_engine(
        "postgresql+psycopg://", lambda sql, *_: made.append(str(sql.compile(dialect=dialect)))
    )
    migrations.MIGRATIONS[2](mock)
    assert "PRIMARY KEY (name, period)" in "".join(made)
    query = sa.select(ACCOUNT).where(ACCOUNT.c.account == "a").with_for_update()
    assert str(query.compile(dialect=dialect)).endswith("FOR UPDATE")


def test_amounts_beyond_64_bits_stay_whole(engine):
    holder = Holder(engine, "a", 10**30 + 1)
    assert holder.turn(Holding(0, 0), most=10**40).taken == 10**30 + 1


WORKER = """
import asyncio, sys
from autotts.policy.controller import Controller
from autotts.policy.schema import Policy
from autotts.serve.bank import Bank, account_of
from autotts.store import database
from autotts.store.accounts import Holder

async def life(url, policy, count):
    policy = Policy.load(policy)
    control = Controller(policy)
    holder = Holder(database.open(url, 5.0), account_of(policy, control.budget), int(control.bound))
    async with Bank(control, holder, servers=3) as bank:
        for number in range(count):
            asked = control.ask("x", str(number))
            print(asked.cap, flush=True)  # written before it is spent, all of it
            control.tell(asked, asked.cap)
            if number % 5 == 0:
                await bank.beat()

asyncio.run(life(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


@pytest.mark.slow
def test_three_processes_one_of_which_is_killed(tmp_path):
    policy = tmp_path / "policy.json"
    SIX.model_copy(update={"default": 2}).save(policy)
    url = f"sqlite:///{tmp_path / 'a.db'}"
    database.open(url).dispose()
    budget = SIX.frontier[2].expected.cost

    def start(count):
        command = [sys.executable, "-c", WORKER, url, str(policy), str(count)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=os.getcwd())

    servers = [start(300), start(300), start(10**9)]
    caps = [int(servers[2].stdout.readline()) for _ in range(50)]
    servers[2].kill()
    caps += [int(line) for line in servers[2].stdout.read().split()]
    servers[2].wait()
    servers[2].stdout.close()
    servers[2] = start(300)
    for server in servers:
        out, _ = server.communicate(timeout=60)
        assert server.returncode == 0
        caps += [int(line) for line in out.split()]
    assert len(caps) >= 950
    assert sum(caps) <= budget * len(caps) + 6 * budget
    assert sum(caps) > budget * len(caps) - 20 * budget
