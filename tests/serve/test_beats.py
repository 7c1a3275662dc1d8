"""What goes on beside the requests goes on though it fails, and says so once."""

from __future__ import annotations

import asyncio
import logging

import pytest

from autotts.serve.beats import beating


def test_a_beat_that_fails_is_told_once_and_others_follow(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("autotts.serve"), "propagate", True)
    caplog.set_level(logging.ERROR, logger="autotts.serve")
    beats = 0

    async def beat() -> None:
        nonlocal beats
        beats += 1
        if beats in (1, 2, 4):
            raise RuntimeError("a mistake")

    async def life() -> None:
        async with beating(beat, 0.001):
            while beats < 5:
                await asyncio.sleep(0)

    asyncio.run(life())
    assert [record.exc_info is not None for record in caplog.records] == [True, True]
