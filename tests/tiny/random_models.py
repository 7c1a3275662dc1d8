"""Models with random weights, in the layout of the real ones: fast to make, and bad at sums."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from autotts.tiny.codec import VOCABULARY
from autotts.tiny.graph import EMBEDDED, Shape


def write_model(folder: Path, size: str, seed: int = 0) -> Path:
    """Write a model of the size of S, M or L to `folder`; its texts vary much and end soon enough."""
    shape = EMBEDDED[size]
    rng = np.random.default_rng([seed, shape.width])
    folder.mkdir(parents=True)
    save_file(_weights(shape, rng), str(folder / "model.safetensors"))
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": VOCABULARY,
        "hidden_size": shape.width,
        "intermediate_size": shape.ffn,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": 1,
        "head_dim": shape.head_dim,
        "max_position_embeddings": shape.context,
        "rms_norm_eps": shape.epsilon,
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
        "hidden_act": "silu",
        "bos_token_id": None,
        "eos_token_id": 1,
        "pad_token_id": 0,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "prm.json").write_text(json.dumps({"a": 0.3, "b": 3.0}))
    return folder


def _weights(shape: Shape, rng: np.random.Generator) -> dict[str, np.ndarray]:
    d, heads = shape.width, shape.heads * shape.head_dim

    def dense(rows: int, columns: int) -> np.ndarray:
        return (rng.normal(size=(rows, columns)) / np.sqrt(columns)).astype(np.float16)

    weights = {"model.embed_tokens.weight": dense(VOCABULARY, d) * 8, "model.norm.weight": np.full(d, 0.3, np.float16)}
    for i in range(shape.layers):
        p = f"model.layers.{i}."
        weights |= {
            p + "self_attn.q_proj.weight": dense(heads, d) * 2,
            p + "self_attn.k_proj.weight": dense(shape.head_dim, d),
            p + "self_attn.v_proj.weight": dense(shape.head_dim, d) * 2,
            p + "self_attn.o_proj.weight": dense(d, heads) * 2,
            p + "mlp.gate_proj.weight": dense(shape.ffn, d),
            p + "mlp.up_proj.weight": dense(shape.ffn, d) * 2,
            p + "mlp.down_proj.weight": dense(d, shape.ffn) * 2,
            p + "input_layernorm.weight": np.ones(d, np.float16),
            p + "post_attention_layernorm.weight": np.ones(d, np.float16),
        }
    return weights
