"""What an answer took whose usage nobody told, as of one that was cut off: no less than others took."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from autotts.core.cost import Usage

AHEAD: Final = 0.25  # seconds for which a backend may go on until it hears of it, and of what it made before


@dataclass(slots=True)
class Guess:
    """The most that answers of one model have taken.

    `rate` is in tokens a second, `density` in tokens of a prompt for each that its length allows; both are None before
    an answer has ended, and a guess is then what the request allows.
    """

    rate: float | None = None
    density: float | None = None

    def learn(self, usage: Usage, *, whole: int, seconds: float) -> None:
        """One more answer has ended; `whole` bounds the tokens of its prompt, `seconds` is what it took."""
        prompt = usage.prompt + usage.cached
        if whole > 0 and prompt:
            self.density = max(self.density or 0.0, min(1.0, prompt / whole))
        if seconds > 0 and usage.generated:
            self.rate = max(self.rate or 0.0, usage.generated / seconds)

    def usage(self, *, whole: int, seconds: float, most: int) -> Usage:
        """What an answer took that was cut off after so many seconds, and might have had so many tokens at most."""
        prompt = whole if self.density is None else math.ceil(whole * self.density)
        made = most if self.rate is None else min(most, math.ceil(self.rate * (seconds + AHEAD)))
        return Usage(prompt=prompt, cancelled=made, calls=1)
