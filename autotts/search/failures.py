"""Draws that failed, and why: said in a report, and the end of a study of which a model fails every time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from autotts.core.node import Node
from autotts.engine.memo import Memo
from autotts.errors import BackendError

ENOUGH = 16  # draws of a model, all of which failed, after which there is no use in more


class Failures:
    """Draws by model: how many there were, how many of them failed, and why the last one did."""

    def __init__(self) -> None:
        self._made: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._why: dict[str, str] = {}

    def count(self, model: str, nodes: Iterable[Node], memo: Memo) -> None:
        """Count draws of a model.

        Raises
        ------
        BackendError
            When enough of them were made, and all failed.
        """
        for node in nodes:
            self._made[model] += 1
            if node.failed:
                self._failed[model] += 1
                self._why[model] = reason(memo, node)
        if self._failed[model] == self._made[model] >= ENOUGH:
            raise BackendError(
                f"model {model!r}: all of its {self._made[model]} draws failed, the last because: {self._why[model]}. "
                "They are kept as failed: see to the model, and begin again with another --out"
            )

    def words(self) -> list[str]:
        """What a report says of them."""
        return [
            f"{count:,} of {self._made[model]:,} draws of {model} failed, the last because: {self._why[model]}"
            for model, count in sorted(self._failed.items())
        ]


def reason(memo: Memo, node: Node) -> str:
    """Why a draw failed, as its world says it."""
    reply = memo.samples.get(node.key)
    state: Any = None if reply is None else reply.state
    told = state.get("fault") if isinstance(state, dict) else None
    return str(told)[:500] if told else "it does not say"
