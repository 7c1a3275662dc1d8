"""Who decides what a study tries next: one file each, all behind `Proposer.propose(archive, k)`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from autotts.search.archive import Proposer
from autotts.search.proposers.covering import covering
from autotts.search.proposers.gaussian import gp
from autotts.search.proposers.guided import Guided
from autotts.search.proposers.insight import Insight
from autotts.search.proposers.sampled import nsga2, random, tpe

# By the name that users write. The language model is not among them: it needs a server to be named.
PROPOSERS: Final[Mapping[str, Callable[[], Proposer]]] = {
    "guided": Guided,
    "random": random,
    "tpe": tpe,
    "nsga2": nsga2,
    "gp": gp,
    "covering": covering,
    "insight": Insight,
}
