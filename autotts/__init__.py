"""autotts finds, for your prompts and your models, the cheapest way to spend test-time compute, and serves it.

Examples
--------
>>> from autotts import Recipe, load_policy, optimize, run
>>> found = optimize(Recipe(task="math", budget="200Mflops"), out="runs/math")  # doctest: +SKIP
>>> run(load_policy("runs/math/policy.json"), "solve: 12+3*4").answer  # doctest: +SKIP
'24'
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autotts.api import (
        evaluate,
        evaluate_pool,
        load_policy,
        models_at,
        optimize,
        optimize_pool,
        parse_arm,
        run,
        run_file,
    )
    from autotts.core.progress import Snapshot
    from autotts.errors import AutottsError, BackendError, BudgetError, InputError, StoreError
    from autotts.policy.schema import Policy
    from autotts.policy.serving import Answered
    from autotts.search.optimize import Found
    from autotts.search.pool_recipe import PoolRecipe
    from autotts.search.recipe import Recipe

__version__ = "0.1.0"

__all__ = [
    "Answered",
    "AutottsError",
    "BackendError",
    "BudgetError",
    "Found",
    "InputError",
    "Policy",
    "PoolRecipe",
    "Recipe",
    "Snapshot",
    "StoreError",
    "evaluate",
    "evaluate_pool",
    "load_policy",
    "models_at",
    "optimize",
    "optimize_pool",
    "parse_arm",
    "run",
    "run_file",
]

# Loaded when first asked for, so that `import autotts` costs nothing.
_HOMES = {
    "Answered": "autotts.policy.serving",
    "AutottsError": "autotts.errors",
    "BackendError": "autotts.errors",
    "BudgetError": "autotts.errors",
    "Found": "autotts.search.optimize",
    "InputError": "autotts.errors",
    "Policy": "autotts.policy.schema",
    "PoolRecipe": "autotts.search.pool_recipe",
    "Recipe": "autotts.search.recipe",
    "Snapshot": "autotts.core.progress",
    "StoreError": "autotts.errors",
    "evaluate": "autotts.api",
    "evaluate_pool": "autotts.api",
    "load_policy": "autotts.api",
    "models_at": "autotts.api",
    "optimize": "autotts.api",
    "optimize_pool": "autotts.api",
    "parse_arm": "autotts.api",
    "run": "autotts.api",
    "run_file": "autotts.api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'autotts' has no attribute {name!r}; it offers {', '.join(__all__)}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
