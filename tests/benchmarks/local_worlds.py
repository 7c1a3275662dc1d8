"""Tokens a second of models in this process, against the library's own loop: `python -m tests.benchmarks.local_worlds`.

`model.generate` draws batches of 64 rows that begin and end together, as a plain loop would; `open_transformers` keeps
64 rows filled. Both draw the same 256 draws of mixed lengths at temperature 1, to their natural ends, one thread, in
turns. "useful" counts tokens up to the end of each draw; the ratio is the world's useful rate to the loop's.
The second line of each model has all rows end at the same length, which a plain loop likes best.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from autotts.core.cost import ModelCard
from autotts.core.plan import Draw, Spec
from autotts.core.world import Meter
from autotts.worlds.models.entry import Entry, Template
from autotts.worlds.transformers import open_transformers
from tests.worlds.contract import Order
from tests.worlds.tiny_llama import make_llama

PROMPT: Final = "12+34*5="
ROWS: Final = 64
DRAWS: Final = 256
LONGEST: Final = 120
TURNS: Final = 3
SIZES: Final = {
    "tiny (d 96, 3 layers)": {"width": 96, "layers": 3, "heads": 3},
    "small (d 384, 6 layers)": {"width": 384, "layers": 6, "heads": 6},
}


def main() -> None:
    import torch

    torch.set_num_threads(1)
    print(f"{'model':26}{'lengths':>10}{'world':>12}{'generate':>12}{'ratio':>8}   useful tokens/s, {DRAWS} draws")
    with tempfile.TemporaryDirectory() as home:
        for i, (name, size) in enumerate(SIZES.items()):
            folder = make_llama(Path(home) / str(i), **size)
            for lengths, stop in (("mixed", "end"), ("equal", 48)):
                world, loop = _rates(folder, stop)
                print(f"{name:26}{lengths:>10}{world:12,.0f}{loop:12,.0f}{world / loop:8.2f}", flush=True)


def _rates(folder: Path, stop: str | int) -> tuple[float, float]:
    """The best of some turns of each, taken in turn."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    template = Template(form="text", user="{prompt}", probe="=")
    entry = Entry("T", "transformers", str(folder), ModelCard("T", "1"), template=template, max_tokens=LONGEST)
    model, words = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    if stop != "end":
        model.generation_config.eos_token_id = None
    best = [0.0, 0.0]
    with open_transformers({"T": entry}, read=str, unit="tokens") as world:
        if stop != "end":
            world._lines["T"]._batch._ends = frozenset()  # type: ignore[attr-defined]
        for _ in range(TURNS):
            for which, draw in enumerate((_by_world(world, stop), _by_loop(model, words, stop))):
                begin = time.perf_counter()
                count = draw()
                best[which] = max(best[which], count / (time.perf_counter() - begin))
    return best[0], best[1]


def _by_world(world: Any, stop: str | int) -> Callable[[], int]:
    root, state = world.root(PROMPT)
    ask = Draw(root, Spec(model="T", temperature=1.0, stop=stop))

    async def all_draws() -> int:
        orders = [
            Order(ask, key.to_bytes(16, "little"), world.bindings["T"], 0, state, Meter()) for key in range(DRAWS)
        ]
        return sum(reply.usage.generated for reply in await asyncio.gather(*(o.send(world) for o in orders)))

    return lambda: asyncio.run(all_draws())


def _by_loop(model: Any, words: Any, stop: str | int) -> Callable[[], int]:
    import torch

    ids = torch.tensor([words(PROMPT)["input_ids"]] * ROWS)
    longest = LONGEST if stop == "end" else int(stop)

    def run() -> int:
        count = 0
        for seed in range(DRAWS // ROWS):
            torch.manual_seed(seed)
            out = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=True,
                temperature=1.0,
                top_k=0,
                max_new_tokens=longest,
                pad_token_id=0,
            )[:, ids.shape[1] :]
            ended = (out == 0).cumsum(1)
            count += int((ended == 0).sum() + (ended.max(1).values > 0).sum()) if stop == "end" else out.numel()
        return count

    return run


if __name__ == "__main__":
    main()
