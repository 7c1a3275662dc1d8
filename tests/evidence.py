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

HOME = Path(__file__).parent.parent / "studies" / "does-adapting-pay"


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
    print(f"wrote {HOME / 'result.json'} and {HOME / 'card.md'}")


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
        more = "more than any" if need is None else f"{need / entry['cost']['mean']:.2f} x"
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
        f"{spend['draws']:,} draws and scores, {tokens}, {show(spend['total'], unit)}, "
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
