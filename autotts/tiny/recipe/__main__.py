"""`python -m autotts.tiny.recipe [S M L PRM cards]`: train, export and describe the embedded models."""

import argparse
import json
from pathlib import Path

import torch

from autotts.tiny.recipe.card import generator_card, reward_card
from autotts.tiny.recipe.export import export, export_prm, training_seconds
from autotts.tiny.recipe.measure import Validity, accuracies, reward_figures
from autotts.tiny.recipe.plan import PRM, RUNS
from autotts.tiny.recipe.prm import train_prm
from autotts.tiny.recipe.train import seconds_spent, train

WEIGHTS = Path(__file__).parent.parent / "weights"
STAGES = (*RUNS, "PRM", "cards")


def main() -> None:
    """Run the stages that were asked for, in order; a stage that was stopped goes on from its checkpoint."""
    parser = argparse.ArgumentParser(prog="python -m autotts.tiny.recipe", description=main.__doc__)
    parser.add_argument("stages", nargs="*", choices=STAGES, default=list(STAGES), help="all, when left out")
    parser.add_argument("--work", type=Path, default=Path("build/recipe"), help="checkpoints, samples, logs")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="where the models go")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for stage in sorted(asked.stages, key=STAGES.index):
        if stage in RUNS:
            model = train(RUNS[stage], asked.work)
            export(model, asked.weights / stage, seconds_spent(RUNS[stage], asked.work))
        elif stage == "PRM":
            reward = train_prm(asked.work, asked.weights)
            export_prm(reward, asked.weights / stage, seconds_spent(PRM, asked.work))
        else:
            write_cards(asked.weights)


def write_cards(weights: Path) -> None:
    """Measure every model that is finished, and write its card."""
    finished = [name for name in RUNS if (weights / name / "config.json").exists()]
    for name in finished:
        seconds = training_seconds(weights / name)
        generator_card(RUNS[name], weights / name, seconds, accuracies(weights / name))
    if (weights / "PRM" / "prm.json").exists():
        numbers = json.loads((weights / "PRM" / "prm.json").read_text())
        validity = Validity(weights / "PRM", numbers["a"], numbers["b"])
        figures = reward_figures(validity, {name: weights / name for name in finished})
        reward_card(PRM, weights / "PRM", training_seconds(weights / "PRM"), figures)


if __name__ == "__main__":
    main()
