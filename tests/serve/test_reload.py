"""A watched policy file: a good one is taken once it is whole, a bad one is told once and changes nothing."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from autotts.errors import BudgetError
from autotts.policy.controller import Controller
from autotts.policy.schema import Policy
from autotts.serve.reload import Watch, refusal
from tests.policy.policies import policy_data


def policy(**changes):
    return Policy.loads(json.dumps({**policy_data(), **changes}))


OLD = policy()
NEW = policy(default=2)


class Story:
    """A watch of a file, with what it took and said."""

    def __init__(self, path, **options):
        self.path = path
        self.took, self.said = [], []
        OLD.save(path)
        self.watch = Watch(path, OLD, self.take, self.said.append, **options)

    async def take(self, policy):
        self.took.append(policy)

    async def looks(self, count=2):
        for _ in range(count):
            await self.watch.look()

    @property
    def counts(self):
        return self.watch.taken, self.watch.refused


def run(story):
    asyncio.run(story())


def test_nothing_is_read_or_said_while_nothing_changes(tmp_path):
    read = []

    def load(path):
        read.append(path)
        return Policy.load(path)

    async def told():
        story = Story(tmp_path / "p.json", load=load)
        await story.looks(10)
        assert len(read) == 1  # it may have changed since the server has read it
        os.utime(story.path)
        await story.looks(3)
        story.path.write_text(story.path.read_text())
        await story.looks(3)
        assert len(read) == 1
        assert (story.took, story.said) == ([], [])

    run(told)


def test_what_changed_between_reading_and_watching_is_found(tmp_path):
    async def told():
        story = Story(tmp_path / "p.json")
        NEW.save(story.path)
        await story.looks()
        assert story.took == [NEW]

    run(told)


def test_a_new_policy_is_taken_once_it_rests(tmp_path):
    async def told():
        story = Story(tmp_path / "p.json")
        await story.looks()
        NEW.save(story.path)  # as editors do: another file takes its place
        await story.looks(1)
        assert story.took == []
        await story.looks(1)
        assert story.took == [NEW]
        await story.looks(5)
        assert story.took == [NEW]
        assert story.said == [f"{story.path}: taken, policy {NEW.digest}"]
        OLD.save(story.path)
        await story.looks()
        assert story.took == [NEW, OLD]
        assert story.counts == (2, 0)

    run(told)


def test_half_a_file_that_is_still_being_written_is_not_judged(tmp_path):
    async def told():
        story = Story(tmp_path / "p.json")
        await story.looks()
        text = NEW.dumps()
        for end in range(0, len(text), len(text) // 7):
            story.path.write_text(text[:end])
            await story.looks(1)
        story.path.write_text(text)
        await story.looks()
        assert (story.took, story.counts) == ([NEW], (1, 0))

    run(told)


def test_a_file_that_changes_while_it_is_read_is_read_again(tmp_path):
    path = tmp_path / "p.json"
    later = [NEW.dumps()]

    def load(where):
        found = Policy.load(where)
        if later and found == policy(default=0):
            path.write_text(later.pop())
        return found

    async def told():
        story = Story(path, load=load)
        await story.looks()
        policy(default=0).save(path)
        await story.looks(2)
        assert story.took == []
        await story.looks(2)
        assert story.took == [NEW]

    run(told)


@pytest.mark.parametrize(
    "spoil, words",
    [
        (lambda path: path.write_text(NEW.dumps()[:-40]), "is the file cut off"),
        (lambda path: path.write_text(""), "expected a policy in JSON"),
        (lambda path: path.write_bytes(b"\xff\xfe"), "expected text in UTF-8"),
        (lambda path: path.write_text("[" * 100_000), "nested too deeply"),
        (lambda path: path.unlink(), "no such file"),
        (lambda path: (path.unlink(), path.mkdir()), "found a folder"),
        (lambda path: path.write_text(json.dumps({**policy_data(), "default": 9})), "default"),
        (lambda path: path.write_text(json.dumps({**policy_data(), "format": "autotts.policy/2"})), "newer autotts"),
    ],
)
def test_a_bad_file_is_told_once_and_changes_nothing(tmp_path, spoil, words):
    async def told():
        story = Story(tmp_path / "p.json")
        await story.looks()
        spoil(story.path)
        await story.looks(6)
        assert (story.took, story.counts, len(story.said)) == ([], (0, 1), 1)
        assert words in story.said[0]
        assert story.said[0].endswith("; the policy of before is served on")
        assert words in story.watch.problem
        if story.path.is_dir():
            story.path.rmdir()
        NEW.save(story.path)
        await story.looks()
        assert (story.took, story.watch.problem) == ([NEW], "")

    run(told)


def test_a_file_that_is_away_for_a_moment_is_no_fault(tmp_path):
    async def told():
        story = Story(tmp_path / "p.json")
        await story.looks()
        text = story.path.read_text()
        story.path.unlink()
        await story.looks(1)
        story.path.write_text(text)
        await story.looks(3)
        assert story.said == []

    run(told)


def test_an_old_file_that_comes_back_ends_the_problem(tmp_path):
    async def told():
        story = Story(tmp_path / "p.json")
        story.path.write_text("{")
        await story.looks()
        assert story.watch.problem
        OLD.save(story.path)
        await story.looks()
        assert story.watch.problem == ""
        assert (story.took, len(story.said)) == ([], 1)

    run(told)


def test_whatever_goes_wrong_the_watch_goes_on(tmp_path):
    def load(path):
        raise RecursionError("too deep")

    async def told():
        story = Story(tmp_path / "p.json", load=load)
        await story.looks(4)
        assert story.said == [f"{story.path}: RecursionError: too deep; the policy of before is served on"]

    run(told)


def test_a_budget_that_the_new_policy_cannot_meet_refuses_it(tmp_path):
    control = Controller(OLD, 1.5e6)

    async def take(policy):
        control.adopt(policy, 1.5e6)

    async def told():
        story = Story(tmp_path / "p.json")
        watch = Watch(story.path, OLD, take, story.said.append)
        data = policy_data()
        data["frontier"], data["default"] = data["frontier"][1:], 0
        Policy.loads(json.dumps(data)).save(story.path)
        for _ in range(2):
            await watch.look()
        assert "below the cheapest arm" in watch.problem
        assert (watch.taken, watch.refused) == (0, 1)
        control.ask("1+1=")
        with pytest.raises(BudgetError):
            control.adopt(Policy.load(story.path), 1.5e6)

    run(told)


# ---------------------------------------------------------------- asked to look, and what may change


def test_on_request_it_looks_at_once_and_says_how_it_went(tmp_path):
    async def told():
        story = Story(tmp_path / "p.json")
        async with story.watch.watching(every=3600.0):

            async def said(count):
                async with asyncio.timeout(20):
                    while len(story.said) < count:
                        await asyncio.sleep(0.001)

            story.watch.again()
            await said(1)
            assert story.said == [f"{story.path}: unchanged, policy {OLD.digest}"]
            NEW.save(story.path)
            os.kill(os.getpid(), signal.SIGHUP)
            await said(2)
            assert story.took == [NEW]
            story.path.write_text("{")
            for count in (3, 4):  # asked twice, it is said twice
                story.watch.again()
                await said(count)
            assert story.counts == (1, 2)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN

    before = signal.getsignal(signal.SIGHUP)
    try:
        run(told)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_watch_that_looks_by_itself(tmp_path):
    async def told():
        story = Story(tmp_path / "p.json")
        async with story.watch.watching(every=0.001):
            NEW.save(story.path)
            async with asyncio.timeout(20):
                while not story.took:
                    await asyncio.sleep(0.001)

    before = signal.getsignal(signal.SIGHUP)
    try:
        run(told)
    finally:
        signal.signal(signal.SIGHUP, before)


def changed(*path, to):
    data = policy_data()
    place = data
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to
    return Policy.loads(json.dumps(data))


@pytest.mark.parametrize(
    "path, to, words",
    [
        (("unit",), "usd", "unit: expected 'flops', as it is served, found 'usd'"),
        (("task", "reader"), "choice", "task.reader: expected 'math'"),
        (("task", "instruction"), "Think.", "task.instruction: expected ''"),
        (("models", "S", "binding", "id"), "S@2", "models.S.binding: expected it as it was opened"),
        (("models", "M", "card"), {"parameters": 1}, "models.M.card: expected"),
        (("scorers", "prm", "binding", "id"), "prm@2", "scorers.prm.binding: expected"),
        (("models", "L"), {"binding": {"id": "L@1"}}, "models.L: expected one of those that are open (S, M)"),
    ],
)
def test_what_the_open_models_depend_on_may_not_change(path, to, words):
    assert words in refusal(OLD, changed(*path, to=to))


def test_arms_routes_and_budgets_may_change_and_models_may_be_left_out():
    data = policy_data()
    del data["models"]["M"], data["scorers"]["prm"], data["arms"]["dear"]
    data["frontier"], data["default"] = data["frontier"][:1], 0
    data["controller"] = {"allowance": 3.0}
    data["cap"] = 1e9
    fewer = Policy.loads(json.dumps(data))
    assert refusal(OLD, fewer) == ""
    assert "models.M" in refusal(fewer, OLD)


PROGRAM = """
import asyncio, sys
from pathlib import Path
from autotts.policy.schema import Policy
from autotts.serve.reload import Watch

async def main(path):
    async def take(policy):
        print("took", policy.default, flush=True)
    watch = Watch(path, Policy.load(path), take, lambda words: print("said", words, flush=True))
    async with watch.watching(3600.0):
        print("up", flush=True)
        await asyncio.Event().wait()

asyncio.run(main(Path(sys.argv[1])))
"""


@pytest.mark.slow
def test_a_real_process_reloads_on_sighup(tmp_path):
    path = tmp_path / "p.json"
    OLD.save(path)
    command = [sys.executable, "-c", PROGRAM, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path.cwd()) as process:
        try:
            assert process.stdout.readline() == "up\n"
            NEW.save(path)
            process.send_signal(signal.SIGHUP)
            assert process.stdout.readline() == "took 2\n"
            assert process.stdout.readline().startswith("said")
            path.write_text("{")
            process.send_signal(signal.SIGHUP)
            assert "the policy of before is served on" in process.stdout.readline()
        finally:
            process.kill()


def test_a_mistake_in_taking_a_policy_is_told_and_the_next_one_is_taken(tmp_path):
    async def told():
        story = Story(tmp_path / "p.json")
        take, story.watch._take = story.watch._take, lambda policy: 1 / 0
        NEW.save(story.path)
        await story.looks(3)
        assert story.counts == (0, 1)
        assert "ZeroDivisionError" in story.said[-1]
        story.watch._take = take
        policy(default=0).save(story.path)
        await story.looks(3)
        assert story.counts == (1, 1)

    run(told)
