"""Models of transformers in this process: the contract, and what batching and sampling promise."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autotts.core.cost import ModelCard
from autotts.core.plan import Draw
from autotts.errors import BackendError, InputError
from autotts.worlds.models.entry import Entry, Scoring, Template, Thinking
from tests.worlds.contract import Case, every_check, run_check

pytestmark = pytest.mark.slow
torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

from autotts.worlds.decoding import Batch, Row, sample, uniform  # noqa: E402
from autotts.worlds.local import Asked  # noqa: E402
from autotts.worlds.transformers import open_transformers  # noqa: E402
from tests.worlds.tiny_llama import VOCABULARY, make_llama, make_scorer, tokenizer  # noqa: E402

PROMPT = "12+34*5="
ENTRY = Entry(
    "T",
    "transformers",
    "",
    ModelCard("T", "1", parameters=100_000),
    revision="1",
    template=Template(form="text", user="{prompt}", step="\n", probe="\n=", stop=("++",)),
    max_tokens=120,
    extra={"device": "cpu"},
)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("llama"), chat=True)


@pytest.fixture(scope="module")
def case(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    marks = make_scorer(tmp_path_factory.mktemp("scorer"), folder)
    scorer = Entry("orm", "transformers", str(marks), ModelCard("orm", "1"), scoring=Scoring("outcome", "classify"))
    entries = {"T": replace(ENTRY, served=str(folder)), "orm": scorer}
    with open_transformers(entries, read=lambda text: text[-4:] or None, unit="tokens") as world:
        line = world._lines["T"]
        yield Case(
            world,
            "T",
            PROMPT,
            scorer="orm",
            step="\n",
            says=lambda state: state.get("text", ""),
            made=lambda: line.written,
            slack=0.25,
        )


def opened(folder: Path, **changes: Any) -> Any:
    entry = replace(ENTRY, served=str(folder), **changes)
    return open_transformers({"T": entry}, read=lambda text: text[-4:] or None, unit="tokens")


@every_check()
def test_the_contract(check: Callable[[Case], None], case: Case) -> None:
    run_check(check, case)


def model_of(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder).requires_grad_(False)


def test_greedy_draws_are_those_of_the_library(folder: Path, case: Case) -> None:
    """Also of prompts of different lengths, beside each other."""
    model, words = model_of(folder), tokenizer()
    prompts = [PROMPT[:n] for n in range(1, len(PROMPT) + 1)]
    orders = []
    for key, prompt in enumerate(prompts):
        root, state = case.world.root(prompt)
        orders.append(case.order(Draw(root, case.spec(temperature=0.0, stop=30)), state, key=key))
    for prompt, reply in zip(prompts, case.answers(*orders), strict=True):
        ids = torch.tensor([words(prompt)["input_ids"]])
        out = model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=30, pad_token_id=0
        )[0, ids.shape[1] :]
        text = words.decode(out, skip_special_tokens=True).partition("++")[0]
        assert reply.state["text"] == text


def test_a_draw_does_not_depend_on_who_shares_its_batch(case: Case) -> None:
    crowd = case.answers(*case.draws(40))
    alone = [case.answers(order)[0] for order in case.draws(6)]
    same = sum(a.value.digest == b.value.digest for a, b in zip(crowd, alone, strict=False))
    assert same >= 5  # sums of floats differ in the last bit
    assert crowd[0].value.signals["mean_logprob"] == pytest.approx(alone[0].value.signals["mean_logprob"], abs=1e-4)


def test_the_mean_log_probability_is_the_models(folder: Path, case: Case) -> None:
    reply = next(reply for reply in case.answers(*case.draws(8, stop=9)) if not reply.value.done)
    asked, made = tokenizer()(PROMPT)["input_ids"], reply.state["ids"]
    assert made[: len(asked)] == asked
    with torch.inference_mode():
        logprobs = model_of(folder)(torch.tensor([made])).logits[0].log_softmax(-1)
    new = [float(logprobs[i - 1, made[i]]) for i in range(len(asked), len(made))]
    assert reply.value.signals["mean_logprob"] == pytest.approx(math.fsum(new) / len(new), abs=1e-4)


@pytest.mark.parametrize(("temperature", "top_p"), [(1.0, 1.0), (0.7, 1.0), (1.3, 0.6)])
def test_tokens_are_drawn_with_their_chances(temperature: float, top_p: float) -> None:
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0, 1.5])
    chances = (logits / temperature).softmax(-1)
    ordered = sorted(range(5), key=lambda i: -chances[i])
    kept, total = [], 0.0
    for i in ordered:
        if total < top_p:
            kept.append(i)
        total += float(chances[i])
    expected = {i: float(chances[i]) / sum(float(chances[k]) for k in kept) for i in kept}
    count = 20_000
    ids, logprobs = sample(
        logits.repeat(count, 1), [temperature] * count, [top_p] * count, uniform(range(count), [3] * count)
    )
    found = Counter(ids.tolist())
    assert set(found) == set(kept)
    for i, chance in expected.items():
        assert abs(found[i] / count - chance) < 5 * math.sqrt(chance * (1 - chance) / count)
    assert torch.allclose(logprobs, logits.log_softmax(-1)[ids], atol=1e-6)  # at temperature 1


def test_rows_have_their_own_settings() -> None:
    logits = torch.tensor([[0.0, 5.0, 1.0]] * 3)
    ids, _ = sample(logits, [0.0, 1.0, 100.0], [1.0, 0.5, 1.0], uniform([1, 2, 3], [0, 0, 0]) * 0)
    assert ids.tolist() == [1, 1, 0]


def test_random_numbers_are_spread_and_differ_by_seed_and_place() -> None:
    numbers = uniform([*range(1000), *[7] * 1000], [*[0] * 1000, *range(1000)])
    assert len(set(numbers.tolist())) > 1990  # (7, 0) stands twice
    assert numbers.min() >= 0 and numbers.max() < 1
    assert abs(float(numbers.mean()) - 0.5) < 0.03


@torch.inference_mode()
def test_rows_join_and_leave_without_changing_the_others(folder: Path) -> None:
    """Against each row alone: rows of many lengths that come at many moments, some cancelled."""
    model = model_of(folder)

    def asked(i: int) -> Asked:
        return Asked(tuple(4 + (i * k) % 20 for k in range(1, 3 + i % 7)), 5 + 7 * (i % 5), i, 1.0, 1.0)

    batch = Batch(model, {VOCABULARY.index("</s>")}, str)
    rows = [Row(asked(i), None) for i in range(24)]
    waiting, cancelled = list(rows), {3, 11}
    while waiting or batch.rows:
        joining, waiting = waiting[:3], waiting[3:]
        if joining:
            batch.admit(joining)
        batch.leave([row for i, row in enumerate(rows) if i in cancelled and len(row.made) == 2 and row in batch.rows])
        if batch.rows:
            batch.step()
    same = 0
    for i, row in enumerate(rows):
        alone, single = Batch(model, {VOCABULARY.index("</s>")}, str), Row(asked(i), None)
        alone.admit([single])
        while alone.rows:
            alone.step()
        if i in cancelled and len(single.made) > 2:
            assert row.made == single.made[: len(row.made)]
        else:
            same += row.made == single.made
    assert same >= 21


def test_a_model_goes_on_from_the_text_of_another(case: Case) -> None:
    root, state = case.world.root(PROMPT)
    (own,) = case.answers(case.order(Draw(root, case.spec(stop=6, temperature=0.0)), state))
    other = {"prompt": PROMPT, "text": own.state["text"], "ids": [1, 2, 3], "by": "another", "made": 6, "whole": 0}
    (first,) = case.answers(case.order(Draw(own.value, case.spec(temperature=0.0, stop=8)), own.state))
    (second,) = case.answers(case.order(Draw(own.value, case.spec(temperature=0.0, stop=8)), other))
    assert first.state["text"] == second.state["text"]


def test_a_chat_template_is_used_where_there_is_one(folder: Path) -> None:
    template = replace(ENTRY.template, form="chat", system="be bad", user="{prompt}\n\n{instruction}")
    with opened(folder, template=template, thinking=Thinking(enabled=True)) as world:
        words = world._lines["T"].words
        assert words.decode((), words.prompt("1+1")) == "s:be bad\nu:1+1\na:"


def test_a_prompt_or_a_path_without_room_is_said(folder: Path) -> None:
    with opened(folder, context=20, max_tokens=100) as world:
        with pytest.raises(InputError, match=r"takes 24 tokens of model 'T', which has room for 20.* by 5 tokens"):
            world.root("1" * 24)
        case = Case(world, "T", PROMPT)
        (reply,) = case.answers(*case.draws(1, temperature=0.0))
        assert reply.usage.prompt + reply.usage.generated <= 20
        full = {"prompt": PROMPT, "text": "1" * 12, "ids": None, "by": "T", "made": 12, "whole": 20}
        (reply,) = case.answers(case.order(case.draws(1)[0].ask, full))
        assert reply.value.failed and reply.value.done
        assert reply.usage.generated == 0


def test_what_cannot_be_opened_is_an_input_error(folder: Path, tmp_path: Path) -> None:
    for wrong, words in (
        ({"extra": {"color": "red"}}, "found color"),
        ({"thinking": Thinking(budget=100)}, "budget of thinking"),
    ):
        with pytest.raises(InputError, match=words), opened(folder, **wrong):
            pass
    with pytest.raises(InputError, match="cannot be opened"), opened(tmp_path):
        pass


def test_a_broken_model_is_a_backend_error(folder: Path) -> None:
    with opened(folder) as world:
        case = Case(world, "T", PROMPT)
        world._lines["T"]._batch._model = None
        for _ in range(2):
            with pytest.raises(BackendError, match="'T' stopped working"):
                case.answers(*case.draws(2))


def test_leaving_the_scope_ends_what_runs(folder: Path) -> None:
    async def run() -> Any:
        with opened(folder) as world:
            case = Case(world, "T", PROMPT)
            tasks = [asyncio.create_task(order.send(world)) for order in case.draws(3)]
            await asyncio.sleep(0.02)
        return await asyncio.gather(*tasks, return_exceptions=True)

    results = asyncio.run(run())
    assert all(isinstance(one, BackendError) or one.value.done for one in results)
