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


# Field, what is off without it, what remains or helps; in the order in which a tally notes them.
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
    kinds: Counter[tuple[object, ...]] = field(default_factory=Counter)  # by model and what a line lacks
    last: int = 0  # the largest sample index

    @property
    def models(self) -> dict[str, int]:
        """Lines of each model."""
        out: dict[str, int] = {}
        for (name, *_), count in self.kinds.items():
            out[str(name)] = out.get(str(name), 0) + count
        return out

    def add(self, row: Row) -> None:
        """Count a line."""
        self.lines += 1
        get = row.get
        index = get("sample_index")
        self.kinds[
            row["model"],
            get("correct") is None,
            get("answer") is None,
            get("extracted") is None,
            get("completion_tokens") is None,
            get("params_b") is None,
            get("prompt_tokens") is None,
            get("score") is None,
            get("probes") is None,
            get("prompt") is None,
            get("temperature") is None,
            get("strategy") is None,
            index is None,
        ] += 1
        if index is not None and index > self.last:
            self.last = index

    def lacks(self) -> tuple[Lack, ...]:
        """What is lacking, the worst first."""
        missing = dict.fromkeys((name for name, _, _ in _FIELDS), 0)
        graded = unlabelled = 0
        for (_, label, gold, *fields), count in self.kinds.items():
            for name, absent in zip(missing, fields, strict=True):
                missing[name] += count * bool(absent)
            if label and not gold and not fields[0]:
                graded += count
            elif label:
                unlabelled += count
        out = []
        if unlabelled:
            off = "accuracy of every kind"
            out.append(Lack("correct", unlabelled, off, "tokens remain; --answers FILE with --reader math labels"))
        if graded:
            off = "grading that knows equal values (0.5 and 1/2)"
            out.append(Lack("correct", graded, off, "an answer is right where it is the gold one as text"))
        if not missing["sample_index"] and self.last == 0:
            off = "votes and every plan of several draws of one model"
            out.append(Lack("samples", self.lines, off, "one sample a problem: single draws and routing remain"))
        return (*out, *(Lack(name, missing[name], off, remain) for name, off, remain in _FIELDS if missing[name]))
