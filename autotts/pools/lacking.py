"""Which fields a pool lacks, which estimates are off thereby, and which remain."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from autotts.pools.lines import Row


@dataclass(frozen=True, slots=True)
class Lack:
    """A field that lines lack: in how many, what cannot be computed from those, and what can or helps."""

    field: str
    lines: int
    off: str
    remain: str


# Field, what is off without it, what remains or helps.
_FIELDS: Final = (
    (
        "extracted",
        "votes, adaptive and first-finish plans",
        "one draw, pass@k, and best-of-n by a score remain; --reader math reads answers off outputs",
    ),
    ("completion_tokens", "costs in tokens and flops, and all that depends on length", "budgets in calls remain"),
    ("params_b", "budgets in flops", "budgets in tokens and calls remain; --params MODEL=4.02e9 gives it"),
    ("prompt_tokens", "the price of prompts", "the price of what was generated remains"),
    ("score", "best-of-n and votes weighted by a score", "everything else remains"),
    ("probes", "stopping a draw early", "whole draws remain"),
    ("prompt", "prediction of difficulty from the prompt", "everything else remains"),
    ("temperature", "temperature as a knob", "samples are taken as drawn alike"),
    ("strategy", "knowing that draws are independent", "samples are taken as independent"),
    ("sample_index", "finding samples that were recorded twice", "the order of lines is kept"),
)


@dataclass(slots=True)
class Tally:
    """Counts of what lines have; it stays small however many there are."""

    lines: int = 0
    models: Counter[str] = field(default_factory=Counter)
    have: Counter[str] = field(default_factory=Counter)
    graded: int = 0  # lines without a label, of which one follows from answer and gold answer
    unlabelled: int = 0
    last: int = 0  # the largest sample index

    def add(self, row: Row) -> None:
        """Count a line."""
        self.lines += 1
        self.models[row["model"]] += 1
        get, have = row.get, self.have
        for name, _, _ in _FIELDS:
            if get(name) is not None:
                have[name] += 1
        if get("correct") is None:
            if get("extracted") is not None and get("answer") is not None:
                self.graded += 1
            else:
                self.unlabelled += 1
        index = get("sample_index")
        if index is not None and index > self.last:
            self.last = index

    def lacks(self) -> tuple[Lack, ...]:
        """What is lacking, the worst first."""
        out = []
        if self.unlabelled:
            off = "accuracy of every kind"
            out.append(Lack("correct", self.unlabelled, off, "tokens remain; --answers FILE with --reader math labels"))
        if self.graded:
            off = "grading that knows equal values (0.5 and 1/2)"
            out.append(Lack("correct", self.graded, off, "an answer is right where it is the gold one as text"))
        if self.have["sample_index"] == self.lines and self.last == 0:
            off = "votes and every plan of several draws of one model"
            out.append(Lack("samples", self.lines, off, "one sample a problem: single draws and routing remain"))
        for name, off, remain in _FIELDS:
            if missing := self.lines - self.have[name]:
                out.append(Lack(name, missing, off, remain))
        return tuple(out)
