"""A plan made of random joins: it hands on, cancels, nests, offers, blends, scores, and scores again."""

from dataclasses import dataclass
from random import Random

from autotts.core.node import Choice, Node
from autotts.core.plan import Blend, Draw, Join, Offer, Score, Spec

STOPS = ("end", "step", 5)


@dataclass(frozen=True)
class Chaos:
    """`depth` levels of sub-plans; up to `rounds` joins of up to `width` new asks each."""

    depth: int = 2
    rounds: int = 4
    width: int = 4
    models: tuple[str, ...] = ("S", "L", "twin")
    scorers: tuple[str, ...] = ("prm", "judge")

    def plan(self, root, rng):
        return self._go(root, f"{rng.random()}", self.depth, [root])

    def _go(self, root, seed, depth, known):
        random = Random(seed)
        known = list(known)
        asks, best = [], None
        for i in range(random.randint(1, self.rounds)):
            asks = [ask for ask in asks if random.random() < 0.6]
            asks += [self._ask(root, f"{seed}/{i}/{j}", depth, known) for j in range(random.randint(0, self.width))]
            random.shuffle(asks)
            least = random.randint(0, 4)
            late = (lambda values: Choice(root, float(len(values)))) if random.random() < 0.3 else None
            enough = None if random.random() < 0.3 else (lambda values, least=least: len(values) >= least)
            got = yield Join(asks, enough, late)
            for value in got.values:
                if isinstance(value, Node):
                    known.append(value)
                elif isinstance(value, Choice):
                    best = value
            asks = got.pending
            if random.random() < 0.5:
                best = Choice(known[-1], float(len(known)))
                yield Offer(best)
        return Choice(known[-1], float(len(known))) if random.random() < 0.9 else best

    def _ask(self, root, seed, depth, known):
        random = Random(seed + "?")
        kind = random.random()
        if kind < 0.25 and depth:
            return self._go(root, seed, depth - 1, known)
        if kind < 0.5:
            return Score(random.choice(known), random.choice(self.scorers))
        spec = Spec(
            move=random.choice(["extend", "extend", "probe"]),
            stop=random.choice(STOPS),
            model=random.choice(self.models),
            temperature=random.choice([0.0, 0.8]),
        )
        if kind < 0.6:
            return Blend(tuple(random.sample(known, min(2, len(known)))), spec)
        return Draw(random.choice([node for node in known if not node.done] or [root]), spec)
