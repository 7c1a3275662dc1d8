"""Samples come back as they were put, survive a kill, and say what was lost when the disk is full."""

import math
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from autotts.core.world import Reply
from autotts.errors import StoreError
from autotts.store import database
from autotts.store import samples as kept
from autotts.store.samples import Samples, stored
from tests.store.world import BINDING, ROOT, Order, blend, key_of, sample, score


def url(folder: Path) -> str:
    return f"sqlite:///{folder / 'autotts.db'}"


def same(one: Reply, other: Reply | None) -> bool:
    """Replies are equal field by field; nodes are compared by identity, so field by field too."""
    if other is None or (one.usage, one.seconds, one.state) != (other.usage, other.seconds, other.state):
        return False
    a, b = one.value, other.value
    if isinstance(a, float):
        return a == b or (math.isnan(a) and math.isnan(b))
    names = ("key", "depth", "done", "answer", "digest", "tokens", "failed", "signals")
    return all(getattr(a, n) == getattr(b, n) for n in names)


@pytest.mark.parametrize(
    "put",
    [
        sample(1),
        sample(2, state=None),
        sample(3, state=b"\x00\xff"),
        sample(4, state=((1, 2), {"step": (0.5, None)}, "x")),
        sample(5, state=""),
        sample(6, state="\u00e9\u4e2d\U0001f600\n"),
        blend(7),
        score(8, 0.25),
        score(9, math.nan),
        score(10, -math.inf),
    ],
    ids=lambda put: f"{type(put[0].ask).__name__}-{put[1].state!r}",
)
def test_a_reply_comes_back_as_it_was_put(tmp_path: Path, put: tuple[Order, Reply]) -> None:
    order, reply = put
    engine = database.open(url(tmp_path))
    with Samples(engine) as samples:
        assert samples.get(order.key) is None
        samples.put(order, reply)
        assert samples.get(order.key) is reply
    with Samples(engine) as again:
        assert same(reply, again.get(order.key))
        assert again.get(order.key) is again.get(order.key)  # nodes are compared by identity
    engine.dispose()


def test_a_failed_draw_and_a_root_come_back(tmp_path: Path) -> None:
    engine = database.open(url(tmp_path))
    order, reply = sample(1)
    broken = type(reply.value)(order.key, 1, True, None, b"", 0, failed=True)
    with Samples(engine) as samples:
        samples.put_root(ROOT, "solve: 1+2")
        samples.put(order, Reply(broken, reply.usage))
    with Samples(engine) as again:
        assert same(Reply(broken, reply.usage), again.get(order.key))
        root = again.get(ROOT.key)
        assert root is not None and root.state == "solve: 1+2" and root.value.tokens == ROOT.tokens
    engine.dispose()


def test_replies_are_read_by_their_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "ASKED", 2)
    engine = database.open(url(tmp_path))
    puts = [sample(n, state=f"text {n}") for n in range(5)]
    with Samples(engine) as samples:
        for put in puts:
            samples.put(*put)
    found = stored(engine, [key_of(9), *(order.key for order, _ in puts[1:])])
    assert set(found) == {order.key for order, _ in puts[1:]}
    assert all(same(reply, found[order.key]) for order, reply in puts[1:])
    assert stored(engine, []) == {}
    engine.dispose()


def test_what_is_there_stays(tmp_path: Path) -> None:
    engine = database.open(url(tmp_path))
    with Samples(engine) as one, Samples(engine) as other:
        one.put(*sample(1, state="first"))
        one.put(*sample(1, state="again"))
        one.flush()
        other.put(*sample(1, state="second"))
    with Samples(engine) as again:
        found = again.get(key_of(1))
        assert found is not None and found.state == "first" and len(again) == 1
    engine.dispose()


def test_only_the_bindings_asked_for_are_read(tmp_path: Path) -> None:
    engine = database.open(url(tmp_path))
    with Samples(engine) as samples:
        samples.put(*sample(1))
        samples.put_root(ROOT, "solve: 1+2")
    with Samples(engine, bindings=[]) as roots, Samples(engine, bindings=[BINDING.id]) as both:
        assert len(roots) == 1 and len(both) == 2
    engine.dispose()


def test_a_state_that_would_need_pickle_is_refused(tmp_path: Path) -> None:
    engine = database.open(url(tmp_path))
    with Samples(engine) as samples, pytest.raises(StoreError, match="state of type object"):
        samples.put(*sample(1, state=object()))
    engine.dispose()


def test_flush_commits_and_put_after_close_is_an_error(tmp_path: Path) -> None:
    engine = database.open(url(tmp_path))
    samples = Samples(engine)
    for number in range(2000):
        samples.put(*sample(number))
    samples.flush()
    with engine.connect() as connection:
        assert connection.scalar(sa.text("select count(*) from autotts_sample")) == 2000
    samples.close()
    samples.close()  # closing twice is closing once
    with pytest.raises(StoreError, match="after the store was closed"):
        samples.put(*sample(5000))
    engine.dispose()


def committed(engine: sa.Engine) -> int:
    with engine.connect() as connection:
        return int(connection.scalar(sa.text("select count(*) from autotts_sample")) or 0)


def test_a_sample_is_committed_without_being_asked_for(tmp_path: Path) -> None:
    engine = database.open(url(tmp_path))
    patience = time.monotonic() + 30  # until a verdict of failure, not a speed that is asserted
    with Samples(engine) as samples:
        samples.put(*sample(1))
        while not (found := committed(engine)) and time.monotonic() < patience:
            time.sleep(0.01)
        assert found == 1
    engine.dispose()


def test_two_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    engines = [database.open(url(tmp_path)), database.open(url(tmp_path))]

    def write(engine: sa.Engine, numbers: range) -> None:
        with Samples(engine) as samples:
            for number in numbers:
                samples.put(*sample(number))
                if number % 50 == 0:
                    samples.flush()

    threads = [threading.Thread(target=write, args=(e, r)) for e, r in zip(engines, (range(1500), range(1000, 2500)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with Samples(engines[0]) as samples:
        assert len(samples) == 2500
    for engine in engines:
        engine.dispose()


def test_a_full_disk_keeps_what_was_committed_and_says_how_much(tmp_path: Path) -> None:
    engine = database.open(url(tmp_path))
    sa.event.listen(engine, "connect", lambda raw, _: raw.execute("PRAGMA max_page_count=40"))
    engine.dispose()
    samples = Samples(engine)
    with pytest.raises(StoreError, match=r"full .*samples of this run are kept, the last \d+ are not") as caught:
        for number in range(5000):
            samples.put(*sample(number))
            if number % 20 == 0:
                samples.flush()
    kept = int(str(caught.value).split(" samples of this run")[0].split()[-1])
    with pytest.raises(StoreError, match="full"):
        samples.put(*sample(6000))
    with pytest.raises(StoreError, match="full"):
        samples.close()
    with Samples(engine) as again:
        assert len(again) == kept > 0
        assert all(again.get(key_of(number)) is not None for number in range(kept))
    engine.dispose()


def test_an_error_of_the_writer_does_not_hide_the_error_of_the_run(tmp_path: Path) -> None:
    engine = database.open(url(tmp_path), timeout=0.05)
    blocker = database.open(url(tmp_path))
    with database.writing(blocker), pytest.raises(StoreError, match="locked by another program"), Samples(engine) as s:
        s.put(*sample(1))
        s.flush()
    engine.dispose()
    blocker.dispose()


WRITER = """
    import sys
    from autotts.store import database
    from autotts.store.samples import Samples
    from tests.store.world import sample

    samples = Samples(database.open(sys.argv[1]))
    for number in range(10**9):
        samples.put(*sample(number))
        if number % 100 == 99:
            samples.flush()
            print(number, flush=True)
"""


def test_a_kill_loses_nothing_that_was_committed(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", textwrap.dedent(WRITER), url(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root, env=environment) as writer:
        assert writer.stdout is not None
        lines = [int(writer.stdout.readline()) for _ in range(5)]
        writer.send_signal(signal.SIGKILL)
        lines += [int(line) for line in writer.stdout]
    engine = database.open(url(tmp_path))
    with engine.connect() as connection:
        assert connection.scalar(sa.text("pragma integrity_check")) == "ok"
    with Samples(engine) as samples:
        assert all(same(sample(n)[1], samples.get(key_of(n))) for n in range(lines[-1] + 1))
    engine.dispose()
