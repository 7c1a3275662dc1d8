"""Problems of the embedded models: deterministic, within their levels, disjoint by construction, exactly checked."""

import random
import re
from itertools import pairwise

import pytest

from autotts.errors import InputError
from autotts.tasks.arithmetic import (
    LEVELS,
    MIX,
    STREAMS,
    level_counts,
    mixed,
    next_lines,
    problems,
    read_answer,
    solution,
    stream_of,
    valid_line,
    value_of,
)

HELD_OUT = [stream for stream in STREAMS if stream != "train"]


def terms_of(prompt: str) -> list[str]:
    return re.findall(r"[+-]?[\d*]+", prompt.removeprefix("solve: "))


@pytest.mark.parametrize("level", LEVELS)
def test_the_same_arguments_give_the_same_problems_and_a_longer_list_begins_with_the_shorter(level: int) -> None:
    first = problems(level, "search", 3, 20)
    assert problems(level, "search", 3, 20) == first
    assert problems(level, "search", 3, 30)[:20] == first
    assert problems(level, "search", 4, 20) != first
    assert len({problem.prompt for problem in first}) == 20
    assert len({problem.id for problem in first}) == 20


@pytest.mark.parametrize("level", LEVELS)
def test_problems_stay_within_the_bounds_of_their_level(level: int) -> None:
    rules = LEVELS[level]
    products = 0
    for problem in problems(level, "train", 0, 200):
        terms = terms_of(problem.prompt)
        assert rules.terms[0] <= len(terms) <= rules.terms[1]
        values = []
        for term in terms:
            sign, factors = (-1 if term[0] == "-" else 1), [int(f) for f in term.lstrip("+-").split("*")]
            if len(factors) == 1:
                assert rules.operands[0] <= factors[0] <= rules.operands[1]
                values.append(sign * factors[0])
            else:
                products += 1
                assert rules.left_factors[0] <= factors[0] <= rules.left_factors[1]
                assert rules.right_factors[0] <= factors[1] <= rules.right_factors[1]
                values.append(sign * factors[0] * factors[1])
        sums = [sum(values[i:j]) for i in range(len(values)) for j in range(i + 1, len(values) + 1)]
        assert max(map(abs, sums)) <= rules.bound
        assert int(problem.answer) == sum(values)
        assert problem.level == level
    assert (products > 0) == (rules.product_share > 0)


@pytest.mark.parametrize("level", LEVELS)
def test_every_stream_has_its_own_problems(level: int) -> None:
    drawn = {stream: {p.prompt for p in problems(level, stream, 0, 60)} for stream in STREAMS}
    for stream, prompts in drawn.items():
        assert {stream_of(prompt) for prompt in prompts} == {stream}


def test_all_orders_of_one_expression_are_in_one_stream() -> None:
    rng = random.Random(5)
    for problem in problems(4, "confirm", 1, 100):
        terms = [t if t[0] in "+-" else "+" + t for t in terms_of(problem.prompt)]
        turned = [t[0] + "*".join(reversed(t[1:].split("*"))) for t in terms]
        rng.shuffle(turned)
        assert stream_of("solve: " + "".join(turned).removeprefix("+")) == "confirm"


def test_the_streams_have_their_shares() -> None:
    rng = random.Random(1)
    found = [stream_of("+".join(str(rng.randint(1, 299)) for _ in range(4))) for _ in range(4000)]
    assert 0.67 < found.count("train") / 4000 < 0.73
    for stream in HELD_OUT:
        assert 0.08 < found.count(stream) / 4000 < 0.12


def test_a_level_that_runs_out_says_how_many_there_were() -> None:
    with pytest.raises(InputError, match=r"level 1 .*'search': 9000 were asked for, 3\d\d\d were found"):
        problems(1, "search", 0, 9000)


@pytest.mark.parametrize(("level", "stream"), [(6, "search"), (1, "validation")])
def test_unknown_levels_and_streams_are_input_errors(level: int, stream: str) -> None:
    with pytest.raises(InputError, match="expected one of"):
        problems(level, stream, 0, 1)


def test_a_prompt_that_is_no_sum_has_no_stream() -> None:
    with pytest.raises(InputError, match="signed sum of products"):
        stream_of("solve: twelve")


def test_a_mix_is_split_by_largest_remainder() -> None:
    assert level_counts(100) == {1: 35, 2: 25, 3: 20, 4: 12, 5: 8}
    assert level_counts(7, {1: 0.5, 2: 0.5}) == {1: 4, 2: 3}
    assert sum(level_counts(333).values()) == 333
    with pytest.raises(InputError, match="shares"):
        level_counts(5, {1: -1.0, 2: 2.0})


def test_mixed_problems_are_distinct_across_levels_and_keep_the_mix() -> None:
    drawn = mixed("search", 2, 200)
    assert len({problem.prompt for problem in drawn}) == 200
    for level, share in MIX.items():
        assert sum(problem.level == level for problem in drawn) == round(200 * share)
    assert mixed("search", 2, 200) == drawn


@pytest.mark.parametrize("level", LEVELS)
def test_every_line_of_a_solution_is_valid_and_one_of_the_next_lines(level: int) -> None:
    rng = random.Random(level)
    for problem in problems(level, "train", 0, 100):
        lines = solution(problem, rng)
        for before, line in pairwise([problem.prompt, *lines]):
            assert valid_line(before, line)
            assert line in next_lines(before)
        assert read_answer("\n".join(lines)) == problem.answer


def test_solutions_reduce_in_random_order() -> None:
    (problem,) = problems(3, "train", 0, 1)
    rng = random.Random(0)
    assert len({tuple(solution(problem, rng)) for _ in range(50)}) > 2


def test_the_checker_catches_every_corrupted_digit() -> None:
    rng = random.Random(9)
    for problem in problems(4, "train", 1, 50):
        for before, line in pairwise([problem.prompt, *solution(problem, rng)]):
            place = rng.choice([i for i, symbol in enumerate(line) if symbol.isdigit()])
            wrong = line[:place] + str((int(line[place]) + rng.randint(1, 9)) % 10) + line[place + 1 :]
            if value_of(wrong) != value_of(line):  # 0*7 for 0*8 would still be right
                assert not valid_line(before, wrong)
            assert wrong not in next_lines(before)


@pytest.mark.parametrize("text", ["", "answer: ", "answer: 1+", "12", "answer: 12\n13", "answer: 1e3", "answer: --1"])
def test_a_text_without_a_whole_answer_line_has_no_answer(text: str) -> None:
    assert read_answer(text) is None


def test_answers_are_canonical() -> None:
    assert read_answer("7-9\nanswer: -02") == "-2"
    assert read_answer("answer: -0") == "0"


@pytest.mark.parametrize("line", ["", "1++2", "answer: x", "1*", "solve: "])
def test_a_line_that_cannot_be_read_is_not_valid(line: str) -> None:
    assert not valid_line("1+2", line)
