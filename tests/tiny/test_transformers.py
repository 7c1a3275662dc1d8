"""The committed folders are ordinary Hugging Face models: `transformers` reads them and writes the same tokens."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

import autotts.tiny  # noqa: E402
from autotts.core.task import Problem  # noqa: E402
from autotts.tasks.arithmetic import mixed  # noqa: E402
from autotts.tiny.codec import encode  # noqa: E402
from autotts.tiny.engine import Request  # noqa: E402
from autotts.tiny.recipe.draws import complete  # noqa: E402

WEIGHTS = Path(autotts.tiny.__file__).parent / "weights"
FOLDERS = sorted(path.parent for path in WEIGHTS.glob("*/config.json"))
TEXTS = ["solve: 80+5*9-63\n80+45-63\n125-63\nanswer: 62", "solve: 1-2\nanswer: -1", "0123456789+-*\n"]


def asked() -> list[Problem]:
    return mixed("search", 0, 24)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_tokenizer_gives_the_ids_of_our_codec_and_the_text_back(folder: Path) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    for text in TEXTS:
        ids = tokenizer(text)["input_ids"]
        assert tuple(ids) == encode(text)
        assert tokenizer.decode(ids) == text
    assert (tokenizer.eos_token_id, tokenizer.pad_token_id) == (1, 0)
    with pytest.raises(Exception, match="UNK"):
        tokenizer("solve: x")


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_transformers_writes_our_greedy_tokens(folder: Path) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    prompts = [encode(problem.prompt + "\n") for problem in asked()]
    ours = complete(folder, [Request(prompt, temperature=0.0) for prompt in prompts])
    for prompt, own in zip(prompts, ours, strict=True):
        theirs = model.generate(torch.tensor([prompt]), max_new_tokens=len(own.ids), do_sample=False)
        assert tuple(theirs[0, len(prompt) :].tolist()) == own.ids


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_log_probabilities_agree(folder: Path) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = encode(TEXTS[0])
    (scored,) = complete(folder, [Request(ids, max_new=0)])
    with torch.no_grad():
        # Ids that stand for nothing have no logit in our graph.
        logprobs = model(torch.tensor([ids])).logits[0, :-1, 1:18].log_softmax(-1)
    expected = [float(row[token - 1]) for row, token in zip(logprobs, ids[1:], strict=True)]
    assert scored.logprobs == pytest.approx(expected, abs=1e-4)
