"""The task `math` is the arithmetic of the embedded models, read and graded exactly."""

import pytest

from autotts.errors import InputError
from autotts.tasks import GRADERS, READERS, tasks
from autotts.tasks.arithmetic import MIX, level_counts

MATH = tasks()["math"]


def test_names_lead_to_the_functions() -> None:
    assert {"math"} == set(tasks()) and MATH.name == "math" and MATH.mix == MIX
    assert MATH.read is READERS[MATH.reader] and MATH.grade is GRADERS[MATH.grader]


def test_the_mix_is_drawn_when_no_level_is_asked_for() -> None:
    problems = MATH.source("search", None, 40, 3)
    counts = level_counts(40)
    assert {level: sum(p.level == level for p in problems) for level in counts} == counts
    assert len({p.prompt for p in problems}) == 40


@pytest.mark.parametrize("level", sorted(MIX))
def test_answers_are_right_and_streams_are_disjoint(level: int) -> None:
    parts = {stream: MATH.source(stream, level, 30, 0) for stream in ("search", "confirm", "test")}
    prompts = {p.prompt for part in parts.values() for p in part}
    assert len(prompts) == 90
    for part in parts.values():
        for problem in part:
            value = str(eval(problem.prompt.removeprefix("solve: ")))
            assert MATH.grade(MATH.read(f"1+1\nanswer: {value}") or "", problem.answer)
            assert not MATH.grade(str(int(value) + 1), problem.answer)


def test_a_level_that_is_not_there_is_said() -> None:
    with pytest.raises(InputError, match="level"):
        MATH.source("search", 9, 1, 0)
