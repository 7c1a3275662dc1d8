"""Model cards, written from the recipe and from measured figures; nothing in them is typed by hand."""

from collections.abc import Mapping
from pathlib import Path

from autotts.tasks.arithmetic import LEVELS
from autotts.tiny.recipe.measure import PER_LEVEL, SEED, STREAM, VOTES, Share
from autotts.tiny.recipe.model import LAYERS
from autotts.tiny.recipe.plan import GROWTH_NOISE, PER_PROMPT, SAMPLES, Run

COMMAND = "python -m autotts.tiny.recipe"
_FRONT = """---
license: apache-2.0
library_name: transformers
pipeline_tag: text-generation
tags: [arithmetic, test-time-compute]
---
"""
_MADE_FOR = """It is a miniature: made to behave like a large model under test-time compute (strategies, difficulty and
size matter), not to be the best calculator. It knows only signed sums of products in 18 symbols:

    solve: 80+5*9-63
    80+45-63
    125-63
    answer: 62
"""
_WEAKNESSES = """## Known weaknesses
- It is imperfect on purpose. Solutions in the training data reduce the terms in *random order*, so that the errors of
  different draws decorrelate and voting helps. A model of S's size that learned one fixed order was far better at a
  single greedy answer and gained nothing from votes.
- Wrong answers look like right ones; it never says that it is unsure. Numbers far outside the levels, longer sums,
  brackets, division and words are outside of what it knows.
- Near-ties are common: another precision (bf16) or another engine writes other greedy texts for many prompts, at about
  the same accuracy. Figures here are computed in fp32 from the fp16 weights.
- One training seed was tried.
"""


def generator_card(run: Run, folder: Path, seconds: float, figures: Mapping[str, Mapping[int, Share]]) -> None:
    """Write the card of S, M or L."""
    start = "from random weights" if run.parent is None else f"grown from {run.parent} ({_growth()})"
    mix = ", ".join(f"L{level} {share:.0%}" for level, share in run.mix.items())
    parts = [
        _FRONT,
        f"# {run.name}: an embedded model of autotts, {_parameters(run):,} parameters\n",
        _MADE_FOR,
        _about(run, start, seconds),
        f"- Data: made while training, problems of the `train` stream only ({mix}), solutions in random order; loss on "
        "the solution's tokens. The streams are disjoint by a hash of the canonical text.\n",
        _accuracy_table(figures),
        _WEAKNESSES,
    ]
    (folder / "README.md").write_text("\n".join(parts))


def reward_card(run: Run, folder: Path, seconds: float, figures: Mapping[str, Mapping[str, float]]) -> None:
    """Write the card of the process reward model."""
    drawn = ", ".join(f"{count:,} of {name}" for name, count in SAMPLES.items())
    mix = ", ".join(f"L{level} {share:.0%}" for level, share in run.mix.items())
    names = list(next(iter(figures.values())))
    rows = [f"| {name} | " + " | ".join(f"{figures[g][name]:.3f}" for g in figures) + " |" for name in names]
    parts = [
        _FRONT,
        f"# PRM: the process reward model of the embedded models, {_parameters(run):,} parameters\n",
        "A causal model of M's size. P(token valid) = sigmoid(a * logp(token) + b), with logp its own log-probability "
        "of the token and a, b in `prm.json`; a solution's weight in a vote is the product over its tokens. It judges "
        "solutions of the embedded models, and nothing else.\n",
        _about(run, f"from {run.parent}", seconds),
        f"- Data: samples at temperature 1 ({drawn}), {PER_PROMPT} for each problem of the `train` stream ({mix}). An "
        "exact checker finds the first wrong token; binary cross-entropy on the tokens up to and including it.\n",
        f"## Figures\n\n{PER_LEVEL} problems a level, stream `{STREAM}`, seed {SEED}; AUC of the final answer at T 1, "
        f"two draws a problem; votes of {VOTES} at T 0.6. Standard errors of the votes are up to 0.029.\n",
        "| | " + " | ".join(figures) + " |\n|---|" + "---|" * len(figures) + "\n" + "\n".join(rows) + "\n",
        f"Made again by `{COMMAND} cards`.\n",
        "## Known weaknesses\n- Weights add most to the votes of the small model, and little or nothing to those of L "
        "on hard problems. Taking the single best of many draws can lose to the weighted vote.\n"
        "- One training seed was tried.\n",
    ]
    (folder / "README.md").write_text("\n".join(parts))


def _about(run: Run, start: str, seconds: float) -> str:
    s = run.shape
    return (
        f"- Architecture: Llama, {LAYERS} layers, width {s.width}, {s.heads} heads of 32 with one key-value head, "
        f"feed-forward {s.feed_forward}, tied embeddings, RoPE; committed as fp16, computed in fp32.\n"
        f"- Recipe: `{COMMAND} {run.name}`, {start}; {run.steps:,} steps of about {run.tokens_per_step:,} tokens, Muon "
        f"and Adam, rate {run.rate:g}, cosine; seed {run.seed}; {seconds:,.0f} wall seconds on one thread of a shared "
        "machine with two cores (no GPU; busy with other work)."
    )


def _accuracy_table(figures: Mapping[str, Mapping[int, Share]]) -> str:
    head = "| | " + " | ".join(f"L{level}" for level in LEVELS) + " |\n|---|" + "---|" * len(LEVELS)
    rows = [f"| {name} | " + " | ".join(map(_cell, shares.values())) + " |" for name, shares in figures.items()]
    about = (
        f"## Accuracy by level, % [95 %]\n\n{PER_LEVEL} problems each, stream `{STREAM}`, seed {SEED}, never `test`. "
        f"Wilson intervals; `{COMMAND} cards` makes the table again.\n"
    )
    return "\n".join([about, head, *rows, ""])


def _cell(share: Share) -> str:
    low, high = share.interval
    return f"{100 * share.value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def _growth() -> str:
    return f"width doubled, function kept, antisymmetric noise {GROWTH_NOISE}"


def _parameters(run: Run) -> int:
    """Weights and the final norm's gains; the other gains are fixed at 1 but stored, so they count too."""
    d, f, inner = run.shape.width, run.shape.feed_forward, run.shape.heads * 32
    return 32 * d + d + LAYERS * (2 * d * inner + 2 * d * 32 + 3 * d * f + 2 * d)
