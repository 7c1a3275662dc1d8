"""What servers cannot do is found before anything is drawn, once, and leaves strategies out."""

import pytest

from autotts.core.cost import ModelCard
from autotts.core.world import Binding
from autotts.errors import InputError
from autotts.search.contact import PROBED, Contact, words
from autotts.store import database
from autotts.store.meta import Meta
from autotts.worlds.catalogue import EMBEDDED, Catalogue
from autotts.worlds.fake_server import FakeModel, FakeServer, Solver, serving
from autotts.worlds.models.entry import Entry, Server


@pytest.fixture
def meta(tmp_path):
    engine = database.open(f"sqlite:///{tmp_path / 'autotts.db'}")
    yield Meta(engine)
    engine.dispose()


def catalogue(url):
    card = ModelCard("small", "", parameters=10**9)
    return Catalogue({"small": Entry("small", "openai", "small", card, (Server(url),))}, "models.toml")


BINDINGS = {"small": Binding("openai/small@/x")}


def test_a_server_that_cannot_go_on_leaves_steps_and_probes_out(meta):
    with serving(FakeServer([FakeModel("small", Solver(0.8))], without=("continues",))) as server:
        found = Contact(catalogue(server.url), meta, BINDINGS)
        asked = server.counts.requests
        assert server.counts.prompt + server.counts.generated == found.charges["openai/small@/x", PROBED]
        again = Contact(catalogue(server.url), meta, BINDINGS)
        assert server.counts.requests == asked and not again.charges  # it is remembered
    assert found.missing == again.missing and "continues" in found.missing["small"]
    unable = found.unable([])
    assert {"beam", "dvts", "cut", "staged"} <= set(unable)
    assert "vote" not in unable
    assert words(unable) and all("small" in line for line in words(unable))
    with pytest.raises(InputError, match=r"--strategies: beam cannot be run here: the server of small lacks"):
        found.unable(["vote", "beam"])


def test_a_server_that_can_leaves_nothing_out(meta):
    with serving(FakeServer([FakeModel("small", Solver(0.8))])) as server:
        assert Contact(catalogue(server.url), meta, BINDINGS).unable(["beam", "staged"]) == {}


def test_the_embedded_models_are_not_asked(meta):
    assert Contact(EMBEDDED, meta, BINDINGS).unable(["beam"]) == {}
