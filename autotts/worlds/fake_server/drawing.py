"""One answer, known in whole before it is sent: a function of the model, the text so far, the seed and the sampler."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from autotts.worlds.fake_server.forms import Asked, Path
from autotts.worlds.fake_server.models import thought
from autotts.worlds.fake_server.structured import arguments, written
from autotts.worlds.fake_server.text import pieces

_PADDING = (" more", " and", " on")


@dataclass(frozen=True, slots=True)
class Drawn:
    """The tokens of an answer.

    Attributes
    ----------
    tokens
        All that are generated, those of the stop string too.
    shown
        What each adds to the text; less than the token where a stop string is cut off.
    thought
        How many of the first are thinking.
    finish, stop
        Why it ended ("stop" or "length"), and the stop string that it ended with.
    """

    tokens: Sequence[str]
    shown: Sequence[str]
    thought: int
    finish: str
    stop: str | None


def draw(asked: Asked, path: Path, seed: int) -> Drawn:
    """Draw one answer."""
    model = asked.model
    assert model.script is not None
    lead = _thinking(asked, path, seed if asked.temperature else 0)
    partial = path.partial + lead
    whole = model.script(path.prompt, partial, seed, asked.temperature, asked.top_p)
    rest = whole[len(partial) :] if whole.startswith(partial) else whole
    if asked.call is not None:
        rest = arguments(asked.call, path.prompt)
    elif asked.schema is not None:
        rest = written(asked.schema, rest)
    first = pieces(lead)
    tokens = first + pieces(rest)
    while len(tokens) < asked.least:
        tokens.append(_PADDING[len(tokens) % len(_PADDING)])
    return _ended(asked, tokens, len(first))


def _thinking(asked: Asked, path: Path, seed: int) -> str:
    """What is thought before the answer, or the rest of a thought that the partial answer has begun."""
    begun = path.partial
    over = "</think>" in begun or path.prompt.endswith("</think>\n\n")
    if over or not asked.model.thinks or (begun and not begun.startswith("<think>")):
        return ""
    whole = thought(asked.model, path.prompt, seed, effort=asked.effort, most=asked.thoughts)
    if whole.startswith(begun):
        return whole[len(begun) :]
    return "\n</think>\n\n"


def _ended(asked: Asked, tokens: list[str], thought: int) -> Drawn:
    """Cut an answer at the first stop string and at the most tokens."""
    kept = tokens[: asked.most]
    finish, stop, shown = "stop" if len(kept) == len(tokens) else "length", None, kept
    if asked.stop:
        text = "".join(kept)
        ends = [(at + len(one), one) for one in asked.stop if one and (at := text.find(one)) >= 0]
        if ends:
            end, stop = min(ends)
            finish = "stop"
            visible, length, shown = end - len(stop) * (not asked.keep_stop), 0, []
            for piece in kept:
                shown.append(piece[: max(0, visible - length)])
                length += len(piece)
                if length >= end:
                    break
            kept = kept[: len(shown)]
    return Drawn(kept, shown, min(thought, len(kept)), finish, stop)
