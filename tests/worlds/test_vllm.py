"""vLLM on a CPU with a tiny model: the contract through its server, and in a process of its own interpreter.

Skipped unless `AUTOTTS_VLLM_PYTHON` names an interpreter for which `from vllm import LLM` works.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from autotts.core.cost import ModelCard
from autotts.worlds.models.entry import Entry, Server, Template
from autotts.worlds.openai import open_openai
from tests.worlds.contract import Case, every_check, run_check

pytestmark = [pytest.mark.vllm, pytest.mark.slow]
ROOT = Path(__file__).parent.parent.parent
PROMPT = "12+34*5="
QUIET = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "TORCH_COMPILE_DISABLE": "1",
    "VLLM_CPU_CI_ENV": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
}
OPTIONS = (
    "--served-model-name tiny --dtype float32 --enforce-eager --max-model-len 256 --max-num-seqs 64 --block-size 32 "
    "--enable-prompt-tokens-details --max-logprobs 32 --kv-cache-memory-bytes 67108864"
)


@pytest.fixture(scope="module")
def python() -> str:
    """The interpreter that has vLLM."""
    named = os.environ.get("AUTOTTS_VLLM_PYTHON")
    if not named:
        pytest.skip("AUTOTTS_VLLM_PYTHON names no interpreter")
    done = subprocess.run([named, "-c", "from vllm import LLM"], env=_environment(), capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"{named} cannot import vLLM")
    return named


def _environment() -> dict[str, str]:
    return {**os.environ, **QUIET, "PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="module")
def url(python: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of vLLM, up to the version."""
    home = tmp_path_factory.mktemp("vllm")
    make = "import sys, pathlib, tests.worlds.tiny_llama as tiny; tiny.make_llama(pathlib.Path(sys.argv[1]))"
    subprocess.run([python, "-c", make, str(home / "m")], cwd=ROOT, env=_environment(), check=True, capture_output=True)
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    argv = [python, "-m", "vllm.entrypoints.openai.api_server", "--model", str(home / "m"), *OPTIONS.split()]
    argv += ["--host", "127.0.0.1", "--port", str(port)]
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(argv, cwd=home, env=_environment(), stdout=log, stderr=log)
        try:
            _wait(f"http://127.0.0.1:{port}/health", server, home / "log")
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.terminate()
            server.wait(60)


def _wait(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 240
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.5)
    pytest.fail(f"vLLM did not start:\n{log.read_text()[-3000:]}")


def _generated(url: str) -> int:
    """The server's own count of generated tokens."""
    with urllib.request.urlopen(url.removesuffix("/v1") + "/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return int(sum(float(x) for x in re.findall(r"^vllm:generation_tokens_total\{[^}]*\} (\S+)", text, re.M)))


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
            made=lambda: _generated(url),
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
    done = subprocess.run(argv, cwd=ROOT, env=_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-3000:]
