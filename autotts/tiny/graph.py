"""The graph of a Llama model for ONNX Runtime, without its weights: one token of each row a step.

Build time only (needs the `onnx` package): `python -m autotts.tiny.graph` writes the graphs that are committed in
`autotts/tiny/graphs`; weights are bound to them by name when a model is loaded. The operators are those that
were fastest on a CPU; each row's result is the same bits in any batch and beside any padding, which `tests/tiny` holds.
With one key-value head, a row's heads stand where queries at different positions would: one small matrix product in
place of a vector product for each head, which `GroupQueryAttention` makes (a fifth slower, whole step, for L).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from autotts.tiny.codec import VOCABULARY, WRITABLE

GRAPHS: Final = Path(__file__).parent / "graphs"
_CONTRIB: Final = "com.microsoft"


@dataclass(frozen=True, slots=True)
class Shape:
    """What fixes a graph: everything about a model but its numbers. One key-value head, head dimension 32."""

    width: int
    heads: int
    ffn: int
    layers: int = 3
    head_dim: int = 32
    context: int = 256
    epsilon: float = 1e-6

    @property
    def file(self) -> Path:
        """Where the graph of this shape is kept."""
        return GRAPHS / f"llama-{self.layers}x{self.width}-{self.heads}x{self.head_dim}-{self.ffn}.onnx"


EMBEDDED: Final = {"S": Shape(96, 3, 256), "M": Shape(192, 6, 512), "L": Shape(384, 12, 1024)}


class _Graph:
    """Nodes and tensors of a graph being built."""

    def __init__(self, head_dim: int) -> None:
        from onnx import TensorProto, helper

        self.types, self.make = TensorProto, helper
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        self.cache = ["n", 1, "span", head_dim]

    def weight(self, name: str, *dims: int) -> str:
        """A tensor whose numbers come when the model is loaded."""
        tensor = self.types()
        tensor.name, tensor.data_type = name, self.types.FLOAT
        tensor.dims.extend(dims)
        tensor.data_location = self.types.EXTERNAL
        place = tensor.external_data.add()
        place.key, place.value = "location", "bound-at-load"
        self.weights.append(tensor)
        return name

    def node(self, kind: str, inputs: list[str], outputs: list[str], domain: str = "", **attributes: Any) -> str:
        self.nodes.append(self.make.make_node(kind, inputs, outputs, domain=domain, **attributes))
        return outputs[0]

    def constant(self, name: str, values: list[int]) -> str:
        self.weights.append(self.make.make_tensor(name, self.types.INT64, [len(values)], values))
        return name

    def matmul(self, value: str, weight: str, *dims: int) -> str:
        return self.node("MatMul", [value, self.weight(weight, *dims)], [f"{weight}.out"])

    def read(self, name: str, kind: int, dims: list[Any]) -> str:
        self.inputs.append(self.make.make_tensor_value_info(name, kind, dims))
        return name

    def write(self, name: str, dims: list[Any]) -> str:
        self.outputs.append(self.make.make_tensor_value_info(name, self.types.FLOAT, dims))
        return name


def build(shape: Shape) -> bytes:
    """The graph of a shape, serialised.

    Inputs, all int64: `ids` [n, 1], `positions` [n, 1] (tokens before this one), `places` [n, 3] (row, 0, position:
    where its keys and values go), `lengths` [n] (tokens, this one included); and each layer's cache, `{layer}.k` and
    `{layer}.v` [n, 1, span, head_dim]. Outputs: `logits` [n, 1, writable] and the caches `{layer}.k.new` and
    `{layer}.v.new`, to be bound to the inputs' memory.
    """
    g = _Graph(shape.head_dim)
    d = shape.width
    for name, dims in (("ids", ["n", 1]), ("positions", ["n", 1]), ("places", ["n", 3]), ("lengths", ["n"])):
        g.read(name, g.types.INT64, dims)
    g.constant("qkv.sizes", [shape.heads * shape.head_dim, shape.head_dim, shape.head_dim])
    g.constant("q.shape", [-1, 1, shape.heads, shape.head_dim])
    g.constant("kv.shape", [-1, shape.head_dim])
    g.constant("mixed.shape", [-1, 1, shape.heads * shape.head_dim])
    g.weight("cos", shape.context, shape.head_dim // 2)
    g.weight("sin", shape.context, shape.head_dim // 2)
    stream = g.node("Gather", [g.weight("embedding", VOCABULARY, d), "ids"], ["embedded"])
    norm = g.weight("0.attention.norm", d)
    value = g.node("SimplifiedLayerNormalization", [stream, norm], ["normed"], axis=-1, epsilon=shape.epsilon)
    for layer in range(shape.layers):
        value, stream = _layer(g, shape, layer, (value, stream))
    g.node("MatMul", [value, g.weight("head", d, len(WRITABLE))], [g.write("logits", ["n", 1, len(WRITABLE)])])
    model = g.make.make_model(
        g.make.make_graph(g.nodes, "llama", g.inputs, g.outputs, g.weights),
        opset_imports=[g.make.make_opsetid("", 24), g.make.make_opsetid(_CONTRIB, 1)],
        ir_version=10,
    )
    return bytes(model.SerializeToString())


def _layer(g: _Graph, shape: Shape, layer: int, carried: tuple[str, str]) -> tuple[str, str]:
    """One layer; carries the normalised value and the residual stream before it."""
    value, stream = carried
    d, heads, p = shape.width, shape.heads * shape.head_dim, f"{layer}."
    qkv = g.matmul(value, p + "qkv", d, heads + 2 * shape.head_dim)
    q, k, v = (p + name + ".part" for name in "qkv")
    g.node("Split", [qkv, "qkv.sizes"], [q, k, v], axis=-1)
    q, k = _rotated(g, q, shape.heads), _rotated(g, k, 1)
    keys, values = _stored(g, k, p + "k"), _stored(g, v, p + "v")
    q = g.node("Reshape", [q, "q.shape"], [p + "q"])
    mixed = g.node("Attention", [q, keys, values, "", "", "", "lengths"], [p + "heads"])
    mixed = g.node("Reshape", [mixed, "mixed.shape"], [p + "mixed"])
    value, stream = _residual(g, shape, g.matmul(mixed, p + "o", heads, d), (stream, p + "ffn.norm"))
    # Two products are faster than one and a split.
    gate = g.matmul(value, p + "gate", d, shape.ffn)
    up = g.matmul(value, p + "up", d, shape.ffn)
    silu = g.node("QuickGelu", [gate], [p + "silu"], _CONTRIB, alpha=1.0)
    down = g.matmul(g.node("Mul", [silu, up], [p + "gated"]), p + "down", shape.ffn, d)
    following = "norm" if layer == shape.layers - 1 else f"{layer + 1}.attention.norm"
    return _residual(g, shape, down, (stream, following))


def _rotated(g: _Graph, value: str, heads: int) -> str:
    inputs = [value, "positions", "cos", "sin"]
    return g.node("RotaryEmbedding", inputs, [value + ".rotated"], _CONTRIB, num_heads=heads)


def _stored(g: _Graph, value: str, cache: str) -> str:
    """The cache with a row's new key or value in its place."""
    row = g.node("Reshape", [value, "kv.shape"], [value + ".row"])
    g.read(cache, g.types.FLOAT, g.cache)
    return g.node("ScatterND", [cache, "places", row], [g.write(cache + ".new", g.cache)])


def _residual(g: _Graph, shape: Shape, value: str, carried: tuple[str, str]) -> tuple[str, str]:
    """Add to the stream and normalise: (normalised, stream)."""
    stream, norm = carried
    outputs = [norm + ".out", "", "", norm + ".stream"]
    inputs = [value, stream, g.weight(norm, shape.width)]
    g.node("SkipSimplifiedLayerNormalization", inputs, outputs, _CONTRIB, epsilon=shape.epsilon)
    return outputs[0], outputs[3]


def main() -> None:
    """Write the graphs of the embedded models."""
    GRAPHS.mkdir(exist_ok=True)
    for shape in EMBEDDED.values():
        shape.file.write_bytes(build(shape))


if __name__ == "__main__":
    main()
