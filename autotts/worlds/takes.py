"""One plan on recorded samples: which sample each of its orders takes, and what the pool cannot know.

The nth new draw of a family is the nth sample of an ordering, whole or in chunks; a chunk goes on in one way only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias

from autotts.core.cost import Usage
from autotts.core.node import NO_SIGNALS, Key, Node
from autotts.core.plan import Draw, Score, Spec
from autotts.core.world import Reply, Request
from autotts.errors import InputError
from autotts.pools.recorded import Recorded

if TYPE_CHECKING:
    from autotts.worlds.recorded import Recording

SCORER: Final = "score"  # the role of the recorded score
CUT: Final[Mapping[str, float]] = {"cut": 1.0}  # signals of a draw that a limit ended

# The samples of a family within a problem, in the order of being drawn; a family by its place in `Recorded.drawn`.
Ordering: TypeAlias = Callable[[int], Sequence[int]]


class Exhausted(InputError):
    """A plan asks for more draws of a problem than were recorded."""


class Shelf:
    """The samples of one family and problem; the reply of a whole draw is made when it is first taken.

    Attributes
    ----------
    number, drawn
        The family's place in the pool, and its draws.
    first
        The place of sample 0 in the arrays of `drawn`.
    tokens
        Of each sample; -1 where they were not recorded.
    index
        The sample of each reply that was made, by the key of its node.
    """

    def __init__(self, pool: Recorded, number: int, problem: int, prompt_tokens: int) -> None:
        self.number = number
        self.drawn = drawn = pool.drawn[number]
        self.first = int(drawn.start[problem])
        end = int(drawn.start[problem + 1])
        self.tokens: list[int] = drawn.tokens[self.first : end].tolist()
        self.replies: list[Reply | None] = [None] * (end - self.first)
        self.index: dict[Key, int] = {}
        self._texts = pool.answers[problem]
        self._nameless = not (drawn.answer >= 0).any()
        self._prompt_tokens = prompt_tokens
        self._stem = f"{pool.digest}|{number}|{problem}"

    def reply(self, sample: int) -> Reply:
        """A whole draw. Its key is its own, not the order's: it is made once for all runs."""
        found = self.replies[sample]
        if found is None:
            at = self.first + sample
            key = blake2b(f"{self._stem}|{sample}".encode(), digest_size=16).digest()
            tokens = max(0, self.tokens[sample])
            signals = CUT if self.drawn.cut[at] else NO_SIGNALS
            # Where no answers were recorded (programs, say), each draw's is its own: it can be chosen, not counted.
            answer = f"draw {sample}" if self._nameless else self._text(self.drawn.answer[at])
            node = Node(key, 1, True, answer, key, tokens, False, signals)
            self.replies[sample] = found = Reply(node, Usage(self._prompt_tokens, 0, tokens, 0, 1))
            self.index[key] = sample
        return found

    def probe(self, sample: int, tokens: int) -> str | None:
        """The answer read off a sample after so many tokens; None where none was recorded or can be read."""
        begin, end = self.drawn.probe_start[self.first + sample : self.first + sample + 2]
        at = begin + tokens // self.drawn.probe_every - 1
        return self._text(self.drawn.probe[at]) if at < end else None

    def _text(self, number: Any) -> str | None:
        return None if number < 0 else self._texts[number]


@dataclass(slots=True, eq=False)
class _Lane:
    """What a run has taken of one family."""

    shelf: Shelf
    order: Sequence[int]
    taken: int = 0


@dataclass(slots=True, eq=False)
class _Spot:
    """A piece of a sample: its tokens so far, and whether it was gone on with or probed."""

    lane: _Lane
    sample: int
    made: int
    done: bool
    gone: bool = False
    probed: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class _Way:
    """How a spec is answered; it holds the spec, so that no other spec can have its identity."""

    spec: Spec
    lane: _Lane
    whole: bool


class Run:
    """One plan on one problem; the nth new draw of a family is the nth sample of its ordering, whole or in chunks.

    Attributes
    ----------
    root
        The node that the plan begins at.
    """

    def __init__(self, world: Recording, problem: int, ordering: Ordering | None) -> None:
        self.world = world
        self.problem = problem
        self.root = world.node(problem)
        self._ordering = ordering
        self._lanes: dict[int, _Lane] = {}
        self._ways: dict[int, _Way] = {}  # by the identity of the spec, whose hash takes as long as all else here
        self._spots: dict[Key, _Spot] = {}

    def script(self, order: Request) -> Reply:
        """The reply to an order of this run, for `engine.replay`."""
        ask = order.ask
        if type(ask) is not Draw:
            return self._score(order) if type(ask) is Score else self._refuse("a text that has read several")
        spec = ask.spec
        if spec.move == "probe":
            return self._probe(order)
        way = self._ways.get(id(spec))
        if way is None:
            way = self._ways[id(spec)] = self._way(spec)
        lane = way.lane
        if ask.node is not self.root:
            return self._go_on(order, lane)
        nth = lane.taken
        if nth >= len(lane.order):
            raise self._exhausted(lane)
        if nth and not lane.shelf.drawn.family.exchangeable:
            self._refuse(
                f"independent draws of {lane.shelf.drawn.family.role}, which was recorded by "
                f"{lane.shelf.drawn.family.strategy!r}: it can be drawn from once"
            )
        lane.taken = nth + 1
        sample = lane.order[nth]
        if way.whole:
            return lane.shelf.replies[sample] or lane.shelf.reply(sample)
        return self._chunk(order, lane, sample, 0)

    def find(self, node: Node) -> tuple[Shelf, int] | None:
        """The sample that a finished draw of this run is; None for a probe or a piece."""
        spot = self._spots.get(node.key)
        if spot is not None:
            return (spot.lane.shelf, spot.sample) if spot.done else None
        for lane in self._lanes.values():
            sample = lane.shelf.index.get(node.key)
            if sample is not None:
                return lane.shelf, sample
        return None

    def _way(self, spec: Spec) -> _Way:
        if spec.move != "extend":
            self._refuse(f"what the move {spec.move!r} makes")
        if spec.nudge:
            self._refuse(f"what follows the nudge {spec.nudge!r}")
        if spec.stop == "step":
            self._refuse("where a step ends, or how another would go on from there")
        if isinstance(spec.stop, int) and spec.stop < 1:
            raise InputError(f"a chunk takes at least one token, found stop={spec.stop}")
        number = self.world.family(spec.model, spec.temperature, spec.top_p)
        lane = self._lanes.get(number)
        if lane is None:
            shelf = self.world.shelf(number, self.problem)
            order = range(len(shelf.tokens)) if self._ordering is None else self._ordering(number)
            lane = self._lanes[number] = _Lane(shelf, order)
        return _Way(spec, lane, spec.stop == "end")

    def _chunk(self, order: Request, lane: _Lane, sample: int, made: int) -> Reply:
        """The next tokens of a sample: as many as are wanted, or those up to its end."""
        ask, shelf = order.ask, lane.shelf
        stop, total = ask.spec.stop, shelf.tokens[sample]
        if total < 0:
            self._refuse(f"how long draws of {shelf.drawn.family.role} are: their tokens were not recorded")
        whole: Node = shelf.reply(sample).value
        done = stop == "end" or total - made <= stop
        count = total - made if done else int(stop)
        made += count
        if done:
            node = Node(order.key, ask.node.depth + 1, True, whole.answer, whole.digest, count, False, whole.signals)
        else:
            node = Node(order.key, ask.node.depth + 1, False, None, b"%b%d" % (whole.digest, made), count)
        self._spots[order.key] = _Spot(lane, sample, made, done)
        return Reply(node, Usage(order.prefix, 0, count, 0, 1))

    def _go_on(self, order: Request, lane: _Lane) -> Reply:
        """The same sample from where a partial draw ended."""
        spot = self._spots.get(order.ask.node.key)
        if spot is None:
            self._refuse("how a probe goes on")
        if spot.lane is not lane:
            self._refuse(
                f"how {order.ask.spec.model} goes on with a text of {spot.lane.shelf.drawn.family.role}, or at another "
                "temperature"
            )
        if spot.gone:
            self._refuse("two ways on from one partial draw (a branch); each recorded draw goes on in one way")
        spot.gone = True
        return self._chunk(order, lane, spot.sample, spot.made)

    def _probe(self, order: Request) -> Reply:
        """The answer recorded at exactly this place; beyond the recorded ones, a probe that failed."""
        node, spec = order.ask.node, order.ask.spec
        spot = self._spots.get(node.key)
        if spot is None or spot.done:
            self._refuse(
                "what a probe says of a prompt, of a probe or of a draw that has ended: it is of partial draws"
            )
        shelf = spot.lane.shelf
        role, every = shelf.drawn.family.role, shelf.drawn.probe_every
        if spec.model != role:
            self._refuse(f"what {spec.model} says of a text of {role}; its probes are by {role}")
        if not every:
            self._refuse(f"what a probe of {role} says: its draws were recorded without probes")
        if spot.made % every:
            self._refuse(f"what a probe says after {spot.made} tokens; {role} was probed every {every} tokens")
        if spot.probed and spec.temperature > 0:
            self._refuse("what a second probe of one place says; at temperature 0 it says the same")
        spot.probed = True
        answer, count = shelf.probe(spot.sample, spot.made), self.world.probe_tokens
        value = Node(order.key, node.depth + 1, True, answer, b"%b?" % node.digest, count, answer is None)
        return Reply(value, Usage(order.prefix, 0, count, 0, 1))

    def _score(self, order: Request) -> Reply:
        """The recorded score of a finished draw; NaN where it has none."""
        ask = order.ask
        if ask.by != SCORER:
            self._refuse(f"what {ask.by!r} says of a draw; the recorded score is the role {SCORER!r}")
        found = self.find(ask.node)
        if found is None:
            self._refuse("the score of a probe or of a partial draw; whole draws were scored")
        shelf, sample = found
        return Reply(self.world.score(shelf, sample), Usage(order.prefix, 0, 0, 0, 1))

    def _refuse(self, what: str) -> NoReturn:
        raise InputError(f"the pool {self.world.pool.dataset} cannot know {what}")

    def _exhausted(self, lane: _Lane) -> Exhausted:
        family, count = lane.shelf.drawn.family, len(lane.order)
        made = settings(family.temperature, family.top_p)
        return Exhausted(
            f"the plan asks for more draws of {family.role}{made and f' ({made})'} than the pool "
            f"{self.world.pool.dataset} has of problem {self.world.pool.problems[self.problem].id}: {count}"
        )


def settings(temperature: float | None, top_p: float | None) -> str:
    """How draws were made, as it is written in an arm."""
    known = {"temperature": temperature, "top_p": top_p}
    return ", ".join(f"{name}={value:g}" for name, value in known.items() if value is not None)
