"""Tokens a second of the embedded models: `python -m tests.benchmarks.tiny_speed [models] [seconds for each figure]`.

Beside each figure stands the limit: how many tokens a second the matrix products of a step alone would allow, at the
same shapes, by the fastest sgemm there is here (numpy's, ONNX Runtime's, torch's), measured in turn with the engine.
"share" is the engine's part of that limit, with sampling, attention, joining and leaving, and all. Draws are at
temperature 1, to their natural ends, of 64 prompts of mixed levels. Figures "by the clock" say what a user sees; those
"by the processor" divide by the processor's time instead, which a busy machine changes less. Plain torch does the same
steps (cache, sampling) at a fixed length, eagerly, on one core.
"""

from __future__ import annotations

import os

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # before numpy is imported: one core is one thread

import importlib.util  # noqa: E402
import platform  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Sequence  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from pathlib import Path  # noqa: E402
from threading import Event as Flag  # noqa: E402
from threading import Thread  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402

from autotts.tasks.arithmetic import mixed  # noqa: E402
from autotts.tiny.codec import WRITABLE, encode, path_text  # noqa: E402
from autotts.tiny.engine import Engine, Event, Request  # noqa: E402
from autotts.tiny.graph import EMBEDDED, Shape  # noqa: E402
from autotts.tiny.model import WEIGHTS, Model, load  # noqa: E402
from tests.tiny.random_models import write_model  # noqa: E402

BATCHES = (1, 32, 128)
CONTEXT = 40  # tokens before the one that is computed, about the mean of the draws
DRAWS_OF_ONE = 64


@dataclass(slots=True)
class Rate:
    """A count over time, by the clock and by the processor: the best of its slices, so that pauses do not count."""

    clock: float = 0.0
    processor: float = 0.0

    def add(self, count: float, clock: float, processor: float) -> None:
        self.clock = max(self.clock, count / clock)
        self.processor = max(self.processor, count / processor)


def main(names: Sequence[str], seconds: float) -> None:
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    torch = importlib.util.find_spec("torch") is not None
    if not torch:
        print("torch is absent: its column is empty")
    print(f"{'':18}{'by the clock':>26}{'by the processor, a core':>50}{'torch':>11}")
    print(
        f"{'model':6}{'batch':>6}{'cores':>6}{'':6}{'tokens/s':>12}{'share':>8}{'':4}"
        f"{'tokens/s':>12}{'share':>8}{'sgemm':>15}{'':13}{'tokens/s':>11}"
    )
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            real = WEIGHTS / name
            there = (real / "config.json").exists()
            model = load(real if there else write_model(Path(folder) / name, name))
            for batch in BATCHES:
                for cores in (1, 2):
                    _line(model if there else _named(model, name + "?"), batch, cores, seconds, torch and cores == 1)


def _named(model: Model, name: str) -> Model:
    return Model(name, model.shape, model.revision, model.parameters, model.session, model.tensors)


def _line(model: Model, batch: int, cores: int, seconds: float, torch: bool) -> None:
    drawn, plain = Rate(), Rate()
    sizes = _sizes(model.shape)
    products = {"numpy": _numpy_products(sizes, batch), "onnxruntime": _onnx_products(sizes, batch)}
    if importlib.util.find_spec("torch") is not None:
        products["torch"] = _torch_products(sizes, batch)
    limits = {name: Rate() for name in products}
    step = _torch_step(model, batch) if torch else None
    with Engine({"m": model}, workers=cores, width=batch) as engine:
        _draw(engine, batch * cores, 0.1, Rate())
        for _ in range(4):
            for name, multiply in products.items():
                _side_by_side([multiply] * cores, batch, seconds / 16, limits[name])
            _draw(engine, batch * cores, seconds / 4, drawn)
            if step is not None:
                _side_by_side([step], batch, seconds / 8, plain)
    fastest = max(limits, key=lambda name: limits[name].processor)
    clock, processor = max(limit.clock for limit in limits.values()), limits[fastest].processor
    rate = processor * 2 * sum(k * n for k, n in sizes) / 1e9
    print(
        f"{model.name:6}{batch:6}{cores:6}{'':6}{drawn.clock:12,.0f}{drawn.clock / clock:8.0%}{'':4}"
        f"{drawn.processor:12,.0f}{drawn.processor / processor:8.0%}"
        f"{rate:7.0f} GFLOP/s {fastest:12}" + (f"{plain.processor:11,.0f}" if torch else ""),
        flush=True,
    )


def _draw(engine: Engine, places: int, seconds: float, rate: Rate) -> None:
    """Keep all places taken for some seconds; count the tokens that are written meanwhile."""
    prompts = [encode(path_text(problem.prompt)) for problem in mixed("train", 0, 64)]
    stopped = Flag()
    seeds = iter(range(1 << 40))

    def take(events: Sequence[Event]) -> None:
        if not stopped.is_set():
            submit(sum(event.done is not None for event in events))

    def submit(count: int) -> None:
        new = [Request(prompts[(s // DRAWS_OF_ONE) % 64], s, max_new=100) for s, _ in zip(seeds, range(count))]
        engine.submit_all("m", new, take)

    submit(3 * places)
    time.sleep(min(0.3, seconds))  # until the places are taken
    before, clock, processor = engine.written, time.perf_counter(), time.process_time()
    time.sleep(seconds)
    rate.add(engine.written - before, time.perf_counter() - clock, time.process_time() - processor)
    stopped.set()
    idle = Flag()
    engine.submit("m", Request(prompts[0], max_new=1), lambda events: idle.set())
    idle.wait()


def _sizes(shape: Shape) -> list[tuple[int, int]]:
    """(K, N) of the matrix products of one step."""
    d, heads, one = shape.width, shape.heads * shape.head_dim, shape.head_dim
    layer = [(d, heads + 2 * one), (heads, d), (d, shape.ffn), (d, shape.ffn), (shape.ffn, d)]
    return layer * shape.layers + [(d, len(WRITABLE))]


def _numpy_products(sizes: Sequence[tuple[int, int]], batch: int) -> Callable[[], None]:
    terms = [
        (np.ones((batch, k), np.float32), np.ones((k, n), np.float32), np.empty((batch, n), np.float32))
        for k, n in sizes
    ]

    def multiply() -> None:
        for left, right, out in terms:
            np.matmul(left, right, out)

    return multiply


def _torch_products(sizes: Sequence[tuple[int, int]], batch: int) -> Callable[[], None]:
    import torch

    torch.set_num_threads(1)
    terms = [(torch.ones(batch, k), torch.ones(k, n), torch.empty(batch, n)) for k, n in sizes]

    def multiply() -> None:
        for left, right, out in terms:
            torch.mm(left, right, out=out)

    return multiply


def _onnx_products(sizes: Sequence[tuple[int, int]], batch: int) -> Callable[[], None]:
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    lefts = {f"left{k}": np.ones((batch, k), np.float32) for k, _ in sizes}
    weights = [numpy_helper.from_array(np.ones(size, np.float32), f"w{i}") for i, size in enumerate(sizes)]
    nodes = [helper.make_node("MatMul", [f"left{k}", f"w{i}"], [f"out{i}"]) for i, (k, _) in enumerate(sizes)]
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, a.shape) for name, a in lefts.items()]
    outputs = [
        helper.make_tensor_value_info(f"out{i}", TensorProto.FLOAT, (batch, n)) for i, (_, n) in enumerate(sizes)
    ]
    graph = helper.make_graph(nodes, "products", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    outs = [np.empty((batch, n), np.float32) for _, n in sizes]
    binding = session.io_binding()
    for name, left in lefts.items():
        binding.bind_input(name, "cpu", 0, np.float32, left.shape, left.ctypes.data)
    for i, out in enumerate(outs):
        binding.bind_output(f"out{i}", "cpu", 0, np.float32, out.shape, out.ctypes.data)
    memory = (lefts, outs)  # the binding holds only their addresses

    def multiply() -> None:
        assert memory
        session.run_with_iobinding(binding)

    return multiply


def _side_by_side(steps: Sequence[Callable[[], None]], batch: int, seconds: float, rate: Rate) -> None:
    """Run steps over and over, each in a thread, and count their tokens."""
    counts = [0] * len(steps)

    def run(i: int) -> None:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            steps[i]()
            counts[i] += batch

    threads = [Thread(target=run, args=(i,)) for i in range(len(steps))]
    clock, processor = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rate.add(sum(counts), time.perf_counter() - clock, time.process_time() - processor)


def _torch_step(model: Model, batch: int) -> Callable[[], None]:
    """One step of the same model in plain torch, at a fixed length: read a token of each row, sample the next."""
    import torch
    from torch.nn import functional as F

    torch.set_num_threads(1)
    shape = model.shape
    w = {name: torch.from_numpy(array) for name, array in model.tensors.items()}
    size = (batch, 1, shape.context, shape.head_dim)
    caches = [(torch.zeros(size), torch.zeros(size)) for _ in range(shape.layers)]
    half, heads = shape.head_dim // 2, shape.heads
    cos, sin = w["cos"][CONTEXT], w["sin"][CONTEXT]
    tokens = torch.full((batch,), 5)

    def rotate(x: Any) -> Any:
        left, right = x[..., :half], x[..., half:]
        return torch.cat([left * cos - right * sin, right * cos + left * sin], -1)

    def norm(x: Any, name: str) -> Any:
        return F.rms_norm(x, (shape.width,), w[name], shape.epsilon)

    @torch.inference_mode()
    def step() -> None:
        x = w["embedding"][tokens]
        for i, (keys, values) in enumerate(caches):
            qkv = (norm(x, f"{i}.attention.norm") @ w[f"{i}.qkv"]).view(batch, heads + 2, shape.head_dim)
            keys[:, 0, CONTEXT] = rotate(qkv[:, heads])
            values[:, 0, CONTEXT] = qkv[:, heads + 1]
            # One key-value head: the heads stand where queries at different positions would.
            mixed = F.scaled_dot_product_attention(
                rotate(qkv[:, None, :heads]), keys[:, :, : CONTEXT + 1], values[:, :, : CONTEXT + 1]
            )
            x = x + mixed.reshape(batch, -1) @ w[f"{i}.o"]
            y = norm(x, f"{i}.ffn.norm")
            x = x + (F.silu(y @ w[f"{i}.gate"]) * (y @ w[f"{i}.up"])) @ w[f"{i}.down"]
        torch.multinomial(F.softmax(norm(x, "norm") @ w["head"], -1), 1)

    return step


if __name__ == "__main__":
    chosen = sys.argv[1].split(",") if len(sys.argv) > 1 else list(EMBEDDED)
    main(chosen, float(sys.argv[2]) if len(sys.argv) > 2 else 4.0)
