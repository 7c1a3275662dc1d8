"""Plausible log-probabilities, in the forms of chats and of text completions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from autotts.worlds.fake_server.models import FakeModel, fraction


@dataclass(frozen=True)
class Likeliness:
    """The log-probabilities of a text's tokens: each depends on the token and on where it stands.

    Parameters
    ----------
    tokens
        Those of the prompt and of the answer; places are counted from the prompt's first.
    """

    model: FakeModel
    tokens: Sequence[str]

    def own(self, at: int) -> float:
        """That of the token at a place."""
        piece, logit = self.tokens[at], self._preference(at)
        if logit is not None and piece.strip() in ("+", "-"):
            return _log_sigmoid(logit if piece.strip() == "+" else -logit)
        return math.log(1.0 - 0.95 * fraction(self.model.name, piece, at) ** 3)

    def tops(self, at: int, count: int) -> list[tuple[str, float]]:
        """The `count` likeliest tokens at a place, that of the text among them, the likeliest first."""
        if not count:
            return []
        piece, own, logit = self.tokens[at], self.own(at), self._preference(at)
        left = -math.expm1(own)
        others = [(f" other{k}", math.log(max(left * 0.5**k, 1e-9))) for k in range(1, count)]
        if logit is not None:
            both = [("+", _log_sigmoid(logit)), ("-", _log_sigmoid(-logit))]
            others = [pair for pair in both if pair[0] != piece]
        return sorted([(piece, own), *others][: max(count, 2)], key=lambda pair: -pair[1])

    def of_chat(self, start: int, stop: int, count: int) -> dict[str, Any]:
        """The `logprobs` of a message."""
        told = []
        for at in range(start, stop):
            top = [_told(*pair) for pair in self.tops(at, count)]
            told.append({**_told(self.tokens[at], self.own(at)), "top_logprobs": top})
        return {"content": told}

    def of_text(self, start: int, stop: int, count: int) -> dict[str, Any]:
        """The `logprobs` of a text completion; the first token of all has none."""
        offsets = [0]
        for piece in self.tokens[start:stop]:
            offsets.append(offsets[-1] + len(piece))
        return {
            "text_offset": offsets[:-1],
            "token_logprobs": [self.own(at) if at else None for at in range(start, stop)],
            "tokens": list(self.tokens[start:stop]),
            "top_logprobs": [dict(self.tops(at, count)) if at else None for at in range(start, stop)],
        }

    def of_prompt(self, ids: Sequence[int]) -> list[dict[str, Any] | None]:
        """The `prompt_logprobs`: for each token of the prompt its own; the first has none."""
        rows: list[dict[str, Any] | None] = [
            {str(one): {"logprob": self.own(at), "rank": 1, "decoded_token": self.tokens[at]}}
            for at, one in enumerate(ids)
        ]
        return [None, *rows[1:]]

    def _preference(self, at: int) -> float | None:
        return None if self.model.prefers is None else self.model.prefers(self.tokens, at)


def _log_sigmoid(x: float) -> float:
    return -math.log1p(math.exp(-x)) if x > -30.0 else x


def _told(piece: str, value: float) -> dict[str, Any]:
    return {"token": piece, "logprob": value, "bytes": list(piece.encode("utf-8", "replace"))}
