"""The sections of the page, each from a result to HTML."""

from __future__ import annotations

from autotts.report.markup import Column, Html, bar, definitions, element, join, table, text
from autotts.report.numbers import amount, count, duration, level_name, percent, plain, share_text
from autotts.report.plane import letter
from autotts.report.result import Interval, Level, Result, Round, Spend
from autotts.report.words import accuracy, fates, headroom_known, judged_on, level_order, sentences


def headline(found: Result) -> Html:
    """What was found, in words and in four figures."""
    low, high = found.accuracy.low, found.accuracy.high
    tiles = [
        _tile("right answers", _right(found.accuracy), _between(percent(low), percent(high), " %", low)),
        _tile(
            "mean cost per prompt",
            amount(found.cost.mean, found.unit),
            _between(amount(found.cost.low, found.unit), amount(found.cost.high, found.unit), "", found.cost.low),
        ),
        _tile("p95 cost", amount(found.cost.p95, found.unit), "95 % of the prompts cost at most this"),
        _tile("budget", plain(found.budget.text) or "none", _binds(found)),
    ]
    return join(
        element("p", text("autotts report"), css="kicker"),
        element("h1", text(f"{found.study}: what test-time compute buys")),
        element("p", text(found.verdict), css="verdict") if found.verdict else Html(""),
        element("div", *tiles, css="tiles"),
        element("p", text(sentences(found.model_copy(update={"verdict": ""})))),
        element("p", text(_ended(found)), css="soft") if _ended(found) else Html(""),
        element("ul", *(element("li", text(note)) for note in found.notes), css="soft") if found.notes else Html(""),
    )


def _right(measured: Interval) -> str:
    return "not measured" if measured.value is None else f"{percent(measured.value)} %"


def _tile(name: str, value: str, below: str) -> Html:
    return element(
        "div", element("span", text(name)), element("b", text(value)), element("span", text(below)), css="tile"
    )


def _between(low: str, high: str, sign: str, known: float | None) -> str:
    return "no interval known" if known is None else f"95 % interval {low} to {high}{sign}"


def _binds(found: Result) -> str:
    if found.budget.binds is None:
        return "mean per prompt"
    return "mean per prompt; it binds" if found.budget.binds else "mean per prompt; it binds nothing here"


def _ended(found: Result) -> str:
    return (
        f"The search ended: {plain(found.stopped.words or found.stopped.why)}."
        if found.stopped.words + found.stopped.why
        else ""
    )


def plane(found: Result) -> Html:
    """The frontier figure and its key."""
    star = "the exported policy" if found.crossfit is None else "our policy at the chosen budget"
    marks = [("●", "ours", "our policy at the budgets, with 95 % intervals"), ("★", "ours", star)]
    if any(step.uniform.accuracy.value is not None for step in found.frontier):
        marks.append(("□", "alike", "best mixture that treats all prompts alike (band: 95 % interval)"))
    if headroom_known(found):
        marks.append(("◇", "", "perfect knowledge of each prompt: the headroom, which nobody can have"))
    key = [element("li", element("i", text(sign), css=css), element("span", text(name))) for sign, css, name in marks]
    for index, baseline in enumerate(found.baselines):
        name = plain(baseline.name) + ("" if baseline.attainable else " (cannot be had in service)")
        key.append(element("li", element("i", text(letter(index))), element("span", text(name))))
    return join(
        element("h2", text("Accuracy over cost")),
        element(
            "p",
            text(f"Up is better, left is cheaper. {_FRESH if found.crossfit is None else _CROSSED}"),
            css="soft",
        ),
        element("div", element("div", id="frontier", css="drawn"), element("ul", *key, css="key"), css="frontier"),
    )


def route(found: Result) -> Html:
    """Which level gets which arm."""
    if not found.policy.route:
        return Html("")
    by_bin = {level.bin: level for level in found.levels}
    rows = []
    for name, mixed in sorted(found.policy.route.items(), key=lambda item: level_order(item[0])):
        level = by_bin.get(name, Level(bin=name))
        arms = sorted((pair for pair in mixed if pair[1] > 0), key=lambda pair: -pair[1])
        mix = [element("div", _part(share), element("code", text(arm)), css="mix") for arm, share in arms]
        share = Html("") if level.share is None else Html(text(share_text(level.share)) + bar(level.share))
        rows.append(
            [
                text(level_name(name)),
                share,
                Html("".join(mix)),
                text(accuracy(level.confirmed.accuracy)),
                text(amount(level.confirmed.cost.mean, found.unit)),
            ]
        )
    columns = [
        Column("prompts" if found.difficulty.kind in ("none", "constant", "performance") else "predicted level", "w"),
        Column("share of prompts"),
        Column("arm"),
        Column("right, %", "w"),
        Column("mean cost", "n"),
    ]
    return join(
        element("h2", text("Who gets what")),
        element("p", text(_rule(found)), css="soft"),
        table(columns, rows),
    )


_FRESH = "All figures come from held-out prompts with fresh draws."
_CROSSED = "All figures come from prompts on which what they show was not chosen."


def _part(share: float) -> Html:
    return text("") if share >= 1.0 else Html(f"{text(share_text(share))} ")


def _rule(found: Result) -> str:
    if found.difficulty.kind == "performance":
        return (
            "The exported policy's arms. Each prompt gets the arm that is worth most for it less the price of its "
            "cost, as foretold from its text; shares are those expected over prompts."
        )
    rule = "The exported policy's arms. The level is predicted from the prompt's surface, without asking a model"
    right = [
        f"{percent(share)} % {where}"
        for share, where in (
            (found.difficulty.accuracy, "out of fold" + (" on the search prompts" if found.crossfit is None else "")),
            (found.difficulty.confirm_accuracy, "on the held-out prompts"),
        )
        if share is not None
    ]
    if found.difficulty.kind in ("none", "constant") or (not right and not found.difficulty.kind):
        return "The exported policy's arms; prompts are not told apart here, all are treated alike."
    return f"{rule}; it is right on {', '.join(right)}." if right else f"{rule}."


def level_id(index: int) -> str:
    """The id of a level's figure."""
    return f"level-{index}"


def levels(found: Result) -> Html:
    """A small figure for each level."""
    if not found.levels:
        return Html("")
    figures = []
    for index, level in enumerate(found.levels):
        facts = [] if level.share is None else [f"{share_text(level.share)} of the prompts"]
        facts.append(f"{count(len(level.arms))} arms")
        if level.prompts.search is not None:
            facts.append(f"{count(level.prompts.search)} {'search ' if found.crossfit is None else ''}prompts")
        chosen = [element("div", element("code", text(a.arm))) for a in level.arms if a.chosen > 0]
        figures.append(
            element(
                "figure",
                element("h3", text(level_name(level.bin).capitalize())),
                element("div", text(", ".join(facts)), css="soft"),
                element("div", id=level_id(index), css="drawn"),
                element("figcaption", *([text("chosen: ")] if chosen else []), *chosen),
            )
        )
    return join(
        element("h2", text("Arms by level" if len(found.levels) > 1 else "Arms")),
        element("p", text(_LEVELS if found.crossfit is None else _LEVELS_CROSSED), css="soft"),
        element("div", *figures, css="levels"),
    )


_LEVELS = (
    "Every arm that was tried on the search prompts of a level: filled marks were raced, open ones computed from the "
    "same draws; the line is their frontier, blue diamonds are in the policy. The best of many arms looks better on "
    "the search prompts than it is; the star with its interval is what the policy reached on held-out prompts."
)
_LEVELS_CROSSED = (
    "Every arm that was measured, on all prompts; the line is the frontier, blue diamonds are in the policy. The best "
    "of many arms looks better here than it is; the star with its interval is what a policy reached on prompts that "
    "it was not chosen on."
)


_KINDS = {
    "drawn": "finished draws",
    "scored": "scores of reward models",
    "judged": "verdicts of judges",
    "cancelled": "cancelled draws",
    "failed": "draws and scores that failed",
    "lost": "attempts that came to nothing",
    "proposed": "proposals",
    "probed": "finding out what servers can",
}


def spent(found: Result) -> Html:
    """What the study itself took."""
    spend = found.spend
    total = spend.total or 0.0
    parts = [("search", spend.search), ("confirmation", spend.confirm)]
    models = [(f"model {plain(name)}", value) for name, value in spend.by_model.items()]
    models += [(_KINDS.get(kind, plain(kind)), value) for kind, value in spend.by_kind.items()]
    columns = [Column("spent on"), Column("amount", "n"), Column("share", "n"), Column("")]
    known = max([total, *(v or 0.0 for _, v in parts), *(v or 0.0 for _, v in models)])
    rows = [
        [text(name), text(amount(v, found.unit)), text(share_text(v / known)), bar(v / known)]
        for name, v in (*parts, *models)
        if v is not None and known > 0
    ]
    facts = {
        "spent in all": "" if spend.total is None else amount(spend.total, found.unit),
        "limit": "" if spend.search_budget is None else amount(spend.search_budget, found.unit),
        "time": "" if spend.seconds is None else duration(spend.seconds),
        "draws": "" if spend.draws is None else _drawn(spend),
        "scores": "" if spend.scores is None else count(spend.scores),
        "tokens": "" if spend.tokens is None else count(spend.tokens),
        "trials": "" if found.trials.raced is None else fates(found.trials),
    }
    if not rows and not any(facts.values()) and not found.rounds:
        return Html("")
    left = join(element("h2", text("What was spent")), definitions(facts), table(columns, rows) if rows else Html(""))
    return element("div", element("div", left), element("div", _rounds(found)), css="two")


def _drawn(spend: Spend) -> str:
    return f"{count(spend.draws)} made" + ("" if spend.reused is None else f", {count(spend.reused)} reused")


def _rounds(found: Result) -> Html:
    if not found.rounds:
        return Html("")
    columns = [
        Column("round", "w"),
        Column("prompts a level", "n"),
        Column("area reached", "n"),
        Column("draws", "n"),
        Column("spent", "n"),
        Column("time", "n"),
    ]
    return join(
        element("h2", text("Rounds of the search")),
        element(
            "p",
            text(
                "Area: the hypervolume below the frontier, 1 at most. Where it stays, arms near the frontier take "
                "twice the prompts; with all prompts taken, the search has converged."
            ),
            css="soft",
        ),
        table(columns, [_round(one, found.unit) for one in found.rounds]),
    )


def _round(one: Round, unit: str) -> list[Html]:
    area = "-" if one.area is None else f"{one.area:.4f}"
    prompts = "-" if one.prompts is None else count(one.prompts)
    cells = (
        f"round {count(one.round)}",
        prompts,
        area,
        count(one.draws),
        amount(one.spend, unit),
        duration(one.seconds),
    )
    return [text(cell) for cell in cells]


_GIVEN = {
    "levels": "The policy gives each prompt an arm by its predicted level.",
    "performance": "The policy gives each prompt an arm by what is foretold of the arms on it.",
    "none": "The policy treats all prompts alike.",
    "constant": "The policy treats all prompts alike.",
}


def reading(found: Result) -> Html:
    """How to read the page."""
    n = "the" if found.prompts.confirm is None else f"{count(found.prompts.confirm)}"
    on = f"{n} held-out prompts, which the search never saw, each answered afresh"
    if found.crossfit is not None:
        on = judged_on(found) + (f": {plain(found.crossfit.words)}" if found.crossfit.words else "")
    lines = [
        f"Accuracy is the share of right answers on {on}. Intervals are 95 % bootstrap intervals over prompts; "
        "differences are paired, prompt by prompt.",
        "Cost is what a prompt would cost if it were asked alone: every draw is charged in full, and so are verifiers "
        "and cancelled draws. Spend is the new work that the study did; a draw that was reused is spent once.",
        "An arm is a way to spend compute on a prompt, such as vote(n=8, model=S, temperature=0.8): eight draws of "
        f"model S, the most frequent answer wins. {_GIVEN.get(found.difficulty.kind, _GIVEN['levels'])}",
        "The uniform mixture draws an arm by lot, the same lot for every prompt. It is the only fair rival at an equal "
        "mean cost, and what the policy beats it by is what adapting to the prompt is worth.",
    ]
    if found.prompts.weights:
        lines.append(f"Prompts are weighted {plain(found.prompts.weights)}.")
    return join(element("h2", text("How to read this")), element("ul", *(element("li", text(one)) for one in lines)))


def provenance(found: Result) -> Html:
    """Where the figures come from, and the command that makes them again."""
    pairs = {
        "recorded answers": ", ".join(map(plain, found.pool.files)),
        "roles": ", ".join(map(plain, found.pool.roles)),
    }
    if not found.provenance and not any(pairs.values()):
        return Html("")
    for name, value in found.provenance.items():
        if isinstance(value, dict):
            pairs[plain(str(name))] = ", ".join(f"{plain(str(k))}: {plain(str(v))}" for k, v in value.items())
        elif value is not None:
            pairs[plain(str(name))] = plain(str(value))
    return join(element("h2", text("Where this comes from")), definitions(pairs))
