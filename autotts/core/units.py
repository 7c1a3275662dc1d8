"""AgentTTS's unit budget (2508.00890): a cost in samples of the smallest model, and back.

The unit is a sample of the smallest model, 64 tokens after a prompt of 128. A budget of B units pays one such prompt
and B such samples: B = [M (Np + S Nd) - M_small Np'] / (M_small Nd') for S samples of a model of M
parameters with Np prompt and Nd generated tokens. That is FLOPs without attention, the prompt read once.
"""

from __future__ import annotations

from dataclasses import dataclass

UNIT_PROMPT = 128
UNIT_GENERATED = 64


@dataclass(frozen=True, slots=True)
class Stage:
    """What a sub-task's samples are: the model's parameters, the smallest model's, and tokens of prompt and answer."""

    parameters: float
    smallest: float
    prompt: int
    generated: int


def unit_budget(stage: Stage, samples: float) -> float:
    """What so many samples cost, in units.

    Examples
    --------
    >>> round(unit_budget(Stage(72e9, 3e9, 2048, 128), 1))
    814
    """
    cost = stage.parameters * (stage.prompt + samples * stage.generated)
    return (cost - stage.smallest * UNIT_PROMPT) / (stage.smallest * UNIT_GENERATED)


def unit_samples(stage: Stage, budget: float) -> float:
    """How many samples a budget of units pays for, the inverse of `unit_budget`; below 1 it pays for none.

    Examples
    --------
    >>> unit_samples(Stage(3e9, 3e9, 128, 64), 10)
    10.0
    """
    flops = stage.smallest * (UNIT_PROMPT + budget * UNIT_GENERATED)
    return (flops / stage.parameters - stage.prompt) / stage.generated
