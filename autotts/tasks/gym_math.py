"""What `reasoning_gym:math` is made of: one generator of each field, with its own settings at five levels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

FIELDS: Final[Mapping[str, str]] = {
    "arithmetic": "basic_arithmetic",
    "algebra": "simple_equations",
    "number theory": "gcd and lcm",
    "counting": "leg_counting and dice",
    "geometry": "simple_geometry",
}


def _level(
    *,
    terms: tuple[int, int],
    digits: tuple[int, int],
    equation: tuple[int, int],
    numbers: tuple[int, int],
    animals: tuple[int, int],
    dice: tuple[int, int],
    sides: tuple[int, int, int],
) -> tuple[tuple[str, dict[str, Any]], ...]:
    """The generators of a level; ranges include both ends.

    Of `equation`, `numbers`, `animals` and `dice`: the most, and how large. `sides`: how many, and the range of all
    angles but the last, such that the last is one of a convex polygon, too.
    """
    counted = {"min_numbers": 2, "max_numbers": numbers[0], "min_value": 2, "max_value": numbers[1]}
    return (
        ("basic_arithmetic", _between("terms", terms) | _between("digits", digits)),
        ("simple_equations", {"min_terms": 2, "max_terms": equation[0], "min_value": 1, "max_value": equation[1]}),
        ("gcd", counted),
        ("leg_counting", _between("animals", (2, animals[0])) | _between("instances", (1, animals[1]))),
        ("simple_geometry", _between("sides", (sides[0], sides[0])) | _between("angle", sides[1:])),
        ("basic_arithmetic", _between("terms", terms) | _between("digits", digits)),
        ("simple_equations", {"min_terms": 2, "max_terms": equation[0], "min_value": 1, "max_value": equation[1]}),
        ("lcm", counted),
        ("dice", {"num_dice": dice[0], "max_dice_size": dice[1]}),
        ("simple_geometry", _between("sides", (sides[0], sides[0])) | _between("angle", sides[1:])),
    )


def _between(what: str, ends: tuple[int, int]) -> dict[str, Any]:
    return {f"min_{what}": ends[0], f"max_{what}": ends[1]}


LEVELS: Final[Mapping[int, tuple[tuple[str, dict[str, Any]], ...]]] = {
    1: _level(
        terms=(2, 2), digits=(1, 2), equation=(2, 10), numbers=(2, 30), animals=(2, 6), dice=(2, 6), sides=(3, 20, 80)
    ),
    2: _level(
        terms=(3, 3),
        digits=(1, 2),
        equation=(3, 50),
        numbers=(2, 200),
        animals=(4, 12),
        dice=(2, 12),
        sides=(4, 65, 115),
    ),
    3: _level(
        terms=(4, 4),
        digits=(2, 3),
        equation=(4, 100),
        numbers=(2, 1000),
        animals=(7, 20),
        dice=(3, 12),
        sides=(6, 110, 140),
    ),
    4: _level(
        terms=(5, 6),
        digits=(2, 3),
        equation=(6, 300),
        numbers=(3, 3000),
        animals=(11, 40),
        dice=(4, 20),
        sides=(10, 141, 159),
    ),
    5: _level(
        terms=(7, 9),
        digits=(3, 4),
        equation=(8, 999),
        numbers=(4, 20000),
        animals=(16, 80),
        dice=(5, 20),
        sides=(16, 157, 167),
    ),
}
