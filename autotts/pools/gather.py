"""Lines of pools gathered into columns: a few numbers for each sample, and each text once a problem."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autotts.errors import InputError
from autotts.pools.files import Written, written
from autotts.pools.lines import Row, clean, shown
from autotts.pools.recorded import SAMPLE

Place = tuple[Path, int]  # a file and a line of it, from 1


def at(place: Place) -> str:
    """A place, as messages name it."""
    return f"{place[0]}, line {place[1]}"


@dataclass(slots=True)
class Asked:
    """What is known of one prompt, and the answers to it that were seen, by text as it was written."""

    id: str
    prompt: str | None
    gold: str | None
    level: int | None
    place: Place
    texts: list[str] = field(default_factory=list)
    codes: dict[Any, int] = field(default_factory=lambda: {None: -1, "": -1})
    unequal: Place | None = None  # where another gold answer stands

    def code(self, text: str) -> int:
        """The number of an answer among those of this prompt; -1 where it is blank."""
        stripped = text.strip()
        found = self.codes.get(stripped)
        if found is None:
            found = self.codes[stripped] = len(self.texts)
            self.texts.append(stripped)
        self.codes[text] = found
        return found


@dataclass(frozen=True, slots=True)
class Made:
    """How samples were made: what tells one family from another."""

    model: str
    strategy: str
    temperature: float | None
    top_p: float | None
    template: str | None
    effort: str | None


@dataclass(slots=True)
class Size:
    """Parameters of a model, in billions, and where they were found."""

    total: float | None = None
    active: float | None = None
    place: Place | None = None


@dataclass(slots=True)
class Columns:
    """Everything read, by sample in the order of the files; -1 and NaN stand for what was not recorded."""

    asked: list[Asked] = field(default_factory=list)
    made: list[Made] = field(default_factory=list)
    datasets: dict[str, None] = field(default_factory=dict)
    sizes: dict[str, Size] = field(default_factory=dict)
    every: dict[int, tuple[int, Place]] = field(default_factory=dict)  # probe_every by family
    lost: Counter[str] = field(default_factory=Counter)
    unstated: int = 0  # samples that do not say by which strategy they were made
    family: array[int] = field(default_factory=lambda: array("i"))
    problem: array[int] = field(default_factory=lambda: array("i"))
    index: array[int] = field(default_factory=lambda: array("q"))
    line: array[int] = field(default_factory=lambda: array("q"))  # a hash of all that the line says
    answer: array[int] = field(default_factory=lambda: array("i"))
    correct: array[float] = field(default_factory=lambda: array("f"))
    tokens: array[int] = field(default_factory=lambda: array("q"))
    prompt_tokens: array[int] = field(default_factory=lambda: array("q"))
    score: array[float] = field(default_factory=lambda: array("d"))
    cut: array[int] = field(default_factory=lambda: array("b"))
    probe: array[int] = field(default_factory=lambda: array("i"))
    probes: array[int] = field(default_factory=lambda: array("i"))  # how many each sample has


def gather(paths: Sequence[Path], see: Callable[[Row, int], None] | None = None) -> Columns:
    """Read pools in the common layout, one after the other.

    Parameters
    ----------
    see
        Is shown each line and the number of its prompt.

    Raises
    ------
    InputError
        A line is not what was expected, or contradicts an earlier one; the message names both places.
    """
    out = Columns()
    reading = _Reading(out, see)
    for path in paths:
        reading.file(path, written(path))
    if not out.family:
        raise InputError(f"{', '.join(map(str, paths))}: expected recorded samples, found none: the file is empty")
    return out


class _Reading:
    """The state of reading: look-up tables that the columns do not need afterwards."""

    def __init__(self, out: Columns, see: Callable[[Row, int], None] | None) -> None:
        self._out = out
        self._see = see
        self._problems: dict[str, int] = {}
        self._families: dict[tuple[Any, ...], int] = {}  # by the values as they were written
        self._made: dict[Made, int] = {}

    def file(self, path: Path, found: Written) -> None:
        out = self._out
        for number, row, line in found:
            place = (path, number)
            try:
                clean(row, out.lost)
                problem = self._problem(row, place)
                family = self._family(row, place)
                self._sample(row, problem)
                if self._see is not None:
                    self._see(row, problem)
            except ValueError as error:
                raise InputError(f"{at(place)}: {error}") from None
            out.family.append(family)
            out.line.append(hash(line) if line is not None else hash(repr(row)))
            dataset = row.get("dataset") or path.name.split(".")[0]
            if dataset not in out.datasets:
                out.datasets[dataset] = None

    def _sample(self, row: Row, number: int) -> None:
        """Append what one sample is; `row` is clean."""
        out = self._out
        get = row.get
        asked = out.asked[number]
        extracted = get("extracted")
        code = asked.codes.get(extracted)
        if code is None:
            code = asked.code(extracted)  # type: ignore[arg-type]
        probes = get("probes")
        if probes is not None:
            if get("probe_every") is None:
                raise ValueError("probes: expected probe_every beside them, the tokens between two, found nothing")
            codes = asked.codes
            try:
                out.probe.extend([codes[text] for text in probes])
            except KeyError:
                out.probe.extend([codes[text] if text in codes else asked.code(text) for text in probes])
        index, tokens, before = get("sample_index"), get("completion_tokens"), get("prompt_tokens")
        correct, score = get("correct"), get("score")
        out.problem.append(number)
        out.answer.append(code)
        out.probes.append(0 if probes is None else len(probes))
        out.index.append(-1 if index is None else index)
        out.tokens.append(-1 if tokens is None else tokens)
        out.prompt_tokens.append(-1 if before is None else before)
        out.correct.append(_NAN if correct is None else correct)
        out.score.append(_NAN if score is None else score)
        out.cut.append(get("finish") == "length")

    def _problem(self, row: Row, place: Place) -> int:
        """The number of the row's prompt; what the row says of it must not contradict what is known."""
        name, prompt, gold, level = row["prompt_id"], row.get("prompt"), row.get("answer"), row.get("level")
        number = self._problems.get(name)
        if number is None:
            number = self._problems[name] = len(self._out.asked)
            gold = None if gold is None else gold.strip() or None
            self._out.asked.append(Asked(name, prompt, gold, level, place))
            return number
        known = self._out.asked[number]
        if prompt != known.prompt and prompt is not None:
            if known.prompt is None:
                known.prompt = prompt
            elif prompt.strip() != known.prompt.strip():
                raise ValueError(_contradicts("prompt", known.prompt, prompt, known))
        if gold != known.gold and gold is not None and (gold := gold.strip()) and gold != known.gold:
            if known.gold is None:
                known.gold = gold
            elif known.prompt is None or prompt is None:
                raise ValueError(_contradicts("answer", known.gold, gold, known))
            elif known.unequal is None:
                known.unequal = place
        if level != known.level and level is not None:
            if known.level is not None:
                raise ValueError(_contradicts("level", known.level, level, known))
            known.level = level
        return number

    def _family(self, row: Row, place: Place) -> int:
        get = row.get
        key = (
            row["model"],
            get("strategy"),
            get("temperature"),
            get("top_p"),
            get("template"),
            get("effort"),
            get("params_b"),
            get("active_params_b"),
            get("probe_every"),
        )
        number = self._families.get(key)
        if number is None:
            number = self._families[key] = self._new_family(key, place)
        if key[1] is None:
            self._out.unstated += 1
        return number

    def _new_family(self, key: tuple[Any, ...], place: Place) -> int:
        """A family seen first, or values of a known one (parameters, probe_every) seen first."""
        out = self._out
        model, strategy, temperature, top_p, template, effort, total, active, every = key
        made = Made(model, strategy or SAMPLE, temperature, top_p, template, effort)
        number = self._made.setdefault(made, len(out.made))
        if number == len(out.made):
            out.made.append(made)
        size = out.sizes.setdefault(model, Size())
        for name, known, found in (("params_b", size.total, total), ("active_params_b", size.active, active)):
            if known is not None and found is not None and abs(known - found) > 1e-6 * known:
                where = at(size.place) if size.place else "an earlier line"
                raise ValueError(
                    f"{name}: expected one number for model {model!r}, found {known:g} ({where}) and {found:g}: "
                    "keep the right one, or name the models apart"
                )
        if total is not None or active is not None:
            size.place = size.place or place
        size.total = total if size.total is None else size.total
        size.active = active if size.active is None else size.active
        if every is not None:
            before, first = out.every.setdefault(number, (every, place))
            if before != every:
                raise ValueError(
                    f"probe_every: expected one distance of probes for model {model!r}, found {before} ({at(first)}) "
                    f"and {every}: give the samples another template or effort, or leave their probes out"
                )
        return number


_NAN = float("nan")


def _contradicts(key: str, known: Any, found: Any, asked: Asked) -> str:
    return (
        f"{key}: expected what {at(asked.place)} says of the prompt_id {asked.id!r}, {shown(known)}, found "
        f"{shown(found)}: two prompts need two prompt_ids"
    )
