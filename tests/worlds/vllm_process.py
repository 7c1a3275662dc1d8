"""A server of vLLM on a CPU with the tiny Llama, by the interpreter that `AUTOTTS_VLLM_PYTHON` names."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
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
    "--served-model-name tiny --dtype float32 --enforce-eager --max-num-seqs 64 --block-size 32 "
    "--enable-prompt-tokens-details --max-logprobs 32 --kv-cache-memory-bytes 67108864"
)


def environment() -> dict[str, str]:
    """In which vLLM is quiet, and finds these tests."""
    return {**os.environ, **QUIET, "PYTHONPATH": str(ROOT)}


def interpreter() -> str:
    """The interpreter that has vLLM; the tests that ask for it are skipped without it."""
    named = os.environ.get("AUTOTTS_VLLM_PYTHON")
    if not named:
        pytest.skip("AUTOTTS_VLLM_PYTHON names no interpreter")
    done = subprocess.run([named, "-c", "from vllm import LLM"], env=environment(), capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"{named} cannot import vLLM")
    return named


@contextmanager
def vllm_server(python: str, home: Path, *, context: int = 256, chat: bool = False) -> Iterator[str]:
    """Its address up to the version; `chat`: with a template for messages."""
    make = (
        "import sys, pathlib, tests.worlds.tiny_llama as tiny; "
        f"tiny.make_llama(pathlib.Path(sys.argv[1]), context={context}, chat={chat})"
    )
    subprocess.run([python, "-c", make, str(home / "m")], cwd=ROOT, env=environment(), check=True, capture_output=True)
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    argv = [python, "-m", "vllm.entrypoints.openai.api_server", "--model", str(home / "m"), *OPTIONS.split()]
    argv += ["--max-model-len", str(context), "--host", "127.0.0.1", "--port", str(port)]
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(argv, cwd=home, env=environment(), stdout=log, stderr=log)
        try:
            _wait(f"http://127.0.0.1:{port}/health", server, home / "log")
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.terminate()
            server.wait(60)


def figure(url: str, name: str) -> int:
    """One of the server's own counts, such as `generation_tokens_total`."""
    with urllib.request.urlopen(url.removesuffix("/v1") + "/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return int(sum(float(x) for x in re.findall(rf"^vllm:{name}\{{[^}}]*\}} (\S+)", text, re.M)))


def _wait(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 240
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.5)
    pytest.fail(f"vLLM did not start:\n{log.read_text()[-3000:]}")
