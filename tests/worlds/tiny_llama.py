"""A tiny Llama with random weights and a tokenizer of single characters, as a folder that any engine opens."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

CHARACTERS: Final = "0123456789+-*/=.: abcdefghijklmnopqrstuvwxyz\n?"
UNKNOWN: Final = "?"  # what stands for every other character
END: Final = "</s>"
VOCABULARY: Final = (END, *CHARACTERS)
CHAT: Final = (
    "{% for m in messages %}{{ m['role'][0] }}:{{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}a:{% endif %}"
)


def make_llama(
    folder: Path,
    *,
    width: int = 96,
    layers: int = 3,
    heads: int = 3,
    seed: int = 0,
    context: int = 256,
    chat: bool = False,
) -> Path:
    """Write a model into a folder; its head size is `width / heads`, and vLLM knows 32, 64, 80 and 96.

    Draws at temperature 1 end by themselves after some tens of tokens.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=1,
        max_position_embeddings=context,
        bos_token_id=None,
        eos_token_id=VOCABULARY.index(END),
        pad_token_id=VOCABULARY.index(END),
        tie_word_embeddings=False,
        initializer_range=0.2,
    )
    LlamaForCausalLM(config).eval().save_pretrained(folder)
    tokenizer(chat).save_pretrained(folder)
    return folder


def make_scorer(folder: Path, drawing: Path) -> Path:
    """Write an outcome reward model of the same shape as a model that draws, with a head of one number."""
    import torch
    from transformers import LlamaConfig, LlamaForSequenceClassification

    torch.manual_seed(1)
    config = LlamaConfig.from_pretrained(drawing, num_labels=1)
    LlamaForSequenceClassification(config).eval().save_pretrained(folder)
    tokenizer(chat=True).save_pretrained(folder)
    return folder


def tokenizer(chat: bool = False) -> Any:
    """One token for each character."""
    from tokenizers import Regex, Tokenizer
    from tokenizers.decoders import Fuse
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Split
    from transformers import PreTrainedTokenizerFast

    plain = Tokenizer(WordLevel({token: i for i, token in enumerate(VOCABULARY)}, unk_token=UNKNOWN))
    plain.pre_tokenizer = Split(Regex(r"[\s\S]"), "isolated")
    plain.decoder = Fuse()
    made = PreTrainedTokenizerFast(tokenizer_object=plain, eos_token=END, pad_token=END)
    if chat:
        made.chat_template = CHAT
    return made
