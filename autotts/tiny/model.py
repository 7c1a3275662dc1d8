"""A model in memory: its folder (Hugging Face layout, fp16) read into an ONNX Runtime session that computes in fp32.

One step takes one token of each row. A prompt is read in the same way as an answer is written, token by token, so
what is in the cache never depends on how it came there; on a CPU a full batch makes this as fast as reading whole
prompts at once.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from autotts.errors import InputError
from autotts.tiny.codec import VOCABULARY, WRITABLE
from autotts.tiny.graph import EMBEDDED, Shape

WEIGHTS: Final = Path(__file__).parent / "weights"
_SPAN: Final = 32  # a row's cache has room for a multiple of so many tokens
Tensors = dict[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A loaded model. `revision` is a hash of its weights and configuration; `parameters` counts the embedding once."""

    name: str
    shape: Shape
    revision: str
    parameters: int
    session: Any
    tensors: Tensors  # the session reads this memory


def load(folder: Path) -> Model:
    """Load a model from its folder (`config.json`, `model.safetensors`).

    Raises
    ------
    InputError
        When a file is missing or broken, or is of a model that has no graph here.
    """
    config_bytes = _read(folder / "config.json")
    weights_bytes = _read(folder / "model.safetensors")
    shape, theta = _shape(config_bytes, folder / "config.json")
    stored = _weights(weights_bytes, shape, folder / "model.safetensors")
    tensors = _tensors(stored, shape, theta)
    revision = hashlib.sha256(config_bytes + weights_bytes).hexdigest()[:12]
    parameters = sum(int(tensor.size) for tensor in stored.values())
    return Model(folder.name, shape, revision, parameters, _session(shape, tensors), tensors)


class Rows:
    """Memory for up to `width` rows of a batch, bound to a model's session; row i is row i of every array.

    Attributes
    ----------
    ids : int64 [width, 1], the token of each row in the next step
    lengths : int64 [width], the tokens in each row's cache
    logits : float32 [width, writable], what the last step gave
    cache : float32 [2 * layers, width, span, head_dim], keys and values by layer; `reserve` sets its span
    """

    def __init__(self, model: Model, width: int) -> None:
        shape = model.shape
        self.ids = np.zeros((width, 1), np.int64)
        self.lengths = np.zeros(width, np.int64)
        self.logits = np.zeros((width, len(WRITABLE)), np.float32)
        # By row: row, 0, position; and the length with the new token.
        self._places = np.zeros((width, 3), np.int64)
        self._places[:, 0] = np.arange(width)
        self._after = np.zeros(width, np.int64)
        self._positions = np.zeros((width, 1), np.int64)
        self._memory = np.zeros((2 * shape.layers, width * shape.context * shape.head_dim), np.float32)
        self._model = model
        self._width = width
        self._bindings: dict[tuple[int, int], Any] = {}
        self._lay_out(_SPAN)

    def reserve(self, tokens: int, count: int) -> None:
        """Make room for so many tokens of each row; the first `count` rows keep theirs.

        The attention of a step takes time by the span, so it is no longer than the longest row needs, in steps of 32.
        """
        need = -(-tokens // _SPAN) * _SPAN
        if self.span >= need >= self.span - _SPAN:
            return
        shared = min(need, self.span)
        kept = self.cache[:, :count, :shared].copy()
        self._lay_out(need)
        self.cache[:, :count, :shared] = kept

    def step(self, count: int) -> None:
        """Run the first `count` rows: read `ids` at `lengths`, write `cache` and `logits`."""
        lengths = self.lengths[:count]
        self.reserve(int(lengths.max()) + 1, count)
        self._places[:count, 2] = self._positions[:count, 0] = lengths
        np.add(lengths, 1, out=self._after[:count])
        binding = self._bindings.get((count, self.span))
        if binding is None:
            binding = self._bindings[count, self.span] = self._bind(count)
        self._model.session.run_with_iobinding(binding)

    def _lay_out(self, span: int) -> None:
        size = self._width * span * self._model.shape.head_dim
        self.span = span
        self.cache = self._memory[:, :size].reshape(len(self._memory), self._width, span, -1)

    def _bind(self, count: int) -> Any:
        binding = self._model.session.io_binding()
        inputs: dict[str, NDArray[Any]] = {
            "ids": self.ids[:count],
            "positions": self._positions[:count],
            "places": self._places[:count],
            "lengths": self._after[:count],
        }
        outputs: dict[str, NDArray[Any]] = {"logits": self.logits[:count, None]}
        for i in range(len(self.cache)):
            name = f"{i // 2}.{'kv'[i % 2]}"
            inputs[name] = outputs[name + ".new"] = self.cache[i, :count, None]
        for name, array in inputs.items():
            binding.bind_input(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        for name, array in outputs.items():
            binding.bind_output(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        return binding


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: expected a file of an embedded model, found none ({error.strerror})") from error


def _shape(config: bytes, path: Path) -> tuple[Shape, float]:
    try:
        c: dict[str, Any] = json.loads(config)
        shape = Shape(
            int(c["hidden_size"]),
            int(c["num_attention_heads"]),
            int(c["intermediate_size"]),
            int(c["num_hidden_layers"]),
            int(c["head_dim"]),
            int(c["max_position_embeddings"]),
            float(c["rms_norm_eps"]),
        )
        rope = c.get("rope_parameters") or {}
        theta = float(c["rope_theta"] if "rope_theta" in c else rope["rope_theta"])
        others = (int(c["vocab_size"]), int(c["num_key_value_heads"]))
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: expected the configuration of a Llama model, found {error!r}") from error
    if shape not in EMBEDDED.values() or others != (VOCABULARY, 1):
        raise InputError(
            f"{path}: there is no graph for a model of {shape} with {others[1]} key-value heads and {others[0]} "
            "tokens; add it to `EMBEDDED` in autotts/tiny/graph.py and run that module"
        )
    return shape, theta


def _weights(stored: bytes, shape: Shape, path: Path) -> Tensors:
    from safetensors import SafetensorError
    from safetensors.numpy import load as parse

    try:
        found = {name: np.asarray(array, np.float32) for name, array in parse(stored).items()}
    except SafetensorError as error:
        raise InputError(f"{path}: expected a safetensors file, found one that cannot be read ({error})") from error
    found.pop("lm_head.weight", None)  # tied
    wanted, shapes = _stored_shapes(shape), {name: array.shape for name, array in found.items()}
    if shapes != wanted:
        name = min(name for name in wanted | shapes if wanted.get(name) != shapes.get(name))
        raise InputError(
            f"{path}: expected tensor {name!r} of shape {wanted.get(name)}, as the configuration beside it says, "
            f"found {shapes.get(name)}"
        )
    return found


_PARTS: Final = (
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
    "input_layernorm",
    "post_attention_layernorm",
)


def _stored_shapes(shape: Shape) -> dict[str, tuple[int, ...]]:
    """The tensors of a model in Hugging Face layout, [out, in]."""
    d, f, one, heads = shape.width, shape.ffn, shape.head_dim, shape.heads * shape.head_dim
    sizes: tuple[tuple[int, ...], ...] = (
        (heads, d),
        (one, d),
        (one, d),
        (d, heads),
        (f, d),
        (f, d),
        (d, f),
        (d,),
        (d,),
    )
    stored: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (VOCABULARY, d), "model.norm.weight": (d,)}
    for i in range(shape.layers):
        stored |= {f"model.layers.{i}.{part}.weight": size for part, size in zip(_PARTS, sizes, strict=True)}
    return stored


def _tensors(stored: Tensors, shape: Shape, theta: float) -> Tensors:
    """Weights by their names in the graph, [in, out], and the rotary tables [context, head_dim / 2]."""
    half = shape.head_dim // 2
    angles = np.outer(np.arange(shape.context), theta ** (-np.arange(half) / half))
    embedding = stored["model.embed_tokens.weight"]
    named: Tensors = {
        "embedding": embedding,
        "head": embedding[WRITABLE.start : WRITABLE.stop].T,
        "norm": stored["model.norm.weight"],
        "cos": np.cos(angles),
        "sin": np.sin(angles),
    }
    for i in range(shape.layers):
        q, k, v, o, gate, up, down, norm_1, norm_2 = (stored[f"model.layers.{i}.{part}.weight"] for part in _PARTS)
        named |= {f"{i}.qkv": np.concatenate([q, k, v]).T, f"{i}.o": o.T, f"{i}.gate": gate.T, f"{i}.up": up.T}
        named |= {f"{i}.down": down.T, f"{i}.attention.norm": norm_1, f"{i}.ffn.norm": norm_2}
    return {name: np.ascontiguousarray(array, np.float32) for name, array in named.items()}


def _session(shape: Shape, tensors: Tensors) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in tensors.values()]
    options.add_external_initializers(list(tensors), values)
    graph = shape.file.read_bytes()
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
