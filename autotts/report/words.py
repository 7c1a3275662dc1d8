"""Intervals and routes of a result as people read them, and the result itself in two to four sentences."""

from __future__ import annotations

from collections.abc import Mapping

from autotts.report.numbers import NOTHING, amount, count, level_name, percent, plain, share_text, signed
from autotts.report.result import Agent, Baseline, Foretold, Interval, Result, Routed, Routing, Trials, read


def accuracy(found: Interval, between: str = " to ") -> str:
    """`93.1 (90.4 to 95.3)`, in percent."""
    if found.value is None or found.low is None or found.high is None:
        return percent(found.value)
    return f"{percent(found.value)} ({percent(found.low)}{between}{percent(found.high)})"


def difference(found: Interval) -> str:
    """`+1.3 (-0.4 to +2.2)`, in points."""
    if found.value is None or found.low is None or found.high is None:
        return signed(found.value)
    return f"{signed(found.value)} ({signed(found.low)} to {signed(found.high)})"


def captured(found: Interval) -> str:
    """A share of the headroom, in percent: `35 (10 to 61)`."""
    value, low, high = (NOTHING if x is None else f"{round(100 * x)}" for x in (found.value, found.low, found.high))
    return value if NOTHING in (value, low, high) else f"{value} ({low} to {high})"


def mixture(arms: list[tuple[str, float]]) -> str:
    """The arms of one bin: `one(model=S)`, or `70 % one(model=S), 30 % vote(n=8, model=S)`."""
    used = [(plain(arm), share) for arm, share in sorted(arms, key=lambda a: -a[1]) if share > 0]
    if len(used) == 1:
        return used[0][0]
    return ", ".join(f"{share_text(share)} {arm}" for arm, share in used) or "nothing"


def route_lines(result: Result) -> list[tuple[str, str, str]]:
    """Per level of the policy: its name, its share of the prompts, the arms it gets."""
    shares = {level.bin: level.share for level in result.levels}
    return [
        (level_name(bin_name), share_text(shares.get(bin_name)), mixture(arms))
        for bin_name, arms in sorted(result.policy.route.items(), key=lambda item: level_order(item[0]))
    ]


def level_order(bin_name: str) -> tuple[int, str]:
    """Sorts level 10 after level 9, and names after numbers."""
    return (int(bin_name), "") if bin_name.isdecimal() else (10**9, bin_name)


def uniform_baseline(result: Result) -> Baseline | None:
    """The hull of uniform configurations: the fairest rival that treats all prompts alike."""
    return next((b for b in result.baselines if b.kind == "hull" and b.accuracy.value is not None), None)


def equal_accuracy(cost: float | None, ours: float | None) -> str:
    """How much more compute a uniform mixture needs for our accuracy: `1.9 x`, or what is known about it."""
    if cost is None or not ours:
        return NOTHING
    return f"{cost / ours:.2g} x" if cost / ours < 100 else f"{cost / ours:.0f} x"


HEADROOM = (
    "Headroom: how many points more than that mixture perfect knowledge of each prompt would get right at the same "
    "cost, which nobody can have; captured: the policy's share of it."
)


def over_known(found: Result) -> bool:
    """Whether rows are compared with the mixture at their own cost."""
    return found.over_uniform.value is not None or any(b.over_uniform.value is not None for b in found.baselines)


def path_known(found: Result) -> bool:
    """Whether the tokens on the critical path are known of any row."""
    return any(cost.sequential is not None for cost in (found.cost, *(b.cost for b in found.baselines)))


def headroom_known(found: Result) -> bool:
    """Whether it is known what perfect knowledge of each prompt would give."""
    return any(step.headroom is not None for step in found.frontier)


def two_models(routing: Routing) -> str:
    """Which two models are chosen between, and what the figures of the choice mean."""
    named = " and ".join(
        plain(name) + ("" if right.value is None else f" ({percent(right.value)} % right)")
        for name, right in ((routing.weak, routing.weak_accuracy), (routing.strong, routing.strong_accuracy))
    )
    return (
        f"The weak and the strong model are {named}. APGR: the mean share of the gap between them that is closed, over "
        "all shares of prompts that the strong one gets; 0.5 is chance. CPT: how many percent of the prompts it must "
        "get to close so much of the gap."
    )


# Of each kind of difficulty: what the list of who gets what means.
WHO = {
    "levels": "level as predicted from the prompt, its share of the prompts",
    "performance": "shares expected over prompts; each prompt gets its own arm",
    "none": "prompts are not told apart",
    "constant": "prompts are not told apart",
}

ROUTED = ("APGR", "CPT 20 %", "CPT 50 %", "CPT 80 %")


def routed(row: Routed) -> list[str]:
    """RouteLLM's figures of one way to choose: `0.598`, and calls in percent."""
    apgr = row.apgr
    text = NOTHING if apgr.value is None else f"{apgr.value:.3f}"
    if apgr.value is not None and apgr.low is not None and apgr.high is not None:
        text += f" ({apgr.low:.3f} to {apgr.high:.3f})"
    return [text, *(percent(cpt.value) for cpt in (row.cpt20, row.cpt50, row.cpt80))]


def judged_on(found: Result) -> str:
    """The prompts that the figures are of, and why they are none that the policy was fitted to."""
    n = found.prompts.confirm if found.crossfit is None else (found.crossfit.problems or found.prompts.confirm)
    prompts = "prompts" if n is None else f"{count(n)} prompts"
    if found.crossfit is not None:
        return f"{prompts}, each answered by a policy chosen on the others"
    return f"{prompts} that the search did not see, answered afresh"


def words(result: Mapping[str, object]) -> str:
    """Two to four sentences: what was found, whether the budget binds, whether adapting to the prompt pays."""
    return sentences(read(result))


def sentences(found: Result) -> str:
    """The same from a result that is read already."""
    out = [_found(found)]
    rival = uniform_baseline(found)
    if rival is not None and rival.difference.value is not None:
        out.append(
            f"The best mixture that treats all prompts alike gets {percent(rival.accuracy.value)} % at "
            f"{amount(rival.cost.mean, found.unit)}; ours minus it is {difference(rival.difference)} points."
        )
    out.append(budget_words(found))
    out.append(found.verdict)
    return " ".join(_ended(plain(sentence)) for sentence in out if sentence.strip())


def _found(found: Result) -> str:
    if found.accuracy.value is None:
        return "The policy was not confirmed on held-out prompts, so no accuracy is stated"
    right = f"{percent(found.accuracy.value)} %"
    if found.crossfit is not None:
        text = f"On {judged_on(found)}, {right} of the answers are right"
    else:
        n = found.prompts.confirm
        text = f"On {'' if n is None else f'{count(n)} '}held-out prompts the policy is right on {right}"
    if found.accuracy.low is not None and found.accuracy.high is not None:
        text += f" (95 % interval {percent(found.accuracy.low)} to {percent(found.accuracy.high)})"
    if found.cost.mean is not None:
        text += f" at a mean cost of {amount(found.cost.mean, found.unit)} a prompt"
    if found.cost.p95 is not None:
        text += f"; 95 % of the prompts cost at most {amount(found.cost.p95, found.unit)}"
    return text


def budget_words(found: Result) -> str:
    """Whether the budget binds, in the study's own words where it has any."""
    if found.budget.words:
        return plain(found.budget.words)
    if found.budget.asked is None or found.budget.binds is None:
        return ""
    asked = plain(found.budget.text) or amount(found.budget.asked, found.unit)
    return f"The budget of {asked} binds" if found.budget.binds else f"The budget of {asked} binds nothing here"


def _ended(sentence: str) -> str:
    text = sentence.strip()
    return text if text.endswith((".", "!", "?")) else text + "."


def fates(trials: Trials) -> str:
    """What became of the trials."""
    words = [f"{count(trials.raced)} raced"]
    for number, what in (
        (trials.skipped, "skipped for what was predicted"),
        (trials.pruned, "stopped in their race"),
        (trials.left, "left behind with more prompts"),
        (trials.refused, "proposals refused"),
        (trials.free, "free"),
        (trials.failed, "failed"),
    ):
        if number:
            words.append(f"{count(number)} {what}")
    return ", ".join(words)


def foretold(found: Foretold) -> str:
    """What the predictor of arms was worth, for those who wonder whether to trust it."""
    if found.kind != "gp":
        return f"Nothing was predicted of arms: {plain(found.why)}." if found.why else ""
    if found.r2_over_level_mean is None or found.inside is None:
        return ""
    words = (
        f"Of arms that it had not seen, the predictor explained {max(0.0, found.r2_over_level_mean):.0%} of what the "
        f"mean of their level leaves open, and {found.inside:.0%} lay within its 95 % intervals."
    )
    return words if found.r2_over_level_mean > 0 else words + " It was no better than that mean: do not trust it here."


def agent(found: Agent) -> str:
    """What the language model that proposed did, and what it took."""
    words = f"The language model was asked {count(found.asked)} times and proposed {count(found.proposed)} arms"
    odd = [
        f"{count(number)} {what}"
        for number, what in (
            (found.invalid, "answers that could not be read"),
            (found.repeated, "arms known already"),
            (found.failed, "calls without an answer"),
        )
        if number
    ]
    return words + (f" ({', '.join(odd)})" if odd else "") + f"; it took {count(found.tokens)} tokens."
