"""Scripted models that score: reward models whose scores are right so often, and a judge that answers in words."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Final

from autotts.errors import InputError
from autotts.worlds.fake_server import sums
from autotts.worlds.fake_server.models import fraction

_LEFT: Final = re.compile(r"That leaves ([^.\n]+)\.|\\boxed\{([^{}]+)\}")
_FENCED: Final = re.compile(r"([A-Z][\w ]*):\n<<<(\w+)\n(.*?)\n\2>>>", re.DOTALL)
_COUNT: Final = re.compile(r'"kept": \[<true or false, (\d+)')


def on_track(text: str) -> bool:
    """Whether a text that holds a sum and an answer to it, as a `Solver` writes it, is right so far.

    >>> on_track("What is 1 + 2 * 3? First, 2 * 3 = 6. That leaves 1 + 6.")
    True
    >>> on_track("What is 1 + 2 * 3? The answer is \\\\boxed{9}.")
    False
    """
    found = list(_LEFT.finditer(text))
    asked = sums.find(text[: found[0].start()].partition("First,")[0] if found else text)
    if asked is None:
        return False
    try:
        return not found or sums.value(found[-1][1] or found[-1][2]) == sums.value(asked)
    except ValueError:
        return False


@dataclass(frozen=True)
class Scorer:
    """A reward model: logits that tell right texts from wrong ones.

    Parameters
    ----------
    auc
        The probability that a right text has a higher score than a wrong one.
    per
        What has a row: "step" (each `mark` in the text, the text up to there), "token" (each token; the ends of lines
        count, others are 0) or "whole".
    classes
        Numbers of a row: 1, or 2 of which the one at `right` is for right.
    is_right
        Whether a text is right so far.
    """

    auc: float = 0.85
    per: str = "whole"
    mark: str = "<extra_0>"
    classes: int = 1
    right: int = 1
    is_right: Callable[[str], bool] = on_track

    def __post_init__(self) -> None:
        known = self.per in ("step", "token", "whole") and self.classes in (1, 2) and self.right in (0, 1)
        if not known or not 0.0 < self.auc <= 1.0 or not self.mark:
            raise InputError(f"a fake scorer: expected an auc of (0, 1], a known per, 1 or 2 classes, found {self}")

    def __call__(self, tokens: Sequence[str]) -> list[list[float]]:
        """The rows of a text."""
        if self.per == "whole":
            return [self._row("".join(tokens))]
        if self.per == "token":
            ends = ["".join(tokens[: i + 1]) if token.endswith("\n") else None for i, token in enumerate(tokens)]
            return [self._row(end) if end is not None else [0.0] * self.classes for end in ends]
        parts = "".join(tokens).split(self.mark)
        return [self._row(" ".join(parts[:end])) for end in range(1, len(parts))]

    def prefers(self, tokens: Sequence[str], at: int) -> float | None:
        """As a `FakeModel`'s `prefers`: the score after a mark, or anywhere for the whole text."""
        if self.per == "step":
            if at == 0 or self.mark not in tokens[at - 1]:
                return None
            return self.logit(" ".join("".join(tokens[:at]).split(self.mark)[:-1]))
        return self.logit("".join(tokens[:at]))

    def says(self, prompt: str, partial: str, seed: int, temperature: float, top_p: float) -> str:
        """As a `FakeModel`'s script: "+" for a text that is more likely right than not, else "-"."""
        return partial + ("+" if self.logit(prompt + partial) > 0 else "-")

    def logit(self, text: str) -> float:
        """The score of a text: above 0 is more likely right than not."""
        text = text.strip()
        apart = math.sqrt(2.0) * NormalDist().inv_cdf(min(self.auc, 1.0 - 1e-9))
        noise = NormalDist().inv_cdf(min(max(fraction("score", self.auc, text), 1e-12), 1.0 - 1e-12))
        return (apart if self.is_right(text) else -apart) / 2.0 + noise

    def _row(self, text: str) -> list[float]:
        logit = self.logit(text)
        if self.classes == 1:
            return [logit]
        return [-logit / 2.0, logit / 2.0] if self.right == 1 else [logit / 2.0, -logit / 2.0]


@dataclass(frozen=True)
class Judge:
    """A judge in words, for a `FakeModel`'s script: it thinks of an answer what its scorer does.

    A prompt that fences what is judged is answered in JSON, with the fences' tag and a score, a preference between two
    answers or a truth value for each constraint; any other with "Verdict: correct" or "Verdict: incorrect".
    """

    scorer: Scorer = Scorer()

    def __call__(self, prompt: str, partial: str, seed: int, temperature: float, top_p: float) -> str:
        """The verdict on what stands in the prompt."""
        fenced = {name: (text, tag) for name, tag, text in _FENCED.findall(prompt)}
        if "Question" not in fenced:
            right = self.scorer.logit(prompt + partial) > 0
            if "JSON" in prompt:
                return partial + json.dumps({"verdict": "correct" if right else "incorrect"})
            return f"{partial}Verdict: {'correct' if right else 'incorrect'}"
        question, tag = fenced.pop("Question")
        logits = {name: self.scorer.logit(f"{question}\n{text}") for name, (text, _) in fenced.items()}
        said: dict[str, Any] = {"tag": tag, "reason": "I worked it out myself."}
        if "Answer A" in logits and "Answer B" in logits:
            said["better"] = "A" if logits["Answer A"] > logits["Answer B"] else "B"
        elif (count := _COUNT.search(prompt)) is not None:
            logit = next(iter(logits.values()))
            said["kept"] = [logit + fraction("kept", tag, i) - 0.5 > 0 for i in range(int(count[1]))]
        else:
            chance = 1.0 / (1.0 + math.exp(-next(iter(logits.values()))))
            said["score"] = 1 + round(9 * chance)
        return partial + json.dumps(said)
