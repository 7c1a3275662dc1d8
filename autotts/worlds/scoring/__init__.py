"""Models that score answers: process and outcome reward models, and judges."""

from autotts.worlds.scoring.asking import Asks, Marked, Text
from autotts.worlds.scoring.marking import check, mark

__all__ = ["Asks", "Marked", "Text", "check", "mark"]
