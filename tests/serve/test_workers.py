"""Several processes on one socket: started again when one dies, ended together, with an exit code that says how."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter

import pytest

from autotts.errors import InputError
from autotts.serve.workers import LONGEST, PAUSE, SETTLED, Ended, Supervisor, run

TERM, INT, HUP, KILL = signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL


class Script:
    """Processes that live by a script: at a moment a signal comes, or a child (by number of start) ends."""

    def __init__(self, *events, obey=None):
        self.events = sorted(events, key=lambda event: event[0])
        self.obey = {} if obey is None else obey  # what ends a child, and with which code
        self.time = 0.0
        self.started, self.sent, self.gone = [], [], []
        self.living = {}

    def start(self):
        pid = 100 + len(self.started)
        self.started.append(self.time)
        self.living[len(self.started)] = pid
        return pid

    def send(self, pid, number):
        self.sent.append((self.time, pid, number))
        if number in self.obey:
            self.gone.append(Ended(pid, self.obey[number]))

    def ended(self):
        gone, self.gone = self.gone, []
        return gone

    def wait(self, seconds):
        until = self.time + (1e9 if seconds is None else seconds)
        if self.gone:
            return []
        if not self.events or self.events[0][0] > until:
            assert seconds is not None, "it would wait for ever"
            self.time = until
            return []
        self.time, what, how = self.events.pop(0)
        if what == "signal":
            return [how]
        self.gone.append(Ended(self.living[what], how))
        return []

    def now(self):
        return self.time


def supervised(script, count=2, drain=10.0):
    said = []
    return Supervisor(script, count, drain=drain, tell=said.append).run(), said


def test_children_are_started_and_end_when_told():
    script = Script((3.0, "signal", TERM), obey={TERM: 0})
    assert supervised(script) == (0, [])
    assert script.started == [0.0, 0.0]
    assert script.sent == [(3.0, 100, TERM), (3.0, 101, TERM)]


def test_ctrl_c_lets_them_end_and_a_second_one_hurries():
    script = Script((1.0, "signal", INT), (2.0, "signal", INT), obey={INT: 0})
    assert supervised(script)[0] == 0
    assert [number for _, _, number in script.sent] == [TERM, TERM, INT, INT]


def test_a_server_that_ends_by_the_signal_it_was_sent_has_ended_well():
    assert supervised(Script((1.0, "signal", TERM), obey={TERM: -TERM}))[0] == 0
    assert supervised(Script((1.0, "signal", TERM), obey={TERM: 4}))[0] == 4
    assert supervised(Script((1.0, "signal", TERM), obey={TERM: -11}))[0] == 139


def test_hang_up_is_passed_on_and_ends_nothing():
    script = Script((1.0, "signal", HUP), (2.0, "signal", TERM), obey={TERM: 0})
    assert supervised(script)[0] == 0
    assert script.sent[:2] == [(1.0, 100, HUP), (1.0, 101, HUP)]


def test_one_that_dies_is_started_again_after_a_pause():
    script = Script((60.0, 1, -KILL), (100.0, "signal", TERM), obey={TERM: 0})
    code, said = supervised(script)
    assert (code, script.started) == (0, [0.0, 0.0, 60.0 + PAUSE])
    assert said == ["the worker 100 ended by signal 9; another is started in 1 s"]
    assert [pid for _, pid, _ in script.sent] == [101, 102]


def test_pauses_grow_until_one_has_settled():
    deaths = [(0.1, 1, 1), (1.2, 3, 1), (3.3, 4, 1), (3.3 + 4 + SETTLED, 5, 1)]
    script = Script(*deaths, (90.0, "signal", TERM), obey={TERM: 0})
    supervised(script)
    last = 3.3 + 4 + SETTLED
    assert script.started == pytest.approx([0, 0, 0.1 + 1, 1.2 + 2, 3.3 + 4, last + PAUSE])
    many = Script(*[(0.5 + n * 100, 1 + n + (n > 0), 1) for n in range(3)], (900.0, "signal", TERM), obey={TERM: 0})
    supervised(many)
    assert max(b - a for a, b in zip(many.started, many.started[1:], strict=False)) <= 100 + LONGEST


def test_a_start_that_cannot_succeed_ends_all_with_its_code():
    script = Script((0.2, 2, 3), obey={TERM: -TERM})
    assert supervised(script) == (3, [])
    assert script.sent == [(0.2, 100, TERM)]


def test_once_it_has_served_a_bad_start_is_tried_again():
    script = Script((60.0, 1, -11), (61.5, 3, 2), (90.0, "signal", TERM), obey={TERM: 0})
    code, said = supervised(script)
    assert (code, len(script.started), len(said)) == (0, 4, 2)


def test_those_that_do_not_end_are_killed_and_no_new_ones_are_started():
    script = Script((1.0, 1, -11), (1.5, "signal", TERM), obey={KILL: -KILL})
    assert supervised(script, drain=10.0)[0] == 1
    assert script.sent == [(1.5, 101, TERM), (11.5, 101, KILL)]
    assert script.started == [0.0, 0.0]


def test_one_process_needs_no_supervisor():
    served = []
    with socket.socket() as bound:
        assert run(bound, served.append, 1, drain=1.0) == 0
        assert served == [bound]
        with pytest.raises(InputError, match="--workers: expected at least 1, found 0"):
            run(bound, served.append, 0, drain=1.0)


# ---------------------------------------------------------------- real processes

PROGRAM = """
import os, signal, socket, sys, threading
from autotts.errors import InputError
from autotts.serve import workers

def say(*words):  # in one write: lines of several processes are not to be mixed
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def serve(bound):
    how = sys.argv[1]
    if how == "refused":
        raise InputError("no such policy")
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: (over.set(), bound.close()))
    signal.signal(signal.SIGHUP, lambda *_: say("reload", os.getpid()))
    say("up", os.getpid())
    bound.settimeout(0.05)
    while not over.is_set():
        try:
            line, _ = bound.accept()
        except OSError:
            continue
        with line:
            if line.recv(10) == b"die":
                os._exit(7)
            line.sendall(str(os.getpid()).encode())

bound = socket.create_server(("127.0.0.1", 0))
say("port", bound.getsockname()[1])
workers.PAUSE = 0.05
code = workers.run(bound, serve, 3, drain=5.0, tell=lambda words: say("said", words))
say("code", code)
sys.exit(code)
"""


@contextlib.contextmanager
def program(how):
    command = [sys.executable, "-c", PROGRAM, how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=os.getcwd()) as one:
        try:
            yield one
        finally:
            one.kill()


def lines(process, start, count):
    """So many lines that begin with a word; others are skipped."""
    found = []
    while len(found) < count:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        if line.startswith(start):
            found.append(line.split()[1])
    return found


def asked(port, what=b"who"):
    with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
        line.sendall(what)
        return line.recv(100).decode()


@pytest.mark.slow
def test_real_processes_serve_die_reload_and_end():
    with program("well") as parent:
        port = int(lines(parent, "port", 1)[0])
        first = set(lines(parent, "up", 3))
        answers = Counter(asked(port) for _ in range(30))
        assert set(answers) <= first
        asked(port, b"die")
        assert lines(parent, "said", 1) == ["the"]
        fresh = lines(parent, "up", 1)[0]
        assert fresh not in first
        assert asked(port)
        parent.send_signal(HUP)
        assert len(set(lines(parent, "reload", 3))) == 3
        parent.send_signal(TERM)
        assert lines(parent, "code", 1) == ["0"]
        assert parent.wait(10) == 0
        with pytest.raises(OSError):
            asked(port)


@pytest.mark.slow
def test_a_real_start_that_is_refused():
    with program("refused") as parent:
        assert parent.wait(20) == 2
        assert "error: no such policy" in parent.stderr.read()


@pytest.mark.slow
def test_children_end_when_the_parent_is_killed():
    with program("well") as parent:
        port = int(lines(parent, "port", 1)[0])
        lines(parent, "up", 3)
        parent.kill()
        parent.wait(10)
        with pytest.raises(OSError):
            for _ in range(500):
                asked(port)
                time.sleep(0.02)
