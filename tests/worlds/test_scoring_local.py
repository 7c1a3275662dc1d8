"""Scoring models in this process: tiny models made here give the numbers that are computed by hand."""

import asyncio
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from autotts.core.cost import ModelCard, Usage
from autotts.errors import InputError
from autotts.worlds.models.entry import Entry, Scoring
from autotts.worlds.scoring import Marked, Text, mark
from autotts.worlds.scoring.local import open_local

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

MARK, PLUS, MINUS, EXTRA, NEWLINE = range(5, 10)
WORDS = ["<unk>", "<s>", "</s>", "<|user|>", "<|assistant|>", "ки", "+", "-", "<extra_0>", "\n"]
CHARS = "abcdefghijklmnopqrstuvwxyz0123456789 :.=?SWQ"
CHAT = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `words`, `two`, `one` and `whole`: a tokenizer over characters and a model with each head."""
    top = tmp_path_factory.mktemp("models")
    vocab = {word: i for i, word in enumerate([*WORDS, *(c for c in CHARS)])}
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocab, unk_token="<unk>"))
    special = "|".join(word.replace("|", "\\|").replace("+", "\\+") for word in WORDS)
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Split(tokenizers.Regex(f"{special}|[\\s\\S]"), behavior="isolated")
    inner.decoder = tokenizers.decoders.Fuse()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )
    tokenizer.chat_template = CHAT
    made = {
        "words": (transformers.LlamaForCausalLM, 2),
        "two": (transformers.LlamaForTokenClassification, 2),
        "one": (transformers.LlamaForTokenClassification, 1),
        "whole": (transformers.LlamaForSequenceClassification, 1),
    }
    for name, (kind, labels) in made.items():
        torch.manual_seed(len(name) + labels)
        config = transformers.LlamaConfig(
            vocab_size=len(vocab),
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=128,
            num_labels=labels,
            pad_token_id=2,
            initializer_range=0.5,
        )
        kind(config).save_pretrained(top / name)
        tokenizer.save_pretrained(top / name)
    return top


def entry(folder: Path, head: str, kind: str, shape: str, reduce: str = "last", **options: Any) -> Entry:
    scoring = Scoring(kind, shape, reduce, options)
    return Entry("rm", "transformers", str(folder / head), ModelCard("rm", "1"), scoring=scoring)


def scored(one: Entry, answer: str, prompt: str = "Q?") -> Marked:
    local = open_local(one)
    return asyncio.run(mark(one, Text(prompt, answer, True, "\n\n"), local, seed=1))


def by_hand(folder: Path, head: str, kind: Any, text: str) -> tuple[list[int], Any]:
    """The ids of a text, and the model's logits for it."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / head)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        return ids, kind.from_pretrained(folder / head).eval()(torch.tensor([ids])).logits[0]


IDS = {"mark_id": MARK, "plus_id": PLUS, "minus_id": MINUS}


def test_math_shepherd_is_the_softmax_at_the_marks(folder: Path) -> None:
    top = {"top": 60, "numbered": False, **IDS}
    got = scored(entry(folder, "words", "process", "math-shepherd", "product", **top), "one\n\ntwo is 2")
    ids, logits = by_hand(folder, "words", transformers.LlamaForCausalLM, "Q? one ки\ntwo is 2 ки")
    chances = logits[:, [PLUS, MINUS]].softmax(-1)[:, 0][torch.tensor(ids) == MARK]
    assert len(chances) == 2
    assert got.value == pytest.approx(chances.prod().item(), abs=1e-5)
    assert got.usage == Usage(prompt=len(ids), generated=1, calls=1)


def test_rlhflow_is_the_softmax_before_each_plus(folder: Path) -> None:
    got = scored(entry(folder, "words", "process", "rlhflow", "mean", top=60), "one\n\ntwo")
    text = "<|user|>Q? one<|assistant|>+<|user|>two<|assistant|>+"
    ids, logits = by_hand(folder, "words", transformers.LlamaForCausalLM, text)
    before = [i - 1 for i, token in enumerate(ids) if token == PLUS]
    chances = logits[:, [PLUS, MINUS]].softmax(-1)[before, 0]
    assert got.value == pytest.approx(chances.mean().item(), abs=1e-5) and got.usage.calls == 2


def test_qwen_is_the_softmax_of_two_classes(folder: Path) -> None:
    one = entry(folder, "two", "process", "qwen-prm", "min", mark_id=EXTRA, system="")
    got = scored(one, "one\n\ntwo<extra_0>")
    text = "<|user|>Q?<|assistant|>one<extra_0>two< extra_0><extra_0>"
    ids, logits = by_hand(folder, "two", transformers.LlamaForTokenClassification, text)
    chances = logits.softmax(-1)[:, 1][torch.tensor(ids) == EXTRA]
    assert len(chances) == 2 and got.value == pytest.approx(chances.min().item(), abs=1e-5)


def test_skywork_is_the_sigmoid_of_a_value(folder: Path) -> None:
    got = scored(entry(folder, "one", "process", "skywork-prm", "product", begin="<s>"), "one\n\ntwo")
    ids, logits = by_hand(folder, "one", transformers.LlamaForTokenClassification, "<s>Q?\none\ntwo\n")
    at = [i for i, token in enumerate(ids) if token == NEWLINE][1:]
    assert got.value == pytest.approx(logits[at, 0].sigmoid().prod().item(), abs=1e-5)


@pytest.mark.parametrize("shape", ["classify", "pooling"])
def test_an_outcome_is_one_number(folder: Path, shape: str) -> None:
    got = scored(entry(folder, "whole", "outcome", shape), "one\n\ntwo")
    text = "<|user|>Q?<|assistant|>one\n\ntwo"
    ids, logits = by_hand(folder, "whole", transformers.LlamaForSequenceClassification, text)
    assert got.value == pytest.approx(logits[0].sigmoid().item(), abs=1e-5)
    assert got.usage == Usage(prompt=len(ids), calls=1)
    raw = scored(entry(folder, "whole", "outcome", shape, sigmoid=False, form="text", input="{prompt}{text}"), "one")
    value = by_hand(folder, "whole", transformers.LlamaForSequenceClassification, "Q?one")[1][0].item()
    assert raw.value == pytest.approx(value, abs=1e-5)


def test_a_judge_writes_and_may_say_nothing_of_use(folder: Path) -> None:
    one = entry(folder, "words", "judge", "score", max_tokens=4, reason=False)
    local = open_local(one)
    said = asyncio.run(local("/chat/completions", {"messages": [{"role": "user", "content": "one"}], "max_tokens": 4}))
    assert isinstance(said["choices"][0]["message"]["content"], str)
    assert 1 <= said["usage"]["completion_tokens"] <= 4 and said["usage"]["prompt_tokens"] == 5
    assert math.isnan(asyncio.run(mark(one, Text("q", "a", True, ""), local, seed=1)).value)  # and the text is too long


def test_a_text_that_is_too_long_is_no_score(folder: Path) -> None:
    got = scored(entry(folder, "whole", "outcome", "classify"), "one " * 64)
    assert math.isnan(got.value) and got.usage == Usage()


def test_many_texts_at_once_give_the_same_numbers(folder: Path) -> None:
    one = entry(folder, "whole", "outcome", "classify")
    local = open_local(one)

    async def both() -> tuple[list[float], list[float]]:
        texts = [Text("Q?", "a" * n, True, "") for n in range(1, 9)]
        alone = [(await mark(one, text, local, seed=0)).value for text in texts]
        together = await asyncio.gather(*(mark(one, text, local, seed=0) for text in texts))
        return alone, [got.value for got in together]

    alone, together = asyncio.run(both())
    assert alone == together and len(set(alone)) == 8


@pytest.mark.parametrize(
    ("head", "kind", "shape", "words"),
    [
        ("words", "outcome", "classify", "found none for score.weight: this model is of another shape"),
        ("words", "process", "qwen-prm", "found none for score"),
        ("nothing", "outcome", "classify", "expected a folder of weights, found none there"),
    ],
)
def test_weights_without_the_head_are_refused(folder: Path, head: str, kind: str, shape: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        open_local(entry(folder, head, kind, shape))


def test_a_broken_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    one = entry(folder, "whole", "outcome", "classify")
    (tmp_path / "config.json").write_text("{")
    broken = Entry(one.name, one.engine, str(tmp_path), one.card, scoring=one.scoring)
    with pytest.raises(InputError, match="expected weights with a tokenizer, found an error"):
        open_local(broken)


def test_a_path_that_only_servers_know_is_refused(folder: Path) -> None:
    local = open_local(entry(folder, "one", "process", "skywork-prm"))
    form: Mapping[str, Any] = {"input": [1]}
    with pytest.raises(InputError, match="not /embeddings"):
        asyncio.run(local("/embeddings", form))
