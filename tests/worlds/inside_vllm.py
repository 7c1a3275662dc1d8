"""The contract on vLLM in this process; `test_vllm` runs this file by the interpreter that has vLLM."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autotts.core.cost import ModelCard
from autotts.core.plan import Draw
from autotts.errors import BackendError, InputError
from autotts.worlds.models.entry import Entry, Template
from autotts.worlds.vllm import open_vllm
from tests.worlds.contract import Case, every_check, run_check
from tests.worlds.tiny_llama import make_llama

PROMPT = "12+34*5="
ENTRY = Entry(
    "T",
    "vllm",
    "",
    ModelCard("T", "1", parameters=100_000),
    revision="1",
    template=Template(form="text", user="{prompt}", step="\n", probe="\n=", stop=("++",)),
    max_tokens=120,
    context=256,
    extra={
        "dtype": "float32",
        "enforce_eager": True,
        "max_num_seqs": 64,
        "block_size": 32,
        "kv_cache_memory_bytes": 64 << 20,
        "disable_log_stats": False,
        "logprobs": True,
    },
)


def generated() -> int:
    """vLLM's own count."""
    from prometheus_client import REGISTRY

    return int(
        sum(
            sample.value
            for metric in REGISTRY.collect()
            for sample in metric.samples
            if sample.name == "vllm:generation_tokens_total"
        )
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def case(folder: Path) -> Iterator[Case]:
    with open_vllm(
        {"T": replace(ENTRY, served=str(folder))}, read=lambda text: text[-4:] or None, unit="tokens"
    ) as world:
        yield Case(world, "T", PROMPT, step="\n", says=lambda state: state.get("text", ""), made=generated, slack=0.25)


@every_check()
def test_the_contract(check: Callable[[Case], None], case: Case) -> None:
    run_check(check, case)


def test_greedy_draws_are_those_of_transformers(folder: Path, case: Case) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    (reply,) = case.answers(*case.draws(1, temperature=0.0, stop=24))
    words = AutoTokenizer.from_pretrained(folder)
    ids = torch.tensor([words(PROMPT)["input_ids"]])
    out = AutoModelForCausalLM.from_pretrained(folder).generate(ids, do_sample=False, max_new_tokens=24)
    assert reply.state["text"] == words.decode(out[0, ids.shape[1] :], skip_special_tokens=True).partition("++")[0]


def test_a_shared_prompt_is_read_from_the_cache(case: Case) -> None:
    root, state = case.world.root("1+" * 40)
    first, second = (case.answers(case.order(Draw(root, case.spec()), state, key=key))[0] for key in (1, 2))
    assert first.usage.prompt + first.usage.cached == second.usage.prompt + second.usage.cached == 80
    assert second.usage.cached == 64  # two whole blocks


def test_cancelling_saves_what_was_not_made(case: Case) -> None:
    before = generated()

    async def run() -> list[Any]:
        orders = case.draws(32, first=500, temperature=1.0)
        tasks = [asyncio.create_task(order.send(case.world)) for order in orders]
        while not all(order.meter.generated >= 3 or task.done() for order, task in zip(orders, tasks, strict=True)):
            await asyncio.sleep(0.001)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return orders

    orders = case.run(run)
    case.answers(*case.draws(1, first=600, stop=2, temperature=0.0))  # the engine has heard of it
    counted, made = sum(order.meter.generated for order in orders), generated() - before - 2
    ahead = sum(order.meter.ahead for order in orders)
    print(f"cancelled: {counted} counted, {made} made, {ahead} may have been ahead")
    assert counted <= made <= counted + ahead


def test_what_cannot_be_opened_is_said(folder: Path, tmp_path: Path) -> None:
    wrong = replace(ENTRY, served=str(folder), extra={"color": "red"})
    with pytest.raises(InputError, match="found color"), open_vllm({"T": wrong}, read=str):
        pass
    absent = replace(ENTRY, served=str(tmp_path / "none"))
    with pytest.raises((InputError, BackendError), match="'T'"), open_vllm({"T": absent}, read=str):
        pass
