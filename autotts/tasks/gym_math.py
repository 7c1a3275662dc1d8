"""What `reasoning_gym:math` is made of: generators of five fields, with their own settings at five levels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Level:
    """How hard each field is; ranges include both ends.

    Parameters
    ----------
    terms, digits
        Ranges of the terms of a calculation and of their digits.
    equation
        The most terms of an equation, and the largest number in it.
    numbers
        How many numbers at most a divisor or multiple is looked for of, and the largest.
    animals
        The most kinds of animals whose legs are counted, and the most of a kind.
    dice
        How many dice are thrown, and the most sides.
    polygon
        Its angles, and the range of all of them but the last, such that the last is one of a convex polygon too.
    """

    terms: Pair
    digits: Pair
    equation: Pair
    numbers: Pair
    animals: Pair
    dice: Pair
    polygon: tuple[int, int, int]

    def generators(self) -> tuple[tuple[str, dict[str, Any]], ...]:
        """The datasets that take turns, each with its settings: every field has one in five."""
        calculation = ("basic_arithmetic", _between("terms", self.terms) | _between("digits", self.digits))
        equation = ("simple_equations", _between("terms", (2, self.equation[0])) | {"max_value": self.equation[1]})
        numbers = _between("numbers", (2, self.numbers[0])) | _between("value", (2, self.numbers[1]))
        legs = _between("animals", (2, self.animals[0])) | _between("instances", (1, self.animals[1]))
        sides, *angles = self.polygon
        polygon = ("simple_geometry", _between("sides", (sides, sides)) | _between("angle", (angles[0], angles[1])))
        dice = {"num_dice": self.dice[0], "max_dice_size": self.dice[1]}
        first = (calculation, equation, ("gcd", numbers), ("leg_counting", legs), polygon)
        return (*first, calculation, equation, ("lcm", numbers), ("dice", dice), polygon)


def _between(what: str, ends: Pair) -> dict[str, Any]:
    return {f"min_{what}": ends[0], f"max_{what}": ends[1]}


LEVELS: Final[Mapping[int, Level]] = {
    1: Level((2, 2), (1, 2), (2, 10), (2, 30), (2, 6), (2, 6), (3, 20, 80)),
    2: Level((3, 3), (1, 2), (3, 50), (2, 200), (4, 12), (2, 12), (4, 65, 115)),
    3: Level((4, 4), (2, 3), (4, 100), (2, 1000), (7, 20), (3, 12), (6, 110, 140)),
    4: Level((5, 6), (2, 3), (6, 300), (3, 3000), (11, 40), (4, 20), (10, 141, 159)),
    5: Level((7, 9), (3, 4), (8, 999), (4, 20000), (16, 80), (5, 20), (16, 157, 167)),
}
