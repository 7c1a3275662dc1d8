"""The training loop: by steps (so repeatable), cosine rate, checkpoints that a killed run goes on from."""

import math
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autotts.tiny.recipe.data import chunked, examples
from autotts.tiny.recipe.model import Llama, grown
from autotts.tiny.recipe.optimiser import Optimiser
from autotts.tiny.recipe.plan import GROWTH_NOISE, RUNS, WARMUP_STEPS, Run

Trained = TypeVar("Trained", bound=nn.Module)
Forward = Callable[[Tensor], Tensor]
StepLoss = Callable[[Forward, int], float]  # adds the gradients of one step, returns its loss


def train(run: Run, work: Path) -> Llama:
    """Train one generator, or take up where its checkpoint left; the finished model is `work/<name>.pt`."""
    torch.manual_seed(run.seed)
    return optimise(run, work, lambda: _started(run, work), lambda forward, step: imitate(forward, run, step))


def optimise(run: Run, work: Path, start: Callable[[], Trained], add_gradients: StepLoss) -> Trained:
    """Run the steps of `run`; losses and times go to `work/<name>.log`."""
    work.mkdir(parents=True, exist_ok=True)
    path, log = work / f"{run.name}.pt", work / f"{run.name}.log"
    saved = torch.load(path, weights_only=True) if path.exists() else None
    model = start()
    optimiser = Optimiser(model)
    first, spent = 0, 0.0
    if saved is not None:
        model.load_state_dict(saved["model"])
        optimiser.restore(saved["optimiser"])
        first, spent = saved["step"], saved["seconds"]
    forward: Forward = torch.compile(model, dynamic=True) if run.compiled else model
    loss = 0.0
    began = time.perf_counter() - spent
    for step in range(first, run.steps):
        now = add_gradients(forward, step)
        loss = now if step == first else 0.98 * loss + 0.02 * now
        optimiser.step(run.rate * schedule(step, run.steps))
        if (step + 1) % run.checkpoint_every == 0 or step + 1 == run.steps:
            seconds = time.perf_counter() - began
            line = f"{run.name} step {step + 1}/{run.steps} loss {loss:.4f} seconds {seconds:.0f}"
            print(line, flush=True)
            with log.open("a") as file:
                file.write(line + "\n")
            _save(path, model, optimiser, step + 1, seconds)
    return model


def schedule(step: int, steps: int) -> float:
    """Short linear warm-up, then a cosine to zero."""
    warmup = min(WARMUP_STEPS, steps // 10 + 1)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def finished(run: Run, work: Path) -> Llama:
    """Load a finished model.

    Raises
    ------
    SystemExit
        When it has not been trained to its last step in this work folder.
    """
    path = work / f"{run.name}.pt"
    saved: dict[str, Any] = torch.load(path, weights_only=True) if path.exists() else {"step": 0}
    if saved["step"] != run.steps:
        raise SystemExit(f"{path}: expected a finished {run.name} ({run.steps} steps), found {saved['step']} steps")
    model = Llama(run.shape)
    model.load_state_dict(saved["model"])
    return model


def seconds_spent(run: Run, work: Path) -> float:
    """Wall seconds that the steps of a run took."""
    return float(torch.load(work / f"{run.name}.pt", weights_only=True)["seconds"])


def _started(run: Run, work: Path) -> Llama:
    return Llama(run.shape) if run.parent is None else grown(finished(RUNS[run.parent], work), GROWTH_NOISE)


def imitate(forward: Forward, run: Run, step: int) -> float:
    """Cross-entropy on the solution tokens of one batch of fresh examples."""
    batch = chunked(examples(run.mix, random.Random(f"recipe/{run.seed}/{step}"), run.tokens_per_step))
    learned = sum(int(chunk.learned.sum()) for chunk in batch)
    total = 0.0
    for chunk in batch:
        logits = forward(chunk.tokens[:, :-1])[chunk.learned]
        loss = F.cross_entropy(logits, chunk.tokens[:, 1:][chunk.learned], reduction="sum") / learned
        torch.autograd.backward(loss)
        total += loss.item()
    return total


def _save(path: Path, model: nn.Module, optimiser: Optimiser, step: int, seconds: float) -> None:
    state = {"model": model.state_dict(), "optimiser": optimiser.state(), "step": step, "seconds": seconds}
    beside = path.with_suffix(".part")
    torch.save(state, beside)
    beside.replace(path)
