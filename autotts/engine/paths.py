"""How long each path is, and how much of it a plan has shown to each binding: a shared prefix is paid once."""

from __future__ import annotations

from autotts.core.cost import Usage
from autotts.core.node import Key, Node
from autotts.core.world import Binding
from autotts.errors import PlanError


class Book:
    """What one plan has asked of one binding.

    `shift` is what the prompt takes in this binding's own tokens less what the root says, once a draw has shown it.
    """

    __slots__ = ("binding", "cached", "calls", "cancelled", "generated", "prompt", "seen", "shift")

    def __init__(self, binding: Binding) -> None:
        self.binding = binding
        self.seen: set[Key] = set()  # nodes whose whole path the binding has read or written
        self.shift = 0
        self.prompt = 0
        self.cached = 0
        self.generated = 0
        self.cancelled = 0
        self.calls = 0

    def usage(self) -> Usage:
        """The totals."""
        return Usage(self.prompt, self.cached, self.generated, self.cancelled, self.calls)

    def show(self, new: int, whole: int) -> None:
        """One more ask has read a path of `whole` tokens, the last `new` of which were not shown before."""
        self.prompt += new
        self.cached += whole - new
        self.calls += 1

    def correct(self, new: int, whole: int, read: int) -> tuple[int, int]:
        """A path that was charged as `whole` tokens took `read`: the new tokens among them, and what to add.

        What a backend cannot say is how many of them are new; they count as the tokens of the model that wrote them.
        """
        fresh = read if new == whole else min(-(-new // self.binding.stretch), read)
        self.prompt += fresh - new
        self.cached += (read - fresh) - (whole - new)
        prices = self.binding.prices
        return fresh, prices.of_prompt(read, fresh) - prices.of_prompt(whole, new)


class Paths:
    """The nodes that have arrived in one run, each with the node above it and its own tokens."""

    def __init__(self, root: Node) -> None:
        self.length: dict[Key, int] = {root.key: root.tokens}
        self._above: dict[Key, tuple[Key | None, int]] = {root.key: (None, root.tokens)}
        self._blended: set[Key] = set()  # nodes of paths that do not begin with the prompt

    def extend(self, node: Node, above: Node) -> None:
        """A draw has arrived: its path is that of the node above it and its own tokens."""
        self.length[node.key] = self.length[above.key] + node.tokens
        self._above[node.key] = (above.key, node.tokens)
        if above.key in self._blended:
            self._blended.add(node.key)

    def blend(self, node: Node, prefix: int) -> None:
        """A blend has arrived: it stands alone, as one text."""
        self.length[node.key] = prefix + node.tokens
        self._above[node.key] = (None, prefix + node.tokens)
        self._blended.add(node.key)

    def learn(self, book: Book, node: Node, read: int) -> None:
        """A binding has read so many tokens of the path to a node: learn what the prompt takes there."""
        if node.key not in self._blended:
            book.shift = read - self.length[node.key]

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
        if book.shift and node.key not in self._blended:
            whole = max(0, whole + book.shift)
            new = min(whole, max(0, new + book.shift) if key is None else new)
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
