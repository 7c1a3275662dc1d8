"""The process reward model: M trained on to tell, token by token, whether a solution is still right.

P(token valid) = sigmoid(a * logp(token) + b), with logp the model's own log-probability of the token, is fitted by
binary cross-entropy on samples of all three generators, on the tokens up to and including the first error. A head
on the last token of each step (the usual way) learns far less at this size; see the decision record.
"""

import json
import random
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autotts.tasks.arithmetic import next_lines, stream_problems
from autotts.tiny.codec import ANSWER, END, NEWLINE, WRITABLE, encode
from autotts.tiny.recipe.data import Example, chunked
from autotts.tiny.recipe.draws import draws
from autotts.tiny.recipe.model import Llama
from autotts.tiny.recipe.plan import PER_PROMPT, PRM, RUNS, SAMPLES
from autotts.tiny.recipe.train import Forward, finished, optimise


class Calibrated(nn.Module):
    """A causal model with the two numbers that turn log-probabilities into chances of being valid."""

    def __init__(self, model: Llama, a: float, b: float) -> None:
        super().__init__()
        self.model = model
        self.calibration = nn.Parameter(torch.tensor([a, b]))

    def forward(self, tokens: Tensor) -> Tensor:
        """Map token ids [rows, length] to logits of validity [rows, length - 1] of all tokens but the first."""
        logprobs = self.model(tokens[:, :-1])[..., WRITABLE.start : WRITABLE.stop].log_softmax(-1)
        asked = (tokens[:, 1:] - WRITABLE.start).clamp(min=0)  # padding is never learned
        chosen = logprobs.gather(-1, asked[..., None])[..., 0]
        logits: Tensor = self.calibration[0] * chosen + self.calibration[1]
        return logits


def first_error(prompt: str, ids: Sequence[int]) -> int | None:
    """Index of the first token after which no right solution goes on; None when there is none.

    Examples
    --------
    >>> first_error("solve: 80+45-63", encode("125-64\\n"))
    5
    """
    line, start = prompt, 0
    while start < len(ids):
        written = list(ids[start:])
        agreed, line, size = max(_agreements(line, written))
        if agreed < min(size, len(written)):
            return start + agreed
        start += size
        if ids[start - 1 : start] == (END,):
            break
    return None


def _agreements(line: str, written: Sequence[int]) -> list[tuple[int, str, int]]:
    """For each right next line: how many tokens agree, the line, and its length with the newline or end token."""
    found = []
    for right in next_lines(line):
        ids = encode(right)
        ids = (*ids, END if ids[0] == ANSWER else NEWLINE)
        agreed = next(
            (i for i, (a, b) in enumerate(zip(ids, written, strict=False)) if a != b), min(len(ids), len(written))
        )
        found.append((agreed, right, len(ids)))
    return found


def samples(work: Path, weights: Path) -> list[Example]:
    """Samples of all generators at temperature 1, cut after their first error, in a fixed random order."""
    drawn = [e for name in RUNS for e in sampled(name, work, weights)]
    random.Random(PRM.seed).shuffle(drawn)
    return drawn


def sampled(name: str, work: Path, weights: Path) -> list[Example]:
    """Samples of one generator; they are kept in the work folder."""
    path = work / f"samples-{name}.json"
    if not path.exists():
        rng = random.Random(f"recipe/prm/{name}")
        sources = {level: stream_problems(level, "train", rng) for level in PRM.mix}
        levels = rng.choices(list(PRM.mix), list(PRM.mix.values()), k=SAMPLES[name] // PER_PROMPT)
        asked = [next(sources[level]) for level in levels]
        drawn = draws(weights / name, asked, per_problem=PER_PROMPT, temperature=1.0, seed=PRM.seed)
        found = [labelled(p.prompt, draw.ids) for p, own in zip(asked, drawn, strict=True) for draw in own]
        path.write_text(json.dumps([(e.tokens.hex(), e.prompt_length, e.last_valid) for e in found]))
    return [Example(bytes.fromhex(tokens), *rest) for tokens, *rest in json.loads(path.read_text())]


def labelled(prompt: str, ids: Sequence[int]) -> Example:
    """A sampled solution as an example of validity: up to and including its first error."""
    given = encode(prompt + "\n")
    error = first_error(prompt, ids)
    kept = ids if error is None else ids[: error + 1]
    return Example(bytes((*given, *kept)), len(given), last_valid=error is None)


def train_prm(work: Path, weights: Path) -> Calibrated:
    """Train the reward model, or take up where its checkpoint left."""
    drawn = samples(work, weights)
    starts = _batches(drawn)
    torch.manual_seed(PRM.seed)
    return optimise(
        PRM,
        work,
        lambda: _started(drawn[:512], work),
        lambda forward, step: _judge(forward, drawn[starts[step] : starts[step + 1]]),
    )


def _started(drawn: Sequence[Example], work: Path) -> Calibrated:
    """M as it is, with a and b fitted to it first."""
    start = Calibrated(finished(RUNS["M"], work), 1.0, 0.0)
    batch = chunked(drawn)
    with torch.no_grad():
        logprobs = torch.cat([start(chunk.tokens)[chunk.learned] for chunk in batch])
    valid = torch.cat([chunk.valid[chunk.learned] for chunk in batch])
    fit = torch.optim.Adam([start.calibration], lr=0.05)
    for _ in range(400):
        fit.zero_grad()
        logits = start.calibration[0] * logprobs + start.calibration[1]
        torch.autograd.backward(F.binary_cross_entropy_with_logits(logits, valid))
        fit.step()
    return start


def _batches(drawn: Sequence[Example]) -> list[int]:
    """Where each step's examples begin: about `tokens_per_step` tokens a step."""
    starts, size = [0], 0
    for i, e in enumerate(drawn):
        size += len(e.tokens)
        if size >= PRM.tokens_per_step:
            starts.append(i + 1)
            size = 0
    if len(starts) <= PRM.steps:
        raise SystemExit(f"the samples last for {len(starts) - 1} steps, {PRM.steps} are planned: raise SAMPLES")
    return starts


def _judge(forward: Forward, drawn: Sequence[Example]) -> float:
    """Binary cross-entropy on the validity of the learned tokens."""
    batch = chunked(drawn)
    learned = sum(int(chunk.learned.sum()) for chunk in batch)
    total = 0.0
    for chunk in batch:
        logits, valid = forward(chunk.tokens)[chunk.learned], chunk.valid[chunk.learned]
        loss = F.binary_cross_entropy_with_logits(logits, valid, reduction="sum") / learned
        torch.autograd.backward(loss)
        total += loss.item()
    return total
