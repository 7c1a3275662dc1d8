"""Tasks of reasoning-gym: endless, the same each time, disjoint, graded by their own scorers, and safe to grade."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from autotts.core.task import Problem, Task
from autotts.errors import InputError
from autotts.tasks import GRADERS, READERS, find, gym
from autotts.tasks.gym_math import LEVELS
from autotts.tasks.gym_names import REFUSED

pytest.importorskip("reasoning_gym")

STREAMS = ("search", "confirm", "test", "train")


def gold(problem: Problem) -> str:
    return str(json.loads(problem.answer)["answer"])


def graded(task: Task, problem: Problem, text: str) -> bool:
    read = task.read(text)
    return read is not None and task.grade(read, problem.answer)


def test_problems_are_the_same_each_time_and_a_longer_list_begins_with_a_shorter() -> None:
    task = find("reasoning_gym:chain_sum")
    assert sorted(task.mix) == [1, 2, 3, 4, 5] and sum(task.mix.values()) == pytest.approx(1)
    for level in task.mix:
        long = task.source("search", level, 12, 7)
        assert task.source("search", level, 5, 7) == long[:5]
        assert task.source("search", level, 5, 8) != long[:5]
        assert {p.level for p in long} == {level} and len({p.id for p in long}) == 12


def test_streams_are_disjoint_where_there_are_few_problems() -> None:
    source = find("reasoning_gym:chain_sum").source
    parts = {stream: {p.prompt for p in source(stream, 1, 30, seed)} for stream in STREAMS for seed in (0, 1)}
    assert sum(map(len, parts.values())) == len(set().union(*parts.values()))
    assert all(gym.stream_of(prompt) == stream for stream, prompts in parts.items() for prompt in prompts)


def test_a_level_that_runs_out_gives_what_there_is() -> None:
    found = find("reasoning_gym:propositional_logic").source("search", 1, 5000, 0)
    assert 0 < len(found) < 100 and len({p.prompt for p in found}) == len(found)


def test_the_mix_is_drawn_when_no_level_is_asked_for() -> None:
    for name in ("chain_sum", "math"):
        task = find(f"reasoning_gym:{name}")
        found = task.source("confirm", None, 21, 3)
        assert sorted(sum(p.level == k for p in found) for k in task.mix) == [4, 4, 4, 4, 5]
        assert [p.level for p in found] != sorted(p.level or 0 for p in found)  # shuffled


def test_a_dataset_without_settings_for_difficulty_has_one_level() -> None:
    task = find("reasoning_gym:acre")
    assert task.mix == {} and [p.level for p in task.source("test", None, 3, 0)] == [None] * 3


def test_other_streams_and_levels_are_refused() -> None:
    source = find("reasoning_gym:gcd").source
    with pytest.raises(InputError, match="stream: expected one of search, confirm, test, train, found 'dev'"):
        source("dev", 1, 1, 0)
    with pytest.raises(InputError, match=r"level: expected one of \[1, 2, 3, 4\], found 9"):
        source("test", 9, 1, 0)


@pytest.mark.parametrize("name", ["chain_sum", "countdown", "group_anagrams", "binary_matrix", "simple_integration"])
def test_the_datasets_own_scorer_grades_what_is_read(name: str) -> None:
    task = find(f"reasoning_gym:{name}")
    assert task.read is READERS[task.reader] and task.grade is GRADERS[task.grader] and "<answer>" in task.instruction
    for problem in task.source("search", 1, 3, 0):
        assert graded(task, problem, f"I think.\n<answer>{gold(problem)}</answer>")
        assert graded(task, problem, f"\\boxed{{{gold(problem)}}}") or "{" in gold(problem)
        assert not graded(task, problem, "<answer>0 0</answer>")
        assert not graded(task, problem, f"<answer>not {gold(problem)}</answer>")


def test_other_right_answers_than_the_stated_one_count() -> None:
    task = find("reasoning_gym:simple_integration")
    for problem in task.source("search", 2, 2, 0):
        assert task.grade(f"{gold(problem).removesuffix(' + C')} + C + 7", problem.answer)
    (sums,) = find("reasoning_gym:chain_sum").source("search", 5, 1, 0)
    for form in (f"${int(gold(sums)):,}$", f"{gold(sums)}.", f"\\text{{{gold(sums)}}}", f"{gold(sums)}.0"):
        assert GRADERS["reasoning_gym"](form, sums.answer), form


@pytest.mark.parametrize(
    "name",
    [
        *("string_insertion", "spiral_matrix", "binary_matrix", "n_queens"),  # their scorers call eval
        *("simple_integration", "intermediate_integration", "polynomial_multiplication", "countdown"),  # through sympy
        *("bitwise_arithmetic", "number_sorting", "codeio", "graph_color", "propositional_logic"),
    ],
)
def test_no_answer_is_executed(name: str, tmp_path: Path) -> None:
    (problem,) = find(f"reasoning_gym:{name}").source("search", 1, 1, 0)
    for number, call in enumerate(
        (
            "__import__('pathlib').Path({!r}).touch()",
            "[].append(open({!r}, 'a'))",
            "[open({!r}, 'x')]",
            "S(open({!r}, 'w'))",
        )
    ):
        trace = tmp_path / str(number)
        for around in ("{}", "[{}]", "1 + 0*{}", "'{}'", '{{"answer": {}}}'):
            assert not GRADERS["reasoning_gym"](around.format(call.format(str(trace))), problem.answer)
        assert not trace.exists()


@pytest.mark.parametrize("name", ["simple_integration", "countdown", "chain_sum", "propositional_logic", "gcd"])
def test_answers_that_hang_or_break_scorers_are_wrong(name: str) -> None:
    (problem,) = find(f"reasoning_gym:{name}").source("search", 1, 1, 0)
    for answer in ("9**9**9**9**9", "(" * 5000, "1" * 20_000, "\x00", "\ud800", "[" * 20_000, ""):
        assert GRADERS["reasoning_gym"](answer, problem.answer) is False
    assert GRADERS["reasoning_gym"](gold(problem), problem.answer) or not gold(problem)


def test_a_gold_answer_of_another_version_is_told() -> None:
    (problem,) = find("reasoning_gym:gcd").source("search", 1, 1, 0)
    other = json.dumps(json.loads(problem.answer) | {"question": "00"})
    with pytest.raises(InputError, match="another problem than the one that was answered"):
        GRADERS["reasoning_gym"]("1", other)
    for broken in ("7", "{}", "[]", json.dumps(json.loads(problem.answer) | {"of": "no such"})):
        assert GRADERS["reasoning_gym"]("1", broken) is False


def test_names_that_are_not_there_lead_to_those_that_are() -> None:
    with pytest.raises(InputError, match="did you mean reasoning_gym:chain_sum or"):
        find("reasoning_gym:chainsum")
    with pytest.raises(InputError, match="expected a dataset of reasoning-gym, such as reasoning_gym:chain_sum"):
        find("reasoning_gym:")
    for name, reason in REFUSED.items():
        with pytest.raises(InputError, match=f"reasoning_gym:{name} cannot be used: {reason[:20]}"):
            find(f"reasoning_gym:{name}")
        assert name not in gym.names()


def test_what_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    for name in ("chain_sum", "math"):
        with pytest.raises(InputError, match=r"pip install 'autotts-optimizer\[gym\]'"):
            find(f"reasoning_gym:{name}")


def test_math_for_chat_models_is_boxed_and_graded_by_value() -> None:
    task = find("reasoning_gym:math")
    assert task.name == "reasoning_gym:math" and sorted(task.mix) == sorted(LEVELS) == [1, 2, 3, 4, 5]
    assert (task.reader, task.grader) == ("math", "math") and "\\boxed" in task.instruction
    for level in LEVELS:
        found = task.source("search", level, 20, 0)
        assert len({p.prompt for p in found}) == 20
        for problem in found:
            assert graded(task, problem, f"So it is \\boxed{{{problem.answer}}}.")
            assert not graded(task, problem, "So it is \\boxed{-12345}.")


def test_the_angles_of_the_mix_are_those_of_convex_polygons() -> None:
    for level in LEVELS:
        for problem in find("reasoning_gym:math").source("test", level, 40, 1):
            if "interior angle" in problem.prompt:
                assert 0 < float(problem.answer) < 180, problem.prompt


@pytest.mark.slow
def test_every_dataset_that_is_offered_makes_problems_and_grades_answers() -> None:
    names = gym.names()
    assert len(names) > 90 and not set(names) & set(REFUSED)
    for name in sorted(set(names) - {"knight_swap"}):  # which takes seconds a problem
        task = find(f"reasoning_gym:{name}")
        (problem,) = task.source("search", 1, 1, 0)
        assert 0 < len(problem.prompt) < 16_000, name
        assert not graded(task, problem, "<answer>no such answer</answer>"), name
        assert graded(task, problem, f"<answer>{gold(problem)}</answer>") or name in UNSTATED, name


UNSTATED = ("boxnet", "graph_color", "propositional_logic", "rubiks_cube", "rush_hour")  # have no gold answer


def test_the_documentation_says_what_each_level_of_the_mix_holds() -> None:
    page = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text(encoding="utf-8")

    def span(low: int, high: int) -> str:
        return str(low) if low == high else f"{low} to {high}"

    for number, level in LEVELS.items():
        dice = f"{level.dice[0]} dice of up to {level.dice[1]} sides"
        assert (
            f"| {number} | {span(*level.terms)} terms of {span(*level.digits)} digits "
            f"| up to {level.equation[0]} terms, numbers to {level.equation[1]} "
            f"| {span(2, level.numbers[0])} numbers to {level.numbers[1]} "
            f"| up to {level.animals[0]} animals, {level.animals[1]} of each; {dice} "
            f"| the last angle of {level.polygon[0]} |\n"
        ) in page
    assert all(f"`{name}`" in page for name in (*REFUSED, *READERS))
