"""Samples as an engine would put them, numbered."""

import hashlib
from dataclasses import dataclass
from typing import Any

from autotts.core.cost import Usage
from autotts.core.node import Node
from autotts.core.plan import Blend, Draw, Score, Spec
from autotts.core.world import Binding, Reply

BINDING = Binding("S@1|plain|epoch=0")
ROOT = Node(b"root" * 8, 0, False, None, b"digest", 12)


@dataclass(frozen=True)
class Order:
    ask: Any
    key: bytes
    binding: Binding = BINDING


def key_of(number: int) -> bytes:
    return hashlib.blake2b(str(number).encode(), digest_size=16).digest()


def sample(number: int, state: Any = "1+2\nanswer: 3") -> tuple[Order, Reply]:
    key = key_of(number)
    node = Node(key, 1, True, str(number % 7), key[:8], 9, signals={"mean_logprob": -0.5})
    return Order(Draw(ROOT, Spec()), key), Reply(node, Usage(12, 0, 9, 0, 1), 0.25, state)


def blend(number: int) -> tuple[Order, Reply]:
    order, reply = sample(number)
    return Order(Blend((ROOT, ROOT), Spec()), order.key), reply


def score(number: int, value: float) -> tuple[Order, Reply]:
    return Order(Score(ROOT), key_of(number)), Reply(value, Usage(21, 0, 0, 0, 1))
