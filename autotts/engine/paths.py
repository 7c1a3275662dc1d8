"""How long each path is, and how much of it a plan has shown to each binding: a shared prefix is paid once."""

from __future__ import annotations

from autotts.core.cost import Usage
from autotts.core.node import Key, Node
from autotts.core.world import Binding
from autotts.errors import PlanError


class Book:
    """What one plan has asked of one binding."""

    __slots__ = ("binding", "cached", "calls", "cancelled", "generated", "prompt", "seen")

    def __init__(self, binding: Binding) -> None:
        self.binding = binding
        self.seen: set[Key] = set()  # nodes whose whole path the binding has read or written
        self.prompt = 0
        self.cached = 0
        self.generated = 0
        self.cancelled = 0
        self.calls = 0

    def usage(self) -> Usage:
        """The totals."""
        return Usage(self.prompt, self.cached, self.generated, self.cancelled, self.calls)


class Paths:
    """The nodes that have arrived in one run, each with the node above it and its own tokens."""

    def __init__(self, root: Node) -> None:
        self.length: dict[Key, int] = {root.key: root.tokens}
        self._above: dict[Key, tuple[Key | None, int]] = {root.key: (None, root.tokens)}

    def extend(self, node: Node, above: Node, prefix: int) -> None:
        """A draw has arrived: its path is that of the node above it and its own tokens."""
        self.length[node.key] = prefix + node.tokens
        self._above[node.key] = (above.key, node.tokens)

    def blend(self, node: Node, prefix: int) -> None:
        """A blend has arrived: it stands alone, as one text."""
        self.length[node.key] = prefix + node.tokens
        self._above[node.key] = (None, prefix + node.tokens)

    def show(self, book: Book, node: Node) -> tuple[int, int]:
        """Show a path to a binding: the tokens that are new to it, and those of the whole path."""
        key: Key | None = node.key
        seen = book.seen
        whole = self.length.get(node.key)
        if whole is None:
            raise self._stranger(node)
        new = 0
        while key is not None and key not in seen:
            seen.add(key)
            key, own = self._above[key]
            new += own
        return new, whole

    def together(self, nodes: tuple[Node, ...]) -> int:
        """Tokens of several paths, read one after another; nothing of such a text is shared."""
        for node in nodes:
            if node.key not in self.length:
                raise self._stranger(node)
        return sum(self.length[node.key] for node in nodes)

    @staticmethod
    def _stranger(node: Node) -> PlanError:
        return PlanError(f"the plan asks about a node that has not arrived in this run (key {node.key.hex()})")
