"""What is shipped as a result is what its recipe makes, with the models that are shipped."""

from __future__ import annotations

import importlib.resources
import json
import tomllib
from pathlib import Path

import numpy as np
import pytest

from autotts.predict.levels import LevelModel
from autotts.report.result import read
from autotts.search.command import read_study
from autotts.search.recipe import recipe_from
from autotts.tasks.arithmetic import LEVELS, MIX, problems
from autotts.worlds.tiny import NAMES, SCORERS, cards
from tests import evidence

ROOT = Path(__file__).parent.parent
RESULT = json.loads((evidence.HOME / "result.json").read_text(encoding="utf-8"))


def test_the_evidence_is_that_of_its_recipe_and_of_the_shipped_models() -> None:
    values, name = read_study(evidence.HOME / "study.toml")
    assert RESULT["study"] == name
    assert RESULT["provenance"]["recipe"] == recipe_from(values, "study.toml").digest(), "run python -m tests.evidence"
    shipped = {role: card.revision for role, card in cards((*NAMES, *SCORERS)).items()}
    for role, revision in shipped.items():
        assert revision in RESULT["provenance"]["models"][role], "run python -m tests.evidence"


def test_the_card_is_made_from_the_result() -> None:
    assert (evidence.HOME / "card.md").read_text(encoding="utf-8") == evidence.card(RESULT)
    assert len(read(RESULT).frontier) == 5


def test_the_best_arms_differ_between_levels() -> None:
    routes = RESULT["frontier"][2]["route"]
    assert len({json.dumps(route) for route in routes.values()}) > 1


def test_the_shipped_rule_tells_levels_as_well_as_its_card_says() -> None:
    model = LevelModel.from_json(json.loads((evidence.RULE / "model.json").read_text(encoding="utf-8")))
    recipe = tomllib.loads((evidence.RULE / "recipe.toml").read_text(encoding="utf-8"))
    assert recipe["recipe"] == RESULT["provenance"]["recipe"]
    right = {
        level: np.mean([model.level(p.prompt) == level for p in problems(level, "confirm", 11, 60)]) for level in LEVELS
    }
    assert sum(MIX[level] * share for level, share in right.items()) == pytest.approx(model.accuracy, abs=0.05)


@pytest.mark.parametrize("room", ["studies", "predictors"])
def test_results_are_found_in_the_package(room: str) -> None:
    found = importlib.resources.files(f"autotts.{room}")
    assert any(entry.is_dir() and (entry / "card.md").is_file() for entry in found.iterdir())
