"""The sections of the page that compare: baselines, the uniform mixture at each budget, ways to choose a model."""

from __future__ import annotations

from autotts.report.markup import Column, Html, element, join, table, text
from autotts.report.numbers import amount, count, plain, signed
from autotts.report.plane import letter
from autotts.report.result import Baseline, Cost, Interval, Result
from autotts.report.words import (
    HEADROOM,
    ROUTED,
    accuracy,
    captured,
    difference,
    equal_accuracy,
    headroom_known,
    mixture,
    over_known,
    path_known,
    routed,
    two_models,
)


def baselines(found: Result) -> Html:
    """Our policy beside the honest baselines."""
    if not found.baselines:
        return Html("")
    over = over_known(found)
    columns = [
        Column(""),
        Column("right, % (95 % interval)", "w"),
        Column("mean cost", "n"),
        *([Column("sequential tokens", "n")] if path_known(found) else []),
        Column("p95 cost", "n"),
        Column("against the mixture at its cost, points" if over else "ours minus it, points", "w"),
    ]
    ours = _difference(found.over_uniform) if over else Html("")
    rows = [[text("our policy"), text(accuracy(found.accuracy)), *_costs(found, found.cost), ours]]
    for index, b in enumerate(found.baselines):
        compared = _difference(b.over_uniform if over else b.difference)
        rows.append([_named(index, b), text(accuracy(b.accuracy)), *_costs(found, b.cost), compared])
    return join(
        element("h2", text("Beside the baselines")),
        element("p", text(_about(found)), css="soft"),
        table(columns, rows, first="first"),
    )


def _named(index: int, b: Baseline) -> Html:
    """A baseline with its letter; below it its arm and what is to be known of it."""
    name = element("span", text(f"{letter(index)}  {b.name}"))
    notes = [plain(b.note)] if b.note else []
    if not b.attainable:
        notes.insert(0, "cannot be had in service")
    about = element("div", text("; ".join(notes)), css="soft") if notes else Html("")
    if len(b.route) == 1:  # the same for every prompt
        arm = mixture(next(iter(b.route.values())))
        about = Html(element("div", element("code", text(arm)), css="soft") + about)
    return Html(name + about)


def _costs(found: Result, cost: Cost) -> list[Html]:
    path = [text(count(cost.sequential))] if path_known(found) else []
    return [text(amount(cost.mean, found.unit)), *path, text(amount(cost.p95, found.unit))]


def _about(found: Result) -> str:
    tuned = _TUNED if found.crossfit is None else _TUNED_ON_OTHERS
    return f"{tuned} {_OVER if over_known(found) else _MINUS}"


_TUNED = (
    "Each baseline was tuned on the search prompts, as the policy was, and is compared with it on the same held-out "
    "prompts."
)
_TUNED_ON_OTHERS = "Each baseline was tuned as the policy was: what answers a prompt was chosen on other prompts."
_MINUS = (
    "The last column says how many points more of them the policy gets right; where its interval holds "
    "zero, the two cannot be told apart. Costs differ, so read it together with the cost columns."
)
_OVER = (
    "Costs differ, so the last column compares each row with the best mixture of arms, drawn by lot and the same for "
    "all prompts, at the row's own cost: how many points more it gets right. Where the interval holds zero, the two "
    "cannot be told apart."
)


def _difference(found: Interval) -> Html:
    css = "good" if (found.low or 0.0) > 0 else "bad" if (found.high or 0.0) < 0 else ""
    return element("span", text(difference(found)), css=css)


def budgets(found: Result, *, drawn: bool) -> Html:
    """The policy under other budgets, beside the uniform mixture at the same cost."""
    if not found.frontier:
        return Html("")
    room = headroom_known(found)
    columns = [
        Column("mean budget", "w"),
        Column("policy, %", "w"),
        Column("uniform mixture, %", "w"),
        Column("difference, points", "w"),
        Column("uniform needs", "n"),
        *([Column("headroom, points", "n"), Column("captured, %", "w")] if room else []),
    ]
    rows = []
    for step in found.frontier:
        mark = " (does not bind)" if step.binds is False else ""
        cells = [
            text(amount(step.budget, found.unit) + mark),
            text(accuracy(step.accuracy)),
            text(accuracy(step.uniform.accuracy)),
            _difference(step.difference),
            text(equal_accuracy(step.equal_accuracy_cost, step.cost.mean)),
        ]
        rows.append(cells + ([text(signed(step.headroom)), text(captured(step.captured))] if room else []))
    return join(
        element("h2", text("Does adapting to the prompt pay?")),
        element("p", text(_BUDGETS + (f" {HEADROOM}" if room else "")), css="soft"),
        element("div", id="differences", css="drawn") if drawn else Html(""),
        table(columns, rows),
    )


_BUDGETS = (
    "The policy against the best random mixture of arms that treats all prompts alike, at the same mean budget and on "
    "the same prompts. A filled mark: the 95 % interval leaves out zero. 'Uniform needs' is how many times the "
    "policy's compute the mixture would take to be as often right."
)


def routing(found: Result) -> Html:
    """Two models and the ways to choose between them, in RouteLLM's figures."""
    if not found.routing.rows:
        return Html("")
    columns = [Column(""), *(Column(name, "n") for name in ROUTED)]
    rows = [[text(row.name), *map(text, routed(row))] for row in found.routing.rows]
    return join(
        element("h2", text("Choosing between two models")),
        element("p", text(two_models(found.routing)), css="soft"),
        table(columns, rows),
    )
