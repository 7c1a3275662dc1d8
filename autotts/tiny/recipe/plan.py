"""What is trained, in which order, for how many steps: the whole recipe as data."""

from collections.abc import Mapping
from dataclasses import dataclass

from autotts.tiny.recipe.model import Shape


@dataclass(frozen=True, slots=True)
class Run:
    """One training run; `parent` names the model that this one is grown from (or started from)."""

    name: str
    shape: Shape
    parent: str | None
    steps: int
    tokens_per_step: int
    rate: float
    mix: Mapping[int, float]
    seed: int
    checkpoint_every: int = 100
    compiled: bool = False  # torch.compile: 1.6x faster for S, hardly at all for M and L, which are larger products


GROWTH_NOISE = 0.1
WARMUP_STEPS = 40
S, M, L = Shape(96, 3, 256), Shape(192, 6, 512), Shape(384, 12, 1024)

RUNS: Mapping[str, Run] = {
    "S": Run("S", S, None, 2800, 2500, 4.0e-3, {1: 0.3, 2: 0.3, 3: 0.25, 4: 0.1, 5: 0.05}, seed=1, compiled=True),
    "M": Run("M", M, "S", 760, 4000, 2.5e-3, {1: 0.15, 2: 0.2, 3: 0.25, 4: 0.25, 5: 0.15}, seed=2),
    "L": Run("L", L, "M", 240, 6000, 1.6e-3, {1: 0.1, 2: 0.12, 3: 0.2, 4: 0.28, 5: 0.3}, seed=3),
}
PRM = Run("PRM", M, "M", 650, 3000, 1.2e-3, {2: 0.25, 3: 0.25, 4: 0.25, 5: 0.25}, seed=4)
# Samples at temperature 1 that the reward model learns from; fewer of L, which is slow to draw from.
SAMPLES: Mapping[str, int] = {"S": 20000, "M": 24000, "L": 9000}
PER_PROMPT = 2
