"""Requests on their way: attempts at the servers of an entry, what they cost when they fail, what is asked instead."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, TypeVar

from autotts.core.world import Meter
from autotts.errors import BackendError, InputError
from autotts.worlds.models.entry import Entry
from autotts.worlds.openai.forms import CHAT, TEXT, Form, pieces
from autotts.worlds.openai.refusals import overflow, refused_field, same_model, without
from autotts.worlds.openai.stream import MOST_TOKENS, Assembly, Said
from autotts.worlds.servers import Fault, Fleet, Line, Retries
from autotts.worlds.servers.fault import NONSENSE, REQUEST, RESET, SERVER, TIMEOUT

T = TypeVar("T")

TOKENIZE: Final = "../tokenize"
TRIAL: Final = Retries(first=0.05, longest=0.5, spare=1 << 30, blames=False)  # of what a server may not be able to do
_TRIAL_LASTS: Final = 60.0  # seconds
_METRIC: Final = re.compile(r"^vllm:(generation_tokens_total|num_requests_running)(?:\{[^}]*\})? ([0-9.eE+]+)$", re.M)
_CHANGES: Final = 10  # of one request, by what its server refuses
_BEGUN: Final = frozenset((NONSENSE, RESET, TIMEOUT))  # the server may have worked on what it did not answer


class Sender:
    """Sends the requests of a session and remembers what each server refuses."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet: Final = fleet
        self._refused: dict[tuple[str, str], tuple[str, ...]] = {}
        self._listed: dict[str, Mapping[str, str]] = {}
        self._mute: set[str] = set()  # servers without a tokenizer
        self._chunk: dict[tuple[str, str], int] = {}  # tokens of a chunk, at most, in the stream that ended last

    def refused(self, entry: Entry) -> frozenset[str]:
        """Fields that the servers of an entry have refused so far."""
        own = [self.refused_by((server.url, entry.served)) for server in entry.servers]
        return frozenset(field for fields in own for field in fields)

    def refused_by(self, key: tuple[str, str]) -> tuple[str, ...]:
        """Fields that a server (its address, and the model's name there) has refused so far."""
        return self._refused.get(key, ())

    def remember(self, key: tuple[str, str], fields: Iterable[str]) -> None:
        """Remember that a server refuses fields: it has answered the same request without them.

        Its words alone do not show it, since they may quote what somebody wrote into a request.
        """
        known = self._refused.get(key, ())
        self._refused[key] = (*known, *(field for field in fields if field not in known))

    # ------------------------------------------------------------------ draws

    async def draw(
        self, entry: Entry, form: Form, meter: Meter, *, most: int, retries: Retries | None = None
    ) -> tuple[Said, float]:
        """One completion and the seconds that it took; `most` bounds its tokens, the prompt's included.

        Raises
        ------
        Fault
            When the draw failed, and the servers may be well.
        """

        async def attempt(line: Line) -> tuple[Said, float]:
            key = line.server.url, entry.served
            body, refused = without(form.body, self.refused_by(key)), list[str]()
            for _ in range(_CHANGES):
                meter.begin()
                assembly, since = Assembly(meter, self._chunk.get(key, 1)), asyncio.get_running_loop().time()
                try:
                    said = await _within(retries, self._stream(line, entry, form.path, body, assembly))
                    break
                except Fault as fault:
                    _lose(meter, assembly, fault)
                    instead, field = _instead(body, fault)
                    if instead is None:
                        raise
                    body, refused = instead, refused + ([field] if field else [])
                except InputError:
                    meter.refused()
                    raise
                finally:
                    if assembly.chunks:
                        self.remember(key, refused)
            seconds = asyncio.get_running_loop().time() - since
            if said.estimated or said.prompt is None:
                said = await self._count(line, entry, form, said, meter)
            self._chunk[key] = assembly.largest
            line.settle((said.prompt or 0) + said.made)
            return said, seconds

        what = f"model {entry.name!r}"
        return await self.fleet.call(entry.servers, attempt, tokens=most, what=what, retries=retries)

    async def _stream(self, line: Line, entry: Entry, path: str, body: Mapping[str, Any], assembly: Assembly) -> Said:
        feed = assembly.feed
        async with line.stream(path, body) as chunks:
            try:
                async for payload in chunks:
                    feed(payload)
                    if assembly.chunks == 1 and assembly.model != entry.served:
                        await self._check_model(line, entry, assembly.model)
            except (Fault, asyncio.CancelledError) as error:
                if isinstance(error, Fault) and assembly.complete:
                    return assembly.said()  # what comes after the usage does not matter
                if isinstance(error, asyncio.CancelledError):
                    assembly.leave()
                for payload in await chunks.leave():  # it was made, so it is counted
                    with suppress(Fault):
                        feed(payload)
                raise
        return assembly.said()

    # ------------------------------------------------------------------ whole answers

    async def ask(
        self,
        entry: Entry,
        path: str,
        form: Mapping[str, Any],
        *,
        meter: Meter | None = None,
        retries: Retries | None = None,
    ) -> dict[str, Any]:
        """One JSON answer; each attempt is counted in the meter, if one is given and a model is asked."""
        meter = None if path == TOKENIZE else meter
        may = int(form.get("max_tokens") or 0)

        async def attempt(line: Line) -> dict[str, Any]:
            if meter is not None:
                meter.begin()
            try:
                answer = await _within(retries, line.post(path, form))
                told = answer.get("model")
                if isinstance(told, str) and told != entry.served:
                    await self._check_model(line, entry, told)
                _check_whole(path, form, answer)
                return answer
            except Fault as fault:
                if meter is not None and fault.kind in _BEGUN:
                    meter.lost += may  # nobody says how far it came
                elif meter is not None:
                    meter.refused()
                raise
            except InputError:
                if meter is not None:
                    meter.refused()
                raise

        what, most = f"model {entry.name!r}", len(str(form)) + may
        return await self.fleet.call(entry.servers, attempt, tokens=most, what=what, retries=retries)

    async def ids(self, entry: Entry, form: Mapping[str, Any]) -> tuple[int, ...] | None:
        """The token ids of what a form holds; None where no server of the entry tells."""
        try:
            answer = await self.ask(entry, TOKENIZE, form, retries=TRIAL)
        except Fault as fault:
            if fault.kind in (REQUEST, SERVER):
                return None
            raise
        ids = answer.get("tokens")
        return tuple(ids) if isinstance(ids, list) and all(type(one) is int for one in ids) else None

    async def listed(self, entry: Entry) -> Mapping[str, str]:
        """What the servers of an entry list: names, and what each stands for."""

        async def attempt(line: Line) -> Mapping[str, str]:
            return await self._list(line)

        return await self.fleet.call(entry.servers, attempt, tokens=0, what=f"model {entry.name!r}")

    async def generated(self, entry: Entry) -> tuple[float, float] | None:
        """Tokens that the first server of an entry has generated, and its requests now; None where it does not tell."""

        async def attempt(line: Line) -> str:
            return await line.text("../metrics")

        try:
            words = await self.fleet.call(entry.servers[:1], attempt, tokens=0, what=f"model {entry.name!r}")
        except Fault:
            return None
        found: dict[str, list[float]] = {}
        for name, value in _METRIC.findall(words):
            found.setdefault(name, []).append(float(value))
        if "generation_tokens_total" not in found:
            return None
        return sum(found["generation_tokens_total"]), sum(found.get("num_requests_running", [0.0]))

    async def hang_up(self, entry: Entry, form: Form) -> None:
        """Leave the stream of the first server of an entry at its first text."""

        async def attempt(line: Line) -> None:
            assembly = Assembly(Meter())
            async with line.stream(form.path, form.body) as chunks:
                async for payload in chunks:
                    assembly.feed(payload)
                    if assembly.made:
                        return

        await self.fleet.call(entry.servers[:1], attempt, tokens=form.body["max_tokens"], what=f"model {entry.name!r}")

    async def _list(self, line: Line) -> Mapping[str, str]:
        url = line.server.url
        if url not in self._listed:
            self._listed[url] = listing(await line.get("/models"))
        return self._listed[url]

    async def _check_model(self, line: Line, entry: Entry, told: str | None) -> None:
        """A `Fault` where an answer is that of another model."""
        if told is None or same_model(entry.served, told, {}):
            return
        try:
            listed = await self._list(line)
        except Fault:
            listed = {}
        if not same_model(entry.served, told, listed):
            raise Fault(f"expected the answer of model {entry.served!r}, found that of {told!r}", kind=NONSENSE)

    # ------------------------------------------------------------------ counts that the server does not give

    async def _count(self, line: Line, entry: Entry, form: Form, said: Said, meter: Meter) -> Said:
        """Count with the server's tokenizer; where it has none, what is known stays an estimate."""
        prompt, made = said.prompt, said.made
        if said.estimated:
            counted = await self._tokens(line, pieces(entry, said.thought + said.text))
            if counted is not None:
                meter.generated += counted - made
                made, said = counted, replace(said, made=counted, estimated=False)
        if prompt is None:
            if "messages" in form.body:
                fields = (
                    "model",
                    "messages",
                    "chat_template_kwargs",
                    "add_generation_prompt",
                    "continue_final_message",
                )
                asked = {name: form.body[name] for name in fields if name in form.body}
                prompt = await self._tokens(line, asked)
            elif form.ids is not None:
                prompt = len(form.ids)
            else:
                prompt = await self._tokens(line, {"model": entry.served, "prompt": form.body["prompt"]})
            meter.prompt = prompt
        return replace(said, prompt=prompt, estimated=said.estimated or prompt is None)

    async def _tokens(self, line: Line, form: Mapping[str, Any]) -> int | None:
        url = line.server.url
        if url in self._mute:
            return None
        try:
            count = (await line.post(TOKENIZE, form)).get("count")
        except Fault as fault:
            if fault.kind == REQUEST:
                self._mute.add(url)
            return None
        return count if type(count) is int and 0 <= count <= MOST_TOKENS else None


def _instead(body: Mapping[str, Any], fault: Fault) -> tuple[dict[str, Any] | None, str]:
    """What to ask where a request was refused, None where nothing would be better; and the field that was left out."""
    if fault.kind != REQUEST:
        return None, ""
    over = overflow(fault.said)
    if over is not None:
        name = "max_tokens" if "max_tokens" in body else "max_completion_tokens"
        room = over.room(body[name])
        return ({**body, name: room} if room > 0 else None), ""
    field = refused_field(fault.said, body)
    return (None, "") if field is None else (without(body, (field,)), field)


def listing(answer: Mapping[str, Any]) -> dict[str, str]:
    """What a server lists: names, and what each stands for (its root)."""
    data = answer.get("data")
    models = [one for one in data if isinstance(one, dict)] if isinstance(data, list) else []
    return {str(one.get("id")): str(one.get("root") or one.get("id")) for one in models}


async def not_served(sender: Sender, entry: Entry, fault: Fault) -> InputError:
    """What to say where a server knows no such model or no such address: what it lists."""
    try:
        listed = ", ".join(sorted(await sender.listed(entry))[:20]) or "nothing"
    except (Fault, BackendError):
        return InputError(f"{fault}; is the address that of a server in OpenAI's form, up to the version (/v1)?")
    return InputError(f"model {entry.name!r}: {fault}; the server lists {listed}: give `model` one of these names")


async def _within(retries: Retries | None, work: Coroutine[Any, Any, T]) -> T:
    """What a server may not be able to do ends sooner than work that it does."""
    try:
        async with asyncio.timeout(None if retries is None else _TRIAL_LASTS):
            return await work
    except TimeoutError:
        raise Fault(f"expected an answer within {_TRIAL_LASTS:g} s, found none", kind=TIMEOUT, again=False) from None


def _lose(meter: Meter, assembly: Assembly, fault: Fault) -> None:
    """An attempt came to nothing: what it had generated is lost, or it never began."""
    if assembly.chunks or fault.kind in _BEGUN:
        meter.lost += assembly.made + meter.ahead
    else:
        meter.refused()
    meter.generated = meter.ahead = 0


def _check_whole(path: str, form: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
    """A `Fault` where an answer has not what was asked for."""
    if path in (CHAT, TEXT):
        choices, asked = answer.get("choices"), form.get("n")
        found = len(choices) if isinstance(choices, list) else 0
        if found != 1 and not 1 <= found <= (asked or 1):
            raise Fault(f"expected an answer with {asked or 1} choices, found {found}", kind=NONSENSE, status=200)
