"""Groups of features by name and version: a predictor names exactly those that it needs, and unknown ones are refused.

A group's name is "name/version". Its version rises whenever a column changes its meaning, so that an artefact never
reads numbers that it was not learned on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from autotts.errors import InputError
from autotts.predict.drawn import DRAWN_VERSION
from autotts.predict.features import FEATURES, FEATURES_VERSION, features
from autotts.predict.ngrams import NGRAMS_VERSION
from autotts.predict.questions import QUESTION, QUESTION_VERSION, question


@dataclass(frozen=True)
class Group:
    """Dense features that need nothing but the prompt; `of` answers one finite number for each of `columns`."""

    name: str
    columns: tuple[str, ...]
    of: Callable[[str], Sequence[float]]


_SURFACE: Final = Group(f"surface/{FEATURES_VERSION}", FEATURES, features)
_QUESTION: Final = Group(f"question/{QUESTION_VERSION}", QUESTION, question)

GROUPS: Final[Mapping[str, Group]] = {_SURFACE.name: _SURFACE, _QUESTION.name: _QUESTION}

# Groups that are not dense columns of the prompt alone, and where they are made.
OTHERS: Final[Mapping[str, str]] = {
    f"ngrams/{NGRAMS_VERSION}": "predict.ngrams, sparse",
    f"drawn/{DRAWN_VERSION}": "predict.drawn, from the first draws",
    "embedding/1": "worlds.embeddings, from an endpoint",
}


def known(name: str, where: str) -> str:
    """The name itself, if it is a group of this version of autotts.

    Parameters
    ----------
    name
        As it stands in an artefact, for instance "surface/1".
    where
        The file and key that name it, for the message.

    Raises
    ------
    InputError
        The group is unknown, newer than this version of autotts, or no longer read.

    Examples
    --------
    >>> known("surface/1", "policy.json: predictor.groups")
    'surface/1'
    """
    if name in GROUPS or name in OTHERS:
        return name
    names = [*GROUPS, *OTHERS]
    ours = {n.partition("/")[0]: int(n.partition("/")[2]) for n in names}
    shown = name if len(name) <= 60 else name[:57] + "..."
    base, _, version = name.partition("/")
    found = f"{where}: expected groups of features among {', '.join(names)}, found {shown!r}"
    if base not in ours or not (version.isascii() and version.isdigit()):
        raise InputError(f"{found}; correct the name, or upgrade autotts if a newer one wrote the file")
    # Compared by length and then as text: a broken file may have more digits than Python turns into a number.
    digits, own = version.lstrip("0"), str(ours[base])
    if (len(digits), digits) > (len(own), own):
        raise InputError(f"{found}, which is newer than this autotts; upgrade autotts, or fit the predictor again")
    raise InputError(f"{found}, which this autotts no longer makes; fit the predictor again")


def columns(names: Sequence[str]) -> list[str]:
    """The columns of some dense groups, in the order in which `dense` answers them.

    Raises
    ------
    InputError
        A group is unknown, is not dense, or is named twice.
    """
    if len(set(names)) < len(names):
        raise InputError(f"groups of features: expected each once, found {', '.join(names)}")
    return [column for name in names for column in _group(name).columns]


def dense(names: Sequence[str], prompt: str) -> list[float]:
    """The features of a prompt, group by group: one finite number for each of `columns(names)`.

    Raises
    ------
    InputError
        A group is unknown or is not dense.

    Examples
    --------
    >>> dict(zip(columns(["surface/1"]), dense(["surface/1"], "1+2+3")))["plus"]
    2.0
    """
    found: list[float] = []
    for name in names:
        found += _group(name).of(prompt)
    return found


def _group(name: str) -> Group:
    group = GROUPS.get(name)
    if group is None:
        known(name, "groups of features")
        raise InputError(
            f"groups of features: expected dense groups among {', '.join(GROUPS)}, found {name!r} ({OTHERS[name]})"
        )
    return group
