"""The fair baseline is not worse than it could be: an arm of it that came out cheaper than a worse one replaces it."""

import pytest

from autotts.search.confirm import _rising


@pytest.mark.parametrize(
    ("costs", "kept"),
    [
        ([1.0, 2.0, 3.0], [0, 1, 2]),
        ([57.8, 57.4, 160.0], [1, 2]),  # one draw of a small model, one of a large one that writes less
        ([5.0, 6.0, 4.0, 9.0], [2, 3]),
        ([2.0, 2.0], [1]),
        ([3.0], [0]),
    ],
)
def test_the_better_of_two_arms_that_cost_the_same_stays(costs, kept):
    assert _rising(costs) == kept
