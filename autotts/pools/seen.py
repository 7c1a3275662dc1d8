"""What a check keeps of each line of a pool: numbers and hashes in columns, never texts.

A check looks at pools that cannot be loaded too, so nothing is refused here: what is wrong with a line is a mark on it.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

from autotts.pools.arrange import UNREAD
from autotts.pools.files import rows
from autotts.pools.gather import Made
from autotts.pools.lines import Row, clean
from autotts.pools.recorded import SAMPLE

# Marks of a line, one bit each.
REFUSED: Final = 1 << 0  # cannot be loaded
NO_LABEL: Final = 1 << 1
NO_ANSWER: Final = 1 << 2
NO_TOKENS: Final = 1 << 3
NO_PROMPT_TOKENS: Final = 1 << 4
NO_SCORE: Final = 1 << 5
NO_PROMPT: Final = 1 << 6
NO_GOLD: Final = 1 << 7
NO_SIZE: Final = 1 << 8
NO_TEMPERATURE: Final = 1 << 9
NOT_FINITE: Final = 1 << 10  # a number is NaN or infinite
CUT: Final = 1 << 11  # ended by a limit
OTHER_PROMPT: Final = 1 << 12  # not what an earlier line says of this prompt_id
OTHER_GOLD: Final = 1 << 13
WRONG_THOUGH_EQUAL: Final = 1 << 14
RIGHT_THOUGH_UNLIKE: Final = 1 << 15
IMPOSSIBLE: Final = 1 << 16  # a token count that cannot be

PROMPTS: Final = 20_000  # of so many prompts the words are kept
LISTENED: Final = 100  # so many problems of a family and file have the words of one output kept

_WORD: Final = re.compile(r"[^\W\d_]{4,}|\d{3,}")
_NUMBER: Final = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:/\d+)?")

Unit = tuple[int, int]  # a family in one file
Words = set[int]  # hashes of words


@dataclass(slots=True)
class Seen:
    """Everything that the findings are made from; columns hold one entry for each line.

    `family` and `problem` are -1 where a line was refused. `text` and `answer` are hashes, 0 where there is none,
    `whole` is one of all that the line says; `length` is that of the output in characters.
    """

    files: list[Path]
    ids: list[str] = field(default_factory=list)
    golds: list[str | None] = field(default_factory=list)
    prompts: list[int] = field(default_factory=list)  # a hash of each prompt, 0 where there is none
    made: list[Made] = field(default_factory=list)
    sizes: dict[str, dict[tuple[float | None, float | None], int]] = field(default_factory=dict)  # with a line of each
    refusals: list[str] = field(default_factory=list)  # why the first few lines were refused
    lost: Counter[str] = field(default_factory=Counter)
    unread: dict[str, set[int]] = field(default_factory=dict)  # hashes of answers that are marks for nothing, by mark
    asked: dict[int, Words] = field(default_factory=dict)  # the words of prompts
    said: dict[Unit, dict[int, Words]] = field(default_factory=dict)  # the words of one output a problem
    file: array[int] = field(default_factory=lambda: array("i"))
    line: array[int] = field(default_factory=lambda: array("q"))
    family: array[int] = field(default_factory=lambda: array("i"))
    problem: array[int] = field(default_factory=lambda: array("i"))
    index: array[int] = field(default_factory=lambda: array("q"))
    whole: array[int] = field(default_factory=lambda: array("q"))
    answer: array[int] = field(default_factory=lambda: array("q"))
    text: array[int] = field(default_factory=lambda: array("q"))
    length: array[int] = field(default_factory=lambda: array("q"))
    tokens: array[int] = field(default_factory=lambda: array("q"))
    probed: array[int] = field(default_factory=lambda: array("q"))  # a hash of the probed answers
    label: array[int] = field(default_factory=lambda: array("b"))  # 1 right, 0 wrong, -1 unknown
    marks: array[int] = field(default_factory=lambda: array("i"))


def watch(paths: Sequence[Path]) -> Seen:
    """Read pools in the common layout, line by line.

    Raises
    ------
    InputError
        A file cannot be read, or a line of it is no JSON object.
    """
    out = Seen(list(paths))
    watching = _Watching(out)
    for number, path in enumerate(paths):
        for line, row in rows(path):
            out.file.append(number)
            out.line.append(line)
            out.whole.append(hash(repr(row)))
            try:
                clean(row, watching.lost)
            except ValueError as error:
                watching.refuse(str(error))
                continue
            watching.row(row, number)
    return out


class _Watching:
    """Look-up tables that the columns do not need afterwards."""

    def __init__(self, out: Seen) -> None:
        self.lost: Counter[str] = Counter()
        self._out = out
        self._problems: dict[str, int] = {}
        self._golds: list[tuple[str | None, Fraction | None]] = []
        self._made: dict[tuple[Any, ...], int] = {}
        self._families: dict[Made, int] = {}
        self._last: dict[Unit, int] = {}  # the lot of the problem that would be given up for a better one

    def refuse(self, why: str) -> None:
        out = self._out
        self.lost.clear()
        if len(out.refusals) < 3:
            out.refusals.append(why)
        for column in (out.family, out.problem, out.index, out.tokens, out.label):
            column.append(-1)
        for column in (out.answer, out.text, out.length, out.probed):
            column.append(0)
        out.marks.append(REFUSED)

    def row(self, row: Row, file: int) -> None:
        """Append what a line says; `row` is clean."""
        out, get = self._out, row.get
        marks = 0
        if self.lost:
            marks |= NOT_FINITE
            out.lost.update(self.lost)
            self.lost.clear()
        problem, of_prompt = self._problem(row)
        family, of_family = self._family(row)
        output, extracted, correct = get("output"), get("extracted"), get("correct")
        tokens, index, probes = get("completion_tokens"), get("sample_index"), get("probes")
        answer = extracted.strip() if extracted else ""
        marks |= of_prompt | of_family | self._label(answer, correct, problem)
        if not answer:
            marks |= NO_ANSWER
        elif len(answer) < 8 and answer.lower() in UNREAD:
            out.unread.setdefault(answer.lower(), set()).add(hash(answer))
        if tokens is None:
            marks |= NO_TOKENS
        elif (not tokens and (answer or output)) or (probes and _beyond(len(probes), get("probe_every"), tokens)):
            marks |= IMPOSSIBLE
        if get("prompt_tokens") is None:
            marks |= NO_PROMPT_TOKENS
        if get("score") is None:
            marks |= NO_SCORE
        if get("finish") == "length":
            marks |= CUT
        if output:
            self._listen(output, problem, (family, file))
        out.family.append(family)
        out.problem.append(problem)
        out.index.append(-1 if index is None else index)
        out.answer.append(hash(answer) if answer else 0)
        out.text.append(hash(output) if output else 0)
        out.length.append(len(output) if output else 0)
        out.tokens.append(-1 if tokens is None else tokens)
        out.probed.append(hash(tuple(probes)) if probes else 0)
        out.label.append(-1 if correct is None else correct)
        out.marks.append(marks)

    def _problem(self, row: Row) -> tuple[int, int]:
        """The number of the row's prompt, and what is amiss with what the row says of it."""
        out = self._out
        name, prompt, gold = row["prompt_id"], row.get("prompt"), row.get("answer")
        asked = hash(prompt.strip()) if prompt else 0
        gold = gold.strip() or None if gold else None
        number = self._problems.get(name)
        if number is None:
            number = self._problems[name] = len(out.ids)
            out.ids.append(name)
            out.prompts.append(asked)
            self._golds.append((gold, _number(gold)))
            out.golds.append(gold)
            if prompt and number < PROMPTS:
                out.asked[number] = words(prompt)
            return number, (0 if asked else NO_PROMPT) | (0 if gold else NO_GOLD)
        marks = 0
        if not asked:
            marks |= 0 if out.prompts[number] else NO_PROMPT
        elif asked != out.prompts[number]:
            if out.prompts[number]:
                marks |= OTHER_PROMPT
            else:
                out.prompts[number] = asked
        if gold is None:
            marks |= 0 if out.golds[number] else NO_GOLD
        elif gold != out.golds[number]:
            if out.golds[number] is None:
                out.golds[number] = gold
                self._golds[number] = (gold, _number(gold))
            else:
                marks |= OTHER_GOLD
                self._golds[number] = (None, None)  # no label of it can be judged
        return number, marks

    def _family(self, row: Row) -> tuple[int, int]:
        out, get = self._out, row.get
        total, active = get("params_b"), get("active_params_b")
        model, temperature = row["model"], get("temperature")
        key = (model, get("strategy"), temperature, get("top_p"), get("template"), get("effort"), total, active)
        number = self._made.get(key)
        if number is None:
            made = Made(model, key[1] or SAMPLE, *key[2:6])
            number = self._made[key] = self._families.setdefault(made, len(out.made))
            if number == len(out.made):
                out.made.append(made)
            if total is not None or active is not None:
                out.sizes.setdefault(model, {}).setdefault((total, active), len(out.marks))
        marks = 0 if total is not None or active is not None else NO_SIZE
        return number, marks | (NO_TEMPERATURE if temperature is None else 0)

    def _label(self, answer: str, correct: bool | None, problem: int) -> int:
        """What is amiss with a label, as far as text and plain numbers tell."""
        if correct is None:
            return NO_LABEL
        gold, number = self._golds[problem]
        if gold is None or not answer:
            return 0
        if answer == gold:
            return 0 if correct else WRONG_THOUGH_EQUAL
        if not correct or number is None:
            return 0
        said = _number(answer)
        return RIGHT_THOUGH_UNLIKE if said is not None and _unlike(said, number) else 0

    def _listen(self, output: str, problem: int, unit: Unit) -> None:
        """Keep the words of one output each of a few problems, chosen by lot from all of the unit."""
        lot = _lot(problem)
        said = self._out.said.setdefault(unit, {})
        if problem in said or lot >= self._last.get(unit, 1 << 32):
            return
        said[problem] = words(output)
        if len(said) > LISTENED:
            del said[max(said, key=_lot)]
            self._last[unit] = max(map(_lot, said))


def _lot(problem: int) -> int:
    """A number for each problem as if by chance, the same in every run."""
    return problem * 2654435761 % (1 << 32)


def words(text: str) -> Words:
    """Hashes of the longer words and numbers of a text."""
    return {hash(word) for word in _WORD.findall(text.lower())}


def _number(text: str | None) -> Fraction | None:
    """A plain number or fraction, as people write it: `1,200`, `$3.50`, `1/2`."""
    if text is None or len(text) > 40:
        return None
    bare = text.replace(",", "").replace("$", "").strip()
    if not _NUMBER.fullmatch(bare):
        return None
    over, _, under = bare.partition("/")
    return Fraction(over) / int(under) if under and int(under) else None if under else Fraction(over)


def _unlike(said: Fraction, gold: Fraction) -> bool:
    """Whether two numbers differ by more than rounding does."""
    if said.denominator == gold.denominator == 1:
        return said != gold
    return abs(said - gold) > abs(gold) / 100


def _beyond(probes: int, every: int | None, tokens: int) -> bool:
    """Whether a draw has more probes than its tokens allow; one may stand at its end."""
    return every is not None and (probes - 1) * every > tokens
