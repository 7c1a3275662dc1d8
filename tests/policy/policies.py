"""A small whole policy for the tests of this room, as the plain data of its file."""

import json

from autotts.predict.groups import columns
from autotts.predict.levels import LevelModel, fit
from autotts.tasks.arithmetic import problems

LEVELS = (1, 3, 5)
BINS = ["L1", "L3", "L5"]


def level_model() -> LevelModel:
    drawn = [p for level in LEVELS for p in problems(level, "search", 0, 15)]
    return fit([p.prompt for p in drawn], [p.level for p in drawn], 0)


MODEL = level_model()


def policy_data() -> dict:
    """Fresh plain data, to be edited by a test."""
    costs = {"cheap": 1_000_000, "mid": 8_000_000, "dear": 64_000_000}
    values = {"cheap": 0.5, "mid": 0.7, "dear": 0.8}
    expected = {a: {b: {"value": values[a], "cost": float(costs[a])} for b in BINS} for a in costs}

    def setting(budget, route):
        mean = {
            field: sum(s * expected[a][b][field] for b, arms in route.items() for a, s in arms) / len(route)
            for field in ("value", "cost")
        }
        return {"budget": budget, "route": route, "expected": mean}

    one = [["cheap", 1.0]]
    data = {
        "format": "autotts.policy/1",
        "requires": [],
        "task": {"name": "math", "reader": "math", "grader": "math", "prompts": "b2:00ff"},
        "models": {
            "S": {"binding": {"id": "S@1", "max_tokens": 160}, "card": {"name": "S", "revision": "1"}},
            "M": {"binding": {"id": "M@1"}, "card": {}},
        },
        "scorers": {"prm": {"binding": {"id": "prm@1"}, "card": {}}},
        "unit": "flops",
        "arms": {
            "cheap": {"arm": "one(model=S, temperature=0)", "expected": expected["cheap"]},
            "mid": {"arm": "vote(n=8, model=S, temperature=0.6)", "expected": expected["mid"]},
            "dear": {"arm": "weighted_vote(n=16, by=prm, model=M, temperature=1)", "expected": expected["dear"]},
        },
        "difficulty": {"kind": "levels", "features": MODEL.features, "model": MODEL.to_json(), "bins": BINS},
        "frontier": [
            setting(1_000_000.0, dict.fromkeys(BINS, one)),
            setting(10_000_000.0, {"L1": one, "L3": one, "L5": [["mid", 0.5], ["dear", 0.5]]}),
            setting(30_000_000.0, {"L1": one, "L3": [["mid", 1.0]], "L5": [["dear", 1.0]]}),
        ],
        "default": 1,
        "cap": None,
        "evidence": {"accuracy": {"value": 0.7, "low": 0.6, "high": 0.8}},
        "made": {"version": "0.1.0", "date": "2026-01-01T00:00:00Z", "seed": 0, "command": "autotts optimize"},
    }
    return json.loads(json.dumps(data))


def alike_data() -> dict:
    """A policy that treats all prompts alike."""
    data = policy_data()
    data["difficulty"] = {"kind": "none", "bins": ["all"]}
    for arm in data["arms"].values():
        arm["expected"] = {"all": arm["expected"]["L1"]}
    for setting, arm in zip(data["frontier"], data["arms"], strict=True):
        setting["route"] = {"all": [[arm, 1.0]]}
        setting["expected"] = dict(data["arms"][arm]["expected"]["all"])
    return data


def performance_data() -> dict:
    """A predictor of every group that a prompt alone has, with a linear member and trees; nothing was learned."""
    dense = ["surface/1", "question/1"]
    names = columns(dense)
    count = len(names)
    tree = {
        "base": 0.1,
        "roots": [0, 3],
        "feature": [0, -1, -1, 1, -1, -1],
        "threshold": [3.0, 0.0, 0.0, 2.0, 0.0, 0.0],
        "left": [1, 0, 0, 4, 0, 0],
        "right": [2, 0, 0, 5, 0, 0],
        "value": [0.0, 0.2, -0.2, 0.0, 0.1, -0.1],
    }
    linear = {
        "type": "linear",
        "uses": list(range(count)),
        "intercepts": [0.0, 0.6, 1.2],
        "directions": [[-0.1] * count],
        "loadings": [[1.2], [0.8], [0.3]],
        "ngrams": {str(17 * i): [0.01 * (i % 7 - 3)] for i in range(40)},
    }
    scores = dict.fromkeys(("log_loss", "brier", "calibration_error", "gain", "gain_low", "gain_high"), 0.1)
    return {
        "format": "autotts.performance/1",
        "kind": "average",
        "why": "made up",
        "groups": [*dense, "ngrams/1"],
        "arms": ["cheap", "mid", "dear"],
        "columns": names,
        "basis": [],
        "mean": [1.0] * count,
        "scale": [2.0] * count,
        "least": [0.0] * count,
        "most": [50.0] * count,
        "odd": 3,
        "members": [linear, {"type": "trees", "uses": list(range(count)), "ensembles": [tree] * 3}],
        "slope": 1.1,
        "shift": [0.0, 0.1, 0.2],
        "upto": [0.3, 0.6],
        "gaps": [0.0, -0.1, 0.1],
        "counts": [100, 100, 80],
        "cost_intercepts": [2.0, 3.5, 5.0],
        "cost_coefficients": [[0.01] * count] * 3,
        "scores": [{"name": "average", **scores}],
        "n": 100,
    }


def each_data() -> dict:
    """A policy that routes prompt by prompt."""
    data = policy_data()
    data["requires"] = ["performance/1"]
    data["unit"] = "tokens"
    performance = performance_data()
    groups = performance["groups"]
    data["difficulty"] = {"kind": "performance", "features": groups, "performance": performance, "bins": ["all"]}
    for arm in data["arms"].values():
        arm["expected"] = {}
    steps = zip(data["frontier"], data["arms"], (1.0, 0.004, 0.0), (10.0, 40.0, 150.0), (0.5, 0.6, 0.7), strict=True)
    for setting, arm, multiplier, cost, value in steps:
        setting |= {"budget": cost, "multiplier": multiplier, "expected": {"value": value, "cost": cost}}
        setting["route"] = {"all": [[arm, 1.0]]}
    return json.loads(json.dumps(data))
