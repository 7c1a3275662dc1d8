"""What runs in the sandbox: limits, then a program, then its tests, and on the way back a word that only these know.

It is handed to an interpreter as text, so it needs nothing but Python's own modules. It speaks on the first standard
output; the program's own output goes where errors go. The word comes with the tests, once the program was loaded: a
program that exits, or prints that all is well, has not said it.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from types import ModuleType
from typing import Any

READY = b"ready\n"
LOADED = b"loaded\n"


def _limit(limits: dict[str, int]) -> None:
    import resource

    bounds = {
        resource.RLIMIT_CPU: limits["cpu"],
        resource.RLIMIT_AS: limits["memory"],
        resource.RLIMIT_FSIZE: limits["file"],
        resource.RLIMIT_NPROC: limits["processes"],
        resource.RLIMIT_NOFILE: 64,
        resource.RLIMIT_CORE: 0,
    }
    for name, most in bounds.items():
        hard = resource.getrlimit(name)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(name, (most, most))


def _become(uid: int | None) -> None:
    """Nobody in particular: a superuser's processes would not be counted."""
    if uid is not None:
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)


def main() -> None:
    """Read orders from the standard input, and run them."""
    control, back = os.fdopen(os.dup(0), "rb"), os.dup(1)
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    os.dup2(2, 1)
    order: dict[str, Any] = json.loads(control.readline())
    _become(order["uid"])
    os.chdir(order["folder"])
    os.write(back, READY)
    _limit(order["limits"])
    module = ModuleType("program")
    sys.modules["program"] = module
    exit_status = 1
    try:
        exec(compile(order["program"], "program", "exec"), module.__dict__)
        os.write(back, LOADED)
        rest: dict[str, str] = json.loads(control.readline())
        exec(compile(rest["tests"], "tests", "exec"), module.__dict__)
        os.write(back, rest["word"].encode())
        exit_status = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    os._exit(exit_status)


if __name__ == "__main__":
    main()
