"""The models that a command can ask: the embedded ones, or those of a models.toml, under the names that arms use."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from autotts.core.cost import ModelCard
from autotts.core.node import Node
from autotts.core.world import World
from autotts.errors import InputError
from autotts.worlds.context import NOTHING, Context
from autotts.worlds.models.entry import Entry, Scoring, Server, Template, Thinking

if TYPE_CHECKING:
    from autotts.worlds.servers.site import Standing

FILE: Final = ".toml"  # what the name of a file of models ends in


class Bench(World, Protocol):
    """A world that a command works on: who draws, who scores, what they cost, and how a prompt is put to them."""

    @property
    def models(self) -> Sequence[str]:
        """Roles that draw."""
        ...

    @property
    def scorers(self) -> Sequence[str]:
        """Roles that score."""
        ...

    @property
    def cards(self) -> Mapping[str, ModelCard]:
        """Each role's card."""
        ...

    def root(self, prompt: str, context: Context = NOTHING) -> tuple[Node, Any]:
        """The prompt's node and state; an `InputError` where these models cannot read it, or heed what is beside it."""
        ...

    async def look(self) -> Mapping[str, str]:
        """Why each role cannot be asked now, in words; empty where it can. It takes seconds at most."""
        ...

    def standings(self) -> Sequence[Standing]:
        """How each server stands that the models are behind."""
        ...


@dataclass(frozen=True, slots=True)
class Asking:
    """What models are opened for: how answers are read, what a chat model is told of their form, the unit of costs.

    `patience` is for serving: no server has to be there at the start, and a request to models whose servers are all
    dead fails after so many seconds. With None the servers are looked for first, and are waited for longer.
    """

    read: Callable[[str], str | None]
    instruction: str = ""
    unit: str = "flops"
    patience: float | None = None


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Models by name; no entries are the embedded models.

    Parameters
    ----------
    where
        Names the file they were read from.
    proxies
        Through what servers are asked, by scheme.
    """

    entries: Mapping[str, Entry]
    where: str = ""
    proxies: Mapping[str, str] = field(default_factory=dict)

    @property
    def embedded(self) -> bool:
        """Whether these are the models that come with autotts."""
        return not self.entries

    def drawing(self, names: Sequence[str] = ()) -> tuple[str, ...]:
        """The models that draw: those that were named, or all.

        Raises
        ------
        InputError
            When there is none of a name; it lists those that there are.
        """
        if self.embedded:
            from autotts.worlds.tiny import known

            return known(names)
        all_names = tuple(name for name, entry in self.entries.items() if entry.draws)
        for name in names:
            if name not in all_names:
                scores = " (it scores, and does not draw)" if name in self.entries else ""
                raise InputError(
                    f"unknown model {name!r}{scores}; expected some of {', '.join(all_names)} of {self.where}"
                )
        if not all_names:
            raise InputError(f"{self.where}: expected at least one model that draws, found models that score only")
        return tuple(names) or all_names

    @property
    def scoring(self) -> tuple[str, ...]:
        """The models that score."""
        if self.embedded:
            from autotts.worlds.tiny import SCORERS

            return SCORERS
        return tuple(name for name, entry in self.entries.items() if not entry.draws)

    def cards(self, names: Sequence[str]) -> dict[str, ModelCard]:
        """What each model's cost is computed from; nothing is loaded or asked."""
        if self.embedded:
            from autotts.worlds.tiny import cards

            return cards(names)
        return {name: self.entries[name].card for name in names}

    def described(self, name: str) -> dict[str, Any]:
        """How a model is asked, as a policy states it: all but where, and by what key."""
        if self.embedded:
            return {"engine": "tiny"}
        entry = self.entries[name]
        told = asdict(replace(entry, servers=(), card=ModelCard(name, ""), extra={}, scoring=None))
        out = {key: told[key] for key in ("engine", "served", "revision", "max_tokens", "context")}
        out |= {"template": told["template"], "thinking": told["thinking"], "extra": dict(entry.extra)}
        if entry.scoring is not None:
            out["scoring"] = {
                "kind": entry.scoring.kind,
                "shape": entry.scoring.shape,
                "reduce": entry.scoring.reduce,
                "options": dict(entry.scoring.options),
            }
        return out

    @contextmanager
    def opened(self, names: Sequence[str], scorers: Sequence[str], asking: Asking) -> Iterator[Bench]:
        """The world of some of the models."""
        with ExitStack() as stack:
            if self.embedded:
                from autotts.worlds.tiny import open_tiny

                yield stack.enter_context(open_tiny(names, scorers, read=asking.read, unit=asking.unit))
                return
            wanted = [self.entries[name] for name in (*names, *scorers)]
            worlds = [
                stack.enter_context(self._open(engine, {e.name: e for e in wanted if e.engine == engine}, asking))
                for engine in dict.fromkeys(entry.engine for entry in wanted)
            ]
            if len(worlds) == 1:
                yield worlds[0]
            else:
                from autotts.worlds.joined import Joined

                yield Joined(worlds)

    @contextmanager
    def _open(self, engine: str, entries: Mapping[str, Entry], asking: Asking) -> Iterator[Bench]:
        options: dict[str, Any] = {"read": asking.read, "instruction": asking.instruction, "unit": asking.unit}
        opening: AbstractContextManager[Bench]
        if engine == "openai":
            from autotts.worlds.openai.look import look
            from autotts.worlds.openai.world import open_openai
            from autotts.worlds.servers import Fleet
            from autotts.worlds.servers.limits import SERVED_AT_ONCE, serving

            known: dict[str, Any] = {"proxies": self.proxies}
            if asking.patience is not None:
                known["timeouts"], known["retries"] = serving(asking.patience)
                known["start"] = SERVED_AT_ONCE
            looking = partial(look, proxies=self.proxies) if asking.patience is None else None
            opening = open_openai(entries, **options, fleet=partial(Fleet, **known), looking=looking)
        elif engine == "vllm":
            from autotts.worlds.vllm import open_vllm

            opening = open_vllm(entries, **options)
        elif engine == "transformers":
            from autotts.worlds.transformers import open_transformers

            opening = open_transformers(entries, **options)
        else:
            raise InputError(
                f"the engine {engine!r} cannot be asked beside others: the embedded models are asked without a file of "
                "models"
            )
        with opening as world:
            yield world


EMBEDDED: Final = Catalogue({})


def named(models: Sequence[str]) -> tuple[str, ...]:
    """The names of models in a list of models and files of models."""
    return tuple(name for name in models if not name.endswith(FILE))


def catalogue(models: Sequence[str], environ: Mapping[str, str]) -> tuple[Catalogue, tuple[str, ...]]:
    """The catalogue that a list of models and files of models stands for, and the names among them.

    Parameters
    ----------
    models
        Names of models; one that ends in .toml is a file of models.
    environ
        Where the keys are that a file names by `key_env`.
    """
    files = [name for name in models if name.endswith(FILE)]
    names = named(models)
    if not files:
        return EMBEDDED, names
    if len(files) > 1:
        raise InputError(f"--models: expected one file of models, found {', '.join(files)}: write them into one file")
    from autotts.worlds.models.read import read_models

    return Catalogue(read_models(Path(files[0]), environ), files[0], proxies_of(environ)), names


def proxies_of(environ: Mapping[str, str]) -> dict[str, str]:
    """The proxies that an environment names, by scheme; hosts without one under "no". Names in small letters win.

    Examples
    --------
    >>> proxies_of({"HTTPS_PROXY": "http://a:3128", "https_proxy": "http://b:3128", "NO_PROXY": "localhost", "X": "y"})
    {'https': 'http://b:3128', 'no': 'localhost'}
    """
    ending = "_proxy"
    named = sorted((name, value) for name, value in environ.items() if name.lower().endswith(ending))
    found = {name.lower().removesuffix(ending): value for name, value in named}  # capitals sort before small letters
    return {scheme: value for scheme, value in found.items() if value}


def restated(
    roles: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]],
    servers: Sequence[Server],
    proxies: Mapping[str, str],
) -> Catalogue:
    """The catalogue that a policy states, asked at other addresses: by role its binding and its card."""
    entries = {}
    for name, (binding, card) in roles.items():
        try:
            scoring = binding.get("scoring")
            entries[name] = Entry(
                name=name,
                engine=str(binding["engine"]),
                served=str(binding["served"]),
                card=ModelCard.of(card),
                servers=tuple(servers),
                revision=str(binding["revision"]),
                template=Template(**binding["template"] | {"stop": tuple(binding["template"]["stop"])}),
                thinking=Thinking(**binding["thinking"]),
                scoring=None if scoring is None else Scoring(**scoring),
                max_tokens=int(binding["max_tokens"]),
                context=binding["context"],
                extra=dict(binding["extra"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"policy: models.{name}.binding: expected how a model is asked (engine, served, template, ...), found "
                f"something else ({error!r}); give --models FILE"
            ) from None
    return Catalogue(entries, "the policy", proxies)


def session(world: World) -> AbstractAsyncContextManager[Any]:
    """What must be entered in the event loop before a world answers, if it needs anything."""
    opener = getattr(world, "session", None)
    return nullcontext() if opener is None else opener()
