"""What a server can, found out by asking: a server may pass over a field in silence, so its behaviour is looked at.

The requests are small. What a missing capability switches off is said in words.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from autotts.core.world import Meter
from autotts.errors import InputError
from autotts.worlds.models.entry import Entry
from autotts.worlds.openai.forms import CHAT, TEXT, Form
from autotts.worlds.openai.sending import TRIAL, Sender, not_served
from autotts.worlds.openai.stream import Said
from autotts.worlds.openai.texts import THINK, THOUGHT
from autotts.worlds.servers import Fault, Fleet, Retries
from autotts.worlds.servers.fault import NONSENSE, REQUEST, SERVER

_ASKED: Final = "What is 17 + 25 * 3 + 8 * 4 - 31? Write out every step in words."
_RANDOM: Final = "Write twelve words that have nothing to do with each other."
_LONG: Final = "The quick brown fox jumps over the lazy dog. " * 24  # several blocks of any prefix cache
_MOST: Final = 24  # tokens of a whole answer here
_WASTE: Final = 512  # tokens of an answer that is left at its first
_LOOK, _LOOKS = 0.05, 100  # seconds between two looks at a server's counts, and how many
_TOOL: Final = {
    "type": "function",
    "function": {
        "name": "note",
        "description": "Write a number down.",
        "parameters": {"type": "object", "properties": {"number": {"type": "integer"}}, "required": ["number"]},
    },
}

# What is switched off where a capability is missing.
OFF: Final[Mapping[str, str]] = {
    "logprobs": "the signal mean_logprob",
    "n": "nothing: every draw is a request of its own",
    "seed": "draws that can be repeated: a study that is run again draws anew what was not stored",
    "continues": "steps, chunks, probes and nudges: strategies of whole draws only",
    "cancel": "savings of draws that are not needed any more: they run on at your cost",
    "usage": "exact counts: tokens are counted with the server's tokenizer, or estimated",
    "running_usage": "exact counts of cancelled draws: a token is counted for each chunk",
    "cached": "the lower price of cached prompts",
    "tokenize": "probes and nudges by token ids, and counts where the usage is missing",
    "tools": "nothing: no strategy uses tools",
    "pooling": "reward models on this server",
    "thinking": "nothing, unless the model should think",
    "stop_reason": "steps: the end of a step cannot be told from the end of an answer",
    "temperature": "temperatures: arms that differ in it only are the same",
}


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a server can for one model; None is not known. `continues` is "ids", "text", "message" or "none"."""

    logprobs: bool | None = None
    n: bool | None = None
    seed: bool | None = None
    continues: str = "none"
    cancel: bool | None = None
    usage: bool | None = None
    running_usage: bool | None = None
    cached: bool | None = None
    tokenize: bool | None = None
    tools: bool | None = None
    pooling: bool | None = None
    thinking: bool | None = None
    stop_reason: bool | None = None
    temperature: bool | None = None

    @property
    def missing(self) -> dict[str, str]:
        """What it cannot, and what that switches off; what is not known is not in it."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: OFF[name] for name, value in values.items() if value is False or value == "none"}


async def find_way(sender: Sender, entry: Entry) -> tuple[str, int, str]:
    """How a server goes on with a partial answer ("ids", "text", "message" or "none").

    Returns also the tokens that it took to find out, and what the server said to a way that it refused.
    """
    asking = _Asking(sender, entry)
    return await asking.way(), asking.spent, asking.why


async def probe(fleet: Fleet, entry: Entry) -> Capabilities:
    """Find out what the servers of an entry can, for a model that draws or one that scores; about 15 small requests.

    Raises
    ------
    InputError
        When the server refuses the key, does not serve the model, or does not answer in OpenAI's form.
    """
    asking = _Asking(Sender(fleet), entry)
    try:
        return await (asking.drawing() if entry.draws else asking.scoring())
    except Fault as fault:
        if fault.status == 404:
            raise await not_served(asking.sender, entry, fault) from None
        raise


async def lacking(fleet: Fleet, entry: Entry) -> tuple[list[str], int]:
    """What a model that draws lacks for steps and probes ("continues", "stop_reason"), and the tokens it took to ask.

    Raises
    ------
    InputError
        As `probe`.
    """
    asking = _Asking(Sender(fleet), entry)
    try:
        first = await asking.first()
        stops, continues = await asking.stops(first), await asking.going_on()
    except Fault as fault:
        if fault.status == 404:
            raise await not_served(asking.sender, entry, fault) from None
        raise
    missing = {"continues": continues == "none", "stop_reason": not stops}
    return [name for name, lacks in missing.items() if lacks], asking.spent


class _Asking:
    """Small requests to the servers of one entry; `spent` counts their tokens, `why` quotes the last refusal.

    What fails for good while the plainest request is answered is a thing that the server cannot do.
    """

    def __init__(self, sender: Sender, entry: Entry) -> None:
        self.sender = sender
        self.spent = 0
        self.why = ""
        self._entry = entry
        self._chat = entry.template.form == "chat"

    async def drawing(self) -> Capabilities:
        """Of a model that draws."""
        first = await self.first()
        again = [await self._say({"temperature": 1.0, "seed": seed}, asked=_RANDOM) for seed in (1, 1, 2)]
        texts = ["" if said is None else said.thought + said.text for said in again]
        stops, continues = await self.stops(first), await self.going_on()
        refused = self.sender.refused(self._entry)
        return Capabilities(
            logprobs=first.mean_logprob is not None,
            n=await self._several(),
            seed="seed" not in refused and texts[0] == texts[1],
            continues=continues,
            cancel=await self._cancels(),
            usage=first.usages > 0 and first.prompt is not None,
            running_usage=first.usages > 2,
            cached=await self._caches(),
            tokenize=await self._tokenizes(),
            tools=await self._tools(),
            thinking=bool(first.thought) or THOUGHT in first.text or THINK in first.text,
            stop_reason=stops,
            temperature=False if "temperature" in refused else (True if texts[0] != texts[2] else None),
        )

    async def first(self) -> Said:
        """A greedy completion, with log-probabilities if they are to be had."""
        return await self._say({"temperature": 0.0, "logprobs": True}) or await self._plain()

    async def stops(self, first: Said) -> bool:
        """Whether it says which stop string ended a completion."""
        words = _halves(first.text)[1].split()
        stop = words[0] if words else ","
        said = await self._say({"temperature": 0.0, "stop": [stop]})
        return said is not None and said.stop == stop

    async def going_on(self) -> str:
        """How a partial answer is gone on with: as the entry says, or as it is found to be possible."""
        stated = self._entry.template.continues
        return await self.way() if stated == "auto" else stated

    async def scoring(self) -> Capabilities:
        """Of a model that scores."""
        scoring = self._entry.scoring
        if scoring is not None and scoring.kind == "judge":
            return await self.drawing()
        return Capabilities(tokenize=await self._tokenizes(), pooling=await self._pools())

    # ------------------------------------------------------------------ going on with a partial answer

    async def way(self) -> str:
        """A greedy answer is compared with the same in two pieces; the way that is closest to exact comes first."""
        whole = await self._say({"temperature": 0.0, "return_token_ids": True}) or await self._plain()
        if await self._by_ids(whole):
            return "ids"
        head, tail = _halves(whole.text)
        if not tail:
            return "none"
        if not self._chat:
            rest = await self._say({"temperature": 0.0, "prompt": _ASKED + head})
            return "text" if rest is not None and _agree(rest.text, tail) else "none"
        asked = [{"role": "user", "content": _ASKED}, {"role": "assistant", "content": head}]
        fields = {"messages": asked, "continue_final_message": True, "add_generation_prompt": False}
        rest = await self._say({"temperature": 0.0} | fields)
        return "message" if rest is not None and _agree(rest.text, tail) else "none"

    async def _by_ids(self, whole: Said) -> bool:
        """Whether token ids are gone on from: the server counts them as the prompt, and says what comes next."""
        if not whole.ids or not whole.prompt_ids:
            return False
        half = len(whole.ids) // 2
        sent = [*whole.prompt_ids, *whole.ids[:half]]
        rest = await self._say({"temperature": 0.0, "prompt": sent, "return_token_ids": True})
        if rest is None or rest.ids is None or rest.prompt != len(sent):
            return False
        left = whole.ids[half:]
        return rest.ids[: min(4, len(left))] == left[:4]

    # ------------------------------------------------------------------ the rest

    async def _several(self) -> bool:
        answer = await self._ask({"n": 2, "max_tokens": 2})
        return answer is not None and len(answer["choices"]) == 2

    async def _cancels(self) -> bool | None:
        """Whether a stream that is left is generated no further: by the server's own count, where nobody else asks."""
        before = await self.sender.generated(self._entry)
        if before is None or before[1]:
            return None
        waste = min(_WASTE, (self._entry.context or 2 * _WASTE) // 2)
        try:
            fields = {"max_tokens": waste, "ignore_eos": True}
            await self.sender.hang_up(self._entry, self._form(fields, _ASKED))
        except Fault:
            return None
        for _ in range(_LOOKS):
            after = await self.sender.generated(self._entry)
            if after is None:
                return None
            if not after[1]:
                return after[0] - before[0] < waste
            await asyncio.sleep(_LOOK)
        return None

    async def _caches(self) -> bool:
        """Whether it says that a prompt which it has just read was cached."""
        answer = None
        for _ in range(2):
            answer = await self._ask({"max_tokens": 1}, asked=_LONG)
        details = ((answer or {}).get("usage") or {}).get("prompt_tokens_details")
        return isinstance(details, Mapping) and bool(details.get("cached_tokens"))

    async def _tokenizes(self) -> bool:
        return await self.sender.ids(self._entry, {"model": self._entry.served, "prompt": _ASKED}) is not None

    async def _tools(self) -> bool:
        if not self._chat:
            return False
        choice = {"type": "function", "function": {"name": "note"}}
        answer = await self._ask({"max_tokens": 32, "tools": [_TOOL], "tool_choice": choice})
        message = answer["choices"][0].get("message") if answer is not None else None
        return isinstance(message, Mapping) and bool(message.get("tool_calls"))

    async def _pools(self) -> bool:
        form = {"model": self._entry.served, "input": "1 + 1 = 2"}
        for path in ("../pooling", "../classify"):
            try:
                answer = await self.sender.ask(self._entry, path, form, retries=TRIAL)
            except Fault as fault:
                if fault.kind not in (REQUEST, SERVER):
                    raise
            else:
                return bool(answer.get("data"))
        return False

    # ------------------------------------------------------------------ requests

    async def _say(self, fields: Mapping[str, Any], *, asked: str = _ASKED) -> Said | None:
        """A small streamed completion; None where the server cannot do it."""
        try:
            return await self._draw(fields, asked, TRIAL)
        except Fault as fault:
            await self._refused(fault)
            return None

    async def _plain(self) -> Said:
        """The plainest completion, which every server must answer."""
        try:
            return await self._draw({"temperature": 0.0}, _ASKED, None)
        except Fault as fault:
            if fault.kind in (REQUEST, NONSENSE) and fault.status != 404:
                raise InputError(
                    f"model {self._entry.name!r}: its server refuses the plainest completion in OpenAI's form: {fault}"
                ) from None
            raise

    async def _refused(self, fault: Fault) -> None:
        """Nothing where a fault says what a server cannot do; it is raised where it says that nothing works."""
        if fault.status == 404:
            raise fault
        if fault.kind not in (REQUEST, NONSENSE):
            await self._plain()
        self.why = str(fault)

    async def _draw(self, fields: Mapping[str, Any], asked: str, retries: Retries | None) -> Said:
        form, meter, prompt = self._form({"seed": 1, **fields}, asked), Meter(), len(asked)
        try:
            said, _ = await self.sender.draw(self._entry, form, meter, most=_MOST + prompt, retries=retries)
            prompt = said.prompt or prompt
            return said
        finally:
            self.spent += meter.calls * prompt + meter.lost + meter.generated

    def _form(self, fields: Mapping[str, Any], asked: str) -> Form:
        entry = self._entry
        body: dict[str, Any] = {"model": entry.served, "max_tokens": _MOST, "stream": True, **fields}
        body["stream_options"] = {"include_usage": True, "continuous_usage_stats": True}
        chat = self._chat and "prompt" not in fields
        if chat:
            body.setdefault("messages", [{"role": "user", "content": asked}])
            if entry.thinking.enabled is not None:
                body["chat_template_kwargs"] = {"enable_thinking": entry.thinking.enabled}
        else:
            body.setdefault("prompt", asked)
            if "logprobs" in body:
                body["logprobs"] = 1
        return Form(CHAT if chat else TEXT, body, "")

    async def _ask(self, fields: Mapping[str, Any], *, asked: str = _ASKED) -> dict[str, Any] | None:
        """A small completion in one piece; None where the server cannot do it."""
        entry, path = self._entry, CHAT if self._chat else TEXT
        put: dict[str, Any] = {"messages": [{"role": "user", "content": asked}]} if self._chat else {"prompt": asked}
        try:
            return await self.sender.ask(entry, path, {"model": entry.served, **put, **fields}, retries=TRIAL)
        except Fault as fault:
            await self._refused(fault)
            return None


def _halves(text: str) -> tuple[str, str]:
    """A text cut between two words; the second half is empty where there are not two."""
    at = text.find(" ", len(text) // 2)
    at = at if at > 0 else text.rfind(" ")
    return (text[:at], text[at:]) if at > 0 else (text, "")


def _agree(rest: str, tail: str) -> bool:
    """Whether a text goes on as the whole one did; it may end later."""
    rest, tail = rest.strip(), tail.strip()
    return bool(rest) and bool(tail) and (rest.startswith(tail) or tail.startswith(rest))
