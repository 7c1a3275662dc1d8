"""Writes the pages of docs/reference that follow from the code: `python -m tests.docs`."""

from __future__ import annotations

from pathlib import Path

from autotts.core.strategy import Knob, Options, Range, Role, knobs
from autotts.strategies import STRATEGIES

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "strategies.md"


def strategies() -> str:
    """The strategies and their knobs, from their declarations."""
    lines = [
        "# Strategies",
        "",
        "Made by `python -m tests.docs`. An arm is written `vote(n=8, model=S, temperature=0.6)`; knobs that are not",
        "given have their defaults. A study tries the values of the grid; a policy and `autotts evaluate --strategy`",
        "take any value in the range.",
        "",
    ]
    for name, kind in STRATEGIES.items():
        lines += [f"## `{name}`", "", str(kind.__doc__).split("\n", maxsplit=1)[0], ""]
        lines += ["| knob | default | range | grid | what it is |", "|---|---|---|---|---|"]
        lines += [_row(knob) for knob in knobs(kind).values()]
        lines.append("")
    return "\n".join(lines)


def _row(knob: Knob) -> str:
    domain = knob.domain
    span, grid = "a name", ""
    if isinstance(domain, Range):
        span = f"{domain.low:g} to {domain.high:g}"
        grid = ", ".join(f"{v:g}" for v in domain.grid)
    elif isinstance(domain, Options):
        span = ", ".join(domain.words)
    elif isinstance(domain, Role):
        grid = "every model" if domain.kind == "policy" else "every scorer"
    return f"| `{knob.name}` | {knob.default} | {span} | {grid} | {domain.about} |"


def main() -> None:
    """Write the page."""
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(strategies(), encoding="utf-8")


if __name__ == "__main__":
    main()
