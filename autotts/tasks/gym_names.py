"""What is known of reasoning-gym's datasets besides their names: those that cannot be used, and how others are leveled.

Found by making and scoring some problems of every step of every dataset of reasoning-gym 0.1.25.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

REFUSED: Final[Mapping[str, str]] = {
    "coin_flip": "its scorer takes the first digits of a probability for all of it, so that wrong answers count",
    "composite": "it is a mixture of other datasets, which have to be given to it: name one of them",
    "game_of_life_halting": "its scorer takes every text for the answer True, so that wrong answers count as right",
    "puzzle24": "its scorer does not look whether the numbers are those of the question, so that wrong answers count",
}
"""Datasets that are not offered, and why."""

ADAPTED: Final = frozenset({"countdown", "letter_jumble"})
"""Datasets whose levels reach from the easiest step to their own: their harder steps alone have no problems."""

STEPS: Final[Mapping[str, tuple[int, ...]]] = {
    # What the other steps ask for cannot be made, or is not taken by the scorer.
    "caesar_cipher": (0, 1),
    "jugs": (0,),
    "knight_swap": (),
    "modulo_grid": (0, 2, 3, 4, 5),
    "rubiks_cube": (0, 1, 2, 3),
    "spell_backward": (0, 1, 2, 3),
    # The other steps take more than 20 seconds a problem, or never end.
    "arc_1d": (0, 1),
    "bf": (0, 1),
    "number_sequence": (0, 1),
    "sokoban": (1, 3, 5, 8, 12),
    "zebra_puzzles": (0, 1, 2, 3),
    # The other steps have prompts of 16,000 characters and more.
    "binary_matrix": (0, 1, 2),
    "circuit_logic": (0, 1),
    "game_of_life": (0, 1, 2),
    "largest_island": (0, 1, 2),
    "mahjong_puzzle": (0, 1, 2),
    "manipulate_matrix": (0, 1, 2),
    "needle_haystack": (0, 1),
    "pool_matrix": (0, 1, 2),
    "rotate_matrix": (0, 1, 2),
    "rotten_oranges": (0, 1, 2),
    "shortest_path": (0, 1, 2),
    "spiral_matrix": (0, 1, 2),
}
"""The steps of a curriculum that are levels, where these are not spread over all; with none, the dataset as it is."""
