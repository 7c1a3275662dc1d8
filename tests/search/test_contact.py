"""What servers cannot do is found before anything is drawn, once, and leaves strategies out."""

import pytest
import sqlalchemy as sa

from autotts.core.cost import ModelCard
from autotts.core.world import Binding
from autotts.engine.shared import SharedLedger
from autotts.errors import InputError, SearchBudgetReached
from autotts.search.contact import PROBED, Contact, words
from autotts.store import database
from autotts.store.ledger import spent_by
from autotts.store.meta import Meta
from autotts.store.schema import LEDGER
from autotts.worlds.catalogue import EMBEDDED, Catalogue
from autotts.worlds.fake_server import FakeModel, FakeServer, Solver, serving
from autotts.worlds.models.entry import Entry, Server


@pytest.fixture
def engine(tmp_path):
    engine = database.open(f"sqlite:///{tmp_path / 'autotts.db'}")
    yield engine
    engine.dispose()


def contact(engine, models, limit=None):
    """The first contact of a study, and what its ledger says."""
    with SharedLedger(engine, "s", "tokens", limit) as shared:
        found = Contact(models, Meta(engine), BINDINGS, shared)
    return found, spent_by(engine, "s")


def catalogue(url):
    card = ModelCard("small", "", parameters=10**9)
    return Catalogue({"small": Entry("small", "openai", "small", card, (Server(url),))}, "models.toml")


BINDINGS = {"small": Binding("openai/small@/x")}


def test_a_server_that_cannot_go_on_leaves_steps_and_probes_out(engine):
    with serving(FakeServer([FakeModel("small", Solver(0.8))], without=("continues",))) as server:
        found, spent = contact(engine, catalogue(server.url))
        asked = server.counts.requests
        assert spent == {("openai/small@/x", PROBED): server.counts.prompt + server.counts.generated}
        again, after = contact(engine, catalogue(server.url))
        assert server.counts.requests == asked and after == spent  # it is remembered
    assert found.missing == again.missing and "continues" in found.missing["small"]
    unable = found.unable([])
    assert {"beam", "dvts", "cut", "staged"} <= set(unable)
    assert "vote" not in unable
    assert words(unable) and all("small" in line for line in words(unable))
    with pytest.raises(InputError, match=r"--strategies: beam cannot be run here: the server of small lacks"):
        found.unable(["vote", "beam"])


def test_a_server_that_can_leaves_nothing_out(engine):
    with serving(FakeServer([FakeModel("small", Solver(0.8))])) as server:
        found, _ = contact(engine, catalogue(server.url))
    assert found.unable(["beam", "staged"]) == {}


def test_what_it_takes_to_ask_is_set_aside_before(engine):
    held = []

    class Seen(Solver):
        def __call__(self, *asked):
            with database.reading(engine) as connection:
                held.append(int(connection.execute(sa.select(LEDGER.c.held)).scalar_one()))
            return super().__call__(*asked)

    with serving(FakeServer([FakeModel("small", Seen(0.8))])) as server:
        with pytest.raises(SearchBudgetReached, match="search budget of 500"):
            contact(engine, catalogue(server.url), 500)
        assert not server.counts.requests
        _, spent = contact(engine, catalogue(server.url), 100_000)
    assert held and min(held) >= sum(spent.values()) > 0


def test_the_embedded_models_are_not_asked(engine):
    found, spent = contact(engine, EMBEDDED)
    assert found.unable(["beam"]) == {} and not spent
