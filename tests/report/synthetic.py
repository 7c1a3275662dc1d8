"""A made-up study's result in the shape of `result.json`, and variants of it that lack things."""

from __future__ import annotations

import math
from typing import Any

Json = dict[str, Any]
LEVELS = ("1", "2", "3", "4", "5")
SHARES = (0.35, 0.25, 0.2, 0.12, 0.08)
# Accuracy of one draw by level, and cost of one draw, for each model.
MODELS: dict[str, tuple[tuple[float, ...], float]] = {
    "S": ((0.97, 0.83, 0.61, 0.34, 0.16), 9e6),
    "M": ((0.99, 0.94, 0.82, 0.58, 0.31), 34e6),
    "L": ((0.995, 0.97, 0.91, 0.74, 0.48), 135e6),
}


def interval(value: float, half: float) -> Json:
    return {"value": value, "low": value - half, "high": min(1.0, value + half)}


def cost(mean: float) -> Json:
    return {"mean": mean, "low": mean * 0.94, "high": mean * 1.07, "p95": mean * 3.1}


def _vote(p: float, n: int) -> float:
    return min(0.998, p + (1 - p) * p * 0.9 * math.log2(n) / 6)


def _arms(index: int) -> list[Json]:
    out: list[Json] = []
    for model, (p, price) in MODELS.items():
        for n in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64):
            name = f"one(model={model}, temperature=0.0)" if n == 1 else f"vote(n={n}, model={model}, temperature=0.8)"
            out.append(_arm(name, _vote(p[index], n), price * n * (1 + 0.2 * index), free=n not in (1, 8, 32)))
            if n in (4, 16):
                name = f"beam(n={n}, width=4, model={model}, scorer=prm, temperature=0.8, top_p=0.95)"
                out.append(_arm(name, _vote(p[index], n) + 0.01, price * n * 1.6 * (1 + 0.2 * index), free=False))
    best = -1.0
    for arm in sorted(out, key=lambda a: a["cost"]):
        if arm["value"] > best + 0.003:
            arm["frontier"], best = True, arm["value"]
    return out


def _arm(name: str, value: float, price: float, *, free: bool) -> Json:
    value = min(0.998, value)
    return {
        "arm": name, "value": value, "low": value - 0.05, "high": min(1.0, value + 0.05), "cost": price,
        "free": free, "frontier": False, "chosen": 0,
    }  # fmt: skip


def _mean(by_level: tuple[float, ...]) -> float:
    return sum(s * a for s, a in zip(SHARES, by_level, strict=True))


def _baselines() -> list[Json]:
    rows = [
        (f"one draw of {model}", "one", f"one(model={model}, temperature=0.0)", _mean(p), price * 1.2)
        for model, (p, price) in MODELS.items()
    ]
    rows += [
        ("majority vote, N tuned", "majority", "vote(n=12, model=M, temperature=0.8)", 0.896, 455e6),
        ("best of N, N tuned", "best-of-n", "best(n=8, model=M, scorer=prm, temperature=0.8)", 0.903, 431e6),
        ("adaptive consistency", "adaptive", "adaptive(n=16, model=M, stop=0.95, temperature=0.8)", 0.899, 262e6),
        ("first to finish", "first-finish", "first(n=8, k=5, model=M, temperature=0.8)", 0.887, 401e6),
        ("uniform mixture (hull)", "hull", "vote(n=4, model=L, temperature=0.8)", 0.912, 398e6),
        ("random routing", "random-routing", "vote(n=8, model=S, temperature=0.8)", 0.874, 388e6),
        ("prompt-length rule", "length-rule", "vote(n=4, model=L, temperature=0.8)", 0.916, 402e6),
        ("true levels (oracle)", "oracle-level", "vote(n=8, model=L, temperature=0.8)", 0.931, 391e6),
    ]
    return [
        {
            "name": name, "kind": kind, "route": {"all": [[arm, 1.0]]}, "accuracy": interval(value, 0.031),
            "cost": cost(price),
            "difference": {"value": 0.926 - value, "low": 0.926 - value - 0.016, "high": 0.926 - value + 0.017},
            "note": "knows each prompt's true level" if kind == "oracle-level" else None,
            "attainable": kind != "oracle-level",
        }
        for name, kind, arm, value, price in rows
    ]  # fmt: skip


def _route(strong: str) -> Json:
    return {
        "1": [["one(model=S, temperature=0.0)", 1.0]],
        "2": [["one(model=M, temperature=0.0)", 0.7], ["vote(n=4, model=M, temperature=0.8)", 0.3]],
        "3": [["vote(n=8, model=M, temperature=0.8)", 1.0]],
        "4": [[strong, 1.0]],
        "5": [["beam(n=16, width=4, model=L, scorer=prm, temperature=0.8, top_p=0.95)", 1.0]],
    }


def _frontier() -> list[Json]:
    strong = "vote(n=8, model=L, temperature=0.8)"
    rows = [
        (15e6, 0.795, 0.776, 24e6), (40e6, 0.853, 0.835, 71e6), (100e6, 0.889, 0.871, 190e6),
        (250e6, 0.915, 0.901, 470e6), (700e6, 0.934, 0.931, None),
    ]  # fmt: skip
    return [
        {
            "budget": budget, "binds": True, "route": _route(strong), "search": {"value": ours + 0.006, "cost": budget},
            "accuracy": interval(ours, 0.027), "cost": cost(budget * 0.98),
            "uniform": {
                "route": {"all": [[strong, 0.4], ["one(model=S, temperature=0.0)", 0.6]]},
                "accuracy": interval(theirs, 0.029), "cost": cost(budget * 1.01),
            },
            "difference": {"value": ours - theirs, "low": ours - theirs - 0.011, "high": ours - theirs + 0.012},
            "equal_accuracy_cost": equal,
        }
        for budget, ours, theirs, equal in rows
    ]  # fmt: skip


def _levels(route: Json) -> list[Json]:
    out = []
    for index, (name, share) in enumerate(zip(LEVELS, SHARES, strict=True)):
        arms = _arms(index)
        for arm in arms:
            arm["chosen"] = dict(route[name]).get(arm["arm"], 0)
        confirmed = (0.985, 0.965, 0.925, 0.83, 0.62)[index]
        out.append(
            {
                "bin": name, "share": share, "prompts": {"search": 60, "confirm": 50}, "arms": arms,
                "confirmed": {"accuracy": interval(confirmed, 0.05), "cost": cost(4e7 * 3**index)},
            }
        )  # fmt: skip
    return out


def result() -> Json:
    """A whole result, as of a study of the embedded models under a budget that binds nothing."""
    route = _route("vote(n=8, model=L, temperature=0.8)")
    return {
        "format": "autotts.result/1",
        "study": "math",
        "unit": "flops",
        "stopped": {"why": "converged", "words": "no gain beyond noise in the last three rounds"},
        "budget": {
            "asked": 1e15, "text": "1e15flops", "binds": False,
            "words": "1e15flops binds nothing here: the cheapest point no worse than the best costs 395 Mflops",
        },
        "policy": {"budget": 4e8, "route": route},
        "accuracy": interval(0.926, 0.026),
        "cost": {"unit": "flops", **cost(395e6), "cap": None},
        "baselines": _baselines(),
        "frontier": _frontier(),
        "levels": _levels(route),
        "difficulty": {"kind": "levels", "accuracy": 0.97, "confirm_accuracy": 0.96},
        "spend": {
            "unit": "flops", "total": 1.62e13, "search": 1.21e13, "confirm": 4.1e12,
            "by_model": {"S": 1.1e12, "M": 3.9e12, "L": 1.02e13, "prm": 1.0e12},
            "by_kind": {"drawn": 1.51e13, "scored": 1.0e12, "lost": 1e11},
            "draws": 61234, "reused": 148211, "scores": 20411, "tokens": 2_812_345, "seconds": 83.4,
            "search_budget": None,
        },
        "prompts": {"search": 300, "confirm": 250, "weights": "by the task's mix"},
        "trials": {"raced": 118, "pruned": 41, "free": 164, "failed": 0},
        "rounds": [
            {"round": r, "area": 0.86 - 0.2 * 0.5**r, "draws": 24000 // r, "spend": 4.1e12 / r, "seconds": 21.0 / r}
            for r in range(1, 7)
        ],
        "verdict": "Adapting to the prompt pays here: the policy beats the best uniform mixture at 4 of 5 budgets.",
        "provenance": {
            "version": "0.1.0", "seed": 0, "command": "autotts optimize --task math --budget 1e15flops",
            "date": "2026-11-21T00:10:00Z", "recipe": "3f2a91c0", "python": "3.11.9",
            "platform": "Linux x86_64, 2 cores",
            "models": {"S": "S@7c1e", "M": "M@01ab", "L": "L@f00d", "prm": "prm@beef"},
        },
    }  # fmt: skip


def hostile() -> Json:
    """Names that would break a page or a terminal if they were taken as they are."""
    out = result()
    bad = "<script>alert('x')</script>[red]\x1b[31m" + "a-very-long-name-without-any-space" * 6
    out["study"] = bad
    out["provenance"]["command"] = bad
    out["baselines"][0]["name"] = bad
    out["baselines"][0]["note"] = "</script><img src=x onerror=alert(1)>"
    out["policy"]["route"]["1"] = [[bad, 1.0]]
    out["frontier"][0]["route"]["1"] = [[bad, 1.0]]
    out["levels"][0]["arms"][0]["arm"] = bad
    out["levels"][0]["arms"][0]["chosen"] = 1.0
    out["levels"][1]["bin"] = bad
    out["spend"]["by_model"][bad] = 1e12
    return out


def without_levels() -> Json:
    """A task without levels and one budget, which binds."""
    out = result()
    arm = "vote(n=8, model=S, temperature=0.8)"
    out["budget"] = {"asked": 1e8, "text": "1e8flops", "binds": True, "words": ""}
    out["policy"] = {"budget": 1e8, "route": {"all": [[arm, 0.4], ["one(model=S, temperature=0.0)", 0.6]]}}
    out["levels"] = [{**out["levels"][0], "bin": "all", "share": 1.0}]
    out["frontier"] = out["frontier"][:1]
    out["difficulty"] = {"kind": "none", "accuracy": None, "confirm_accuracy": None}
    return out


def bare() -> Json:
    """The least that a result may be: everything null or empty."""
    return {
        "format": "autotts.result/1", "study": "bare", "unit": "tokens", "stopped": None, "budget": None,
        "policy": {"budget": None, "route": {}}, "accuracy": {"value": None, "low": None, "high": None},
        "cost": {"unit": "tokens", "mean": None, "low": None, "high": None, "p95": None, "cap": None}, "baselines": [],
        "frontier": [], "levels": [], "difficulty": None, "spend": None, "prompts": None, "trials": None, "rounds": [],
        "verdict": None, "provenance": None,
    }  # fmt: skip


def nulls() -> Json:
    """A whole result in which every number that may be missing is."""
    out = result()
    nothing = {"value": None, "low": None, "high": None}
    for row in (*out["baselines"], *out["frontier"]):
        row["difference"] = dict(nothing)
        row["cost"]["p95"] = None
    out["baselines"][1]["accuracy"] = dict(nothing)
    out["baselines"][2]["cost"] = {"mean": None, "low": None, "high": None, "p95": None}
    out["frontier"][1]["accuracy"] = dict(nothing)
    out["frontier"][2]["uniform"] = None
    out["levels"][0]["confirmed"] = None
    out["levels"][0]["arms"][3]["value"] = None
    out["levels"][0]["arms"][4]["low"] = float("nan")
    out["rounds"][0] = {"round": 1, "area": None, "draws": None, "spend": None, "seconds": None}
    return out


def pooled() -> Json:
    """A study on recorded answers: cross-fitted, with everything that such a study may add."""
    out = result()
    out["study"] = "aime24"
    out["prompts"] = {"search": 250, "confirm": 250, "weights": "equal"}
    out["crossfit"] = {"folds": 5, "problems": 250, "words": "5 folds, cut 8 times"}
    out["notes"] = ["prompt tokens are not recorded: what prompts cost is left out", "attention is not counted"]
    out["pool"] = {"files": ["logs/aime24.jsonl.gz"], "roles": ["S", "M", "L@high"]}
    out["cost"]["sequential"] = 14321.4
    out["over_uniform"] = {"value": 0.013, "low": -0.004, "high": 0.031}
    for index, row in enumerate(out["baselines"]):
        row["cost"]["sequential"] = 9000.0 + 1000 * index
        value = -0.002 * index
        row["over_uniform"] = {"value": value, "low": value - 0.0015, "high": value + 0.0035}
    for step in out["frontier"]:
        gap = step["accuracy"]["value"] - step["uniform"]["accuracy"]["value"]
        best = step["uniform"]["accuracy"]["value"] + 0.055
        step["oracle"] = {"accuracy": interval(best, 0.02), "cost": cost(step["budget"])}
        step["captured"] = {"value": gap / 0.055, "low": gap / 0.055 - 0.2, "high": gap / 0.055 + 0.25}
    out["routing"] = {
        "weak": "S",
        "strong": "L",
        "weak_accuracy": 0.6373,
        "strong_accuracy": {"value": 0.8577},
        "rows": [
            {"name": "random", "apgr": 0.5, "cpt20": 0.2, "cpt50": 0.5, "cpt80": 0.8},
            {"name": "prompt length", "apgr": interval(0.598, 0.031), "cpt20": 0.152, "cpt50": 0.36, "cpt80": None},
        ],
    }
    out["difficulty"] = {"kind": "levels", "accuracy": 0.61}
    out["spend"] = {"unit": "flops", "total": 0, "search": 0, "confirm": 0, "draws": 0, "seconds": 12.0}
    return out


def by_prompt() -> Json:
    """A study on recorded answers whose policy gives each prompt its own arm."""
    out = pooled()
    why = "routing by prompt is taken; gains over treating all alike, on prompts not learned from: +1.6 +- 0.4 points"
    names = ("constant", "length", "logistic", "ngrams")
    out["difficulty"] = {
        "kind": "performance", "why": why, "folds": {"none": 1, "performance": 4},
        "gains": {"performance": {"value": 0.016, "error": 0.004}},
        "predictor": {
            "kind": "logistic", "why": "logistic saves 0.0310 +- 0.0051 nats of log loss over the constant",
            "prompts": 250, "arms": 7,
            "scores": [
                {
                    "name": name, "log_loss": 0.6123 - 0.0155 * i, "brier": 0.21, "gain": 0.0155 * i,
                    "gain_low": 0.0155 * i - 0.01 * (i > 0), "gain_high": 0.0155 * i + 0.01 * (i > 0),
                    "calibration_error": 0.012 + 0.001 * i,
                }
                for i, name in enumerate(names)
            ],
        },
    }  # fmt: skip
    out["notes"] = [*out["notes"], why]
    out["policy"]["route"] = {"all": [["one(model=S, temperature=0.0)", 0.7], ["vote(n=8, model=L)", 0.3]]}
    out["levels"] = [{**out["levels"][0], "bin": "all", "share": 1.0}]
    return out


def told_alike() -> Json:
    """The same where too little is known of it, and prompts are treated alike."""
    out = by_prompt()
    out["difficulty"] |= {"kind": "none", "folds": None, "gains": {}}
    out["difficulty"]["predictor"] |= {"kind": "constant", "scores": [{"name": "constant", "log_loss": None}]}
    return out


def partly_pooled() -> Json:
    """The same where some of it is not known of some rows."""
    out = pooled()
    out["over_uniform"] = None
    out["cost"]["sequential"] = None
    out["baselines"][1]["over_uniform"] = None
    out["baselines"][2]["cost"]["sequential"] = float("nan")
    out["frontier"][0]["oracle"] = out["frontier"][0]["captured"] = None
    out["frontier"][1]["captured"] = None
    out["routing"]["weak_accuracy"] = None
    out["crossfit"] = {"folds": None, "problems": None, "words": None}
    return out


def hostile_pooled() -> Json:
    """Names of a pool that would break a page or a terminal if they were taken as they are."""
    out = pooled()
    bad = "<script>alert('x')</script>[red]\x1b[31m" + "a-very-long-name-without-any-space" * 6
    out["notes"][0] = out["crossfit"]["words"] = out["routing"]["weak"] = out["routing"]["rows"][0]["name"] = bad
    out["pool"] = {"files": [bad], "roles": [bad]}
    scores = [{"name": bad, "log_loss": 0.6, "gain": 0.0}]
    out["difficulty"] = {"kind": bad, "folds": {bad: 5}, "predictor": {"kind": bad, "why": bad, "scores": scores}}
    return out
