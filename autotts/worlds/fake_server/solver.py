"""A scripted model that works sums out step by step, and errs as models do: more often where it is harder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from autotts.worlds.fake_server import sums
from autotts.worlds.fake_server.models import fraction, number
from autotts.worlds.fake_server.sums import Operation
from autotts.worlds.fake_server.text import pieces

_THOUGHT: Final = re.compile(r"<think>.*?</think>\s*", re.DOTALL)
_LEFT: Final = re.compile(r"That leaves ([^.\n]+)\.")
_RESULT: Final = re.compile(r" = (-?\d+)\.")
_ANSWERED: Final = re.compile(r"\\boxed\{[^{}]*\}")
_ASKED: Final = re.compile(r"answer(?: is)?:?\s*$", re.IGNORECASE)
_OPENING: Final = "First,"
_CHECK: Final = "Let me check that once more: it is right."
_OFF: Final = (1, -1, 2, -2, 10, -10, 9, -9, 3, -5, 100, -100)  # by how much wrong results are off
_HEAD: Final = 3.0  # a result that is not written down is so much more often wrong


@dataclass(frozen=True)
class Solver:
    """Works out the sum in a prompt, such as "What is 12 + 30 * 2?" or "solve: 80+5*9", one operation a paragraph.

    The same prompt, partial answer and seed give the same text; at temperature 0 the seed does not matter. A partial
    answer is gone on with from where it stands, also from a wrong result; after a probe such as "\\boxed{" it guesses.

    Parameters
    ----------
    skill
        1 never errs. An operation on two numbers of two digits goes wrong with the probability 1 - skill at
        temperature 1, and half as often at 0; products and longer numbers are harder.
    wordy
        The probability of an idle paragraph between two steps.
    """

    skill: float = 0.9
    wordy: float = 0.2

    def __call__(self, prompt: str, partial: str, seed: int, temperature: float, top_p: float) -> str:
        """The whole answer."""
        question, answer = prompt, partial
        if not partial and (at := prompt.rfind(_OPENING)) > 0:  # a text completion: the answer so far is in the prompt
            question, answer = prompt[:at], prompt[at:]
        asked = sums.find(question)
        if asked is None:
            guess = number(self, question, seed if temperature else 0) % 10
            return f"{partial}I see no sum here. The answer is \\boxed{{{guess}}}."
        found = _THOUGHT.match(answer)
        thought = len(pieces(found.group())) if found else 0
        answer = answer[found.end() :] if found else answer
        heat = (0.5 + 0.5 * temperature * top_p) / (1.0 + thought / 60.0)
        draw = _Draw(self, asked, seed if temperature else 0, heat)
        return partial + draw.rest(answer, question)


@dataclass(frozen=True)
class _Draw:
    """One answer of a solver to one sum."""

    solver: Solver
    asked: str
    seed: int
    heat: float

    def rest(self, answer: str, question: str) -> str:
        """What follows a partial answer."""
        if _ANSWERED.search(answer):
            return ""
        left, tail, state = None, answer, self.asked
        for left in _LEFT.finditer(answer):
            state, tail = left[1], answer[left.end() :]
        if (answer or question).endswith("\\boxed{"):
            return f"{self._guess(state)}}}."
        written = self._steps(state, first=left is None, tail=tail)
        if not written.startswith(tail):
            if _ASKED.search(tail):
                return f" \\boxed{{{self._guess(state)}}}."
            return written
        return written[len(tail) :]

    def _steps(self, state: str, *, first: bool, tail: str) -> str:
        """The paragraphs from a state to the answer, the first of which agrees with `tail` if it can."""
        out = ""
        while (step := sums.following(state)) is not None:
            known = _RESULT.search(tail) if not out else None
            result = int(known[1]) if known else self._result(step, state)
            after = step.leaves(result)
            said = f"{_OPENING if first else 'Then'} {step} = {result}. That leaves {after}."
            gap = "" if first else "\n\n"
            ways = [gap + said] if first else [gap + said, f"{gap}{_CHECK}\n\n{said}"]
            if self._chance("check", state) < self.solver.wordy:
                ways.reverse()
            fits = [way for way in ways if out or way.startswith(tail)]
            out += (fits or ways)[0]
            state, first = after, False
        return f"{out}\n\nThe answer is \\boxed{{{sums.value(state)}}}."

    def _guess(self, state: str) -> int:
        """The answer without the steps that lead there."""
        while (step := sums.following(state)) is not None:
            state = step.leaves(self._result(step, state, harder=_HEAD))
        return sums.value(state)

    def _result(self, step: Operation, state: str, harder: float = 1.0) -> int:
        size = (len(str(abs(step.left))) + len(str(abs(step.right)))) / 4.0 * (2.0 if step.sign == "*" else 1.0)
        errs = min(0.9, (1.0 - self.solver.skill) * size * self.heat * harder)
        if self._chance("result", state, harder) >= errs:
            return step.value
        return step.value + _OFF[int(self._chance("off", state, harder) * len(_OFF))]

    def _chance(self, *of: object) -> float:
        return fraction(self.solver, self.asked, self.seed, *of)
