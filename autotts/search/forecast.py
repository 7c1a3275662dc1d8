"""What a study will take, before anything is spent: rough, and said to be so."""

from __future__ import annotations

from typing import Any

from autotts.core.task import Task
from autotts.search.recipe import Recipe
from autotts.worlds.tiny import cards, known

TOKENS = 32  # generated for a whole draw, the mean of the embedded models over levels
PROMPT = 14
RATE = 45e9  # FLOP/s of the embedded models on two cores, batching, bookkeeping and all


def forecast(recipe: Recipe, task: Task) -> dict[str, Any]:
    """Prompts, draws, tokens, spend (parts of the unit) and seconds.

    The first round is known; a later trial is taken to need 16 draws a prompt where they are new, which half of them
    are; a held-out prompt is taken to need the largest pool of each model once.
    """
    names = known(recipe.models)
    shelf = cards(names)
    levels = max(1, len(task.mix))
    search, confirm = recipe.search * levels, recipe.confirm * levels
    dearest = max(shelf[name].parameters or 1 for name in names)
    later = max(0, recipe.trials - 2 * len(names) * levels)
    draws = spend = work = 0.0
    for name in names:
        pool = min(32.0, recipe.largest / 2 * dearest / (shelf[name].parameters or 1))
        count = search * (1 + pool) + later * recipe.search * 8 / len(names) + confirm * pool
        prices = shelf[name].prices(recipe.unit)
        flops = shelf[name].prices("flops")
        one = prices.of_prompt(PROMPT, PROMPT) + prices.of_generated(PROMPT, TOKENS)
        draws += count
        spend += count * one
        work += count * flops.of_generated(PROMPT, TOKENS)
    limit = recipe.search_amount
    return {
        "search": search,
        "confirm": confirm,
        "draws": draws,
        "tokens": draws * TOKENS,
        "spend": spend if limit is None else min(spend, float(limit.parts)),
        "unit": recipe.unit,
        "seconds": 15 + draws / 8000 + work / RATE,
    }
