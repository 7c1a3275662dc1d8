"""`autotts serve --workers 3` over sockets: one budget, one killed, a policy reloaded, a clean end."""

import asyncio
import json
import os
import signal
from pathlib import Path

import httpx
import pytest

from autotts.policy.controller import DEFAULT
from tests.serve.served import policy_data, served

pytestmark = pytest.mark.slow

BUDGET = 4.2e11  # parts; the dearest arm costs 2e12 here
BODY = {"model": "auto-best", "messages": [{"role": "user", "content": "What is 17*23?"}], "max_tokens": 200}


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def asked(client, url, count, at_once=16):
    """The blocks of so many requests; a connection that a killed worker had is None.

    One that the account has no room for just now cost nothing, and counts.
    """
    slots = asyncio.Semaphore(at_once)

    async def one(number):
        async with slots:
            try:
                found = await client.post(f"{url}/chat/completions", json={**BODY, "seed": number})
            except httpx.TransportError:
                return None
            if found.status_code == 429 and found.json()["error"]["code"] == "budget_exhausted":
                return {"cost": 0.0}
            assert found.status_code == 200, found.text
            return found.json()["autotts"]

    return [block for block in await asyncio.gather(*map(one, range(count))) if block is not None]


def told(blocks, name):
    """What the answers among them say."""
    return {block[name] for block in blocks if name in block}


async def eventually(true):
    """Wait until something holds; how long that takes is no matter of this test."""
    async with asyncio.timeout(60):
        while not await true():
            await asyncio.sleep(0.05)


def test_workers_hold_one_budget_though_one_is_killed_and_reload_their_policy(tmp_path):
    storage = f"sqlite:///{tmp_path / 'serve.db'}"
    file = tmp_path / "policy.json"

    async def story(serving):
        first = policy_data(tmp_path)
        limits = httpx.Limits(max_keepalive_connections=0)
        async with httpx.AsyncClient(timeout=60, limits=limits, trust_env=False) as client:

            async def serves():
                return len(children(serving.process.pid)) == 3 and bool(await asked(client, serving.url, 1))

            await eventually(serves)
            blocks = await asked(client, serving.url, 90)
            assert len(blocks) == 90
            workers = children(serving.process.pid)
            os.kill(workers[0], signal.SIGKILL)
            blocks += await asked(client, serving.url, 60)
            await eventually(serves)
            assert workers[0] not in children(serving.process.pid)
            blocks += await asked(client, serving.url, 60)
            spent = sum(block["cost"] for block in blocks)
            granted = BUDGET * (len(blocks) + 16)  # at most so many were lost with the one that was killed
            assert spent <= granted + DEFAULT.allowance * BUDGET
            assert spent > 0.5 * BUDGET * len(blocks)
            assert len(told(blocks, "arm")) > 1
            assert sum("arm" in block for block in blocks) > len(blocks) / 2

            digests = told(blocks, "policy")
            assert len(digests) == 1
            file.write_text("{")
            serving.process.send_signal(signal.SIGHUP)
            assert told(await asked(client, serving.url, 20), "policy") == digests
            file.write_text(json.dumps({**first, "default": 2}))
            serving.process.send_signal(signal.SIGHUP)

            async def reloaded():
                found = told(await asked(client, serving.url, 20), "policy")
                return found and not digests & found

            await eventually(reloaded)

    with served(tmp_path, "--workers", "3", "--storage", storage, "--budget", f"{BUDGET:g}flops") as serving:
        asyncio.run(story(serving))
        serving.process.terminate()
        assert serving.process.wait(30) == 0
        log = (tmp_path / "log").read_text()
        assert "ended by signal 9; another is started in 1 s" in log
        assert "Traceback" not in log
