"""The sandbox: what hostile programs can do in it, and how its command lines are built where it cannot be tried."""

import json
import os
import socket
import stat
import time
from pathlib import Path

import pytest

from autotts.errors import BackendError, InputError
from autotts.tasks import inside, sandbox
from autotts.tasks.sandbox import Limits, Sandbox, Verdict, open_sandbox

QUICK = Limits(seconds=20.0, cpu=2, output=4096)


@pytest.fixture(scope="module")
def walls() -> Sandbox:
    """A sandbox that works here."""
    try:
        return open_sandbox()
    except InputError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def bare() -> Sandbox:
    """No sandbox: limits only."""
    return Sandbox("none")


def passes(verdict: Verdict) -> bool:
    assert verdict.ended in ("passed", "failed", "timeout", "output")
    return verdict.passed


# ---------------------------------------------------------------- verdicts


@pytest.mark.parametrize("unsafe", [False, True])
@pytest.mark.parametrize(
    ("program", "tests", "ended"),
    [
        ("def f(x):\n    return x + 1", "assert f(1) == 2", "passed"),
        ("def f(x):\n    return x", "assert f(1) == 2", "failed"),
        ("def f(x):\n    return 1 / 0", "assert f(1) == 2", "failed"),
        ("def f(x:", "pass", "failed"),
        ("print('all tests passed'); print('loaded'); import os; os._exit(0)", "assert False", "failed"),
        ("import sys; sys.exit(0)", "pass", "failed"),
        ("raise KeyboardInterrupt", "pass", "failed"),
        ("def f():\n    raise SystemExit(0)", "f()\nassert False", "failed"),
        ("import os\ndef f():\n    os._exit(0)", "f()\nassert False", "failed"),
        ("import sys; sys.stdout = sys.__stdout__ = None", "assert False", "failed"),
        ("import atexit, os; atexit.register(lambda: os._exit(0))", "assert False", "failed"),
        ("import sys; print(sys.argv, sys.stdin.read())", "assert True", "passed"),
        ("from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int", "assert P(1) == P(1)", "passed"),
        ("x = 'é😀' * 100000", "assert len(x) == 200000", "passed"),
        ("ready = 1\nif __name__ == '__main__':\n    raise ValueError", "assert ready", "passed"),
    ],
)
def test_only_tests_that_were_reached_and_held_pass(
    unsafe: bool, program: str, tests: str, ended: str, request: pytest.FixtureRequest
) -> None:
    box: Sandbox = request.getfixturevalue("bare" if unsafe else "walls")
    assert box.run(program, tests, QUICK).ended == ended


@pytest.mark.parametrize("number", range(3, 12))
def test_what_a_program_writes_to_every_channel_is_no_verdict(walls: Sandbox, number: int) -> None:
    forged = f"import os\ntry:\n    os.write({number}, b'loaded\\n' + b'0' * 32)\nexcept OSError:\n    pass\n"
    assert not passes(walls.run(forged + "os._exit(0)", "assert False", QUICK))


def test_a_verdict_is_not_said_by_the_program_itself(walls: Sandbox) -> None:
    said = "import os\nfor fd in range(3, 64):\n"
    said += "    try:\n        os.write(fd, b'ready\\nloaded\\n')\n    except OSError:\n        pass"
    said += "import time\ntime.sleep(60)"  # ended at the first odd word, and not by the clock
    assert walls.run(said, "pass", QUICK).ended == "failed"


def test_the_output_is_told_and_bounded(walls: Sandbox) -> None:
    told = walls.run("import sys\nprint('a'); print('b', file=sys.stderr)", "assert 0, 'why'", QUICK)
    assert "a\n" in told.output and "b\n" in told.output and "AssertionError: why" in told.output
    much = walls.run("while True:\n    print('x' * 1000)", "pass", QUICK)
    assert much.ended == "output" and len(much.output) == QUICK.output
    some = walls.run("for i in range(200):\n    print('x' * 1000)", "assert i == 199", QUICK)
    assert some.passed and len(some.output) == QUICK.output


# ---------------------------------------------------------------- harm


def test_an_endless_loop_is_ended(walls: Sandbox, bare: Sandbox) -> None:
    for box in (walls, bare):
        for program in ("while True: pass", "import time\ntime.sleep(1000)"):
            assert not passes(box.run(program, "pass", Limits(seconds=0.3)))


def test_a_program_that_catches_everything_is_ended(walls: Sandbox) -> None:
    stubborn = (
        "import signal\nfor s in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM, signal.SIGXCPU):\n"
        "    signal.signal(s, signal.SIG_IGN)\n"
        "while True:\n    try:\n        while True: pass\n    except BaseException: pass"
    )
    assert not passes(walls.run(stubborn, "pass", Limits(seconds=0.3)))


@pytest.mark.parametrize("unsafe", [False, True])
def test_memory_is_bounded(unsafe: bool, request: pytest.FixtureRequest) -> None:
    box: Sandbox = request.getfixturevalue("bare" if unsafe else "walls")
    told = box.run("x = bytearray(1 << 30)", "pass", Limits(seconds=20.0, memory=256 << 20))
    assert told.ended == "failed" and "MemoryError" in told.output


def test_processes_are_bounded(walls: Sandbox) -> None:
    bomb = (
        "import os, sys, time\nmade = 0\n"
        "while True:\n"
        "    try:\n        pid = os.fork()\n"
        "    except OSError:\n        break\n"
        "    if pid == 0:\n        time.sleep(60)\n        os._exit(0)\n"
        "    made += 1\n"
    )
    assert walls.run(bomb, "assert 0 < made < 16", Limits(seconds=20.0, processes=16)).passed
    assert not passes(
        walls.run(
            "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError: pass",
            "pass",
            Limits(seconds=0.5, processes=16),
        )
    )


def test_files_are_bounded(walls: Sandbox) -> None:
    small = Limits(seconds=20.0, file=1 << 20, folder=4 << 20)
    assert not passes(walls.run("open('x', 'wb').write(b'x' * (2 << 20))", "pass", small))
    many = "for i in range(16):\n    open(str(i), 'wb').write(b'x' * (1 << 19))"
    told = walls.run(many, "pass", small)
    assert told.ended == "failed" and "No space left" in told.output


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "/etc/hostname", "/root", "/home", "/var", "/sys", str(Path(__file__))]
)
def test_what_is_on_the_machine_cannot_be_read(walls: Sandbox, path: str) -> None:
    look = f"import os\nfound = os.path.isfile({path!r}) or os.path.isdir({path!r}) and os.listdir({path!r})\n"
    told = walls.run(look, "assert found in (False, [], ['.pyenv']), found", QUICK)
    assert told.passed, told.output


def test_nothing_is_written_outside_and_nothing_stays(walls: Sandbox) -> None:
    for place in ("/usr/x", "/x", "/dev/shm/x", "/etc/x", "/proc/sys/kernel/hostname"):
        told = walls.run(f"open({place!r}, 'w').write('x')", "pass", QUICK)
        assert told.ended == "failed" and "Error" in told.output, place
    assert walls.run("open('/tmp/left', 'w').write('x')", "assert open('/tmp/left').read() == 'x'", QUICK).passed
    assert walls.run("import os", "assert not os.path.exists('/tmp/left')", QUICK).passed
    assert not Path("/tmp/left").exists()


def test_there_is_no_network(walls: Sandbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        call = f"import socket\nsocket.create_connection(('127.0.0.1', {port}), timeout=2)"
        told = walls.run(call, "pass", QUICK)
        assert told.ended == "failed" and "refused" in told.output
    assert not passes(walls.run("import socket\nsocket.getaddrinfo('example.org', 80)", "pass", QUICK))


def test_other_processes_are_out_of_reach(walls: Sandbox) -> None:
    look = (
        "import os\nseen = [int(n) for n in os.listdir('/proc') if n.isdigit()]\n"
        f"mine = {os.getpid()}\n"
        "def hurt(pid):\n    try:\n        os.kill(pid, 9)\n    except OSError as error:\n        return error\n"
    )
    assert walls.run(look, f"assert len(seen) <= 3 and {os.getpid()} not in seen", QUICK).passed
    assert not passes(walls.run(look + "hurt(os.getppid())\nhurt(1)\nhurt(-1)", "assert False", QUICK))
    assert walls.run("x = 1", "assert x", QUICK).passed  # the machine goes on


def test_the_superuser_and_the_variables_are_left_outside(walls: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOTTS_SECRET", "hidden")
    look = "import os\nvariables, uid = dict(os.environ), os.getuid()"
    assert walls.run(look, "assert uid != 0 and 'AUTOTTS_SECRET' not in variables", QUICK).passed
    gain = "import os\nos.setuid(0)"
    assert not passes(walls.run(gain, "pass", QUICK))


def test_runs_beside_each_other_do_not_disturb(walls: Sandbox) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(4) as pool:
        ran = list(pool.map(lambda i: walls.run(f"x = {i}", f"assert x == {i % 4}", QUICK).passed, range(8)))
    assert ran == [True] * 4 + [False] * 4


# ---------------------------------------------------------------- where it cannot be tried


def after(command: list[str], name: str) -> list[str]:
    return [command[i + 1] for i, part in enumerate(command) if part == name]


def test_the_walls_of_bubblewrap() -> None:
    command = Sandbox("bubblewrap", "/usr/bin/bwrap").command(Limits(folder=12345), "n")
    assert command[0] == "/usr/bin/bwrap"
    for wall in (
        "--unshare-net",
        "--unshare-pid",
        "--die-with-parent",
        "--new-session",
        "--clearenv",
        "--disable-userns",
    ):
        assert wall in command
    bound = after(command, "--ro-bind")
    assert "/usr" in bound and not {"/", "/etc", "/home", "/root", "/tmp", "/var"} & set(bound)
    assert "--bind" not in command and after(command, "--tmpfs") == ["/tmp"] and after(command, "--size") == ["12345"]
    assert after(command, "--remount-ro") == ["/dev", "/"] and command[-2] == "-c"
    old = Sandbox("bubblewrap", "bwrap", strict=False).command(Limits(), "n")
    assert "--size" not in old and "--disable-userns" not in old
    drops = Sandbox("bubblewrap", "bwrap", drops=True).command(Limits(), "n")
    assert "--unshare-user" not in drops and after(drops, "--cap-add") == ["CAP_SETUID", "CAP_SETGID"]


@pytest.mark.parametrize("kind", ["podman", "docker"])
def test_the_walls_of_a_container(kind: str) -> None:
    limits = Limits(memory=1000, processes=7, folder=99)
    command = Sandbox(kind, f"/usr/bin/{kind}", image="img").command(limits, "autotts-1")
    assert command[:2] == [f"/usr/bin/{kind}", "run"] and "--read-only" in command and "--rm" in command
    expected = {
        "--network": "none",
        "--memory": "1000",
        "--memory-swap": "1000",
        "--pids-limit": "7",
        "--name": "autotts-1",
    }
    expected |= {"--user": "65534:65534", "--cap-drop": "ALL", "--pull": "never", "--security-opt": "no-new-privileges"}
    assert {name: after(command, name)[0] for name in expected} == expected
    assert "img" in command and command[command.index("img") + 1] == "python3" and "--volume" not in command


def tool(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_without_a_sandbox_nothing_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError) as caught:
        open_sandbox()
    for words in ("neither bubblewrap nor podman nor docker", "apt-get install bubblewrap", "--allow-unsafe-code"):
        assert words in str(caught.value)
    assert caught.value.exit_code == 2
    assert open_sandbox(unsafe=True) == Sandbox("none")


def test_a_sandbox_that_does_not_start_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool(tmp_path, "bwrap", "echo 'No permissions to create new namespace' >&2; exit 1")
    tool(tmp_path, "podman", "exit 0")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"No permissions to create new namespace.*podman.*did not start"):
        open_sandbox()
    with pytest.raises(BackendError, match="No permissions"):
        Sandbox("bubblewrap", str(tmp_path / "bwrap")).run("x = 1", "assert x")


def running(pid: int) -> bool:
    """Whether a process is there and is no mere entry of one that ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_what_still_runs_is_ended(bare: Sandbox, tmp_path: Path) -> None:
    left = tmp_path / "left"
    spawn = "import os, time\nchild = os.fork()\nif child == 0:\n    time.sleep(60)\n    os._exit(0)\n"
    assert bare.run(spawn + f"open({str(left)!r}, 'w').write(str(child))", "assert child", QUICK).passed
    until = time.monotonic() + 5.0
    while running(int(left.read_text())) and time.monotonic() < until:
        time.sleep(0.01)
    assert not running(int(left.read_text()))


def test_what_runs_inside_speaks_the_words_that_are_expected() -> None:
    assert json.loads(sandbox._line({"a": 1})) == {"a": 1} and sandbox._line({}).endswith(b"\n")
    assert inside.READY != inside.LOADED
