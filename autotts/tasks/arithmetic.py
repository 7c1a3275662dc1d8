"""The problems of the embedded models: signed sums of products, reduced one step per line.

A problem is written `solve: 80+5*9-63`; a solution rewrites it until one number is left:

    80+45-63
    125-63
    answer: 62

Each line reduces any one product, or any two neighbouring plain terms, of the line before it. The order is
random in the training data, so different draws meet different operands and their errors decorrelate. Every
line can be checked exactly, which gives process labels for free.
"""

import hashlib
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from autotts.core.task import Problem
from autotts.errors import InputError

QUESTION: Final = "solve: "
ANSWER: Final = "answer: "
STREAMS: Final = ("train", "search", "confirm", "test")

_TRAIN_SHARE: Final = 0.7
_OTHER_SHARE: Final = 0.1
_PATIENCE: Final = 1500  # tries in a row without a new problem after which a level counts as used up
_SUM: Final = re.compile(r"-?\d+(?:\*\d+)*(?:[+-]\d+(?:\*\d+)*)*")
_TERM: Final = re.compile(r"([+-]?)(\d+(?:\*\d+)*)")

Term = tuple[int, ...]  # (signed number,) is a plain term; (signed factor, factor, ...) is a product


@dataclass(frozen=True, slots=True)
class Level:
    """What a problem of one level is drawn from; all ranges include both ends."""

    terms: tuple[int, int]
    operands: tuple[int, int]
    product_share: float
    left_factors: tuple[int, int]
    right_factors: tuple[int, int]
    bound: int  # on the size of every sum of neighbouring terms, so on all that a solution can write


LEVELS: Final[Mapping[int, Level]] = {
    1: Level((4, 4), (1, 9), 0.0, (1, 1), (1, 1), 15),
    2: Level((4, 4), (1, 20), 0.1, (2, 5), (2, 5), 40),
    3: Level((4, 5), (1, 60), 0.15, (2, 9), (2, 9), 99),
    4: Level((4, 5), (10, 149), 0.15, (2, 9), (2, 12), 299),
    5: Level((5, 5), (10, 299), 0.2, (2, 9), (2, 19), 599),
}
MIX: Final[Mapping[int, float]] = {1: 0.35, 2: 0.25, 3: 0.2, 4: 0.12, 5: 0.08}


def stream_of(prompt: str) -> str:
    """Name the one stream that a prompt belongs to.

    The streams are a partition by a hash of the canonical text (factors sorted, signed terms sorted), so all
    orders of one expression are in the same stream, whatever seed drew them.

    Raises
    ------
    InputError
        When the prompt is not a signed sum of products.

    Examples
    --------
    >>> stream_of("solve: 80+5*9-63") == stream_of("solve: 9*5-63+80")
    True
    """
    return _stream(_parse(prompt.strip().removeprefix(QUESTION)))


def draw_problem(level: int, rng: random.Random) -> tuple[str, list[Term]]:
    """Draw one problem of a level from all streams: its text and its terms."""
    rules = LEVELS[level]
    while True:
        terms = [_draw_term(rules, rng) for _ in range(rng.randint(*rules.terms))]
        terms = [terms[0], *(term if rng.random() < 0.5 else _negated(term) for term in terms[1:])]
        if _stays_within(terms, rules.bound):
            return QUESTION + _write(terms), terms


def stream_problems(level: int, stream: str, rng: random.Random) -> Iterator[Problem]:
    """Yield problems of a level and stream for ever, with repetitions."""
    if level not in LEVELS:
        raise InputError(f"level: expected one of {list(LEVELS)}, found {level!r}")
    if stream not in STREAMS:
        raise InputError(f"stream: expected one of {list(STREAMS)}, found {stream!r}")
    while True:
        prompt, terms = draw_problem(level, rng)
        if _stream(terms) == stream:
            answer = str(sum(map(_value, terms)))
            yield Problem(f"L{level}/{prompt.removeprefix(QUESTION)}", prompt, answer, level)


def problems(level: int, stream: str, seed: int, count: int) -> list[Problem]:
    """Draw distinct problems of one level from one stream; the same arguments give the same list.

    A longer list begins with the shorter one of the same seed.

    Raises
    ------
    InputError
        When the level or stream is unknown, or the stream has no more new problems.
    """
    return _distinct(level, stream, seed, count, set())


def mixed(stream: str, seed: int, count: int, mix: Mapping[int, float] = MIX) -> list[Problem]:
    """Draw distinct problems of several levels in shuffled order; counts by largest remainder of `mix`."""
    taken: set[str] = set()
    drawn = [
        problem
        for level, size in level_counts(count, mix).items()
        for problem in _distinct(level, stream, seed, size, taken)
    ]
    random.Random(f"arithmetic/mixed/{stream}/{seed}").shuffle(drawn)
    return drawn


def _distinct(level: int, stream: str, seed: int, count: int, taken: set[str]) -> list[Problem]:
    """Draw `count` problems whose prompts are not in `taken`, and add them to it."""
    found: list[Problem] = []
    tries_in_vain = 0
    source = stream_problems(level, stream, random.Random(f"arithmetic/{level}/{stream}/{seed}"))
    while len(found) < count:
        problem = next(source)
        if problem.prompt not in taken:
            taken.add(problem.prompt)
            found.append(problem)
            tries_in_vain = 0
        elif (tries_in_vain := tries_in_vain + 1) >= _PATIENCE:
            raise InputError(
                f"level {level} has no new problems left in the stream {stream!r}: {count} were asked for, "
                f"{len(found)} were found; ask for at most that many"
            )
    return found


def level_counts(count: int, mix: Mapping[int, float] = MIX) -> dict[int, int]:
    """Split a count over levels in proportion to `mix` (largest remainder; ties to the lower level).

    Examples
    --------
    >>> level_counts(10)
    {1: 4, 2: 2, 3: 2, 4: 1, 5: 1}
    """
    total = sum(mix.values())
    if total <= 0 or min(mix.values()) < 0:
        raise InputError(f"mix: expected shares that are not negative and not all zero, found {dict(mix)}")
    exact = {level: count * share / total for level, share in mix.items()}
    counts = {level: int(size) for level, size in exact.items()}
    by_remainder = sorted(mix, key=lambda level: (counts[level] - exact[level], level))
    for level in by_remainder[: count - sum(counts.values())]:
        counts[level] += 1
    return counts


def solution(problem: Problem, rng: random.Random) -> list[str]:
    """Write one right solution, line by line, reducing in random order; the last line gives the answer."""
    terms = _parse(problem.prompt.removeprefix(QUESTION))
    return _solve(terms, rng)


def _solve(terms: list[Term], rng: random.Random) -> list[str]:
    lines = []
    while len(terms) > 1 or len(terms[0]) > 1:
        spots = _spots(terms)
        terms = _reduced(terms, spots[int(rng.random() * len(spots))])
        lines.append(_write(terms))
    lines[-1] = ANSWER + lines[-1]
    return lines


def next_lines(line: str) -> list[str]:
    """List every line that a right solution may write after `line` (a prompt or an earlier line).

    Examples
    --------
    >>> next_lines("solve: 80+5*9-63")
    ['80+45-63']
    >>> next_lines("125-63")
    ['answer: 62']
    """
    terms = _parse(line.removeprefix(QUESTION))
    reduced = [_reduced(terms, spot) for spot in _spots(terms)]
    return [("" if len(new) > 1 or len(new[0]) > 1 else ANSWER) + _write(new) for new in reduced]


def valid_line(previous_line: str, line: str) -> bool:
    """Say whether `line` can be read and still has the value of the line (or prompt) before it.

    Examples
    --------
    >>> valid_line("80+45-63", "125-63"), valid_line("80+45-63", "125-64")
    (True, False)
    """
    before = value_of(previous_line)
    return before is not None and value_of(line) == before


def value_of(line: str) -> int | None:
    """Compute a prompt, a line or an answer; None when it cannot be read."""
    text = line.strip().removeprefix(QUESTION).removeprefix(ANSWER)
    return sum(map(_value, _terms(text))) if _SUM.fullmatch(text) else None


def read_answer(text: str) -> str | None:
    """Read the canonical answer from the last line of a model's text; None when there is none.

    Examples
    --------
    >>> read_answer("125-63\\nanswer: 62"), read_answer("125-63\\n")
    ('62', None)
    """
    last = text.strip().rpartition("\n")[2]
    number = last.removeprefix(ANSWER)
    if number == last or not re.fullmatch(r"-?\d{1,18}", number):
        return None
    return str(int(number))


def _draw_term(rules: Level, rng: random.Random) -> Term:
    if rng.random() < rules.product_share:
        return (_between(rules.left_factors, rng), _between(rules.right_factors, rng))
    return (_between(rules.operands, rng),)


def _between(ends: tuple[int, int], rng: random.Random) -> int:
    return ends[0] + int(rng.random() * (ends[1] - ends[0] + 1))  # 5x faster than randint


def _negated(term: Term) -> Term:
    return (-term[0], *term[1:])


def _value(term: Term) -> int:
    value = term[0]
    for factor in term[1:]:
        value *= factor
    return value


def _stays_within(terms: list[Term], bound: int) -> bool:
    """Whether every sum of neighbouring terms is at most `bound`: the spread of all prefix sums is."""
    prefix = low = high = 0
    for term in terms:
        prefix += _value(term)
        low, high = min(low, prefix), max(high, prefix)
    return high - low <= bound


def _spots(terms: list[Term]) -> list[int]:
    """Places that can be reduced: i for the product i, ~i for the plain neighbours i and i+1."""
    spots = []
    plain_before = False
    for i, term in enumerate(terms):
        plain = len(term) == 1
        if not plain:
            spots.append(i)
        elif plain_before:
            spots.append(~(i - 1))
        plain_before = plain
    return spots


def _reduced(terms: list[Term], spot: int) -> list[Term]:
    if spot >= 0:
        left, right, *rest = terms[spot]
        return [*terms[:spot], (left * right, *rest), *terms[spot + 1 :]]
    i = ~spot
    return [*terms[:i], (terms[i][0] + terms[i + 1][0],), *terms[i + 2 :]]


def _write(terms: list[Term]) -> str:
    pieces = []
    for first, *rest in terms:
        pieces.append(f"{first:+d}")
        pieces.extend(f"*{factor}" for factor in rest)
    return "".join(pieces).removeprefix("+")


def _parse(text: str) -> list[Term]:
    if not _SUM.fullmatch(text):
        raise InputError(f"problem: expected a signed sum of products such as '{QUESTION}80+5*9-63', found {text!r}")
    return _terms(text)


def _terms(text: str) -> list[Term]:
    found = []
    for sign, product in _TERM.findall(text):
        first, *rest = map(int, product.split("*"))
        found.append((-first if sign == "-" else first, *rest))
    return found


def _stream(terms: list[Term]) -> str:
    canonical = sorted(_canonical_term(term) for term in terms)
    digest = hashlib.blake2b(repr(canonical).encode(), digest_size=8).digest()
    place = int.from_bytes(digest, "big") / 2**64
    index = 0 if place < _TRAIN_SHARE else 1 + int((place - _TRAIN_SHARE) / _OTHER_SHARE)
    return STREAMS[min(index, 3)]


def _canonical_term(term: Term) -> tuple[bool, Term]:
    return term[0] < 0, tuple(sorted(map(abs, term)))
