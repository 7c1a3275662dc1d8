"""A made-up world of arms: accuracy rises with the model and the draws and falls with the level; binomial noise."""

import math

from autotts.predict.arms import Seen, setting
from autotts.search.space import Space
from autotts.strategies import STRATEGIES, STUDIED
from autotts.strategies.arms import show

WORK = {"A": 1e5, "B": 4e5, "C": 1.6e6}
LEVELS = ("1", "2", "3", "4")
SPACE = Space({k: STRATEGIES[k] for k in STUDIED}, tuple(WORK), ("prm",), {"A": 64, "B": 64, "C": 16})
ARMS = tuple(show(a) for a in SPACE.arms)
GAIN = {"one": 0.0, "vote": 0.9, "weighted_vote": 1.2, "best_of_n": 1.0, "first_finish": 0.3, "adaptive": 0.9}
PRICE = {"adaptive": 0.5, "first_finish": 0.8, "weighted_vote": 1.3, "best_of_n": 1.3}


def truth(arm, level):
    """True accuracy and true mean cost."""
    of = setting(arm)
    greedy, temperature, _, _, saturation, *_ = of.numbers
    at = LEVELS.index(level)
    odds = 1.9 - 1.2 * at + 0.55 * math.log2(WORK[of.models[0]] / 1e5)
    odds += GAIN.get(of.strategy, 0.7) * saturation - (temperature - 0.6) ** 2 - 0.1 * greedy
    cost = WORK[of.models[0]] * of.draws * (20 + 8 * at) * PRICE.get(of.strategy, 1.2)
    return 1 / (1 + math.exp(-odds)), cost


def seen(arm, level, rng, prompts=64):
    """How an arm did on some prompts."""
    value, cost = truth(arm, level)
    return Seen(arm, level, rng.binomial(prompts, value) / prompts, cost * math.exp(0.03 * rng.normal()), prompts)


def some(count, rng, arms=ARMS, levels=LEVELS, prompts=64):
    """Different arms, each at all of the levels."""
    picked = [arms[int(i)] for i in rng.permutation(len(arms))[: count // len(levels)]]
    return [seen(arm, level, rng, prompts) for arm in picked for level in levels]
