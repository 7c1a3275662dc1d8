"""Continuous batching over a causal model of transformers: rows join and leave between two tokens.

Keys and values of all rows stand in one buffer for each layer, a row's from its first slot on, so a row joins and
leaves without moving the others. Each row has its own settings and its own stream of random numbers, a function of
its seed and the token's number: what is drawn depends on who shares the batch only as far as floating point does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import torch

from autotts.errors import InputError
from autotts.worlds.local import Asked, Made

PREFILL: Final = 8192  # tokens, with padding, that are read at once between two steps
_STEP: Final = 64  # slots and rows are added in such pieces


@dataclass(slots=True, eq=False)
class Row:
    """One completion on its way; `made` and `logprob` grow by each token."""

    asked: Asked
    tag: Any
    made: list[int] = field(default_factory=list)
    logprob: float = 0.0
    finish: str | None = None
    stop: str | None = None
    cancelled: bool = False
    begun: bool = False

    def result(self) -> Made:
        """What came of it."""
        return Made(tuple(self.made), self.finish or "length", self.stop, self.logprob)


class _Reading:
    """The cache of a batch that is read for the first time: it keeps what it is given."""

    def __init__(self) -> None:
        self.layers_read: list[tuple[torch.Tensor, torch.Tensor]] = []

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer: int, *args: Any, **more: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        assert layer == len(self.layers_read)
        self.layers_read.append((keys, values))
        return keys, values

    def get_seq_length(self, layer: int = 0) -> int:
        return 0


class _Slots:
    """The cache of the running rows: token `places[i]` of row i is written in place."""

    def __init__(self) -> None:
        self.buffers: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.rows = torch.empty(0, dtype=torch.long)
        self.places = torch.empty(0, dtype=torch.long)
        self.width = 0  # slots in use

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer: int, *args: Any, **more: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        count = len(self.rows)
        stored_keys, stored_values = self.buffers[layer]
        stored_keys[self.rows, :, self.places] = keys[:, :, 0]
        stored_values[self.rows, :, self.places] = values[:, :, 0]
        return stored_keys[:count, :, : self.width], stored_values[:count, :, : self.width]

    def get_seq_length(self, layer: int = 0) -> int:
        return self.width - 1

    def fit(self, rows: int, slots: int, read: Sequence[tuple[torch.Tensor, torch.Tensor]] = ()) -> None:
        """Make room; the first time, in the shape of what was read."""
        if not self.buffers:
            self.buffers = [(_empty(keys), _empty(values)) for keys, values in read]
        have_rows, _, have_slots, _ = self.buffers[0][0].shape
        if rows <= have_rows and slots <= have_slots:
            return
        rows = max(have_rows, _rounded(rows))
        slots = have_slots if slots <= have_slots else _rounded(slots * 5 // 4)
        self.buffers = [(_grown(keys, rows, slots), _grown(values, rows, slots)) for keys, values in self.buffers]

    def write(self, row: int, layers: Sequence[tuple[torch.Tensor, torch.Tensor]], which: int, length: int) -> None:
        """Give a row what was read, which stands at the right end of row `which`."""
        for stored, read in zip(self.buffers, layers, strict=True):
            for to, of in zip(stored, read, strict=True):
                to[row, :, :length] = of[which, :, of.shape[2] - length :]

    def move(self, of: int, to: int, length: int) -> None:
        """Let one row's content take another's place."""
        for pair in self.buffers:
            for stored in pair:
                stored[to, :, :length] = stored[of, :, :length]


def _rounded(count: int) -> int:
    return -(-count // _STEP) * _STEP


def _empty(read: torch.Tensor) -> torch.Tensor:
    return read.new_zeros((0, read.shape[1], 0, read.shape[3]))


def _grown(old: torch.Tensor, rows: int, slots: int) -> torch.Tensor:
    new = old.new_zeros((rows, old.shape[1], slots, old.shape[3]))
    new[: old.shape[0], :, : old.shape[2]] = old
    return new


class Batch:
    """The rows of one model; its methods are called in `torch.inference_mode()`.

    Parameters
    ----------
    model
        A causal model of transformers whose layers attend to keys and values.
    ends
        Ids of end tokens.
    decode
        The text of ids.
    """

    def __init__(self, model: Any, ends: Iterable[int], decode: Callable[[Sequence[int]], str]) -> None:
        self.rows: list[Row] = []
        self.written = 0  # tokens so far, whatever became of them
        self._model = model
        self._ends = frozenset(ends)
        self._decode = decode
        self._pieces: dict[int, str] = {}
        self._cache = _Slots()
        self._windows = _windows(model.config.get_text_config())
        self._device = model.device
        self._least = torch.finfo(model.dtype).min

    def admit(self, rows: Sequence[Row]) -> list[Row]:
        """Read the prompts of rows and draw the first token of each; those that are finished by it are returned.

        Equal prompts are read once.
        """
        prompts = list(dict.fromkeys(row.asked.ids for row in rows))
        width = max(map(len, prompts))
        ids = torch.tensor([[0] * (width - len(p)) + list(p) for p in prompts], device=self._device)
        slots = torch.arange(width, device=self._device)
        padding = torch.tensor([width - len(p) for p in prompts], device=self._device)[:, None]
        # A place of padding sees itself, so that its values are numbers.
        seen = (slots[None, :, None] >= slots) & (
            (slots >= padding)[:, None, :] | torch.eye(width).bool().to(ids.device)
        )
        read = _Reading()
        logits = self._model(
            input_ids=ids,
            attention_mask=self._masks(seen, slots[:, None] - slots),
            position_ids=(slots - padding).clamp(min=0),
            past_key_values=read,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        place = {prompt: i for i, prompt in enumerate(prompts)}
        self._take(rows, logits[[place[row.asked.ids] for row in rows]])
        staying = [row for row in rows if row.finish is None]
        if staying:
            first = len(self.rows)
            self._cache.fit(first + len(staying), width + 1, read.layers_read)
            self.rows += staying
            for i, row in enumerate(staying, first):
                self._cache.write(i, read.layers_read, place[row.asked.ids], len(row.asked.ids))
        return [row for row in rows if row.finish is not None]

    def step(self) -> list[Row]:
        """One more token for each row; those that are finished leave, and are returned."""
        places = torch.tensor([len(row.asked.ids) + len(row.made) - 1 for row in self.rows], device=self._device)
        cache = self._cache
        cache.width = int(places.max()) + 1
        cache.fit(len(self.rows), cache.width)
        cache.rows, cache.places = torch.arange(len(self.rows), device=self._device), places
        slots = torch.arange(cache.width, device=self._device)
        behind = (places[:, None] - slots)[:, None, :]
        logits = self._model(
            input_ids=torch.tensor([[row.made[-1]] for row in self.rows], device=self._device),
            attention_mask=self._masks(behind >= 0, behind),
            position_ids=places[:, None],
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        self._take(self.rows, logits)
        finished = [row for row in self.rows if row.finish is not None]
        if finished:
            self.leave(finished)
        return finished

    def leave(self, rows: Iterable[Row]) -> None:
        """Rows give up their places; the last ones move up."""
        going = set(map(id, rows))
        for i in [i for i, row in enumerate(self.rows) if id(row) in going]:
            while self.rows and id(self.rows[-1]) in going:
                self.rows.pop()
            if i < len(self.rows):
                last = self.rows.pop()
                self.rows[i] = last
                self._cache.move(len(self.rows), i, len(last.asked.ids) + len(last.made) - 1)

    def _masks(self, seen: torch.Tensor, behind: torch.Tensor) -> Any:
        """What is added to the attention of each query to each slot, by kind of layer where there are several."""

        def added(seen: torch.Tensor) -> torch.Tensor:
            out = torch.zeros(seen.shape, dtype=self._model.dtype, device=self._device)
            return out.masked_fill_(~seen, self._least)[:, None]

        masks = {
            kind: added(seen if window is None else seen & (behind < window)) for kind, window in self._windows.items()
        }
        return masks if len(masks) > 1 else next(iter(masks.values()))

    def _take(self, rows: Sequence[Row], logits: torch.Tensor) -> None:
        """Draw a token for each row, and see whether it ends the row."""
        ids, logprobs = sample(
            logits.float(),
            [row.asked.temperature for row in rows],
            [row.asked.top_p for row in rows],
            uniform([row.asked.seed for row in rows], [len(row.made) for row in rows]),
        )
        self.written += len(rows)
        for row, token, logprob in zip(rows, ids.tolist(), logprobs.tolist(), strict=True):
            row.made.append(token)
            row.logprob += logprob
            if token in self._ends:
                row.finish = "end"
            elif row.asked.stops and (stop := self._found(row)) is not None:
                row.finish, row.stop = "stop", stop
            elif len(row.made) >= row.asked.limit:
                row.finish = "length"

    def _found(self, row: Row) -> str | None:
        """The stop string that the newest token completes."""
        last = self._piece(row.made[-1])
        for stop in row.asked.stops:
            # It ends in the newest token's text, or in a character that is complete only now.
            near = stop[-1:] in last or "\ufffd" in last
            if near and (stop == last or stop in self._decode(row.made[-len(stop) - 4 :])):
                return stop
        return None

    def _piece(self, token: int) -> str:
        piece = self._pieces.get(token)
        if piece is None:
            piece = self._pieces[token] = self._decode([token])
        return piece


def _windows(config: Any) -> dict[str, int | None]:
    """How far back each kind of layer sees; None is to the beginning."""
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    window = getattr(config, "sliding_window", None)
    if kinds - {"full_attention", "sliding_attention"}:
        raise InputError(
            f"a model with layers of {', '.join(sorted(kinds))} cannot be run here, where layers attend to keys and "
            "values: serve it with vLLM"
        )
    if getattr(config, "layer_types", None) is None:
        return {"full_attention": window}
    # A model that tells its layers apart takes a mask for each kind; one kind alone is given as it is.
    return {kind: window if kind == "sliding_attention" else None for kind in kinds}


def sample(
    logits: torch.Tensor, temperature: Sequence[float], top_p: Sequence[float], random: np.ndarray[Any, Any]
) -> tuple[torch.Tensor, torch.Tensor]:
    """A token for each row and its log-probability at temperature 1; temperature 0 takes the most likely.

    Parameters
    ----------
    logits
        [rows, vocabulary], in single precision.
    random
        A number in [0, 1) for each row: the token is where the distribution function, in order of ids, passes it.
    """
    ids = logits.argmax(-1)
    if any(temperature):
        warmth = torch.tensor(temperature, device=logits.device)[:, None]
        chances = (logits / warmth.where(warmth > 0, 1.0)).softmax(-1)
        if min(top_p) < 1.0:
            chances = _nucleus(chances, torch.tensor(top_p, device=logits.device)[:, None])
        passed = chances.cumsum(-1)
        mark = torch.from_numpy(random).to(logits.device, torch.float32)[:, None] * passed[:, -1:]
        drawn = torch.searchsorted(passed, mark, right=True).clamp(max=logits.shape[-1] - 1)
        ids = torch.where(warmth[:, 0] > 0, drawn[:, 0], ids)
    return ids, logits.gather(-1, ids[:, None])[:, 0] - logits.logsumexp(-1)


def _nucleus(chances: torch.Tensor, top_p: torch.Tensor) -> torch.Tensor:
    """The likeliest tokens whose chances add up to `top_p` keep theirs; rows at 1 are left as they are."""
    ordered, places = chances.sort(dim=-1, descending=True, stable=True)
    beyond = (ordered.cumsum(-1) - ordered >= top_p) & (top_p < 1.0)
    return torch.zeros_like(chances).scatter_(-1, places, ordered.masked_fill(beyond, 0.0))


def uniform(seeds: Sequence[int], numbers: Sequence[int]) -> np.ndarray[Any, Any]:
    """A number in [0, 1) for each seed and token's number: splitmix64, 23 bits of it."""
    with np.errstate(over="ignore"):
        z = np.array(seeds, np.uint64) + (np.array(numbers, np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    out: np.ndarray[Any, Any] = (z >> np.uint64(41)).astype(np.float32) / np.float32(1 << 23)
    return out
