"""The section on what was tried: who proposed it, what became of it, and what the predictions were worth."""

from __future__ import annotations

from autotts.report.markup import Column, Html, element, join, table, text
from autotts.report.numbers import count, plain
from autotts.report.result import Result
from autotts.report.words import agent, foretold

FATES = ("proposed", "refused", "skipped", "tried")


def tried(found: Result) -> Html:
    """Proposers with what became of their arms; empty where nothing was proposed."""
    by = found.proposed.by
    if not by:
        return Html("")
    columns = [Column("proposer"), *(Column(fate, "n") for fate in FATES)]
    rows = [[text(plain(name)), *(text(count(counts.get(fate, 0))) for fate in FATES)] for name, counts in by.items()]
    lines = [foretold(found.proposed.predictor)] if found.proposed.predictor else []
    lines += [agent(found.proposed.agent)] if found.proposed.agent else []
    lines += [plain(note) for note in found.proposed.notes]
    return join(
        element("h2", text("What was tried")),
        element(
            "p",
            text(
                "Designed: the first round. Neighbour: from the frontier of the next level. Audit: foretold to be of "
                "no use, and run all the same. Refused: known already, or no arm of this study. Skipped: foretold to "
                "lie below the frontier. Each trial says in Optuna's dashboard where it was pruned, and why."
            ),
            css="soft",
        ),
        table(columns, rows),
        element("ul", *(element("li", text(line)) for line in lines if line)),
    )
