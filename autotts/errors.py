"""Every error that autotts raises on purpose: one tree, each with the exit code of the command line."""

from __future__ import annotations


class AutottsError(Exception):
    """Something went wrong that a person can act on: expected, found, where, what to do."""

    exit_code = 1


class InputError(AutottsError):
    """The user's input is wrong; nothing was spent and nothing was lost."""

    exit_code = 2


class StoreError(InputError):
    """The study's database cannot be used: locked, full, not ours, not writable."""


class BudgetError(AutottsError):
    """The budget cannot be met: it is below the cheapest arm."""

    exit_code = 3


class BackendError(AutottsError):
    """What answers the asks failed for good; everything finished is kept."""

    exit_code = 4


class PlanError(AutottsError):
    """A plan broke the contract of the language, or asked for what its world cannot do."""


class SearchBudgetReached(AutottsError):
    """`--search-budget`, or another limit, leaves no room for another draw; `ledger` is the one that has none."""

    ledger: object = None


class ProposerError(AutottsError):
    """A proposer failed; the study goes on with the others, and says so."""
