"""What a study has spent outlives its processes: sums are exact, limits hold, and the dead are charged once."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from autotts.engine import capped
from autotts.errors import StoreError
from autotts.store import database, migrations
from autotts.store.ledger import LOST, SILENCE, Lease, Wish, alive, place, spent_by, started
from autotts.store.meta import Meta
from autotts.store.samples import Samples
from autotts.store.schema import CHARGE, LEASE, LEDGER
from tests.store.world import sample


@pytest.fixture
def engine(tmp_path):
    engine = database.open(f"sqlite:///{tmp_path / 'a.db'}")
    yield engine
    engine.dispose()


def stand(engine, study="s"):
    """Spent and held, as the ledger says and as its charges and leases add up."""
    with database.reading(engine) as connection:
        said = connection.execute(sa.select(LEDGER.c.spent, LEDGER.c.held).where(LEDGER.c.study == study)).one()
        leases = connection.execute(sa.select(LEASE.c.held, LEASE.c.lost).where(LEASE.c.study == study)).all()
    spent, held = sum(spent_by(engine, study).values()), sum(int(h) for h, lost in leases if not lost)
    assert (int(said.spent), int(said.held)) == (spent, held)
    return spent, held


def wish(total=0, held=0, least=0, most=0, by=None):
    return lambda written: Wish(
        total, {("S@1", "drawn"): total} if by is None and total else by or {}, held, least, most
    )


def test_two_processes_never_hold_more_than_the_limit(engine):
    one, two = Lease(engine, "s", "tokens"), Lease(engine, "s", "tokens")
    assert one.turn(wish(least=60, most=70), 100).taken == 70
    assert two.turn(wish(least=31, most=50), 100).taken == 0
    assert two.turn(wish(least=30, most=50), 100).taken == 30
    assert stand(engine) == (0, 100)
    done = one.turn(wish(total=20, held=10), 100)
    assert (done.taken, done.spent) == (0, 0) and stand(engine) == (20, 40)
    assert two.turn(wish(held=30), 100).spent == 20
    one.close(wish(total=25))
    two.close(wish(total=5))
    assert stand(engine) == (30, 0) and spent_by(engine, "s") == {("S@1", "drawn"): 30}


def test_charges_alone_leave_what_is_held_less_what_they_came_to(engine):
    lease = Lease(engine, "s", "tokens")
    lease.turn(wish(least=70, most=70), 100)
    for total, held in ((20, 50), (20, 50), (65, 5), (80, 0)):
        assert lease.turn(lambda written, t=total: Wish(t, {("S@1", "drawn"): t}), 100).taken == 0
        assert stand(engine) == (total, held)


def test_amounts_of_any_size_are_exact(engine):
    lease = Lease(engine, "s", "flops")
    big = 3 * 10**25 + 1
    assert lease.turn(wish(least=big, most=big), big).taken == big
    assert lease.turn(wish(total=big - 1, held=1, least=1, most=1), big).taken == 0
    assert stand(engine) == (big - 1, 1)


def test_random_turns_of_some_processes_add_up(engine):
    random = Random(3)
    limit, model = 1000, {}
    for _ in range(300):
        if len(model) < 4 and random.random() < 0.1:
            model[Lease(engine, "s", "tokens")] = [0, 0]
        if not model:
            continue
        lease = random.choice(list(model))
        total, held = model[lease]
        used = random.randint(0, min(held, 30))
        total, held = total + used, random.randint(0, held - used)
        if random.random() < 0.1:
            lease.close(wish(total=total))
            del model[lease]
            continue
        least = random.randint(0, 150)
        spent = sum(spent_by(engine, "s").values()) - model[lease][0] + total
        others = sum(h for other, (_, h) in model.items() if other is not lease)
        taken = lease.turn(wish(total, held, least, least + 10), limit).taken
        room = limit - spent - others - held
        assert taken == (min(least + 10, room) if room >= least else 0)
        model[lease] = [total, held + taken]
        assert stand(engine) == (spent, others + held + taken)
        assert spent + others + held + taken <= limit


def test_charges_are_written_once_whatever_becomes_of_a_transaction(engine):
    lease = Lease(engine, "s", "tokens")
    lease.turn(wish(least=50, most=50), 50)
    asked = []

    def again(written):
        asked.append(written)
        return Wish(30, {("S@1", "drawn"): 30}, 20)

    with pytest.raises(KeyError), database.writing(engine) as connection:
        lease.take_turn(connection, again, 50)
        raise KeyError("the samples could not be written")
    assert stand(engine) == (0, 50)
    for _ in range(2):
        with database.writing(engine) as connection:
            lease.take_turn(connection, again, 50)
        assert stand(engine) == (30, 20)
    assert asked == [0, 0, 30]


def test_what_was_spent_before_is_asked_once(engine):
    seed = {("S@1", "drawn"): 40, ("prm@1", "scored"): 2}
    Lease(engine, "s", "tokens", seed=lambda: seed).close(wish())

    def never():
        raise AssertionError("asked again")

    lease = Lease(engine, "s", "tokens", seed=never)
    assert lease.turn(wish(least=59, most=59), 100).taken == 0
    assert lease.turn(wish(least=58, most=58), 100).taken == 58
    assert spent_by(engine, "s") == seed and spent_by(engine, "other") == {}
    assert stand(engine) == (42, 58)


def test_a_ledger_in_another_unit_is_refused(engine):
    Lease(engine, "s", "tokens")
    with pytest.raises(StoreError, match=r"ledger of study 's' is in tokens: .* found one in usd; give it in tokens"):
        Lease(engine, "s", "usd")
    Lease(engine, "other", "usd")


HOLD = """
import sys
from autotts.store import database
from autotts.store.ledger import Lease, Wish
lease = Lease(database.open(sys.argv[1]), "s", "tokens")
lease.turn(lambda written: Wish(0, {}, 0, 70, 70), 100)
lease.turn(lambda written: Wish(15, {("S@1", "drawn"): 15}, 55), 100)
print("held", flush=True)
sys.stdin.read()
"""


def test_a_process_that_was_killed_is_charged_what_it_held_once(engine):
    argv = [sys.executable, "-c", HOLD, str(engine.url)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"held\n"
        lease = Lease(engine, "s", "tokens")
        assert stand(engine) == (15, 55)  # it lives
        child.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody has asked how
        assert lease.turn(wish(least=31, most=31), 100).taken == 0  # what may have been spent is not there again
        assert stand(engine) == (70, 0)
    assert spent_by(engine, "s") == {("S@1", "drawn"): 15, ("", LOST): 55}
    Lease(engine, "s", "tokens")
    assert lease.turn(wish(least=30, most=30), 100).taken == 30
    assert stand(engine) == (70, 30)


def test_a_number_that_another_process_has_got_since_does_not_live(engine):
    here, pid, since = place(), os.getpid(), started(os.getpid())
    assert alive(pid, since) and alive(pid, str(int(since) - 1)) is False
    Lease(engine, "s", "tokens", process=(here, pid, str(int(since) - 1))).turn(wish(least=5, most=5), 100)
    Lease(engine, "s", "tokens", process=(here, pid, since)).turn(wish(least=6, most=6), 100)
    Lease(engine, "s", "tokens")
    assert stand(engine) == (5, 6)


def test_a_process_elsewhere_is_dead_when_its_beat_stands_still_and_lives_when_it_comes_back(engine):
    now = [1000.0]
    elsewhere = Lease(engine, "s", "tokens", process=("another machine", 1, "1"))
    elsewhere.turn(wish(least=40, most=40), 100)
    lease = Lease(engine, "s", "tokens", clock=lambda: now[0])
    for _ in range(3):
        now[0] += SILENCE - 1
        elsewhere.look()
        lease.look()
        assert stand(engine) == (0, 40)
    now[0] += SILENCE + 1
    lease.look()
    lease.look()
    assert stand(engine) == (40, 0) and spent_by(engine, "s") == {("", LOST): 40}
    elsewhere.turn(wish(total=10, held=30), 100)  # a machine that was asleep
    assert stand(engine) == (10, 30) and spent_by(engine, "s") == {("S@1", "drawn"): 10}
    elsewhere.close(wish(total=10))
    assert stand(engine) == (10, 0)


def test_a_database_of_before_gets_a_ledger_and_keeps_its_samples(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    plain = sa.create_engine(url)
    with plain.begin() as connection:
        migrations.MIGRATIONS[0](connection)
        connection.execute(sa.text("insert into autotts_meta values ('schema', '1')"))
    plain.dispose()
    plain = sa.create_engine(url)
    with Samples(plain) as samples:
        samples.put(*sample(1))
    plain.dispose()
    engine = database.open(url)
    assert Meta(engine).get("schema") == migrations.NEWEST
    lease = Lease(engine, "s", "tokens", seed=lambda: {("S@1", "drawn"): 21})
    assert stand(engine) == (21, 0)
    lease.close(wish())
    with Samples(engine) as samples:
        assert samples.get(sample(1)[0].key) is not None
    engine.dispose()


def test_the_ledger_is_written_for_postgresql_too() -> None:
    made: list[str] = []
    dialect = postgresql.dialect()
    mock = sa.create_mock_engine(
        "postgresql+psycopg://", lambda sql, *_: made.append(str(sql.compile(dialect=dialect)))
    )
    migrations.MIGRATIONS[1](mock)  # type: ignore[arg-type]
    assert "PRIMARY KEY (study, lease, binding, kind)" in "".join(made)
    query = sa.select(LEDGER.c.spent).with_for_update(of=LEDGER)
    assert str(query.compile(dialect=dialect)).endswith("FOR UPDATE OF autotts_ledger")
    assert capped.LOST == LOST and CHARGE.name in "".join(made)
