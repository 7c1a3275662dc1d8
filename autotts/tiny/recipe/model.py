"""A plain Llama for training, equal to `transformers.LlamaForCausalLM`, with the parameters named as there."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HEAD_DIM = 32
LAYERS = 3
VOCABULARY = 32
ROPE_THETA = 10_000.0
NORM_EPS = 1e-6
MAX_POSITIONS = 256


@dataclass(frozen=True, slots=True)
class Shape:
    """Width d, number of query heads (one key-value head serves them all), and feed-forward width."""

    width: int
    heads: int
    feed_forward: int


class Layer(nn.Module):
    """One decoder layer: attention with one key-value head, and SwiGLU. Norm gains stay 1, so they are left out."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        d, inner = shape.width, shape.heads * HEAD_DIM
        self.heads = shape.heads
        self.q_proj = nn.Linear(d, inner, bias=False)
        self.k_proj = nn.Linear(d, HEAD_DIM, bias=False)
        self.v_proj = nn.Linear(d, HEAD_DIM, bias=False)
        self.o_proj = nn.Linear(inner, d, bias=False)
        self.gate_proj = nn.Linear(d, shape.feed_forward, bias=False)
        self.up_proj = nn.Linear(d, shape.feed_forward, bias=False)
        self.down_proj = nn.Linear(shape.feed_forward, d, bias=False)

    def forward(self, x: Tensor, rope: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
        x = x + self.attend(normed(x), rope, mask)
        weights = torch.cat([self.gate_proj.weight, self.up_proj.weight])
        gate, up = F.linear(normed(x), weights).chunk(2, -1)
        out: Tensor = x + self.down_proj(F.silu(gate) * up)
        return out

    def attend(self, h: Tensor, rope: tuple[Tensor, Tensor], mask: Tensor) -> Tensor:
        """Causal attention by two plain matrix products: on a CPU their backward is 3x faster than SDPA's."""
        rows, length, _ = h.shape
        weights = torch.cat([self.q_proj.weight, self.k_proj.weight, self.v_proj.weight])
        heads = F.linear(h, weights).view(rows, length, self.heads + 2, HEAD_DIM)
        turned = rotated(heads[:, :, :-1], rope)
        q = turned[:, :, :-1].reshape(rows, length * self.heads, HEAD_DIM)
        k = turned[:, :, -1] * HEAD_DIM**-0.5
        scores = (q @ k.transpose(1, 2)).view(rows, length, self.heads, length)
        attention = (scores + mask).softmax(-1).view(rows, length * self.heads, length)
        mixed = attention @ heads[:, :, -1]
        out: Tensor = self.o_proj(mixed.view(rows, length, self.heads * HEAD_DIM))
        return out


class Llama(nn.Module):
    """The causal model; tied embeddings; positions count from the left, padding stands on the right."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Parameter(torch.randn(VOCABULARY, shape.width) * 0.02)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(LAYERS))
        self.final_norm = nn.Parameter(torch.ones(shape.width))
        for layer in self.layers:
            for name, matrix in layer.named_parameters():
                writes = name.startswith(("o_proj", "down_proj"))  # a new layer changes nothing yet
                nn.init.normal_(matrix, std=0.0 if writes else matrix.shape[1] ** -0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map token ids [rows, length] to logits [rows, length, 32]."""
        length = tokens.shape[1]
        rope = rotations(length)
        mask = torch.full((length, 1, length), -1e9)
        mask.masked_fill_(torch.ones(length, length).tril().bool()[:, None], 0.0)
        x = F.embedding(tokens, self.embedding)
        for layer in self.layers:
            x = layer(x, rope, mask)
        return F.linear(normed(x) * self.final_norm, self.embedding)


def normed(x: Tensor) -> Tensor:
    """Root-mean-square norm with gain 1."""
    return x * (x.square().mean(-1, keepdim=True) + NORM_EPS).rsqrt()


def rotations(length: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines [length, 1, 32] of the rotary embedding (half-split layout)."""
    frequencies = ROPE_THETA ** (-torch.arange(0, HEAD_DIM, 2) / HEAD_DIM)
    angles = torch.arange(length)[:, None] * frequencies
    both = torch.cat([angles, angles], 1)[:, None]
    return both.cos(), both.sin()


def rotated(x: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
    """Apply the rotary embedding to [rows, length, heads, 32]."""
    first, second = x.chunk(2, -1)
    return x * rope[0] + torch.cat([-second, first], -1) * rope[1]


def hugging_face_tensors(model: Llama) -> dict[str, Tensor]:
    """Name the parameters as `LlamaForCausalLM` does (tied: no lm_head) and add the gains that stay 1."""
    ones = torch.ones(model.shape.width)
    tensors = {"model.embed_tokens.weight": model.embedding.detach(), "model.norm.weight": model.final_norm.detach()}
    for i, layer in enumerate(model.layers):
        for name, matrix in layer.named_parameters():
            part = "self_attn" if name[0] in "qkvo" else "mlp"
            tensors[f"model.layers.{i}.{part}.{name}"] = matrix.detach()
        tensors[f"model.layers.{i}.input_layernorm.weight"] = ones.clone()
        tensors[f"model.layers.{i}.post_attention_layernorm.weight"] = ones.clone()
    return tensors


def load_hugging_face(shape: Shape, tensors: Mapping[str, Tensor]) -> Llama:
    """Build a model from tensors named as `hugging_face_tensors` names them."""
    model = Llama(shape)
    with torch.no_grad():
        model.embedding.copy_(tensors["model.embed_tokens.weight"])
        model.final_norm.copy_(tensors["model.norm.weight"])
        for i, layer in enumerate(model.layers):
            for name, matrix in layer.named_parameters():
                part = "self_attn" if name[0] in "qkvo" else "mlp"
                matrix.copy_(tensors[f"model.layers.{i}.{part}.{name}"])
    return model


def grown(small: Llama, noise: float) -> Llama:
    """Double the width and keep the function; antisymmetric noise lets the two halves part.

    The wide stream holds two copies of the narrow one, [x, x]; heads and feed-forward units come twice. Each
    matrix reads half from either copy and writes to both, so noise E added as [[E, -E], [-E', E']] on the
    reading side cancels on equal copies (after Net2Net, Chen et al. 2016, arXiv:1511.05641).
    """
    s = small.shape
    big = Llama(Shape(2 * s.width, 2 * s.heads, 2 * s.feed_forward))
    with torch.no_grad():
        big.embedding.copy_(small.embedding.repeat(1, 2))
        big.final_norm.copy_(small.final_norm.repeat(2) / 2)
        for wide, narrow in zip(big.layers, small.layers, strict=True):
            for target, source in zip(wide.parameters(), narrow.parameters(), strict=True):
                copies = target.shape[0] // source.shape[0]
                tile = source.repeat(copies, 2) / 2
                error = noise * source.std() / 2 * torch.randn(target.shape[0], source.shape[1])
                target.copy_(tile + torch.cat([error, -error], 1))
    return big
