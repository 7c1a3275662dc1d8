"""Runs the evidence study and writes its result and card: `python -m tests.evidence` (up to 20 minutes on two cores).

The test stream is opened by this command alone. `--from DIR` writes the card of a run that is there already.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from autotts.core.cost import show

ROOT = Path(__file__).parent.parent
HOME = ROOT / "studies" / "does-adapting-pay"
RULE = ROOT / "predictors" / "math-level"


def main() -> None:
    """Run, trim, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--from", dest="folder", type=Path, help="a folder that holds a finished run")
    folder = parser.parse_args().folder
    if folder is None:
        folder = Path("runs") / HOME.name
        recipe = HOME / "study.toml"
        command = [sys.executable, "-m", "autotts", "optimize", "--study", str(recipe), "--out", str(folder), "--yes"]
        subprocess.run(command, check=True)
    result = trimmed(json.loads((folder / "result.json").read_text(encoding="utf-8")))
    (HOME / "result.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (HOME / "card.md").write_text(card(result), encoding="utf-8")
    write_rule(json.loads((folder / "policy.json").read_text(encoding="utf-8"))["difficulty"]["model"], result)
    print(f"wrote {HOME} and {RULE}")


def write_rule(model: dict[str, Any], result: dict[str, Any]) -> None:
    """The rule from prompt to level that the study learned, as a predictor with its recipe and card."""
    RULE.mkdir(parents=True, exist_ok=True)
    (RULE / "model.json").write_text(json.dumps(model) + "\n", encoding="utf-8")
    (RULE / "recipe.toml").write_text(
        "# The rule from a prompt of task `math` to its level; learned by the study named here.\n"
        f'study = "{result["study"]}"\nrecipe = "{result["provenance"]["recipe"]}"\nstream = "search"\n'
        f"prompts = {model['n']}\nseed = {result['provenance']['seed']}\n",
        encoding="utf-8",
    )
    found = result["difficulty"]
    rows = [
        f"| {level} | " + " | ".join(map(str, row)) + " |" for level, row in zip(model["levels"], model["confusion"])
    ]
    head = "| level | " + " | ".join(f"taken for {level}" for level in model["levels"]) + " |"
    lines = [
        "# The level of a `math` prompt, from its surface",
        "",
        f"Made by `python -m tests.evidence`. Multinomial logistic regression on {len(model['features'])} surface",
        f"features (no model is called), learned on {model['n']} search prompts, calibrated by a temperature of",
        f"{model['temperature']:.2f}.",
        "",
        f"Right on {100 * found['accuracy']:.1f} % of the traffic out of fold, and on",
        f"{100 * found['confirm_accuracy']:.1f} % of held-out prompts;",
        f"calibration error {model['calibration_error']:.3f}. Out of fold, prompts of each level were taken for:",
        "",
        head,
        "|---|" + "---|" * len(model["levels"]),
        *rows,
        "",
        "Read it with `autotts.predict.levels.LevelModel.from_json`; it knows `math` and nothing else.",
        "",
    ]
    (RULE / "card.md").write_text("\n".join(lines), encoding="utf-8")


def trimmed(result: dict[str, Any]) -> dict[str, Any]:
    """The result without the arms that are on no frontier, and without the machine's own command line."""
    for level in result["levels"]:
        level["arms"] = [arm for arm in level["arms"] if arm["frontier"] or arm["chosen"]]
    result["provenance"]["command"] = "autotts optimize --study studies/does-adapting-pay/study.toml"
    return result


def percent(part: dict[str, float]) -> str:
    """An accuracy with its interval."""
    return f"{100 * part['value']:.1f} [{100 * part['low']:.1f}, {100 * part['high']:.1f}]"


def points(part: dict[str, float]) -> str:
    """A difference with its interval."""
    return f"{100 * part['value']:+.1f} [{100 * part['low']:+.1f}, {100 * part['high']:+.1f}]"


def card(result: dict[str, Any]) -> str:
    """The card, every figure from the result."""
    unit, spend, prompts = result["unit"], result["spend"], result["prompts"]
    lines = [
        "# Does adapting to the prompt pay?",
        "",
        "Made by `python -m tests.evidence` from [study.toml](study.toml); the figures are those of",
        "[result.json](result.json).",
        "",
        f"**{result['verdict']}**",
        "",
        f"Task `math` on the embedded models: {prompts['search']} search prompts, {prompts['confirm']} held-out ones",
        f"of the `{prompts['stream']}` stream, which this study opened once, with fresh draws; levels weighted as in",
        "the task's mix. The policy is routed by the level that it *predicts* from the prompt (right on",
        f"{100 * result['difficulty']['confirm_accuracy']:.1f} % of the traffic).",
        "Accuracies in percent, 95 % bootstrap intervals over prompts, differences paired.",
        "",
        "## At five budgets",
        "",
        "The baseline is the random-mixture hull of uniform arms, chosen on the same search prompts and compared at",
        "the cost that the policy realised. *Uniform needs* is the compute at which the hull is as accurate.",
        "",
        "| mean budget | realised | policy | uniform mixture | difference, points | uniform needs |",
        "|---|---|---|---|---|---|",
    ]
    for entry in result["frontier"]:
        need = entry["equal_accuracy_cost"]
        more = "more than measured" if need is None else f"{need / entry['cost']['mean']:.2f} x"
        lines.append(
            f"| {show(entry['budget'], unit)} | {show(entry['cost']['mean'], unit)} | {percent(entry['accuracy'])} "
            f"| {percent(entry['uniform']['accuracy'])} | {points(entry['difference'])} | {more} |"
        )
    lines += ["", "## At the chosen budget", "", result["budget"]["words"], ""]
    lines += ["| | accuracy | mean cost | p95 | ours minus it |", "|---|---|---|---|---|"]
    lines.append(
        f"| our policy | {percent(result['accuracy'])} | {show(result['cost']['mean'], unit)} "
        f"| {show(result['cost']['p95'], unit)} | |"
    )
    for b in result["baselines"]:
        name = b["name"] if b["attainable"] else f"{b['name']} (not attainable)"
        cost = b["cost"]
        lines.append(
            f"| {name} | {percent(b['accuracy'])} | {show(cost['mean'], unit)} | {show(cost['p95'], unit)} "
            f"| {points(b['difference'])} |"
        )
    lines += ["", "## Who gets what", "", "The best allocation differs between levels:", ""]
    lines += ["| level | share | at the chosen budget | at the middle budget |", "|---|---|---|---|"]
    middle = result["frontier"][len(result["frontier"]) // 2]["route"]
    for level in result["levels"]:
        name = level["bin"]
        lines.append(
            f"| {name} | {level['share']:.2f} | {arms(result['policy']['route'][name])} | {arms(middle[name])} |"
        )
    tokens = f"{spend['tokens'] / 1e6:.1f} million tokens"
    lines += [
        "",
        "## What it took",
        "",
        f"{tokens}, {show(spend['total'], unit)}, over all runs of the study. The last run made",
        f"{spend['draws']:,} draws and scores, took up {spend['reused']:,} times one that was stored, and lasted",
        f"{spend['seconds'] / 60:.1f} minutes.",
        f"It ended because {result['stopped']['words']}. Seed {result['provenance']['seed']}, recipe",
        f"`{result['provenance']['recipe']}`, models "
        + ", ".join(f"`{m}`" for m in result["provenance"]["models"].values())
        + ".",
        "",
    ]
    return "\n".join(lines)


def arms(route: list[list[Any]]) -> str:
    """A mixture of arms."""
    return " + ".join(f"`{arm}`" if share > 0.999 else f"{share:.0%} `{arm}`" for arm, share in route)


if __name__ == "__main__":
    main()
