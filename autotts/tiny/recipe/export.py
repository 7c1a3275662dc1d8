"""A trained model as a folder in the layout of Hugging Face: fp16 weights, configuration, tokenizer."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from autotts.tiny.codec import END, PAD, SYMBOLS, VOCABULARY
from autotts.tiny.recipe.model import (
    HEAD_DIM,
    LAYERS,
    MAX_POSITIONS,
    NORM_EPS,
    ROPE_THETA,
    Llama,
    Shape,
    hugging_face_tensors,
)
from autotts.tiny.recipe.prm import Calibrated

TRAINING_SECONDS = "training_seconds"
UNUSED = tuple(f"<unused{i}>" for i in range(len(SYMBOLS), VOCABULARY))


def export(model: Llama, folder: Path, seconds: float) -> None:
    """Write everything but the model card; `transformers` and vLLM load the folder as it is.

    The wall seconds of its training go into the metadata of the weights, for the card.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: t.to(torch.float16).contiguous() for name, t in hugging_face_tensors(model).items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt", TRAINING_SECONDS: f"{seconds:.0f}"})
    _write(folder / "config.json", configuration(model.shape))
    _write(folder / "generation_config.json", generation())
    _write(folder / "tokenizer.json", tokenizer())
    _write(folder / "tokenizer_config.json", tokenizer_configuration())


def training_seconds(folder: Path) -> float:
    """Wall seconds that a model in a folder was trained for."""
    with safe_open(folder / "model.safetensors", "pt") as file:
        return float(file.metadata()[TRAINING_SECONDS])


def export_prm(reward: Calibrated, folder: Path, seconds: float) -> None:
    """Write a reward model: the causal model, and the two numbers of its calibration in `prm.json`."""
    export(reward.model, folder, seconds)
    a, b = reward.calibration.tolist()
    _write(folder / "prm.json", {"a": round(a, 6), "b": round(b, 6)})


def configuration(shape: Shape) -> dict[str, Any]:
    """The `LlamaConfig` of a shape."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": None,
        "eos_token_id": END,
        "head_dim": HEAD_DIM,
        "hidden_act": "silu",
        "hidden_size": shape.width,
        "initializer_range": 0.02,
        "intermediate_size": shape.feed_forward,
        "max_position_embeddings": MAX_POSITIONS,
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": shape.heads,
        "num_hidden_layers": LAYERS,
        "num_key_value_heads": 1,
        "pad_token_id": PAD,
        "rms_norm_eps": NORM_EPS,
        "rope_theta": ROPE_THETA,
        "tie_word_embeddings": True,
        "torch_dtype": "float16",
        "vocab_size": VOCABULARY,
    }


def generation() -> dict[str, Any]:
    """Generation ends with `<end>`; ids that stand for nothing are never written."""
    nothing = [PAD, *range(len(SYMBOLS), VOCABULARY)]
    return {"eos_token_id": END, "pad_token_id": PAD, "suppress_tokens": nothing}


def tokenizer() -> dict[str, Any]:
    """One token for each symbol; a text with any other character is an error, as there is no unknown token."""
    special = {
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": True,
    }
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": i, "content": SYMBOLS[i], **special} for i in (PAD, END)],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Split",
            "pattern": {"Regex": r"solve: |answer: |[\s\S]"},
            "behavior": "Isolated",
            "invert": False,
        },
        "post_processor": None,
        "decoder": {"type": "Fuse"},
        "model": {
            "type": "WordLevel",
            "vocab": {symbol: i for i, symbol in enumerate((*SYMBOLS, *UNUSED))},
            "unk_token": "<none>",
        },
    }


def tokenizer_configuration() -> dict[str, Any]:
    """What `AutoTokenizer` needs beside the tokenizer itself."""
    return {
        "clean_up_tokenization_spaces": False,
        "eos_token": SYMBOLS[END],
        "model_max_length": MAX_POSITIONS,
        "pad_token": SYMBOLS[PAD],
        "tokenizer_class": "PreTrainedTokenizerFast",
    }


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
