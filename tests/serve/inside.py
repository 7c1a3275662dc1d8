"""The server inside the process of a test, over a real socket, with its running state at hand."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from autotts.policy.schema import Policy
from autotts.serve.running import Options, listening, server_of, service_of
from autotts.serve.service import Service

QUESTION = "What is 12 + 30 * 2?"


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def data(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> Any:
        return self.data["error"]

    @property
    def events(self) -> list[Any]:
        """The objects of a stream that ended as streams do."""
        lines = [line for line in self.body.decode().split("\n\n") if line.startswith("data: ")]
        assert lines[-1] == "data: [DONE]"
        return [json.loads(line[6:]) for line in lines[:-1]]


@dataclass(frozen=True)
class Inside:
    """A server that answers, and what it runs on."""

    service: Service
    port: int

    def ask(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        line = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
            line.request(method, path, raw, {"content-type": "application/json", **(headers or {})})
            found = line.getresponse()
            told = {name.lower(): value for name, value in found.getheaders()}
            return Answer(found.status, told, found.read())
        finally:
            line.close()

    def chat(self, headers: Mapping[str, str] | None = None, /, **fields: Any) -> Answer:
        body = {"model": "auto", "messages": [{"role": "user", "content": QUESTION}], **fields}
        return self.ask("POST", "/v1/chat/completions", body, headers)


def until(seen: Callable[[], object]) -> None:
    """Return once something is seen that takes a moment; an error where it does not come."""
    end = time.monotonic() + 20
    while not seen():
        if time.monotonic() > end:
            raise AssertionError("it did not come")
        time.sleep(0.005)


@contextmanager
def inside(path: Path, options: Options) -> Iterator[Inside]:
    """Serve a policy on a free port while the scope is open."""
    policy = Policy.load(path)
    with (
        service_of(policy, options) as service,
        listening(replace(options, port=0)) as bound,
        server_of(service, path, options) as server,
    ):
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        try:
            yield Inside(service, bound.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join(30)
