"""Models that run in this process as a world.

They are asked for completions of token ids as a server would be, so that a path means the same behind a server and
here. An engine only has to go on from ids (`Line.complete`); `open_transformers` and `open_vllm` bring theirs. A model
goes on from its own ids exactly, and from the text of another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Protocol

from autotts.core.cost import ModelCard, Usage
from autotts.core.node import Node
from autotts.core.plan import Blend, Draw, Score
from autotts.core.world import Binding, Meter, Reply, Request
from autotts.errors import InputError, PlanError
from autotts.worlds.context import NOTHING, Context, bare, root_of
from autotts.worlds.models.entry import Entry
from autotts.worlds.openai.forms import Wish, check, form, lead_of, name_of
from autotts.worlds.openai.nodes import failed_node, node_of
from autotts.worlds.openai.stream import Said
from autotts.worlds.openai.texts import Partial, messages, plain, said_of, spoken
from autotts.worlds.scoring import Asks, Text, mark
from autotts.worlds.servers.site import Standing

STRETCH: Final = 4  # tokens of one model that a token of another's text takes, at most
PLACES: Final = ("device", "width")  # settings of an engine that change no draw
_BEFORE: Final = 8  # tokens that decide how the first of what stands after them is written


@dataclass(frozen=True, slots=True)
class Asked:
    """One completion: the ids to go on from, and how.

    `limit` is the most new tokens. Any of `stops` ends it; they are looked for in the new text only. All randomness is
    `seed` (63 bits).
    """

    ids: tuple[int, ...]
    limit: int
    seed: int
    temperature: float
    top_p: float
    stops: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Made:
    """What came of it: all new tokens, an end token included.

    `finish` is "end" (an end token), "stop" or "length"; `stop` is the stop string. `logprob` is the sum of the
    tokens' log-probabilities at temperature 1, where it was asked for. `cached` tokens of the prompt were not computed.
    """

    ids: tuple[int, ...]
    finish: str
    stop: str | None
    logprob: float | None
    cached: int = 0


class Words:
    """A tokenizer of transformers, and the template of the model it belongs to."""

    def __init__(self, tokenizer: Any, entry: Entry, instruction: str) -> None:
        self._tokenizer = tokenizer
        self._entry = entry
        self._instruction = instruction
        self.prompt = lru_cache(maxsize=4096)(self._prompt)

    def _prompt(self, prompt: str) -> tuple[int, ...]:
        """The ids of a prompt, ready to be answered; a model without a chat template is given a text."""
        entry, thinking = self._entry, self._entry.thinking
        if entry.template.form == "text" or not getattr(self._tokenizer, "chat_template", None):
            return tuple(self._tokenizer(plain(entry, Partial(prompt), self._instruction))["input_ids"])
        more: dict[str, Any] = {}
        if thinking.enabled is not None:
            more["enable_thinking"] = thinking.enabled
        if thinking.effort is not None:
            more["reasoning_effort"] = thinking.effort
        asked = messages(entry, Partial(prompt), self._instruction)
        return self.encode(
            self._tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True, **more)
        )

    def encode(self, text: str) -> tuple[int, ...]:
        """The ids of a piece of text, with nothing before and after it."""
        return tuple(self._tokenizer(text, add_special_tokens=False)["input_ids"]) if text else ()

    def decode(self, before: Sequence[int], ids: Sequence[int]) -> str:
        """The text of ids that stand after others; special tokens have none."""
        head = list(before[-_BEFORE:])
        known = self._tokenizer.decode(head, skip_special_tokens=True)
        whole: str = self._tokenizer.decode([*head, *ids], skip_special_tokens=True)
        return whole[len(known) :]


class Line(Protocol):
    """One model that answers in this process."""

    @property
    def words(self) -> Words:
        """Its tokenizer."""
        ...

    @property
    def context(self) -> int:
        """Tokens that fit into it, prompt and answer together."""
        ...

    async def complete(self, asked: Asked, meter: Meter) -> Made:
        """Go on from ids; tokens are counted as they come, and cancelling the call frees the place in the batch.

        At a cancellation the meter, with what it says is `ahead`, is no less than what was generated.
        """
        ...


class Local:
    """The world.

    Parameters
    ----------
    entries
        By role.
    lines, marking
        What answers the roles that draw, and those that score.

    Attributes
    ----------
    models, scorers
        Roles that draw, and roles that score.
    cards, bindings
        Each role's card and binding.
    """

    def __init__(
        self,
        entries: Mapping[str, Entry],
        lines: Mapping[str, Line],
        marking: Mapping[str, Asks],
        *,
        read: Callable[[str], str | None],
        instruction: str,
        unit: str,
    ) -> None:
        self.models = tuple(lines)
        self.scorers = tuple(marking)
        self.cards: dict[str, ModelCard] = {role: entry.card for role, entry in entries.items()}
        self.bindings: Mapping[str, Binding] = {
            role: _binding(entry, instruction, unit) for role, entry in entries.items()
        }
        self._entries = dict(entries)
        self._lines = dict(lines)
        self._marking = dict(marking)
        self._read = read
        self._instruction = instruction

    def root(self, prompt: str, context: Context = NOTHING) -> tuple[Node, dict[str, Any]]:
        """The node of a prompt and its state; an `InputError` where a model has no room for it.

        Of what is said beside it, these models heed a limit of tokens and stop strings. Its tokens are those of the
        model that takes most, with what a probe adds.
        """
        context = bare(context, "models in this process", most=True, stops=True)
        most = 0
        for role, line in self._lines.items():
            count = len(line.words.prompt(prompt))
            if count >= line.context:
                raise InputError(
                    f"the prompt {prompt[:40]!r}... takes {count} tokens of model {role!r}, which has room for "
                    f"{line.context} with the answer: shorten the prompt by {count - line.context + 1} tokens or more, "
                    "or leave the model out"
                )
            most = max(most, count + len(line.words.encode(self._entries[role].template.probe)))
        return root_of(prompt, most, context), Partial.root(prompt, context).asked()

    async def look(self) -> dict[str, str]:
        """Why each role cannot be asked now: never, since they are in this process."""
        return dict.fromkeys(self.bindings, "")

    def standings(self) -> tuple[Standing, ...]:
        """None: there are no servers."""
        return ()

    async def answer(self, order: Request, states: tuple[Any, ...], meter: Meter) -> Reply:
        """Answer one order."""
        ask = order.ask
        if type(ask) is Blend:
            raise PlanError("models in this process cannot blend: they go on from one text at a time")
        if type(ask) is Score:
            return await self._score(order, ask, Partial.of(states[0]))
        return await self._draw(order, ask, states[0], meter)

    async def _draw(self, order: Request, ask: Draw, state: Mapping[str, Any], meter: Meter) -> Reply:
        entry, line, spec = self._entries[ask.spec.model], self._lines[ask.spec.model], ask.spec
        check(entry, spec)
        partial, depth = Partial.of(state), ask.node.depth + 1
        ids = self._ids(entry, line.words, partial) + line.words.encode(lead_of(entry, partial, spec))
        most = min(entry.max_tokens, partial.context.most or entry.max_tokens)
        room = min(most - partial.made, line.context - len(ids))
        if room <= 0:
            why = f"no room: {partial.made} of {most} tokens are made, {len(ids)} of {line.context} in all"
            node, state = failed_node(partial, why, key=order.key, depth=depth, signals={})
            return Reply(node, Usage(), 0.0, state)
        seed = _seed(order)
        wish = Wish(entry, partial, spec, self._instruction, seed, room, way="ids", ids=ids, keep_ids=True)
        sent = form(wish)
        body = sent.body
        stops = tuple(body.get("stop", ()))
        asked = Asked(ids, body["max_tokens"], seed, body["temperature"], body["top_p"], stops)
        made = await line.complete(asked, meter)
        said = _said(line.words, asked, made, whole_stop=body.get("include_stop_str_in_output", False))
        node, later = node_of(wish, sent, said, key=order.key, depth=depth, read=self._read)
        usage = Usage(len(ids) - made.cached, made.cached, len(made.ids), calls=1)
        return Reply(node, usage, 0.0, later)

    def _ids(self, entry: Entry, words: Words, partial: Partial) -> tuple[int, ...]:
        """The path so far as the model reads it: its own ids, or the text of whoever wrote it."""
        if partial.ids is not None and partial.by == entry.name:
            return partial.ids
        return words.prompt(partial.prompt) + words.encode(said_of(partial))

    async def _score(self, order: Request, ask: Score, partial: Partial) -> Reply:
        if ask.node.failed:
            return Reply(math.nan, Usage())
        entry, scorer = self._entries[ask.by], self._marking.get(ask.by)
        if scorer is None:
            raise PlanError(f"the role {ask.by!r} draws, and cannot score")
        writer = next((each for each in self._entries.values() if each.name == partial.by), entry)
        done = ask.node.done and not ask.node.signals.get("cut")
        text = Text(partial.prompt, spoken(partial.text) or partial.text, done, writer.template.step)
        marked = await mark(entry, text, scorer, seed=_seed(order))
        return Reply(marked.value, replace(marked.usage, calls=1))


def _seed(order: Request) -> int:
    """All randomness of a draw, in 63 bits."""
    return int.from_bytes(order.key[:8], "little") >> 1


def _said(words: Words, asked: Asked, made: Made, *, whole_stop: bool) -> Said:
    """A completion as a server would tell it."""
    ids: tuple[int, ...] | None = made.ids
    text = words.decode(asked.ids, made.ids[:-1] if made.finish == "end" else made.ids)
    if made.stop is not None:
        at = text.find(made.stop)
        if at >= 0:
            end = at + len(made.stop)
            if end < len(text):
                ids = None  # the last token says more than the text that is kept: it is read anew from the text
            text = text[: end if whole_stop else at]
    return Said(
        text=text,
        thought="",
        ids=ids,
        prompt_ids=asked.ids,
        finish="length" if made.finish == "length" else "stop",
        stop=made.stop,
        knows_stop=True,
        prompt=len(asked.ids),
        cached=made.cached,
        made=len(made.ids),
        estimated=False,
        mean_logprob=None if made.logprob is None else made.logprob / len(made.ids),
    )


def _binding(entry: Entry, instruction: str, unit: str) -> Binding:
    """What a role is bound to; its id names everything that changes a draw."""
    extra = {name: value for name, value in entry.extra.items() if name not in PLACES}
    setting = name_of(replace(entry, extra=extra), instruction).rpartition("/")[2]
    return Binding(
        id=f"{entry.engine}/{Path(entry.served).name}@{entry.revision}/{setting}",
        model=entry.name,
        prices=entry.card.prices(unit),
        max_tokens=entry.max_tokens if entry.draws else 0,
        stretch=STRETCH,
    )
