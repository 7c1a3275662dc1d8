"""What a study will take, before anything is spent: rough, and said to be so."""

from __future__ import annotations

from typing import Any

from autotts.core.task import Task
from autotts.search.recipe import Recipe
from autotts.search.space import work
from autotts.worlds.catalogue import Catalogue, named

TOKENS = 32  # generated for a whole draw, the mean of the embedded models over levels
PROMPT = 14
RATE = 45e9  # FLOP/s of the embedded models on two cores, batching, bookkeeping and all
SHARE = 4  # other models are taken to write a quarter of the most that they may


def forecast(recipe: Recipe, task: Task, models: Catalogue) -> dict[str, Any]:
    """Prompts, draws, tokens, spend (parts of the unit) and seconds; None of what cannot be known.

    The first round is known; a later trial is taken to need 16 draws a prompt where they are new, which half of them
    are; a held-out prompt is taken to need the largest pool of each model once.
    """
    names = models.drawing(named(recipe.models))
    cards = models.cards(names)
    sizes = work(cards)
    levels = max(1, len(task.mix))
    search, confirm = recipe.search * levels, recipe.confirm * levels
    dearest = max(sizes.values())
    later = max(0, recipe.trials - 2 * len(names) * levels)
    draws = spend = done = tokens = 0.0
    for name in names:
        pool = min(32.0, recipe.largest / 2 * dearest / sizes[name])
        count = search * (1 + pool) + later * recipe.search * 8 / len(names) + confirm * pool
        prompt, length = (PROMPT, TOKENS) if models.embedded else _lengths(task, models, name)
        prices = cards[name].prices(recipe.unit)
        draws += count
        tokens += count * length
        spend += count * (prices.of_prompt(prompt, prompt) + prices.of_generated(prompt, length))
        if models.embedded:
            done += count * cards[name].prices("flops").of_generated(prompt, length)
    limit = recipe.search_amount
    return {
        "search": search,
        "confirm": confirm,
        "draws": draws,
        "tokens": tokens,
        "spend": spend if limit is None else min(spend, float(limit.parts)),
        "unit": recipe.unit,
        "seconds": 15 + draws / 8000 + done / RATE if models.embedded else None,
    }


def _lengths(task: Task, models: Catalogue, name: str) -> tuple[int, int]:
    """About how many tokens a prompt and a draw of it take: three characters a token, and a part of what may be."""
    problem = task.source("search", min(task.mix, default=None), 1, 0)[0]
    entry = models.entries[name]
    return len(problem.prompt) // 3 + len(task.instruction) // 3 + 16, max(1, entry.max_tokens // SHARE)
