"""A real HTTP server in OpenAI's form with scripted models, faults and its own token count, for tests."""

from autotts.worlds.fake_server.counts import Counts, Record, Tally
from autotts.worlds.fake_server.faults import KINDS, Faults
from autotts.worlds.fake_server.forms import LACKING
from autotts.worlds.fake_server.judging import Judge, Scorer
from autotts.worlds.fake_server.models import FakeModel, echo
from autotts.worlds.fake_server.pace import Pace
from autotts.worlds.fake_server.server import FakeServer, serving
from autotts.worlds.fake_server.solver import Solver

__all__ = [
    "KINDS",
    "LACKING",
    "Counts",
    "FakeModel",
    "FakeServer",
    "Faults",
    "Judge",
    "Pace",
    "Record",
    "Scorer",
    "Solver",
    "Tally",
    "echo",
    "serving",
]
