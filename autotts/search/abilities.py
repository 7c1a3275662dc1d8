"""Whether models can be asked where they are declared, how quickly they answer, and what their servers can."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from autotts.core.strategy import Role, knobs
from autotts.errors import AutottsError, BackendError, InputError
from autotts.search.timing import IMPATIENT, SOON, Timed, alone, brief, opened_alone, scored, timed
from autotts.strategies import STRATEGIES
from autotts.worlds.catalogue import session
from autotts.worlds.models.entry import Entry
from autotts.worlds.openai.capabilities import OFF, Capabilities, lacking, probe
from autotts.worlds.servers import Fault, Fleet
from autotts.worlds.servers.address import address_of

ANSWERS, DOWN, WRONG = "answers", "down", "wrong"

_ASKED: Final = "What is 17 + 25 * 3 + 8 * 4? Work it out step by step."
_ANSWERED: Final = "First, 25 * 3 = 75 and 8 * 4 = 32.\n\nThen 17 + 75 + 32 = 124.\n\nThe answer is \\boxed{124}."
_TOKENS: Final = 64  # of the draw that tells how quickly it answers

# What engines in this process can; they are not asked.
_INSIDE: Final[Mapping[str, Capabilities]] = {
    "vllm": Capabilities(
        seed=True,
        continues="ids",
        cancel=True,
        usage=True,
        running_usage=True,
        cached=True,
        tokenize=True,
        stop_reason=True,
        temperature=True,
    ),
    "transformers": Capabilities(
        logprobs=True,
        seed=True,
        continues="ids",
        cancel=True,
        usage=True,
        running_usage=True,
        cached=False,
        tokenize=True,
        stop_reason=True,
        temperature=True,
    ),
}
_SCORERS_OWN: Final = ("tokenize", "pooling")  # what is of interest of a scorer's server
# Strategies that need what not every server can.
_STEPS: Final = ("beam", "dvts")
_PROBES: Final = ("cut", "staged")
_SCORING: Final = tuple(
    name
    for name, kind in STRATEGIES.items()
    if any(isinstance(knob.domain, Role) and knob.domain.kind == "scorer" for knob in knobs(kind).values())
)
_OFF: Final[Mapping[str, tuple[str, ...]]] = {
    "continues": (*_STEPS, *_PROBES),
    "stop_reason": _STEPS,
    "pooling": _SCORING,
}


_LACKS: Final[Mapping[str, str]] = {
    "continues": "a way to go on with a partial answer",
    "stop_reason": "word of what ended a completion, so that steps cannot be told from answers",
}


@dataclass(frozen=True, slots=True)
class Checked:
    """How one server of a model did.

    Parameters
    ----------
    state
        "answers", "down" (it cannot be reached, or does not work) or "wrong" (it refuses what the file says).
    problem
        Why, where it does not answer.
    first, rate
        Seconds to the first token and tokens a second after it, of one draw; None of a scorer.
    score
        Of a scorer: what it gave to a right answer.
    can
        What the server can; None where it does not answer.
    """

    model: str
    engine: str
    draws: bool
    where: str
    state: str
    problem: str = ""
    first: float | None = None
    rate: float | None = None
    score: float | None = None
    can: Capabilities | None = None

    @property
    def off(self) -> dict[str, str]:
        """What it cannot, and what that switches off, with the names of strategies."""
        if self.can is None or not self.draws:
            return {}  # that a scorer's server can do what it needs is seen from its score
        return {name: switched_off(name) for name in self.can.missing}

    def as_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        can = None
        if self.can is not None:
            known = [name for name in OFF if self.draws or name in _SCORERS_OWN]
            can = {name: getattr(self.can, name) for name in known}
        return {
            "model": self.model,
            "engine": self.engine,
            "role": "draws" if self.draws else "scores",
            "where": self.where,
            "state": self.state,
            "problem": self.problem,
            "first_s": self.first,
            "tokens_per_s": self.rate,
            "score": self.score,
            "can": can,
            "off": self.off,
        }


def switched_off(ability: str) -> str:
    """What is switched off where an ability is missing."""
    strategies = _OFF.get(ability, ())
    return OFF[ability] + (f" ({', '.join(strategies)})" if strategies else "")


def left_out(missing: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Strategies that cannot be run where models lack abilities (`missing`, by model), and why."""
    out: dict[str, str] = {}
    for model, abilities in missing.items():
        for ability in abilities:
            for strategy in _OFF.get(ability, ()):
                out.setdefault(strategy, f"the server of {model} lacks {_LACKS[ability]}")
    return out


def where_of(entry: Entry) -> tuple[str, ...]:
    """Where a model answers: its servers without secrets, or this process."""
    return tuple(address_of(server).shown for server in entry.servers) or ("this process",)


async def check(entry: Entry) -> list[Checked]:
    """Check a model: each of its servers by itself. What fails is told in its row."""
    if not entry.servers:
        return [await _checked(entry, "this process")]
    return [await _checked(alone(entry, i), where) for i, where in enumerate(where_of(entry))]


async def check_all(entries: Sequence[Entry], tell: Callable[[int, int], None]) -> list[Checked]:
    """Check models one after another, so that none is slowed by another's requests."""
    rows: list[Checked] = []
    for i, entry in enumerate(entries):
        tell(i, len(entries))
        rows += await check(entry)
    return rows


async def _checked(entry: Entry, where: str) -> Checked:
    row = Checked(entry.name, entry.engine, entry.draws, where, ANSWERS)
    try:
        if entry.draws:
            found = await _first(entry)
            row = replace(row, first=found.first, rate=found.rate)
        else:
            row = replace(row, score=await _score(entry))
        return replace(row, can=await _abilities(entry))
    except (BackendError, Fault) as error:
        return replace(row, state=DOWN, problem=brief(error))
    except AutottsError as error:
        return replace(row, state=WRONG, problem=str(error))


async def _first(entry: Entry) -> Timed:
    """The first, cheap draw."""
    with opened_alone(replace(entry, max_tokens=min(entry.max_tokens, _TOKENS))) as world:
        async with session(world):
            return await timed(world, entry.name, _ASKED)


async def _score(entry: Entry) -> float:
    """What a scorer gives to a right answer."""
    if entry.servers:
        await _listed(entry)
    with opened_alone(entry) as world:
        async with session(world):
            value, _, _ = await scored(world, entry.name, _ASKED, _ANSWERED)
    return value


async def _listed(entry: Entry) -> None:
    """See that a server is there, takes the key and lists the model: a score that fails does not say why."""
    from autotts.worlds.openai.sending import Sender

    async with Fleet(retries=IMPATIENT, timeouts=SOON) as fleet:
        try:
            listed = await Sender(fleet).listed(entry)
        except Fault as fault:
            if fault.status == 404:
                raise InputError(
                    f"model {entry.name!r}: {fault}; is the address that of a server in OpenAI's form, up to the "
                    "version (/v1)?"
                ) from None
            raise
    if listed and entry.served not in listed:
        raise InputError(
            f"model {entry.name!r}: expected its server to have {entry.served!r}, found that it lists "
            f"{', '.join(sorted(listed)[:20])}: give `model` one of these names"
        )


async def lacks(entry: Entry, proxies: Mapping[str, str]) -> tuple[list[str], int]:
    """What a model that draws lacks for steps and probes, and the tokens that it took to ask its servers."""
    if entry.engine in _INSIDE:
        return [], 0
    async with Fleet(retries=IMPATIENT, timeouts=SOON, proxies=proxies) as fleet:
        return await lacking(fleet, entry)


async def _abilities(entry: Entry) -> Capabilities:
    if entry.engine in _INSIDE:
        can = _INSIDE[entry.engine]
        return replace(can, logprobs=bool(entry.extra.get("logprobs"))) if entry.engine == "vllm" else can
    async with Fleet(retries=IMPATIENT, timeouts=SOON) as fleet:
        return await probe(fleet, entry)


def failed(rows: Sequence[Checked]) -> int:
    """The exit code of what was found: 0, 4 where a server is down, 2 where one refuses what the file says."""
    states = {row.state for row in rows}
    if DOWN in states:
        return BackendError.exit_code
    return InputError.exit_code if WRONG in states else 0
