"""A database is ours, new or Optuna's, or it is refused in words."""

import sqlite3
import threading
from pathlib import Path

import optuna
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from autotts.errors import InputError, StoreError
from autotts.store import database, migrations, schema
from autotts.store.meta import Meta
from autotts.store.outcomes import Graded, Outcomes
from autotts.store.samples import Samples
from tests.store.world import key_of, sample


def make(path: Path, *statements: str) -> str:
    """A database that another program made."""
    raw = sqlite3.connect(path)
    for statement in statements:
        raw.execute(statement)
    raw.commit()
    raw.close()
    return f"sqlite:///{path}"


def test_a_new_database_gets_the_newest_schema(tmp_path: Path) -> None:
    engine = database.open(f"sqlite:///{tmp_path / 'a.db'}")
    with engine.connect() as connection:
        assert migrations.version_of(connection) == migrations.NEWEST
        assert connection.scalar(sa.text("pragma journal_mode")) == "wal"
        assert connection.scalar(sa.text("pragma busy_timeout")) == 30_000
        assert connection.scalar(sa.text("pragma synchronous")) == 1
    engine.dispose()


def test_queries_see_the_tables_that_migrations_make(tmp_path: Path) -> None:
    engine = database.open(f"sqlite:///{tmp_path / 'a.db'}")
    inspector = sa.inspect(engine)
    tables = (schema.META, schema.SAMPLE, schema.OUTCOME, schema.LEDGER, schema.CHARGE, schema.LEASE)
    tables += (schema.ACCOUNT, schema.HOLDER, schema.PURSE)
    assert set(inspector.get_table_names()) == {t.name for t in tables}
    for table in tables:
        assert [c["name"] for c in inspector.get_columns(table.name)] == [c.name for c in table.c]
    engine.dispose()


def test_version_0_is_brought_to_the_newest_and_keeps_what_else_is_there(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    storage = optuna.storages.RDBStorage(url)
    study = optuna.create_study(study_name="old", storage=storage)
    study.tell(study.ask(), 1.5)
    plain = sa.create_engine(url)
    with plain.connect() as connection:
        assert migrations.version_of(connection) == 0
    plain.dispose()
    engine = database.open(url)
    with engine.connect() as connection:
        assert migrations.version_of(connection) == migrations.NEWEST
    assert study.trials[0].value == 1.5
    storage.engine.dispose()
    engine.dispose()


def test_opening_again_runs_no_migration(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    engine = database.open(url)
    Meta(engine).set("kept", 1)
    engine.dispose()
    engine = database.open(url)
    assert Meta(engine).get("kept") == 1
    engine.dispose()


def test_a_migration_that_breaks_leaves_nothing_behind(tmp_path: Path) -> None:
    engine = database.open(f"sqlite:///{tmp_path / 'a.db'}")
    with pytest.raises(StoreError), database.writing(engine) as connection:
        connection.execute(sa.text("create table autotts_more (x integer)"))
        connection.execute(sa.text("insert into autotts_missing values (1)"))
    assert "autotts_more" not in sa.inspect(engine).get_table_names()
    engine.dispose()


def test_many_at_once_make_one_database(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    failed: list[BaseException] = []

    def work() -> None:
        try:
            database.open(url).dispose()
        except StoreError as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_a_database_of_someone_else_is_refused(tmp_path: Path) -> None:
    url = make(tmp_path / "a.db", "create table customers (name text)", "create table studies (x integer)")
    with pytest.raises(StoreError, match=r"a\.db is not ours: .*found tables customers; give another"):
        database.open(url)
    raw = sqlite3.connect(tmp_path / "a.db")
    assert {name for (name,) in raw.execute("select name from sqlite_master")} == {"customers", "studies"}
    raw.close()


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    engine = database.open(url)
    Meta(engine).set("schema", migrations.NEWEST + 1)
    engine.dispose()
    with pytest.raises(StoreError, match=r"newer autotts: its schema is version 4.*up to 3; upgrade"):
        database.open(url)


def test_a_schema_without_a_number_is_refused(tmp_path: Path) -> None:
    url = make(tmp_path / "a.db", "create table autotts_meta (key text primary key, value text)")
    with pytest.raises(StoreError, match=r"a\.db is damaged"):
        database.open(url)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nonsense", "expected a database URL"),
        ("", "expected a database URL"),
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
        ("nosuchdialect://host/db", "expected a database URL"),
        ("mysql+nosuchdriver://host/db", "expected a database URL"),
        ("mssql+aioodbc://host/db", "storage:"),
    ],
)
def test_a_wrong_url_is_refused(url: str, words: str) -> None:
    with pytest.raises(StoreError, match=words):
        database.open(url)


@pytest.mark.parametrize("url", ["postgres://me:s3@cret@host/db", "me:s3@cret@host", "mysql://me:s3%40cret@host/db"])
def test_no_password_is_said_again(url: str) -> None:
    with pytest.raises(StoreError) as found:
        database.open(url)
    assert "host" in str(found.value)
    assert not any(part in str(found.value) for part in ("s3", "cret"))


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("This is a letter, and not a database at all.\n" * 100)
    with pytest.raises(StoreError, match=r"text\.db is not a database; give another file"):
        database.open(f"sqlite:///{tmp_path / 'text.db'}")
    assert (tmp_path / "text.db").read_text().startswith("This is a letter")


def test_a_damaged_database_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    engine = database.open(url)
    with Samples(engine) as samples:
        for number in range(2000):
            samples.put(*sample(number))
    engine.dispose()
    content = bytearray((tmp_path / "a.db").read_bytes())
    content[100:-4096] = b"\xff" * (len(content) - 4196)
    (tmp_path / "a.db").write_bytes(content)
    with pytest.raises(StoreError, match="is damaged"):
        database.open(url)


@pytest.mark.parametrize("folder", ["missing", "file.txt"])
def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path, folder: str) -> None:
    (tmp_path / "file.txt").write_text("")
    with pytest.raises(StoreError, match=r"a\.db cannot be opened; expected a file in a folder"):
        database.open(f"sqlite:///{tmp_path / folder / 'a.db'}")


def test_a_folder_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be opened"):
        database.open(f"sqlite:///{tmp_path}")


def test_a_file_that_may_only_be_read_is_refused(tmp_path: Path) -> None:
    make(tmp_path / "a.db", "create table version_info (x integer)")
    with pytest.raises(StoreError, match="cannot be written; expected a file and a folder with write permission"):
        database.open(f"sqlite:///file:{tmp_path / 'a.db'}?mode=ro&uri=true")


@pytest.mark.parametrize("mode", ["exclusive", "immediate"])
def test_a_locked_database_says_so_after_the_timeout(tmp_path: Path, mode: str) -> None:
    url = make(tmp_path / "a.db", "create table version_info (x integer)")
    raw = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    raw.execute(f"begin {mode}")
    with pytest.raises(StoreError, match=r"a\.db is locked by another program; end that program, or wait"):
        database.open(url, timeout=0.05)
    raw.execute("rollback")
    database.open(url, timeout=0.05).dispose()
    raw.close()


def test_outcomes_and_facts_on_a_full_disk_are_refused_and_the_rest_stays(tmp_path: Path) -> None:
    engine = database.open(f"sqlite:///{tmp_path / 'a.db'}")
    sa.event.listen(engine, "connect", lambda raw, _: raw.execute("PRAGMA max_page_count=20"))
    engine.dispose()
    outcomes = Outcomes(engine)
    rows = [Graded("one()", f"{n:08d}", 0, "1" * 50, 1.0, 1) for n in range(5000)]
    outcomes.add("math", rows[:10])
    with pytest.raises(StoreError, match=r"is full .*make room and run the same command again"):
        outcomes.add("math", rows)
    with pytest.raises(StoreError, match="is full"):
        Meta(engine).set("key", "x" * 500_000)
    assert outcomes.load("math") == rows[:10]
    engine.dispose()


def test_optunas_faults_are_said_in_the_same_words(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    storage = optuna.storages.RDBStorage(url)
    database.tune(storage.engine, timeout=0.05)
    study = optuna.create_study(storage=storage)
    blocker = database.open(url)
    with database.writing(blocker), pytest.raises(StoreError, match="is locked"), database.faults(storage.engine):
        study.ask()
    sa.event.listen(storage.engine, "connect", lambda raw, _: raw.execute("PRAGMA max_page_count=10"))
    storage.engine.dispose()
    with pytest.raises(StoreError, match="is full"), database.faults(storage.engine):
        study.set_user_attr("note", "x" * 200_000)
    with pytest.raises(KeyError), database.faults(storage.engine):  # what is no fault of the database stays what it is
        raise KeyError("mine")
    storage.engine.dispose()
    blocker.dispose()


def test_queries_are_written_for_postgresql_too() -> None:
    dialect = postgresql.dialect()
    insert = str(schema.insert_new("postgresql", schema.SAMPLE).compile(dialect=dialect))
    upsert = str(schema.upsert("postgresql", schema.META, ["key"]).compile(dialect=dialect))
    assert insert.endswith("ON CONFLICT DO NOTHING") and "ON CONFLICT (key) DO UPDATE SET value" in upsert
    made: list[str] = []
    engine = sa.create_mock_engine(
        "postgresql+psycopg://", lambda sql, *_: made.append(str(sql.compile(dialect=dialect)))
    )
    migrations.MIGRATIONS[0](engine)  # type: ignore[arg-type]
    text = "".join(made)
    assert "key BYTEA NOT NULL" in text and "cost NUMERIC NOT NULL" in text and "score DOUBLE PRECISION" in text


def test_every_fault_is_the_users_input() -> None:
    assert issubclass(StoreError, InputError) and StoreError.exit_code == 2


def test_optuna_and_samples_share_a_file_while_both_write(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    engine = database.open(url)
    storage = optuna.storages.RDBStorage(url)
    database.tune(storage.engine)
    with storage.engine.connect() as connection:
        assert connection.scalar(sa.text("pragma busy_timeout")) == 30_000
    study = optuna.create_study(study_name="math/L1", storage=storage, directions=["maximize", "minimize"])
    done = threading.Event()

    def draw() -> None:
        with Samples(engine) as samples:
            number = 0
            while not done.is_set() or number < 1000:
                samples.put(*sample(number))
                number += 1
                if number % 100 == 0:
                    samples.flush()

    writer = threading.Thread(target=draw)
    writer.start()
    try:
        for number in range(8):
            trial = study.ask()
            trial.suggest_float("t", 0, 1)
            trial.set_user_attr("arm", f"vote(n={number})")
            study.tell(trial, [0.5, float(number)])
    finally:
        done.set()
        writer.join()
    assert [t.values[1] for t in study.trials] == [float(n) for n in range(8)]
    with Samples(engine) as samples:
        assert len(samples) >= 1000 and samples.get(key_of(999)) is not None
    storage.remove_session()
    storage.engine.dispose()
    engine.dispose()
