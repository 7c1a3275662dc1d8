"""Group `drawn/1`: what the first draws of a prompt tell, for policies that decide after having seen some.

What is missing (no token counts, log-probabilities or texts) is said by a flag, and its columns hold 0. Standard
library only.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from autotts.errors import InputError

# Raise this whenever a column changes its meaning: artefacts name the version.
DRAWN_VERSION: Final = 1

_SEEN: Final = 200_000  # characters of one text that are looked at
_LOWEST: Final = -100.0  # mean log-probability of a token; one of probability 0 is minus infinity

DRAWN: Final[tuple[str, ...]] = (
    "draws",
    "log_tokens",  # mean over draws of the natural logarithm of 1 + tokens; 0 where no draw has a count
    "shortest",  # the same of the shortest draw
    "longest",
    "tokens_missing",  # share of draws without a count
    "readable",  # share of draws whose answer could be read
    "agreement",  # share of the leading answer among all draws; draws without an answer agree with none
    "margin",  # the same, less the share of the second answer
    "answers",  # different ones
    "logprob",  # mean log-probability of a token, mean over draws; 0 where no draw has one
    "lowest_logprob",  # of the least certain draw
    "logprob_missing",  # share of draws without one
    "hedges",  # hedging words for each 100 words, over all texts together; 0 where there is no text
    "text_missing",  # share of draws without text
)

# Marks of doubt and of turning back in a solution, in small letters.
_HEDGE: Final = re.compile(
    r"\b(?:wait|hmm+|maybe|perhaps|possibly|probably|alternatively|actually|not sure|unsure|uncertain|mistake|"
    r"i think|i guess|let me (?:re-?check|check again|reconsider|try again)|double[- ]check|on second thought|"
    r"re-?consider|another (?:way|approach)|might be|could be)\b"
)


@dataclass(frozen=True)
class Draws:
    """The first draws of one prompt, in the order of being drawn; all four have one entry for each draw.

    Attributes
    ----------
    answers
        Canonical answers; None where none can be read.
    tokens
        New tokens of each draw; below 0 where they were not recorded.
    logprobs
        Mean log-probability of a token; None or NaN where it is not known.
    texts
        None where the text was not kept.
    """

    answers: Sequence[str | None]
    tokens: Sequence[int]
    logprobs: Sequence[float | None]
    texts: Sequence[str | None]

    def __post_init__(self) -> None:
        sizes = {len(self.answers), len(self.tokens), len(self.logprobs), len(self.texts)}
        if len(sizes) > 1:
            raise InputError(
                "draws: expected as many answers, tokens, logprobs and texts, found "
                f"{len(self.answers)}, {len(self.tokens)}, {len(self.logprobs)} and {len(self.texts)}; "
                "give None where a value is not known"
            )


def drawn(draws: Draws) -> list[float]:
    """The features of some draws, in the order of `DRAWN`; all finite, also for no draws at all.

    Examples
    --------
    >>> first = Draws(["7", "7", None], [10, 20, 30], [-0.1, None, -0.3], [None, "Wait, maybe 7.", None])
    >>> found = dict(zip(DRAWN, drawn(first), strict=True))
    >>> [round(found[name], 2) for name in ("draws", "answers", "agreement", "logprob", "hedges")]
    [3.0, 1.0, 0.67, -0.2, 66.67]
    """
    count = len(draws.answers)
    lengths = [math.log1p(tokens) for tokens in draws.tokens if tokens >= 0]
    read = Counter(answer for answer in draws.answers if answer is not None)
    first, second, *_ = [*(votes for _, votes in read.most_common(2)), 0, 0]
    sure = [min(max(value, _LOWEST), 0.0) for value in draws.logprobs if value is not None and value == value]
    texts = [text for text in draws.texts if text is not None]
    return [
        float(count),
        _mean(lengths),
        min(lengths, default=0.0),
        max(lengths, default=0.0),
        _missing(len(lengths), count),
        read.total() / max(count, 1),
        first / max(count, 1),
        (first - second) / max(count, 1),
        float(len(read)),
        _mean(sure),
        min(sure, default=0.0),
        _missing(len(sure), count),
        hedging(texts),
        _missing(len(texts), count),
    ]


def hedging(texts: Iterable[str]) -> float:
    """Hedging words for each 100 words of some texts together; 0 where there are no words."""
    seen = [text[:_SEEN].lower() for text in texts]
    words = sum(len(text.split()) for text in seen)
    return 100.0 * sum(len(_HEDGE.findall(text)) for text in seen) / words if words else 0.0


def _missing(found: int, count: int) -> float:
    return (count - found) / count if count else 1.0


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else 0.0
