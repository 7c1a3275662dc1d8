"""vLLM in this process, for batch work without HTTP: an engine for each model, with its prefix cache.

An engine lives in an event loop of its own, in a thread, so that it serves one event loop after another. A draw's seed
derives from its sample key; what is cancelled is aborted in the engine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, fields
from threading import Lock, Thread
from typing import Any, Final

from autotts.core.world import Meter
from autotts.errors import BackendError, InputError
from autotts.worlds.local import Asked, Local, Made, Words
from autotts.worlds.models.entry import Entry

# Fields of a request that may stand among an entry's settings; the others are those of vLLM's engine.
SAMPLING: Final = ("top_k", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty", "min_tokens")
LOGPROBS: Final = "logprobs"  # a setting: true asks for log-probabilities, which cost some speed


@dataclass(slots=True, eq=False)
class _Flight:
    """A completion on its way, and the coroutine that waits for it; the engine's thread writes the first fields."""

    asked: Asked
    meter: Meter
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Made]
    ids: list[int] = field(default_factory=list)
    largest: int = 1
    logprob: float = 0.0
    cached: int = 0
    finish: str | None = None
    stop: str | None = None
    error: BaseException | None = None
    task: asyncio.Task[None] | None = None
    cancelled: bool = False


class Engine:
    """One engine of vLLM and its thread; a context manager."""

    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name=f"vllm-{entry.name}", daemon=True)
        self._lock = Lock()
        self._news: dict[asyncio.AbstractEventLoop, list[_Flight]] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._closed = False
        self._number = 0
        self._llm: Any = None
        self._more = {name: value for name, value in entry.extra.items() if name in SAMPLING}
        self._logprobs = bool(entry.extra.get(LOGPROBS))
        self.words: Words
        self.context = 0

    def open(self, instruction: str) -> None:
        """Start the engine; takes tens of seconds."""
        self._thread.start()
        try:
            self._call(self._open(instruction))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Abort what runs, and end the engine and its thread."""
        self._closed = True
        self._call(self._shut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def complete(self, asked: Asked, meter: Meter) -> Made:
        """Go on from ids."""
        if self._closed:
            raise BackendError(f"model {self._entry.name!r} was closed")
        meter.begin()
        meter.prompt, meter.ahead = len(asked.ids), 1
        loop = asyncio.get_running_loop()
        flight = _Flight(asked, meter, loop, loop.create_future())
        self._loop.call_soon_threadsafe(self._begin, flight)
        try:
            return await flight.future
        except asyncio.CancelledError:
            flight.cancelled = True
            self._loop.call_soon_threadsafe(self._cancel, flight)
            meter.generated = max(meter.generated, len(flight.ids))  # what is on its way here
            raise

    # ------------------------------------------------------------------ in the engine's thread

    async def _open(self, instruction: str) -> None:
        from transformers import AutoTokenizer
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        entry = self._entry
        known = {each.name for each in fields(AsyncEngineArgs)}
        setting = {name: value for name, value in entry.extra.items() if name not in (*SAMPLING, LOGPROBS)}
        odd = sorted(set(setting) - known)
        if odd:
            raise InputError(
                f"model {entry.name!r}: expected settings of vLLM's engine or one of {', '.join((*SAMPLING, LOGPROBS))}"
                f", found {', '.join(odd)}"
            )
        given = {"model": entry.served, "max_model_len": entry.context, "disable_log_stats": True, **setting}
        try:
            args = AsyncEngineArgs(**{"enable_prefix_caching": True, **given})
            self._llm = AsyncLLM.from_engine_args(args)
            # The engine's own tokenizer is busy in its thread.
            tokenizer = AutoTokenizer.from_pretrained(self._llm.model_config.tokenizer)
        except (OSError, ValueError) as error:
            raise InputError(f"model {entry.name!r}: {entry.served!r} cannot be opened by vLLM: {error}") from error
        except RuntimeError as error:
            raise BackendError(f"model {entry.name!r}: vLLM's engine did not start: {error}") from error
        self.words = Words(tokenizer, entry, instruction)
        self.context = int(self._llm.model_config.max_model_len)

    async def _shut(self) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        llm, self._llm = self._llm, None
        if llm is not None:
            handler = llm.output_handler
            llm.shutdown()
            if handler is not None:
                await asyncio.gather(handler, return_exceptions=True)

    def _begin(self, flight: _Flight) -> None:
        if flight.cancelled:
            return
        flight.task = self._loop.create_task(self._run(flight))
        self._running.add(flight.task)
        flight.task.add_done_callback(self._running.discard)

    def _cancel(self, flight: _Flight) -> None:
        if flight.task is not None:
            flight.task.cancel()

    async def _run(self, flight: _Flight) -> None:
        self._number += 1
        prompt = {"prompt_token_ids": list(flight.asked.ids)}
        try:
            async for out in self._llm.generate(prompt, self._params(flight.asked), str(self._number)):
                self._take(flight, out)
        except asyncio.CancelledError:
            if not flight.cancelled:  # the engine is being closed
                flight.error = BackendError(f"model {self._entry.name!r} was closed while a draw was running")
                self._tell(flight)
            raise
        except Exception as error:
            flight.error = BackendError(f"model {self._entry.name!r} stopped working in vLLM: {error!r}")
            flight.error.__cause__ = error
            self._tell(flight)

    def _params(self, asked: Asked) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        return SamplingParams(
            max_tokens=asked.limit,
            seed=asked.seed,
            temperature=asked.temperature,
            top_p=asked.top_p,
            stop=list(asked.stops) or None,
            detokenize=bool(asked.stops),
            logprobs=0 if self._logprobs else None,
            output_kind=RequestOutputKind.DELTA,
            **self._more,
        )

    def _take(self, flight: _Flight, out: Any) -> None:
        (chunk,) = out.outputs
        ids = list(chunk.token_ids)
        flight.largest = max(flight.largest, len(ids))
        flight.cached = out.num_cached_tokens or flight.cached
        for token, ranked in zip(ids, chunk.logprobs or (), strict=False):
            flight.logprob += ranked[token].logprob
        flight.ids += ids
        if chunk.finish_reason is not None:
            flight.stop = chunk.stop_reason if isinstance(chunk.stop_reason, str) else None
            flight.finish = chunk.finish_reason
        self._tell(flight)

    def _tell(self, flight: _Flight) -> None:
        """Wake its event loop, once for all that is new."""
        with self._lock:
            waiting = self._news.get(flight.loop)
            if waiting is not None:
                waiting.append(flight)
                return
            self._news[flight.loop] = [flight]
        try:
            flight.loop.call_soon_threadsafe(self._land, flight.loop)
        except RuntimeError:
            self._news.pop(flight.loop)
            if not flight.loop.is_closed():  # a loop that is closed has nobody who waits
                raise

    def _land(self, loop: asyncio.AbstractEventLoop) -> None:
        """In the event loop that waits: count tokens, and wake who waits."""
        with self._lock:
            news = self._news.pop(loop, [])
        for flight in news:
            if flight.future.done():
                continue
            meter, finish, count = flight.meter, flight.finish, len(flight.ids)
            meter.ahead = flight.largest
            if count > meter.generated:
                meter.add(count - meter.generated)
            if flight.future.done():  # counting may have cancelled it
                continue
            if flight.error is not None:
                flight.future.set_exception(flight.error)
            elif finish is not None:
                self._finish(flight, finish)

    def _finish(self, flight: _Flight, finish: str) -> None:
        if finish not in ("stop", "length") or not flight.ids:
            flight.future.set_exception(
                BackendError(f"vLLM ended a draw of model {self._entry.name!r} with {finish!r}, after no limit or stop")
            )
            return
        if finish == "stop" and flight.stop is None:
            finish = "end"
        logprob = flight.logprob if self._logprobs else None
        flight.future.set_result(Made(tuple(flight.ids), finish, flight.stop, logprob, flight.cached))


@contextmanager
def open_vllm(
    entries: Mapping[str, Entry],
    *,
    read: Callable[[str], str | None],
    instruction: str = "",
    unit: str = "flops",
) -> Iterator[Local]:
    """The world of some models; their engines end with the scope.

    Processes are started, so a script that opens it needs `if __name__ == "__main__":`.

    Parameters
    ----------
    entries
        By role. `served` is a folder or a name that vLLM knows; `extra` are arguments of its engine
        (`gpu_memory_utilization`, `tensor_parallel_size`, ...), fields of a request (`top_k`, ...) or `logprobs`.
    read
        The task's reader: text -> canonical answer.
    instruction
        What the task says of the form of answers.
    unit
        What prices are in.

    Raises
    ------
    InputError
        When vLLM is not installed, or a model is not there or cannot be run by it.
    BackendError
        When an engine does not start.
    """
    for role, entry in entries.items():
        if not entry.draws:
            raise InputError(
                f"model {role!r} scores: inside this process vLLM draws only; serve it, or give it the engine "
                "transformers"
            )
    _installed(next(iter(entries)))
    with ExitStack() as stack:
        engines: dict[str, Engine] = {}  # two roles of one model share it
        for entry in entries.values():
            if entry.name not in engines:
                engine = engines[entry.name] = Engine(entry)
                engine.open(instruction)
                stack.callback(engine.close)
        lines = {role: engines[entry.name] for role, entry in entries.items()}
        yield Local(entries, lines, {}, read=read, instruction=instruction, unit=unit)


def _installed(role: str) -> None:
    try:
        from vllm import LLM  # noqa: F401 - an installation that is not whole fails only here
    except (ImportError, RuntimeError, AttributeError) as error:
        raise InputError(
            f"model {role!r} needs vLLM in this environment ({error}): pip install 'autotts-optimizer[vllm]'"
        ) from error
