"""Layouts in which answers are recorded elsewhere, each read into the common one, line by line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from autotts.pools.formats import common, inspect_log, lm_eval, openai_log
from autotts.pools.formats.source import Placed, Source

Reader = Callable[[Source], Placed]

LAYOUTS: Final[Mapping[str, Reader]] = {
    "pool": common.read,
    "lm-eval": lm_eval.read,
    "inspect": inspect_log.read,
    "openai": openai_log.read,
}
