"""Built-in cards of known open models: sizes, shapes and contexts, each from the model's own `config.json`.

Parameters are those of the stored weights, embeddings included; so of Qwen3 0.6B and 1.7B, whose files hold the output
matrix twice, as Kinetics counts them. Of gpt-oss the active ones are the published ones, without the input embedding;
of Gemma 3 those of the language model. Layers with a sliding window (gpt-oss, Gemma) are counted as if they attended
to everything, so attention is over-counted there. DeepSeek's latent attention is not of this form and has no shape.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final

from autotts.core.cost import ModelCard


@dataclass(frozen=True, slots=True)
class Known:
    """A known model: its card, the tokens that fit into it, and where that is written."""

    card: ModelCard
    context: int
    source: str


def _config(name: str) -> str:
    return f"https://huggingface.co/{name}/blob/main/config.json"


@dataclass(frozen=True, slots=True)
class _Row:
    """Models of one shape; the first name's configuration is the source."""

    names: str  # with spaces between them
    parameters: int
    shape: tuple[int, int, int, int] | None  # layers, heads, kv-heads, head size
    context: int
    active: int | None = None
    experts: tuple[int, int, int] | None = None  # in all, per token, parameters of one over all layers
    quantisation: str | None = None

    def known(self) -> Iterator[tuple[str, Known]]:
        layers, heads, kv_heads, head_dim = self.shape or (None,) * 4
        experts, per_token, each = self.experts or (None,) * 3
        names = self.names.split()
        for name in names:
            card = ModelCard(
                name,
                "",
                parameters=self.parameters,
                active_parameters=self.active,
                layers=layers,
                heads=heads,
                kv_heads=kv_heads,
                head_dim=head_dim,
                experts=experts,
                experts_per_token=per_token,
                expert_parameters=each,
                quantisation=self.quantisation,
            )
            yield name, Known(card, self.context, _config(names[0]))


def _both(*names: str) -> str:
    """Base and instruct names of a family."""
    return " ".join(f"{name} {name}-Instruct" for name in names)


_QWEN3: Final = (
    _Row("Qwen/Qwen3-0.6B", 751_632_384, (28, 16, 8, 128), 40960),
    _Row("Qwen/Qwen3-1.7B", 2_031_739_904, (28, 16, 8, 128), 40960),
    _Row("Qwen/Qwen3-4B", 4_022_468_096, (36, 32, 8, 128), 40960),
    _Row("Qwen/Qwen3-4B-Instruct-2507 Qwen/Qwen3-4B-Thinking-2507", 4_022_468_096, (36, 32, 8, 128), 262144),
    _Row("Qwen/Qwen3-8B", 8_190_735_360, (36, 32, 8, 128), 40960),
    _Row("Qwen/Qwen3-14B", 14_768_307_200, (40, 40, 8, 128), 40960),
    _Row("Qwen/Qwen3-32B", 32_762_123_264, (64, 64, 8, 128), 40960),
    *(
        _Row(names, 30_532_122_624, (48, 32, 4, 128), context, 3_353_032_704, (128, 8, 226_492_416))
        for names, context in (
            ("Qwen/Qwen3-30B-A3B", 40960),
            ("Qwen/Qwen3-30B-A3B-Instruct-2507 Qwen/Qwen3-30B-A3B-Thinking-2507", 262144),
        )
    ),
    *(
        _Row(names, 235_093_634_560, (94, 64, 4, 128), context, 22_190_763_520, (128, 8, 1_774_190_592))
        for names, context in (
            ("Qwen/Qwen3-235B-A22B", 40960),
            ("Qwen/Qwen3-235B-A22B-Instruct-2507 Qwen/Qwen3-235B-A22B-Thinking-2507", 262144),
        )
    ),
)

_QWEN25: Final = (
    _Row(_both("Qwen/Qwen2.5-0.5B"), 494_032_768, (24, 14, 2, 64), 32768),
    _Row(_both("Qwen/Qwen2.5-1.5B"), 1_543_714_304, (28, 12, 2, 128), 32768),
    _Row(_both("Qwen/Qwen2.5-3B"), 3_085_938_688, (36, 16, 2, 128), 32768),
    _Row(_both("Qwen/Qwen2.5-7B"), 7_615_616_512, (28, 28, 4, 128), 32768),
    _Row(_both("Qwen/Qwen2.5-14B"), 14_770_033_664, (48, 40, 8, 128), 32768),
    _Row(_both("Qwen/Qwen2.5-32B"), 32_763_876_352, (64, 40, 8, 128), 32768),
    _Row(_both("Qwen/Qwen2.5-72B"), 72_706_203_648, (80, 64, 8, 128), 32768),
    _Row(_both("Qwen/Qwen2.5-Math-1.5B"), 1_543_714_304, (28, 12, 2, 128), 4096),
    _Row(_both("Qwen/Qwen2.5-Math-7B"), 7_615_616_512, (28, 28, 4, 128), 4096),
    _Row(_both("Qwen/Qwen2.5-Math-72B"), 72_706_203_648, (80, 64, 8, 128), 4096),
)

_LLAMA: Final = (
    _Row(
        _both("meta-llama/Llama-3.1-8B") + " meta-llama/Meta-Llama-3.1-8B-Instruct",
        8_030_261_248,
        (32, 32, 8, 128),
        131072,
    ),
    _Row(
        _both("meta-llama/Llama-3.1-70B") + " meta-llama/Meta-Llama-3.1-70B-Instruct meta-llama/Llama-3.3-70B-Instruct",
        70_553_706_496,
        (80, 64, 8, 128),
        131072,
    ),
    _Row(_both("meta-llama/Llama-3.1-405B"), 405_853_388_800, (126, 128, 8, 128), 131072),
    _Row(_both("meta-llama/Llama-3.2-1B"), 1_235_814_400, (16, 32, 8, 64), 131072),
    _Row(_both("meta-llama/Llama-3.2-3B"), 3_212_749_824, (28, 24, 8, 128), 131072),
)

_DEEPSEEK: Final = (
    _Row("deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", 1_777_088_000, (28, 12, 2, 128), 131072),
    _Row("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", 7_615_616_512, (28, 28, 4, 128), 131072),
    _Row("deepseek-ai/DeepSeek-R1-Distill-Llama-8B", 8_030_261_248, (32, 32, 8, 128), 131072),
    _Row("deepseek-ai/DeepSeek-R1-Distill-Qwen-14B", 14_770_033_664, (48, 40, 8, 128), 131072),
    _Row("deepseek-ai/DeepSeek-R1-Distill-Qwen-32B", 32_763_876_352, (64, 40, 8, 128), 131072),
    _Row("deepseek-ai/DeepSeek-R1-Distill-Llama-70B", 70_553_706_496, (80, 64, 8, 128), 131072),
    _Row(
        "deepseek-ai/DeepSeek-V3 deepseek-ai/DeepSeek-R1",
        671_000_000_000,
        None,
        163840,
        37_000_000_000,
        (256, 8, 2_554_331_136),
        "fp8",
    ),
)

_OTHERS: Final = (
    _Row(
        "openai/gpt-oss-20b",
        20_914_757_184,
        (24, 64, 8, 64),
        131072,
        3_608_307_264,
        (32, 4, 597_404_160),
        "mxfp4",
    ),
    _Row(
        "openai/gpt-oss-120b",
        116_829_156_672,
        (36, 64, 8, 64),
        131072,
        5_132_849_472,
        (128, 4, 896_106_240),
        "mxfp4",
    ),
    _Row("mistralai/Mistral-7B-Instruct-v0.2", 7_241_732_096, (32, 32, 8, 128), 32768),
    _Row("mistralai/Mistral-7B-Instruct-v0.3 mistralai/Mistral-7B-v0.3", 7_248_023_552, (32, 32, 8, 128), 32768),
    _Row(
        "mistralai/Mistral-Small-24B-Instruct-2501 mistralai/Mistral-Small-24B-Base-2501",
        23_572_403_200,
        (40, 32, 8, 128),
        32768,
    ),
    _Row("google/gemma-2-2b google/gemma-2-2b-it", 2_614_341_888, (26, 8, 4, 256), 8192),
    _Row("google/gemma-2-9b google/gemma-2-9b-it", 9_241_705_984, (42, 16, 8, 256), 8192),
    _Row("google/gemma-2-27b google/gemma-2-27b-it", 27_227_128_320, (46, 32, 16, 128), 8192),
    _Row("google/gemma-3-1b-it google/gemma-3-1b-pt", 999_885_952, (26, 4, 1, 256), 32768),
    _Row("google/gemma-3-4b-it google/gemma-3-4b-pt", 3_880_263_168, (34, 8, 4, 256), 131072),
    _Row("google/gemma-3-12b-it google/gemma-3-12b-pt", 11_766_034_176, (48, 16, 8, 256), 131072),
    _Row("google/gemma-3-27b-it google/gemma-3-27b-pt", 27_009_346_304, (62, 32, 16, 128), 131072),
    _Row("microsoft/phi-4", 14_659_507_200, (40, 40, 10, 128), 16384),
)

_SCORERS: Final = (
    _Row("Qwen/Qwen2.5-Math-PRM-7B", 7_083_474_946, (28, 28, 4, 128), 4096),
    _Row("peiyi9979/math-shepherd-mistral-7b-prm", 7_241_732_096, (32, 32, 8, 128), 32768),
    _Row("Skywork/Skywork-o1-Open-PRM-Qwen-2.5-1.5B", 1_543_714_304, (28, 12, 2, 128), 4096),
    _Row("Skywork/Skywork-o1-Open-PRM-Qwen-2.5-7B", 7_615_616_512, (28, 28, 4, 128), 4096),
    _Row(
        "RLHFlow/Llama3.1-8B-PRM-Deepseek-Data RLHFlow/Llama3.1-8B-PRM-Mistral-Data",
        8_030_261_248,
        (32, 32, 8, 128),
        131072,
    ),
)

# What a name ends in where a model's own makers offer it in fewer bits.
_QUANTISED: Final[Mapping[str, str]] = {"-FP8": "fp8", "-AWQ": "int4", "-GPTQ-Int4": "int4", "-GPTQ-Int8": "int8"}

CARDS: Final[Mapping[str, Known]] = {
    name: known for row in (*_QWEN3, *_QWEN25, *_LLAMA, *_DEEPSEEK, *_OTHERS, *_SCORERS) for name, known in row.known()
}


@cache
def _folded() -> Mapping[str, str]:
    return {name.lower(): name for name in CARDS}


def find_card(model: str) -> Known | None:
    """The built-in card of a model by its name, in any case and with the ending of its makers' quantised weights.

    Examples
    --------
    >>> find_card("Qwen/Qwen3-8B-AWQ").card.quantisation
    'int4'
    """
    name = _folded().get(model.lower())
    if name is not None:
        return CARDS[name]
    ending = next((e for e in _QUANTISED if model.lower().endswith(e.lower())), "")
    whole = _folded().get(model.lower().removesuffix(ending.lower())) if ending else None
    if whole is None:
        return None
    known = CARDS[whole]
    changes: dict[str, Any] = {"name": whole + ending, "quantisation": _QUANTISED[ending]}
    return replace(known, card=replace(known.card, **changes))
