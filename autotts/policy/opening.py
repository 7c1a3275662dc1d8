"""The models that a policy uses, opened: the embedded ones, those of a models.toml, or those that it states itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from autotts.errors import InputError
from autotts.policy.schema import Policy
from autotts.tasks import READERS
from autotts.worlds.catalogue import EMBEDDED, Asking, Bench, Catalogue, catalogue, proxies_of, restated
from autotts.worlds.models.entry import Server
from autotts.worlds.servers.address import address_of


@dataclass(frozen=True, slots=True)
class Where:
    """Where a policy's models answer: those of a catalogue, or at an address that serves all of them by their names."""

    models: Catalogue | None = None
    upstream: Server | None = None
    proxies: Mapping[str, str] = field(default_factory=dict)


HERE: Final = Where()  # the embedded models


def where(models: Sequence[str], upstream: str | None, key: str | None, environ: Mapping[str, str]) -> Where:
    """Where a policy's models answer, as it was given: a file of models, or one address with a key."""
    if upstream is None:
        if key is not None:
            raise InputError("--upstream-key-file: it is the key of --upstream URL; keys of a models.toml stand there")
        return HERE if not models else Where(catalogue(models, environ)[0])
    if models:
        raise InputError("--upstream: expected it or --models FILE, found both")
    return Where(upstream=Server(upstream, key), proxies=proxies_of(environ))


PATIENCE: Final = 3.0  # seconds that a served request waits for models whose servers are all dead


@contextmanager
def opened(
    policy: Policy,
    where: Where = HERE,
    *,
    read: Callable[[str], str | None] | None = None,
    serving: bool = False,
    patience: float = PATIENCE,
) -> Iterator[Bench]:
    """The models that a policy uses; another binding than it was made with is an error.

    Parameters
    ----------
    serving
        Their servers need not be there yet (`look` of the world says whether they are), and a request to models whose
        servers are all dead fails after `patience` seconds. Otherwise they are looked for first.

    Raises
    ------
    InputError
        When it is not said where the models are, or they are asked in another way than the policy states.
    """
    shelf = shelf_of(policy, where)
    reader = read or READERS.get(policy.task.reader)
    if reader is None:
        raise InputError(f"policy: unknown reader {policy.task.reader!r}; expected one of {', '.join(READERS)}")
    asking = Asking(reader, policy.task.instruction or "", policy.unit, patience if serving else None)
    with shelf.opened(tuple(policy.models), tuple(policy.scorers), asking) as world:
        for name, bound in (policy.models | policy.scorers).items():
            here = world.bindings[name].id
            if bound.binding.get("id") != here:
                raise InputError(
                    f"policy: {name!r} is {bound.binding.get('id')!r} there and {here!r} "
                    f"{'in this version of autotts' if shelf.embedded else 'in ' + shelf.where}: "
                    "its figures do not hold here; run autotts optimize again"
                )
        yield world


def shelf_of(policy: Policy, where: Where) -> Catalogue:
    """The models that a policy uses, found by their names; nothing is opened or asked.

    Raises
    ------
    InputError
        When it is not said where they are, or one of them is not there.
    """
    shelf = _shelf(policy, where)
    for name in policy.models:
        shelf.drawing([name])
    for name in policy.scorers:
        if name not in shelf.scoring:
            raise InputError(f"policy: it scores by {name!r}; expected a model that scores in {shelf.where}")
    return shelf


def _shelf(policy: Policy, where: Where) -> Catalogue:
    bounds = policy.models | policy.scorers
    engines = {name: bound.binding.get("engine") for name, bound in bounds.items()}
    if all(engine == "tiny" for engine in engines.values()):
        if where.models is not None or where.upstream is not None:
            raise InputError("policy: it uses the embedded models, which are here: leave out --models and --upstream")
        return EMBEDDED
    if "recorded" in engines.values():
        name = next(name for name, engine in engines.items() if engine == "recorded")
        raise InputError(
            f"policy: {name!r} is bound to recorded answers, which cannot answer a new prompt; measure it with "
            "autotts evaluate --pool, or make it one of models that answer with autotts policy rebind"
        )
    if where.models is not None:
        return where.models
    if where.upstream is not None:
        address_of(where.upstream)
        return restated({n: (b.binding, b.card) for n, b in bounds.items()}, [where.upstream], where.proxies)
    raise InputError(
        f"policy: its models ({', '.join(bounds)}) answer on servers: say where, with --models FILE (a models.toml) or "
        "--upstream URL"
    )
