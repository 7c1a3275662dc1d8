"""A sandbox for programs that a model wrote: bubblewrap, or a container; without one, nothing is run unless told so.

A program gets no network, no files but the system's own (read-only) and a small folder for temporary ones, few
processes, and bounded time, memory and output. What it was worth is decided here, outside: its tests must have been
reached and must have ended, which is told by a random word and not by what it prints or how it exits. A program that
looks for that word in its own process while it is tested can still find it: grades are safe from lies of the common
kinds, and the machine from harm.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import selectors
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from autotts.errors import BackendError, InputError
from autotts.tasks import inside

IMAGE: Final = "python:3.11-slim"
BUBBLEWRAP, CONTAINERS, NONE = "bubblewrap", ("podman", "docker"), "none"
_FLAGS: Final = ("-s", "-S", "-B", "-u")
_VARIABLES: Final = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0"}
_SYSTEM: Final = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64")
_USER_PROCESSES: Final = 1024  # without a sandbox, all of the user's processes count
_REMEDY: Final = (
    "install bubblewrap (apt-get install bubblewrap), or give --allow-unsafe-code, which runs them as you, with limits "
    "of time and memory only"
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a program may take, with its tests: `seconds` by the clock, the rest in bytes, seconds and numbers.

    Of what it prints the first `output` bytes are kept; one that prints a hundred times as much is ended.
    """

    seconds: float = 10.0
    cpu: int = 5
    memory: int = 512 << 20
    processes: int = 32
    file: int = 16 << 20
    folder: int = 64 << 20
    output: int = 64 << 10


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a run ended: "passed", "failed", "timeout" or "output" (too much of it); and what was printed."""

    ended: str
    output: str

    @property
    def passed(self) -> bool:
        """Whether all tests were reached and held."""
        return self.ended == "passed"


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A way to run programs; `open_sandbox` finds the one that works here.

    Parameters
    ----------
    kind
        "bubblewrap", "podman", "docker" or "none".
    tool
        Its program, empty for none.
    strict
        Bubblewrap bounds the temporary folder and forbids further namespaces (0.8 and later).
    drops
        Bubblewrap is run by the superuser, and the program by a user of its own: in a namespace of users that the
        superuser made, its processes would not be counted.
    """

    kind: str
    tool: str = ""
    strict: bool = True
    drops: bool = False
    image: str = IMAGE

    def run(self, program: str, tests: str, limits: Limits | None = None) -> Verdict:
        """Run a program, and then its tests beside it; without limits of its own, within the usual ones.

        Raises
        ------
        BackendError
            When the sandbox itself does not start.
        """
        limits = limits or Limits()
        name = f"autotts-{secrets.token_hex(8)}"
        process = subprocess.Popen(
            self.command(limits, name),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(_VARIABLES) if self.kind in (BUBBLEWRAP, NONE) else None,
            cwd="/",
            start_new_session=True,
        )
        with process:
            try:
                return _Talk(process, self._order(program, limits), tests, limits).end()
            finally:
                self._end(process, name)

    def command(self, limits: Limits, name: str) -> list[str]:
        """The command line that runs Python in it; `name` is that of a container."""
        code = Path(inside.__file__).read_text(encoding="utf-8")
        if self.kind == BUBBLEWRAP:
            return [self.tool, *self._walls(limits), _python(), *_FLAGS, "-c", code]
        if self.kind in CONTAINERS:
            return [self.tool, *_container(limits, name), self.image, "python3", *_FLAGS, "-c", code]
        return [_python(), *_FLAGS, "-c", code]

    def _order(self, program: str, limits: Limits) -> dict[str, Any]:
        counted = {
            "cpu": limits.cpu,
            "memory": limits.memory,
            "file": limits.file,
            "processes": _USER_PROCESSES if self.kind == NONE else limits.processes,
        }
        # A user id of its own, so that the processes of several runs are counted apart.
        uid = 1_000_000 + secrets.randbelow(1 << 30) if self.drops else None
        return {"program": program, "limits": counted, "uid": uid, "folder": "/tmp"}

    def _walls(self, limits: Limits) -> list[str]:
        """Bubblewrap's options. What is not bound is not there: no /etc, no /home, no variables."""
        walls = ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
        walls += ["--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL"]
        if self.drops:
            walls += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]  # which are gone with the superuser
        else:
            walls += ["--unshare-user", "--uid", "65534", "--gid", "65534"]
            walls += ["--disable-userns"] if self.strict else []
        for name, value in _VARIABLES.items():
            walls += ["--setenv", name, value]
        for folder in map(Path, _SYSTEM):
            if folder.is_symlink():
                walls += ["--symlink", os.readlink(folder), str(folder)]
            elif folder.is_dir():
                walls += ["--ro-bind", str(folder), str(folder)]
        walls += ["--perms", "0755", "--dir", "/etc", "--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"]
        prefix = os.path.realpath(sys.base_prefix)
        if Path("/usr") not in (Path(prefix), *Path(prefix).parents):
            for folder in list(Path(prefix).parents)[-2::-1]:
                walls += ["--perms", "0755", "--dir", str(folder)]
            walls += ["--ro-bind", prefix, prefix]
        size = ["--size", str(limits.folder)] if self.strict else []
        walls += ["--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev"]
        return [*walls, "--perms", "1777", *size, "--tmpfs", "/tmp", "--remount-ro", "/", "--chdir", "/tmp"]

    def _end(self, process: subprocess.Popen[bytes], name: str) -> None:
        """Kill what still runs: bubblewrap and containers take all of theirs with them."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        if self.kind in CONTAINERS:
            subprocess.run([self.tool, "kill", name], capture_output=True, timeout=30, check=False)


def _container(limits: Limits, name: str) -> list[str]:
    options = ["run", "--rm", "--interactive", "--pull", "never", "--name", name, "--network", "none", "--read-only"]
    options += ["--user", "65534:65534", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
    options += ["--memory", str(limits.memory), "--memory-swap", str(limits.memory), "--cpus", "1"]
    options += ["--pids-limit", str(limits.processes), "--tmpfs", f"/tmp:rw,mode=1777,size={limits.folder}"]
    for variable, value in _VARIABLES.items():
        options += ["--env", f"{variable}={value}"]
    return options


def _python() -> str:
    """The interpreter itself, and not a virtual environment's link to it."""
    return os.path.realpath(sys.executable)


class _Talk:
    """The words with a program's process, from outside; none of what it says is believed but the word at the end."""

    def __init__(self, process: subprocess.Popen[bytes], order: dict[str, Any], tests: str, limits: Limits) -> None:
        self._process = process
        self._limits = limits
        word = secrets.token_hex(16)
        self._rest = _line({"tests": tests, "word": word})
        self._unsent = _line(order)
        self._said = b""
        self._loaded = inside.READY + inside.LOADED
        self._whole = self._loaded + word.encode()
        self._output = bytearray()
        self._printed = 0

    def end(self) -> Verdict:
        """Talk until it is clear how the run ended."""
        deadline = time.monotonic() + self._limits.seconds
        process = self._process
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        with selectors.DefaultSelector() as ready:
            for stream, event in ((process.stdout, 1), (process.stderr, 1), (process.stdin, 2)):
                os.set_blocking(stream.fileno(), False)
                ready.register(stream, event)
            while True:
                left = deadline - time.monotonic()
                if left <= 0:
                    return self._verdict("timeout")
                for key, _ in ready.select(left):
                    if key.fileobj is process.stdin:
                        if not self._send(key.fd):
                            ready.unregister(process.stdin)
                        continue
                    found = os.read(key.fd, 1 << 16)
                    if not found:
                        ready.unregister(key.fileobj)
                    ended = self._hear(found) if key.fileobj is process.stdout else self._print(found)
                    if ended is not None:
                        return self._verdict(ended)
                    if self._unsent and process.stdin not in [k.fileobj for k in ready.get_map().values()]:
                        ready.register(process.stdin, selectors.EVENT_WRITE)

    def _send(self, fd: int) -> bool:
        """Send what can be sent; False once there is nothing left."""
        try:
            self._unsent = self._unsent[os.write(fd, self._unsent) :]
        except BlockingIOError:
            return True
        except BrokenPipeError:
            self._unsent = b""
        return bool(self._unsent)

    def _hear(self, found: bytes) -> str | None:
        """What the other side says; how the run ended, if it has."""
        before, self._said = self._said, self._said + found
        if self._said == self._whole:
            return "passed"
        if not found or not self._whole.startswith(self._said):
            return "failed"
        if len(before) < len(self._loaded) <= len(self._said):
            self._unsent = self._rest
        return None

    def _print(self, found: bytes) -> str | None:
        self._printed += len(found)
        self._output += found[: self._limits.output - len(self._output)]
        return "output" if self._printed > 100 * self._limits.output else None

    def _verdict(self, ended: str) -> Verdict:
        """The verdict, with what is still to be read of the output."""
        assert self._process.stderr is not None
        with contextlib.suppress(BlockingIOError):
            while self._print(found := os.read(self._process.stderr.fileno(), 1 << 16)) is None and found:
                pass
        text = bytes(self._output).decode("utf-8", "replace")
        if not self._said.startswith(inside.READY):
            raise BackendError(f"the sandbox for programs did not start ({ended}): {text.strip()[-300:]!r}")
        return Verdict(ended, text)


def _line(order: dict[str, Any]) -> bytes:
    return json.dumps(order).encode() + b"\n"


def open_sandbox(*, unsafe: bool = False, image: str = IMAGE) -> Sandbox:
    """The sandbox that works on this machine, found by trying each once.

    Parameters
    ----------
    unsafe
        Where none works, run programs as the user, with limits of time and memory only.
    image
        Of a container; it must be there already.

    Raises
    ------
    InputError
        When none works, and running without one is not allowed.
    """
    reasons = []
    for sandbox in _candidates(image):
        try:
            tried = sandbox.run("x = 1", "assert x == 1", Limits(seconds=20.0))
        except (BackendError, OSError, subprocess.SubprocessError) as error:
            reasons.append(f"{sandbox.kind}: {error}")
            continue
        if tried.passed:
            return sandbox
        reasons.append(f"{sandbox.kind}: {tried.ended}: {tried.output.strip()[-200:]}")
    if unsafe:
        return Sandbox(NONE)
    found = "; ".join(reasons) or "neither bubblewrap nor podman nor docker"
    raise InputError(f"programs that a model wrote need a sandbox: expected one that works, found {found}: {_REMEDY}")


def _candidates(image: str) -> list[Sandbox]:
    """The sandboxes whose tools are there, the best first."""
    found = []
    if tool := shutil.which("bwrap"):
        ways = (True, False) if os.geteuid() == 0 else (False,)
        found += [Sandbox(BUBBLEWRAP, tool, strict, drops) for drops in ways for strict in (True, False)]
    return found + [Sandbox(kind, tool, image=image) for kind in CONTAINERS if (tool := shutil.which(kind))]
