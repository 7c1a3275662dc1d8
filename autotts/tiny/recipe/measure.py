"""The figures of the model cards: accuracy by level with intervals, AUC, and what weights add to a vote.

All are measured on problems of the confirm stream; the test stream stays closed for the evidence studies.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autotts.core.task import Problem
from autotts.tasks.arithmetic import LEVELS, problems, read_answer
from autotts.tiny.codec import encode
from autotts.tiny.engine import Completion, Request
from autotts.tiny.recipe.draws import complete, draws
from autotts.tiny.recipe.model import MAX_POSITIONS

STREAM, SEED, PER_LEVEL, VOTES = "confirm", 700, 300, 16

Weight = Callable[[Problem, Completion], float]


@dataclass(frozen=True, slots=True)
class Share:
    """A share of `count` problems, with the Wilson interval of 95 %."""

    right: int
    count: int

    @property
    def value(self) -> float:
        """The share itself."""
        return self.right / self.count

    @property
    def interval(self) -> tuple[float, float]:
        """Ends of the Wilson score interval (Wilson, 1927)."""
        z, n, p = 1.96, self.count, self.value
        middle = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return max(0.0, middle - half), min(1.0, middle + half)


def accuracies(folder: Path) -> dict[str, dict[int, Share]]:
    """Accuracy by level, greedy and of a majority of 16 at temperature 0.6."""
    found: dict[str, dict[int, Share]] = {"greedy": {}, "majority@16, T 0.6": {}}
    for level in LEVELS:
        asked = problems(level, STREAM, SEED, PER_LEVEL)
        greedy = draws(folder, asked, per_problem=1, temperature=0.0, seed=SEED)
        voted = draws(folder, asked, per_problem=VOTES, temperature=0.6, seed=SEED)
        found["greedy"][level] = share_right(asked, greedy, lambda problem, draw: 1.0)
        found["majority@16, T 0.6"][level] = share_right(asked, voted, lambda problem, draw: 1.0)
    return found


def share_right(asked: Sequence[Problem], drawn: Sequence[Sequence[Completion]], weight: Weight) -> Share:
    """How often the answer with the largest total weight is right (ties: the one drawn first)."""
    right = 0
    for problem, own in zip(asked, drawn, strict=True):
        votes: dict[str, float] = defaultdict(float)
        for draw in own:
            answer = read_answer(draw.text)
            if answer is not None:
                votes[answer] += weight(problem, draw)
        right += bool(votes) and max(votes, key=lambda answer: votes[answer]) == problem.answer
    return Share(right, len(asked))


@dataclass(frozen=True, slots=True)
class Validity:
    """Scores of the process reward model: P(token valid) = sigmoid(a * logp(token) + b)."""

    folder: Path
    a: float
    b: float

    def scores(self, asked: Sequence[Problem], drawn: Sequence[Sequence[Completion]]) -> dict[str, float]:
        """Sum of log P(valid) over a solution's tokens, by prompt and solution; each text is scored once."""
        texts = {
            problem.prompt + "\n" + draw.text: (encode(problem.prompt + "\n"), draw.ids)
            for problem, own in zip(asked, drawn, strict=True)
            for draw in own
        }
        # A draw that ran on to the end of the context has no answer; its last token cannot be read.
        requests = [Request((prompt + ids)[: MAX_POSITIONS - 1], max_new=0) for prompt, ids in texts.values()]
        scored = complete(self.folder, requests)
        return {
            text: sum(self.log_valid(x) for x in one.logprobs[len(prompt) - 1 :])
            for (text, (prompt, _)), one in zip(texts.items(), scored, strict=True)
        }

    def log_valid(self, logprob: float) -> float:
        """Log P(token valid)."""
        return -math.log1p(math.exp(-max(-500.0, self.a * logprob + self.b)))


def auc(scores: Sequence[float], right: Sequence[bool]) -> float:
    """Chance that a right solution scores above a wrong one (ties count half)."""
    ranks: dict[float, float] = {}
    ordered = sorted(scores)
    for i, score in enumerate(ordered):
        ranks.setdefault(score, 0.0)
        ranks[score] += i + 1
    counts: dict[float, int] = defaultdict(int)
    for score in ordered:
        counts[score] += 1
    positives = sum(right)
    total = sum(ranks[s] / counts[s] for s, good in zip(scores, right, strict=True) if good)
    return (total - positives * (positives + 1) / 2) / (positives * (len(right) - positives))


def reward_figures(validity: Validity, generators: Mapping[str, Path]) -> dict[str, dict[str, float]]:
    """For each generator: AUC of the final answer at T = 1 (levels 2-5), and votes of 16 at T = 0.6 on levels 3-5."""
    return {
        name: {**_auc_figure(validity, folder), **_vote_figures(validity, folder)}
        for name, folder in generators.items()
    }


def _auc_figure(validity: Validity, folder: Path) -> dict[str, float]:
    asked = [p for level in (2, 3, 4, 5) for p in problems(level, STREAM, SEED, PER_LEVEL)]
    drawn = draws(folder, asked, per_problem=2, temperature=1.0, seed=SEED + 1)
    known = validity.scores(asked, drawn)
    scores, right, hard = [], [], []
    for problem, own in zip(asked, drawn, strict=True):
        for draw in own:
            scores.append(known[problem.prompt + "\n" + draw.text])
            right.append(read_answer(draw.text) == problem.answer)
            hard.append(problem.level == 5)
    only = [i for i, is_hard in enumerate(hard) if is_hard]
    return {
        "AUC, levels 2-5": auc(scores, right),
        "AUC, level 5": auc([scores[i] for i in only], [right[i] for i in only]),
    }


def _vote_figures(validity: Validity, folder: Path) -> dict[str, float]:
    figures: dict[str, float] = {}
    for level in (3, 4, 5):
        asked = problems(level, STREAM, SEED, PER_LEVEL)
        drawn = draws(folder, asked, per_problem=VOTES, temperature=0.6, seed=SEED)
        known = validity.scores(asked, drawn)

        def weight(problem: Problem, draw: Completion, known: Mapping[str, float] = known) -> float:
            return math.exp(known[problem.prompt + "\n" + draw.text])

        best = [[max(own, key=lambda d: known[p.prompt + "\n" + d.text])] for p, own in zip(asked, drawn, strict=True)]
        figures[f"majority@16, L{level}"] = share_right(asked, drawn, lambda problem, draw: 1.0).value
        figures[f"weighted vote of 16, L{level}"] = share_right(asked, drawn, weight).value
        figures[f"best of 16, L{level}"] = share_right(asked, best, lambda problem, draw: 1.0).value
    return figures
