"""Sentence embeddings of prompts from an endpoint that speaks OpenAI's protocol: `POST {url}/embeddings`.

To learn from prompts a broken endpoint is an error; to serve one, it is a counted failure and the caller goes on
without. Calls block: an event loop makes them in a thread.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from autotts.errors import BackendError, InputError

if TYPE_CHECKING:
    import httpx

Array: TypeAlias = NDArray[np.float64]

BATCH: Final = 64  # prompts of one request
TRIES: Final = 4
LARGEST: Final = 32 * 2**20  # bytes of a reply that are read: 64 vectors of 16,384 numbers have room
LONGEST: Final = 30.0  # seconds to wait before another try, whatever the server asks for
IN_A_ROW: Final = 3  # failures of `one` after which the endpoint is left alone for `REST` seconds
REST: Final = 10.0

_SEEN: Final = 20_000  # characters of a prompt that are sent


class Embeddings:
    """An endpoint and the model that is asked there.

    Parameters
    ----------
    url
        With the version, for instance "http://localhost:8000/v1".
    model
        Its name at the endpoint.
    key
        Sent as a bearer token, and never shown.
    timeout
        Seconds for one reply of `embed`, connecting and reading each.
    deadline
        The same for `one`.
    dimension
        Of the vectors, where it is known (a predictor that was learned on them states it); else the first reply's.
    transport, sleep, clock
        What httpx sends through, what waits between tries, and seconds that go on: fakes for tests.

    Attributes
    ----------
    dimension
        Of the vectors; None before the first reply, unless it was given.
    failures
        How often `one` had no answer.

    Raises
    ------
    InputError
        The address or the key cannot be used.
    """

    def __init__(
        self,
        url: str,
        model: str,
        key: str | None = None,
        *,
        timeout: float = 30.0,
        deadline: float = 0.25,
        dimension: int | None = None,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        import httpx

        self._shown, sent_to = _addresses(url)
        if key is not None and not (key.isascii() and key.isprintable() and key.strip() == key != ""):
            # Not left to the HTTP library: its message would show the key.
            raise InputError(f"{self._shown}: expected a key of printable ASCII without spaces around it")
        self.model = model
        self.dimension = dimension
        self.failures = 0
        self._url, self._key, self._timeout, self._deadline = sent_to, key, timeout, deadline
        self._sleep, self._clock = sleep, clock
        self._lock = threading.Lock()
        self._row = 0  # failures of `one` since the last answer
        self._rested = 0.0  # the time from which the endpoint is asked again
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        self._client = httpx.Client(headers=headers, transport=transport, follow_redirects=False)

    def __enter__(self) -> Embeddings:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connections."""
        self._client.close()

    def embed(self, prompts: Sequence[str]) -> Array:
        """The vectors of prompts, as [prompt, dimension]; asked for in batches, each tried a few times.

        Raises
        ------
        BackendError
            There is no answer, or none that can be used.
        """
        batches = [prompts[start : start + BATCH] for start in range(0, len(prompts), BATCH)]
        rows = [self._vectors(batch, self._timeout, TRIES) for batch in batches]
        return np.vstack(rows) if rows else np.zeros((0, self.dimension or 0))

    def one(self, prompt: str) -> list[float] | None:
        """The vector of a prompt that is being served; None, counted in `failures`, where it does not come in time.

        It is tried once. After `IN_A_ROW` failures the endpoint is not asked for `REST` seconds, so that serving does
        not wait for it each time.
        """
        if self._clock() >= self._rested:
            try:
                vector: list[float] = self._vectors([prompt], self._deadline, 1)[0].tolist()
            except BackendError:
                pass
            else:
                self._row = 0
                return vector
        with self._lock:
            self.failures += 1
            self._row += 1
            if self._row >= IN_A_ROW and self._clock() >= self._rested:
                self._rested = self._clock() + REST
        return None

    def _vectors(self, prompts: Sequence[str], timeout: float, tries: int) -> Array:
        # Some servers refuse empty text, and no server takes a lone surrogate.
        sent = [prompt[:_SEEN].encode("utf-8", "replace").decode() or " " for prompt in prompts]
        body = json.dumps({"model": self.model, "input": sent}).encode()
        tried, wait = 0, 0.5
        while True:
            try:
                return self._arranged(self._reply(body, timeout), len(prompts))
            except _Passing as error:
                tried += 1
                if tried >= tries:
                    raise BackendError(f"{error}; tried {tried} times" if tried > 1 else str(error)) from None
                self._sleep(min(max(wait, error.wait), LONGEST))
                wait *= 2

    def _reply(self, body: bytes, timeout: float) -> bytes:
        """The body of a good reply, read up to `LARGEST` bytes and for `timeout` seconds."""
        import httpx

        ends = self._clock() + timeout
        parts, size = [], 0
        try:
            with self._client.stream("POST", self._url, content=body, timeout=timeout) as reply:
                if reply.headers.get("Content-Encoding", "identity") != "identity":
                    raise self._broken("a reply that is not compressed, as was asked for", "a compressed one")
                for part in reply.iter_bytes():
                    parts.append(part)
                    size += len(part)
                    if size > LARGEST:
                        raise self._broken(f"a reply of at most {LARGEST:,} bytes", "a longer one")
                    if self._clock() > ends:
                        raise _Passing(f"{self._shown}: expected a reply within {timeout:g} seconds, found none")
        except httpx.HTTPError as error:
            kind = type(error).__name__
            raise _Passing(
                f"{self._shown}: expected a reply, found {kind}: {self._hidden(str(error))}; is the server up?"
            ) from None
        text = b"".join(parts)
        if reply.status_code != 200:
            self._refuse(reply.status_code, text, reply.headers.get("Retry-After", ""))
        return text

    def _refuse(self, status: int, body: bytes, wait: str) -> None:
        """Raise what a status other than 200 means."""
        told = self._hidden(" ".join(body[:4096].decode("utf-8", "replace").split()))[:200]
        found = f"{self._shown}: expected status 200, found {status}" + (f" ({told})" if told else "")
        if status in (408, 429) or status >= 500:
            raise _Passing(found, float(wait) if wait.isascii() and wait.isdigit() else 0.0)
        if 300 <= status < 400:
            raise BackendError(f"{found}; redirects are not followed, give the address itself")
        if status in (401, 403):
            raise BackendError(f"{found}; check the key")
        raise BackendError(f"{found}; check the address, which ends in a version such as /v1, and model {self.model!r}")

    def _arranged(self, text: bytes, count: int) -> Array:
        """The vectors of a reply, in the order of the prompts."""
        try:
            data: Any = json.loads(text)["data"]
            rows = {item["index"]: item["embedding"] for item in data}
        except (ValueError, TypeError, KeyError, RecursionError):
            begin = self._hidden(text[:4096].decode("utf-8", "replace"))[:60]
            raise self._broken('JSON with "data", a list of "index" and "embedding"', repr(begin)) from None
        if len(data) != count or any(type(i) is not int for i in rows) or set(rows) != set(range(count)):
            raise self._broken(
                f"one embedding for each index from 0 to {count - 1}", f"{len(data)} embeddings of {len(rows)} indexes"
            )
        try:
            vectors = np.asarray([rows[i] for i in range(count)])
        except ValueError:
            raise self._broken("vectors of one length", "several lengths") from None
        if vectors.ndim != 2 or vectors.dtype.kind not in "if" or not vectors.size or not np.isfinite(vectors).all():
            raise self._broken("vectors of finite numbers", "something else")
        if self.dimension is None:
            self.dimension = vectors.shape[1]
        elif vectors.shape[1] != self.dimension:
            raise self._broken(f"vectors of {self.dimension} numbers", f"{vectors.shape[1]}")
        return vectors.astype(np.float64)

    def _broken(self, expected: str, found: str) -> BackendError:
        return BackendError(
            f"{self._shown}: expected {expected}, found {found}; "
            f"check that model {self.model!r} is an embedding model and the address that of its server"
        )

    def _hidden(self, text: str) -> str:
        """A text from outside, which may repeat the key, without it."""
        return text.replace(self._key, "***") if self._key else text


class _Passing(BackendError):
    """A failure that may pass; `wait` is how many seconds the server asks for."""

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


def _addresses(url: str) -> tuple[str, str]:
    """The address to show, without a query (which may hold a key), and the one to send to."""
    import httpx

    expected = "embeddings: expected an address such as http://localhost:8000/v1"
    try:
        address = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise InputError(f"{expected}, found one that cannot be read: {error}") from None
    host = address.host
    # A name that the resolver cannot write down would be an error of Python's codecs, far from here.
    if any(not 0 < len(label) < 64 for label in host.removesuffix(".").split(".")):
        host = ""
    if address.scheme not in ("http", "https") or not host or "%" in host:
        raise InputError(f"{expected}, found one without http:// or without a name of a host")
    if not 0 < (address.port or 80) < 2**16:
        raise InputError(f"{expected}, found the port {address.port}")
    if address.userinfo:
        raise InputError(f"{expected}, found one with a name or password in it; give the key on its own")
    address = address.copy_with(path=address.path.rstrip("/") + "/embeddings", fragment=None)
    return str(address.copy_with(query=None)), str(address)
