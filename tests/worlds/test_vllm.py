"""vLLM on a CPU with a tiny model: the contract through its server, and in a process of its own interpreter.

Skipped unless `AUTOTTS_VLLM_PYTHON` names an interpreter for which `from vllm import LLM` works.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator

import pytest

from autotts.core.cost import ModelCard
from autotts.worlds.models.entry import Entry, Server, Template
from autotts.worlds.openai import open_openai
from tests.worlds.contract import Case, every_check, run_check
from tests.worlds.vllm_process import ROOT, environment, figure, interpreter, vllm_server

pytestmark = [pytest.mark.vllm, pytest.mark.slow]
PROMPT = "12+34*5="


@pytest.fixture(scope="module")
def python() -> str:
    return interpreter()


@pytest.fixture(scope="module")
def url(python: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with vllm_server(python, tmp_path_factory.mktemp("vllm")) as found:
        yield found


@pytest.fixture(scope="module")
def case(url: str) -> Iterator[Case]:
    entry = Entry(
        "T",
        "openai",
        "tiny",
        ModelCard("T", "1", parameters=100_000),
        (Server(url),),
        template=Template(form="text", user="{prompt}", step="\n", probe="\n=", stop=("++",)),
        max_tokens=120,
        context=256,
    )
    with open_openai({"T": entry}, read=lambda text: text[-4:] or None, unit="tokens") as world:
        yield Case(
            world,
            "T",
            PROMPT,
            step="\n",
            says=lambda state: state.get("text", ""),
            made=lambda: figure(url, "generation_tokens_total"),
            slack=0.25,
        )


@every_check()
def test_models_behind_a_server_of_vllm(check: Callable[[Case], None], case: Case) -> None:
    run_check(check, case)


def test_vllm_in_a_process(python: str) -> None:
    """By its own interpreter, since it pins what others need in other versions."""
    argv = [
        python,
        "-m",
        "pytest",
        "tests/worlds/inside_vllm.py",
        "-q",
        "-p",
        "no:cacheprovider",
        "-W",
        "ignore",
        "-rs",
    ]
    done = subprocess.run(argv, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-3000:]
