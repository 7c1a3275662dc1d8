"""Aggregators, written once: from draws to the one that answers.

What cannot be read (no answer, or a draw that broke) never wins while there is something else; ties go to the
first seen; a score that is NaN never wins while there is another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from autotts.core.node import Choice, Node
from autotts.core.plan import Plan, score


def readable(node: Node) -> bool:
    """Whether the draw has an answer that can be used."""
    return node.answer is not None and not node.failed


def tally(nodes: Sequence[Node], weights: Sequence[float] | None = None) -> dict[str, float]:
    """The weight of each answer (its number of draws where no weights are given), in order of first sight."""
    votes: dict[str, float] = {}
    for i, node in enumerate(nodes):
        if node.answer is not None and not node.failed:
            votes[node.answer] = votes.get(node.answer, 0.0) + (1.0 if weights is None else weights[i])
    return votes


def majority(nodes: Sequence[Node]) -> Choice | None:
    """The most frequent answer, in its first draw; the confidence is its share of the readable draws.

    Where nothing can be read: the first draw, with confidence 0. None where there is no draw at all.
    """
    votes = tally(nodes)
    if not votes:
        return Choice(nodes[0], 0.0) if nodes else None
    best = max(votes, key=votes.__getitem__)
    return Choice(_first(nodes, best), votes[best] / sum(votes.values()))


def majority_after(seen: Sequence[Node], fresh: Sequence[Node]) -> Choice | None:
    """The majority of earlier draws and of what has arrived since."""
    return majority([*seen, *fresh])


def weighted(nodes: Sequence[Node], scores: Sequence[float]) -> Choice | None:
    """The answer with the largest sum of scores (best-of-N weighted, 2408.03314), in its best scored draw.

    Scores lie in [0, 1]; what lies below counts as 0. Draws without a score (NaN) do not vote; where none has
    one, all vote alike. Equal sums: the more frequent answer. The confidence is the share of the weight.
    """
    marked = [(x, max(0.0, s)) for x, s in zip(nodes, scores, strict=True) if readable(x) and not math.isnan(s)]
    if not marked:
        return majority(nodes)
    voters = [x for x, _ in marked]
    weights = tally(voters, [s for _, s in marked])
    counts = tally(voters)
    best = max(weights, key=lambda answer: (weights[answer], counts[answer]))
    node = max((m for m in marked if m[0].answer == best), key=lambda m: m[1])[0]
    whole = sum(weights.values())
    return Choice(node, weights[best] / whole if whole > 0 else counts[best] / len(voters))


def highest(nodes: Sequence[Node], scores: Sequence[float]) -> Choice | None:
    """The best scored readable draw, and its score as the confidence; 0 where it has no score or no answer."""
    ranks = [(readable(x), not math.isnan(s), 0.0 if math.isnan(s) else s) for x, s in zip(nodes, scores, strict=True)]
    if not ranks:
        return None
    i = max(range(len(ranks)), key=ranks.__getitem__)
    can_read, scored, mark = ranks[i]
    return Choice(nodes[i], mark) if can_read and scored else Choice(nodes[0] if not can_read else nodes[i], 0.0)


def lead(votes: dict[str, float]) -> tuple[float, float]:
    """The weights of the first and of the second answer, 0 where there is none."""
    top = [*sorted(votes.values(), reverse=True)[:2], 0.0, 0.0]
    return top[0], top[1]


def marks(nodes: Sequence[Node], by: str) -> Plan:
    """The scores of nodes, in order; a text that was drawn twice is scored once.

    What can never be chosen (it broke, or has ended without an answer) is not sent to the scorer and gets NaN.
    """
    texts: dict[bytes, Node] = {}
    for node in nodes:
        if not node.failed and (node.answer is not None or not node.done):
            texts.setdefault(node.digest, node)
    scores = yield from score(list(texts.values()), by)
    known = dict(zip(texts, scores, strict=True))
    return [known.get(x.digest, math.nan) if not x.failed else math.nan for x in nodes]


def _first(nodes: Sequence[Node], answer: str) -> Node:
    return next(x for x in nodes if x.answer == answer and not x.failed)
