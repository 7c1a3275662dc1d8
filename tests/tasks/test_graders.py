"""Graders accept what is worth the gold answer and nothing else."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotts.tasks.graders import GRADERS
from autotts.tasks.readers import READERS


@pytest.mark.parametrize(
    ("gold", "answer", "right"),
    [
        ("1/2", "0.5", True),
        (r"2\sqrt{2}", r"\sqrt{8}", True),
        (r"(x+1)^2", "x^2+2x+1", True),
        (r"\sqrt{2}", "1.414214", True),
        (r"\sqrt{2}", "1.41", False),
        ("1/3", "0.333333", True),
        ("1/3", "0.3333", False),
        ("50%", "0.5", True),
        ("x=5", "5", True),
        ("5", "x=5", True),
        ("2x+z=1", "1", False),
        (r"\{1,2\}", r"\{2,1\}", True),
        ("[0,1)", "(0,1)", False),
        (r"90^\circ", "90", True),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{bmatrix}1\\2\end{bmatrix}", True),
        ("east", "west", False),
        ("9^{9^{9^9}}", "9^{9^{9^9}}", True),
        ("9^{9^{9^9}}", "1", False),
        ("", "", False),
        ("7", "", False),
    ],
)
def test_math_compares_values(gold: str, answer: str, right: bool) -> None:
    assert GRADERS["math"](answer, gold) is right


@given(st.integers(-(10**9), 10**9), st.integers(-(10**9), 10**9))
@settings(deadline=None)
def test_all_graders_of_numbers_agree_on_whole_numbers(one: int, other: int) -> None:
    for name in ("math", "arithmetic", "exact"):
        assert GRADERS[name](str(one), str(other)) is (one == other)
        assert GRADERS[name](str(one), str(one)) is True


def test_arithmetic_takes_whole_numbers_only() -> None:
    grade = GRADERS["arithmetic"]
    assert grade("0", "-0") and grade("+12", "012")
    assert not grade("1.0", "1") and not grade("", "") and not grade("x", "x")


def test_choice_and_exact() -> None:
    assert GRADERS["choice"]("C", "(c)") and not GRADERS["choice"]("C", "B") and not GRADERS["choice"]("", "")
    assert GRADERS["exact"](" a b", "a b ") and not GRADERS["exact"]("a b", "a  b")


def test_every_grader_has_its_reader() -> None:
    assert set(GRADERS) == {*READERS, "reasoning_gym"}  # whose answers are read as `tagged`


@given(st.text(max_size=60), st.text(max_size=60), st.sampled_from(sorted(GRADERS)))
@settings(deadline=None, max_examples=150)
def test_graders_never_raise(answer: str, gold: str, name: str) -> None:
    assert GRADERS[name](answer, gold) in (True, False)
