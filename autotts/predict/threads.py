"""How many threads linear algebra may use: on the small matrices of predictors, one is faster than several."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any


def one_thread() -> AbstractContextManager[Any]:
    """Within this context, linear algebra waits for no other thread."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn

    limited: AbstractContextManager[Any] = threadpool_limits(1, user_api="blas")
    return limited
