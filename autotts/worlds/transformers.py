"""Models of transformers in this process, for machines where vLLM does not run.

One thread for each model batches what waits: see `decoding`. A draw's seed derives from its sample key.
"""

from __future__ import annotations

import asyncio
import copy
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Condition, Thread
from typing import TYPE_CHECKING, Any, Final

from autotts.core.world import Meter
from autotts.errors import BackendError, InputError
from autotts.worlds.local import Asked, Local, Made, Words
from autotts.worlds.models.entry import Entry
from autotts.worlds.scoring.local import open_local

if TYPE_CHECKING:
    from autotts.worlds.decoding import Batch, Row

SETTINGS: Final = ("device", "dtype", "width", "attn_implementation")


class Running:
    """A model and the thread that draws from it; a context manager.

    Parameters
    ----------
    batch
        Where rows run.
    width
        The most rows that run at once.
    """

    def __init__(self, name: str, batch: Batch, words: Words, *, context: int, width: int) -> None:
        self.words = words
        self.context = context
        self._name = name
        self._batch = batch
        self._width = width
        self._queue: deque[Row] = deque()
        self._joining: list[Row] = []
        self._lock = Condition()
        self._closing = False
        self._broken: BaseException | None = None
        self._thread = Thread(target=self._work, name=f"transformers-{name}", daemon=True)

    def __enter__(self) -> Running:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._closing = True
            self._lock.notify()
        self._thread.join()

    @property
    def written(self) -> int:
        """Tokens generated so far, whatever became of them."""
        return self._batch.written

    async def complete(self, asked: Asked, meter: Meter) -> Made:
        """Go on from ids."""
        from autotts.worlds.decoding import Row

        meter.begin()
        meter.prompt, meter.ahead = len(asked.ids), 1
        flight = _Flight(meter)
        row = Row(asked, flight)
        with self._lock:
            if self._broken is not None or self._closing:
                raise self._failure()
            self._queue.append(row)
            self._lock.notify()
        try:
            return await flight.future
        except asyncio.CancelledError:
            with self._lock:
                row.cancelled = True
                if row.begun:
                    meter.generated = max(meter.generated, len(row.made))  # what is on its way here
                else:
                    meter.refused()
                    meter.ahead = 0
            raise

    # ------------------------------------------------------------------ in the thread

    def _work(self) -> None:
        import torch

        batch = self._batch
        try:
            with torch.inference_mode():
                while self._wait():
                    self._turn(batch)
        except BaseException as error:
            self._broken = error
        with self._lock:
            left, why = [*self._queue, *self._joining, *batch.rows], self._failure()
            self._queue.clear()
        _tell(left, why)

    def _turn(self, batch: Batch) -> None:
        """Let rows join, or make one more token for each."""
        rows = self._joining = self._next()
        finished = batch.admit(rows) if rows else []
        gone = [row for row in batch.rows if row.cancelled]
        if gone:
            batch.leave(gone)
        if not rows and batch.rows:
            finished = batch.step()
        _tell([*finished, *batch.rows])

    def _wait(self) -> bool:
        """Sleep until there is work; False is the end."""
        with self._lock:
            while not (self._closing or self._queue or self._batch.rows):
                self._lock.wait()
            return not self._closing

    def _next(self) -> list[Row]:
        """The rows that join now: as many as there is room for, and as can be read at once."""
        from autotts.worlds.decoding import PREFILL

        rows: list[Row] = []
        prompts: set[tuple[int, ...]] = set()
        longest = 0
        with self._lock:
            while self._queue and len(self._batch.rows) + len(rows) < self._width:
                row = self._queue[0]
                if not row.cancelled:
                    longest = max(longest, len(row.asked.ids))
                    prompts.add(row.asked.ids)
                    if rows and longest * len(prompts) > PREFILL:
                        break
                    row.begun = True
                    rows.append(row)
                self._queue.popleft()
        return rows

    def _failure(self) -> BackendError:
        if self._broken is None:
            return BackendError(f"model {self._name!r} was closed while a draw was running")
        failure = BackendError(
            f"model {self._name!r} stopped working: {self._broken!r}; if memory was short, give it a smaller `width` "
            "(rows that run at once)"
        )
        failure.__cause__ = self._broken
        return failure


class _Flight:
    """The coroutine that waits for a row."""

    __slots__ = ("future", "loop", "meter")

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Made] = self.loop.create_future()


def _tell(rows: Sequence[Row], failure: BackendError | None = None) -> None:
    """Wake each event loop once for all that is new."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[Row, int]]] = {}
    for row in rows:
        if not row.cancelled:
            by_loop.setdefault(row.tag.loop, []).append((row, len(row.made)))
    for loop, news in by_loop.items():
        try:
            loop.call_soon_threadsafe(_land, news, failure)
        except RuntimeError:
            if not loop.is_closed():  # a loop that is closed has nobody who waits
                raise


def _land(news: Sequence[tuple[Row, int]], failure: BackendError | None) -> None:
    """In the event loop: count tokens, and wake who waits."""
    for row, count in news:
        flight: _Flight = row.tag
        if flight.future.done():
            continue
        meter = flight.meter
        if count > meter.generated:
            meter.add(count - meter.generated)
        if flight.future.done():  # counting may have cancelled it
            continue
        if failure is not None:
            flight.future.set_exception(failure)
        elif row.finish is not None and count == len(row.made):
            flight.future.set_result(row.result())


@contextmanager
def open_transformers(
    entries: Mapping[str, Entry],
    *,
    read: Callable[[str], str | None],
    instruction: str = "",
    unit: str = "flops",
) -> Iterator[Local]:
    """The world of some models; its threads end with the scope.

    Parameters
    ----------
    entries
        By role. `served` is a folder or a name that transformers knows; `extra` may say `device` ("cpu", "cuda:0"),
        `dtype` ("float32", "bfloat16", ...), `width` (rows that run at once, 64) and `attn_implementation`.
    read
        The task's reader: text -> canonical answer.
    instruction
        What the task says of the form of answers.
    unit
        What prices are in.

    Raises
    ------
    InputError
        When a model is not there, cannot be run in this way, or transformers is not installed.
    """
    for role, entry in entries.items():
        _check(role, entry)
    with ExitStack() as stack:
        # Two roles of one model share its weights and its batch.
        opened: dict[str, Running] = {}
        drawing = {role: entry for role, entry in entries.items() if entry.draws}
        for entry in drawing.values():
            if entry.name not in opened:
                opened[entry.name] = stack.enter_context(_load(entry, instruction))
        lines = {role: opened[entry.name] for role, entry in drawing.items()}
        marking = {role: open_local(entry) for role, entry in entries.items() if not entry.draws}
        yield Local(entries, lines, marking, read=read, instruction=instruction, unit=unit)


def _check(role: str, entry: Entry) -> None:
    if not entry.draws:
        return  # it is checked where it is opened
    odd = sorted(set(entry.extra) - set(SETTINGS))
    if odd:
        raise InputError(
            f"model {role!r}: expected settings among {', '.join(SETTINGS)} for the engine transformers, found "
            f"{', '.join(odd)}"
        )
    if entry.thinking.budget is not None:
        raise InputError(f"model {role!r}: the engine transformers holds no budget of thinking; leave it out")


def _load(entry: Entry, instruction: str) -> Running:
    try:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError as error:
        raise InputError(
            f"model {entry.name!r} needs torch and transformers ({error}): "
            "pip install 'autotts-optimizer[transformers]'"
        ) from error
    from autotts.worlds.decoding import Batch

    setting = dict(entry.extra)
    dtype = getattr(torch, str(setting.get("dtype", "auto")), "auto")
    hub = {} if Path(entry.served).is_dir() or not entry.revision else {"revision": entry.revision}
    try:
        tokenizer = AutoTokenizer.from_pretrained(entry.served, **hub)
        model = AutoModelForCausalLM.from_pretrained(
            entry.served, dtype=dtype, attn_implementation=setting.get("attn_implementation", "sdpa"), **hub
        )
        model.requires_grad_(False)
        model = model.to(setting.get("device", "cuda" if torch.cuda.is_available() else "cpu"))
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"model {entry.name!r}: {entry.served!r} cannot be opened by transformers: {error}") from error
    own = copy.deepcopy(tokenizer)  # a tokenizer is not to be used by two threads

    def decode(ids: Sequence[int]) -> str:
        return str(own.decode(list(ids), skip_special_tokens=True))

    return Running(
        entry.name,
        Batch(model, _ends(model, tokenizer), decode),
        Words(tokenizer, entry, instruction),
        context=_context(entry, model.config.get_text_config()),
        width=int(setting.get("width", 64)),
    )


def _ends(model: Any, tokenizer: Any) -> set[int]:
    """The end tokens that the model and its tokenizer name."""
    named = [model.generation_config.eos_token_id, tokenizer.eos_token_id]
    return {int(i) for one in named if one is not None for i in (one if isinstance(one, list) else [one])}


def _context(entry: Entry, config: Any) -> int:
    known = [entry.context, getattr(config, "max_position_embeddings", None)]
    return min((int(x) for x in known if x is not None), default=1 << 30)
