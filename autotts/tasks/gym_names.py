"""What is known of reasoning-gym's datasets besides their names: those that cannot be used, and how others are leveled.

Found by making and scoring some problems of every step of every dataset of reasoning-gym 0.1.25.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

REFUSED: Final[Mapping[str, str]] = {
    "composite": "it is a mixture of other datasets, which have to be given to it: name one of them",
    "game_of_life_halting": "its scorer takes every text for the answer True, so that wrong answers count as right",
    "puzzle24": "its scorer does not look whether the numbers are those of the question, so that wrong answers count",
}
"""Datasets that are not offered, and why."""

ADAPTED: Final = frozenset({"caesar_cipher", "countdown", "letter_jumble", "modulo_grid", "spell_backward"})
"""Datasets whose levels reach from the easiest step to their own: their harder steps alone have no problems."""

STEPS: Final[Mapping[str, tuple[int, ...]]] = {
    "bf": (0, 1),
}
"""Steps of a curriculum that are used, where the others take too long to make."""
