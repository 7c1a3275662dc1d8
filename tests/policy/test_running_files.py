"""A file of any length through a policy: in order, in flat memory, and the same file after any interruption."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from autotts.errors import BackendError, InputError
from autotts.policy import prompts as reading
from autotts.policy.prompts import open_prompts
from autotts.policy.running import AHEAD, AT_ONCE, answer_file
from tests.policy.echoing import Echo, echo_policy

POLICY = echo_policy()


def asked(folder: Path, count: int) -> Path:
    path = folder / "in.txt"
    path.write_text("".join(f"what is {n} of {n * 7 % 1000}\n" for n in range(count)))
    return path


def run(folder: Path, world: Echo | None = None, name: str = "out.jsonl", **options: Any) -> dict[str, Any]:
    return answer_file(POLICY, world or Echo(), folder / "in.txt", folder / name, **options)


def rows(folder: Path, name: str = "out.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def test_answers_stand_in_the_order_of_prompts_whatever_order_they_come_in(tmp_path: Path) -> None:
    asked(tmp_path, 500)
    chance = random.Random(1)

    async def late(_: int, __: str) -> None:
        for _ in range(chance.randint(0, 30)):
            await asyncio.sleep(0)

    world = Echo(late)
    done = run(tmp_path, world)
    assert [row["prompt"] for row in rows(tmp_path)] == (tmp_path / "in.txt").read_text().splitlines()
    assert [row["answer"] for row in rows(tmp_path)] == [str(n * 7 % 1000) for n in range(500)]
    assert done["cost"] == sum(row["cost"] for row in rows(tmp_path)) > 0
    assert 2 < world.most <= AT_ONCE


def test_a_slow_first_prompt_holds_up_a_bounded_number(tmp_path: Path) -> None:
    asked(tmp_path, AHEAD + 400)
    began_at_release: list[int] = []

    async def slow(_: int, prompt: str) -> None:
        if prompt == "what is 0 of 0":
            before = -1
            while before != world.asked:  # until no other is begun any more
                before = world.asked
                for _ in range(200):
                    await asyncio.sleep(0)
            began_at_release.append(world.asked)
            assert not (tmp_path / "out.jsonl").read_bytes()

    world = Echo(slow)
    assert run(tmp_path, world)["prompts"] == AHEAD + 400
    assert began_at_release == [AHEAD]


def test_the_summary_counts_what_has_an_answer(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("a b\nmute\nc\n")
    done = run(tmp_path)
    assert (done["prompts"], done["answered"]) == (3, 2)
    assert run(tmp_path) == done  # nothing left to do


def test_who_watches_is_told_after_each_answer(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("a b\nmute\nc\n")
    told: list[tuple[int, int]] = []
    done = run(tmp_path, watch=lambda tally: told.append((tally.prompts, tally.answered)))
    assert told == [(1, 1), (2, 1), (3, 2)] and done["prompts"] == 3


def test_a_dead_backend_keeps_what_is_written_and_says_how_to_go_on(tmp_path: Path) -> None:
    asked(tmp_path, 300)
    run(tmp_path, name="whole.jsonl")

    async def dying(number: int, _: str) -> None:
        await asyncio.sleep(0)
        if number > 150:
            raise BackendError("all servers are dead")

    with pytest.raises(BackendError, match=r"all servers are dead; the answers to the first (\d+) prompts are in"):
        run(tmp_path, Echo(dying))
    kept = rows(tmp_path)
    assert 150 - AT_ONCE <= len(kept) <= 150
    world = Echo()
    assert run(tmp_path, world)["prompts"] == 300
    assert world.asked == 300 - len(kept)
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_a_file_cut_anywhere_is_gone_on_with(tmp_path: Path) -> None:
    asked(tmp_path, 12)
    run(tmp_path)
    whole = (tmp_path / "out.jsonl").read_bytes()
    chance = random.Random(0)
    for cut in [0, 1, 11, len(whole) - 1, *(chance.randrange(len(whole)) for _ in range(30))]:
        (tmp_path / "out.jsonl").write_bytes(whole[:cut])
        world = Echo()
        run(tmp_path, world)
        assert (tmp_path / "out.jsonl").read_bytes() == whole
        assert world.asked == 12 - whole[:cut].count(b"\n")


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ("some notes of mine", "line 1: .* found a line that is no answer"),
        ("{}\n", "line 1: .* a line that is no answer"),
        ('{"prompt": "x", "answer": null, "cost": 1}\n', "line 1: .* another prompt"),
        ('{"prompt": "what is 0 of 0", "answer": null, "cost": 1}\n', "line 1: .* the answer of another policy"),
    ],
)
def test_a_file_that_is_no_earlier_run_is_left_alone(tmp_path: Path, found: str, words: str) -> None:
    asked(tmp_path, 2)
    (tmp_path / "out.jsonl").write_text(found)
    with pytest.raises(InputError, match=words):
        run(tmp_path)
    assert (tmp_path / "out.jsonl").read_text() == found


def test_more_answers_than_prompts_are_told(tmp_path: Path) -> None:
    asked(tmp_path, 3)
    run(tmp_path)
    asked(tmp_path, 2)
    with pytest.raises(InputError, match=r"line 3: .* more lines than prompts"):
        run(tmp_path)


def test_nothing_is_begun_or_cut_before_every_prompt_can_be_read(tmp_path: Path) -> None:
    asked(tmp_path, 12)
    run(tmp_path)
    cut = (tmp_path / "out.jsonl").read_bytes()[:-5]
    (tmp_path / "out.jsonl").write_bytes(cut)
    with (tmp_path / "in.txt").open("a") as file:
        file.write("an unreadable one\n")
    world = Echo()
    with pytest.raises(InputError, match="prompt 13: cannot be read"):
        run(tmp_path, world)
    assert (tmp_path / "out.jsonl").read_bytes() == cut and world.asked == 0


def test_the_input_is_not_written_over(tmp_path: Path) -> None:
    asked(tmp_path, 1)
    with pytest.raises(InputError, match="expected another file than --input"):
        run(tmp_path, name="in.txt")


def test_a_session_is_entered_once_and_left_also_after_an_error(tmp_path: Path) -> None:
    asked(tmp_path, 100)
    world = Echo()
    run(tmp_path, world)
    assert world.sessions == ["entered", "left"]

    async def dead(_: int, __: str) -> None:
        raise BackendError("dead")

    world = Echo(dead)
    with pytest.raises(BackendError, match="the first 0 prompts"):
        run(tmp_path, world, name="other.jsonl")
    assert world.sessions == ["entered", "left"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "found an empty file"),
        (b"\n  \n", "found an empty file"),
        (b'{"prompt": "a"}\n{"prompt": 3}\n', "line 2: expected a JSON object with a text `prompt`"),
        (b'{"prompt": "a"}\n\n' + b"[" * 100_000, "line 3: expected a JSON object"),
        (b'{"prompt": "\\ud800"}\n', "line 1: prompt: .* half a character"),
        (b'{"prompt": "a"}\n{"prompt": "\xff"}', r"a bad byte at 28 \(line 2\)"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, text: bytes, words: str) -> None:
    (tmp_path / "in.jsonl").write_bytes(text)
    with open_prompts(tmp_path / "in.jsonl") as prompts, pytest.raises(InputError, match=words):
        list(prompts)


def test_lines_end_at_line_feeds_only(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes('\ufeff{"prompt": "a\u2028b"}\r\n\r\n{"prompt": " c "}'.encode())
    with open_prompts(tmp_path / "in.jsonl") as prompts:
        assert list(prompts) == list(prompts) == ["a\u2028b", " c "]


def test_an_endless_line_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    with (tmp_path / "in.txt").open("wb") as file:
        file.truncate(reading.LONGEST * 4)  # zeros, without a line feed
    with open_prompts(tmp_path / "in.txt") as prompts, pytest.raises(InputError, match="line 1: expected lines of at"):
        list(prompts)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"), open_prompts(tmp_path / "none.txt"):
        pass


def test_prompts_come_through_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "in.txt")
    writer = threading.Thread(target=(tmp_path / "in.txt").write_text, args=("a b\nc d\n",))
    writer.start()
    assert run(tmp_path)["prompts"] == 2
    writer.join()
    assert [row["answer"] for row in rows(tmp_path)] == ["b", "d"]


# ---------------------------------------------------------------- at scale


def started(folder: Path, name: str, count: int) -> subprocess.Popen[str]:
    source = folder / f"in{count}.txt"
    if not source.exists():
        source.write_text("".join(f"what is {n} of {n * 7 % 1000}\n" for n in range(count)))
    return subprocess.Popen(
        [sys.executable, "-m", "tests.policy.echoing", str(source), str(folder / name)],
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_a_hundred_thousand_prompts_take_the_memory_of_ten_thousand(tmp_path: Path) -> None:
    told, _ = started(tmp_path, "out.jsonl", 100_000).communicate()
    done = json.loads(told)
    early, end = done["peaks"]
    assert done["prompts"] == done["answered"] == 100_000
    assert end < early + 8_000  # kB; to hold all prompts and answers takes over 100 MB
    with (tmp_path / "in100000.txt").open() as source, (tmp_path / "out.jsonl").open() as target:
        for prompt, line in zip(source, target, strict=True):
            assert json.loads(line)["prompt"] == prompt.strip()


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_ends_with_the_same_file(tmp_path: Path) -> None:
    count = 3000
    told, _ = started(tmp_path, "whole.jsonl", count).communicate()
    chance = random.Random(4)
    target = tmp_path / "out.jsonl"
    kills = 0
    for _ in range(3):
        running = started(tmp_path, "out.jsonl", count)
        begun = target.stat().st_size if target.exists() else 0
        more = chance.randint(1, 150_000)  # bytes to be written before it is killed
        while running.poll() is None and (target.stat().st_size if target.exists() else 0) < begun + more:
            time.sleep(0.001)
        kills += running.poll() is None
        running.kill()
        running.communicate()
    again, _ = started(tmp_path, "out.jsonl", count).communicate()
    assert kills >= 2
    assert target.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert {**json.loads(again), "output": "", "peaks": []} == {**json.loads(told), "output": "", "peaks": []}
