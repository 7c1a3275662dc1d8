"""What an answer took whose usage nobody told, as of one that was cut off: by what others of its model took."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from autotts.core.cost import Usage

FASTEST: Final = 1000.0  # tokens a second, until an answer has ended
AHEAD: Final = 0.05  # seconds for which a backend goes on until it hears that the client is gone


@dataclass(slots=True)
class Guess:
    """The most that answers of one model have taken.

    Tokens a second (`rate`), tokens an event of a stream (`piece`), and tokens of a prompt for each that its length
    allows (`density`), each None until an answer has told it.
    """

    rate: float | None = None
    piece: float | None = None
    density: float | None = None

    def learn(self, usage: Usage, *, whole: int, seconds: float, events: int = 0) -> None:
        """One more answer has ended; `whole` bounds the tokens of its prompt, `seconds` is what it took."""
        prompt = usage.prompt + usage.cached
        if whole > 0 and prompt:
            self.density = max(self.density or 0.0, min(1.0, prompt / whole))
        if seconds > 0 and usage.generated:
            self.rate = max(self.rate or 0.0, usage.generated / seconds)
        if events and usage.generated:
            self.piece = max(self.piece or 0.0, usage.generated / events)

    def prompt(self, whole: int) -> int:
        """The tokens of a prompt that can be so many at most."""
        return whole if self.density is None else math.ceil(whole * self.density)

    def usage(self, *, whole: int, seconds: float, most: int, events: int = 0) -> Usage:
        """What an answer took that was cut off after so many seconds and events, and might have had `most` tokens."""
        made = (self.rate or FASTEST) * (seconds + AHEAD)
        if events and self.piece is not None:
            made = (events + 1) * self.piece
        return Usage(prompt=self.prompt(whole), cancelled=min(most, math.ceil(made)), calls=1)
