"""A small whole policy for the tests of this room, as the plain data of its file."""

import json

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
