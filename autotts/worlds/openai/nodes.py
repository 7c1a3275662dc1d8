"""What a completion makes of a path: a node and its state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

from autotts.core.node import Key, Node
from autotts.errors import PlanError
from autotts.worlds.openai.forms import Form, Wish, ends_of
from autotts.worlds.openai.stream import Said
from autotts.worlds.openai.texts import THOUGHT, Partial, balanced, spoken


@dataclass(frozen=True, slots=True)
class Ending:
    """How a completion ended: by itself (`ended`), cut off by a limit (`cut`), or at a step or a chunk."""

    text: str
    ended: bool = False
    cut: bool = False
    failed: bool = False


def node_of(
    wish: Wish, form: Form, said: Said, *, key: Key, depth: int, read: Callable[[str], str | None]
) -> tuple[Node, dict[str, Any]]:
    """The node of a draw and its state.

    Raises
    ------
    PlanError
        When the server does not say what a step of this draw depends on.
    """
    probing = wish.spec.move == "probe"
    ending = _probed(wish, said) if probing else _extended(wish, form, said)
    done = probing or ending.ended or ending.cut or ending.failed
    partial = _grown(wish, form, said, ending.text, keep_ids=not done)
    answer = read(spoken(partial.text)) if ending.ended and not ending.failed else None
    signals: dict[str, float] = {}
    if said.mean_logprob is not None:
        signals["mean_logprob"] = said.mean_logprob
    if said.estimated:
        signals["estimated"] = 1.0
    if ending.cut:
        signals["cut"] = 1.0
    if ending.failed:
        partial = replace(partial, fault="the server's filter kept the answer back")
    digest = digest_of(partial, ended=ending.ended)
    return Node(key, depth, done, answer, digest, said.made, ending.failed, signals), partial.state()


def failed_node(
    partial: Partial, why: str, *, key: Key, depth: int, signals: Mapping[str, float]
) -> tuple[Node, dict[str, Any]]:
    """The node of a draw that came to nothing."""
    lost = replace(partial, ids=None, fault=why)
    return Node(key, depth, True, None, digest_of(lost, ended=False), 0, True, signals), lost.state()


def digest_of(partial: Partial, *, ended: bool) -> bytes:
    """Of the whole text; texts that differ only in being complete have different digests."""
    beside = (partial.named,) if partial.context.before else ()
    whole = "\0".join((*beside, partial.prompt, partial.thought, partial.text)).encode("utf-8", "replace")
    return blake2b(whole + b"\0<end>" * ended, digest_size=16).digest()


def _probed(wish: Wish, said: Said) -> Ending:
    """A probe's text up to the end of its answer."""
    if said.finish == "filter":
        return Ending(said.text, failed=True)
    if wish.entry.template.probe.endswith("{"):
        text = balanced(said.text, 1)
        if text is None and said.finish == "stop":
            text = balanced(said.text + "}", 1)  # a brace that a stop string took with it
        return Ending(said.text, cut=True) if text is None else Ending(text, ended=True)
    if said.finish == "length":
        return Ending(said.text, cut=True)
    return Ending(said.text.partition("\n")[0], ended=True)


def _extended(wish: Wish, form: Form, said: Said) -> Ending:
    """Why a draw stopped, and its text as it belongs to the path."""
    spec, template, text = wish.spec, wish.entry.template, said.text
    if said.finish == "filter":
        return Ending(text, failed=True)
    if said.finish == "length":
        most = form.body["max_tokens"]
        full = said.made < most and not said.estimated  # the context was full before
        if isinstance(spec.stop, int) and spec.stop < wish.room and not full:
            return Ending(text)
        return Ending(text, cut=True)
    if spec.stop != "step":
        return Ending(text, ended=True)
    visible, ends = text or said.thought, ends_of(wish.entry, wish.partial)
    if said.stop == template.step and said.stop not in ends:
        kept = visible.endswith(template.step) or (said.thought and not text)  # ids go on from a thought
        return Ending(text if kept else text + template.step)
    if said.stop is None and visible.endswith(template.step):
        return Ending(text)
    if not said.knows_stop:
        raise PlanError(
            f"the server of model {wish.entry.name!r} does not say why a draw stopped (stop_reason), so a step cannot "
            "be told from the end: use a strategy of whole draws"
        )
    if said.stop in ends and text.endswith(said.stop or "\0"):
        text = text[: -len(said.stop or "")]
    return Ending(text, ended=True)


def _grown(wish: Wish, form: Form, said: Said, text: str, *, keep_ids: bool) -> Partial:
    """The path with what was written; where its thinking came apart from its text, that goes on so."""
    old = wish.partial
    thought, written = old.thought, form.lead + text
    if old.thought and not old.text and wish.spec.move != "probe":
        head, closed, tail = written.partition(THOUGHT)
        thought, written = thought + head, tail if closed else ""
    ids = None
    before = form.ids or said.prompt_ids
    if keep_ids and before is not None and said.ids is not None:
        ids = (*before, *said.ids)
    return replace(
        old,
        text=old.text + written,
        thought=thought + said.thought,
        ids=ids,
        by=wish.entry.name,
        made=old.made + said.made,
        whole=(said.prompt or 0) + said.made if said.prompt else 0,
    )
