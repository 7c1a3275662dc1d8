"""A small client of OpenAI-compatible chat completions, for a model that advises: one question, one answer.

It is no world: it draws nothing for plans. An answer is read as it comes and cut off at a size and at a time, every
attempt is counted, no redirect is followed, and the key is in no message.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeGuard
from urllib.parse import urlsplit, urlunsplit

from autotts.core.cost import Usage
from autotts.errors import InputError, ProposerError

if TYPE_CHECKING:
    import httpx

Message: TypeAlias = Mapping[str, str]

LONGEST_WAIT: Final = 30.0  # seconds between two tries
MOST_TOKENS: Final = 10**9  # of one call; a server that reports more is not believed


class Unanswered(ProposerError):
    """No answer came; `usage` is what the attempts took all the same."""

    def __init__(self, words: str, usage: Usage) -> None:
        super().__init__(words)
        self.usage = usage


class _BrokenOff(Exception):
    """A request that got no whole answer; `begun` says whether the model may have worked on it."""

    def __init__(self, words: str, *, begun: bool) -> None:
        super().__init__(words)
        self.begun = begun


@dataclass(frozen=True, slots=True)
class Said:
    """An answer; `usage` is that of all attempts, `estimated` where the server did not report it."""

    text: str
    usage: Usage
    model: str
    estimated: bool = False


@dataclass(frozen=True)
class Chat:
    """A model behind a server.

    Parameters
    ----------
    url
        Up to the version, such as http://localhost:8000/v1, or the whole address of its chat completions.
    key
        Sent as a bearer token; it is never shown.
    timeout
        Seconds that one attempt may take in all.
    most_bytes
        An answer that is longer is cut off, and is an error.
    retries
        How often a refused connection, a 429 or a 5xx is tried again. What broke off after it had begun is not: it
        may have been charged already.

    Raises
    ------
    InputError
        When the address is not one, or the key holds what no header can.
    """

    url: str
    model: str
    _: KW_ONLY
    key: str | None = field(default=None, repr=False)
    timeout: float = 120.0
    transport: httpx.BaseTransport | None = field(default=None, repr=False)
    most_bytes: int = 1_000_000
    retries: int = 3
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            right = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            right = False
        if not right:
            raise InputError(
                "the address of a chat server: expected one such as http://localhost:8000/v1, "
                f"found {shown(self.url)!r}"
            )
        if self.key is not None and not (self.key and all("!" <= c <= "~" for c in self.key)):
            raise InputError("the key of a chat server: expected printable ASCII without spaces (it is not shown here)")

    @property
    def address(self) -> str:
        """Where the questions go."""
        parts = urlsplit(self.url)
        path = parts.path.rstrip("/")
        path = path if path.endswith("/chat/completions") else path + "/chat/completions"
        return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))

    def complete(
        self,
        messages: Sequence[Message],
        *,
        temperature: float,
        max_tokens: int,
        seed: int,
        schema: Mapping[str, Any] | None = None,
    ) -> Said:
        """Ask once; a server that knows no schema, or no `max_tokens`, is asked again without it.

        Raises
        ------
        Unanswered
            When no answer came, or what came is none; it holds what was used.
        """
        forms = _forms(self.model, messages, temperature=temperature, max_tokens=max_tokens, seed=seed, schema=schema)
        spent, tries = Usage(), 0
        while True:
            try:
                status, body, wait = self._post(forms[0])
            except _BrokenOff as broken:
                spent += bound(messages, max_tokens) if broken.begun else Usage()
                if broken.begun or tries >= self.retries:
                    raise Unanswered(self._words(str(broken)), spent) from None
                status, wait = 0, 0.0
            else:
                data = _object(body)
                used = _usage(data)
                if status == 200:
                    return self._said(data, body, spent, used or estimate(messages, body, max_tokens), used is None)
                spent += used or Usage()
                if status in (400, 422) and len(forms) > 1:
                    forms.pop(0)
                    continue
                if not (status == 429 or status >= 500) or tries >= self.retries:
                    raise Unanswered(self._words(f"HTTP {status}{_hint(status)}: {_complaint(data, body)}"), spent)
            self.sleep(min(LONGEST_WAIT, max(wait, 0.5 * 2**tries)))
            tries += 1

    def _said(self, data: dict[str, Any] | None, body: str, spent: Usage, used: Usage, estimated: bool) -> Said:
        text = _content(data)
        if text is None:
            words = f"expected a chat completion with a choice, found {_complaint(data, body)}"
            raise Unanswered(self._words(words), spent + used)
        model = data.get("model") if data else None
        return Said(_sound(text), spent + used, str(model)[:200] if model else self.model, estimated)

    def _post(self, form: Mapping[str, Any]) -> tuple[int, str, float]:
        """Status, body and seconds that the server asks to wait."""
        import httpx

        headers = {"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {self.key}"} if self.key else {})
        ends = time.monotonic() + self.timeout
        try:
            with (
                httpx.Client(transport=self.transport, timeout=self.timeout) as client,
                client.stream("POST", self.address, json=form, headers=headers) as answer,
            ):
                body = bytearray()
                for chunk in answer.iter_bytes():
                    body += chunk
                    if len(body) > self.most_bytes:
                        raise _BrokenOff(f"its answer was cut off after {self.most_bytes} bytes", begun=True)
                    if time.monotonic() > ends:
                        raise _BrokenOff(f"its answer was cut off after {self.timeout:g} s", begun=True)
                wait = answer.headers.get("Retry-After", "")
                return answer.status_code, body.decode("utf-8", "replace"), float(wait) if wait.isdigit() else 0.0
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise _BrokenOff(f"no connection ({error or type(error).__name__})", begun=False) from None
        except httpx.TimeoutException:
            raise _BrokenOff(f"no answer within {self.timeout:g} s", begun=True) from None
        except httpx.HTTPError as error:
            raise _BrokenOff(f"the connection broke off ({error or type(error).__name__})", begun=True) from None

    def _words(self, what: str) -> str:
        """What went wrong, on one line, without the key."""
        words = f"the chat server at {shown(self.url)}, model {self.model!r}: {what}"
        return words.replace(self.key, "***") if self.key else words


def read_key(path: Path) -> str:
    """The key that a file holds on its only line.

    Raises
    ------
    InputError
        When it cannot be read, or holds anything else; its content is not shown.
    """
    try:
        lines = path.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected a file with a key on one line; it cannot be read: {_why(error)}") from None
    if len(lines) != 1:
        raise InputError(f"{path}: expected a key on one line without spaces, found {len(lines)} words")
    return lines[0]


def bound(messages: Sequence[Message], max_tokens: int) -> Usage:
    """The most that one call can take: no tokenizer makes more tokens than bytes; templates add a few."""
    size = sum(len(m["content"].encode("utf-8", "replace")) + 16 for m in messages) + 64
    return Usage(prompt=size, generated=max_tokens, calls=1)


def estimate(messages: Sequence[Message], answer: str, max_tokens: int) -> Usage:
    """About what a call took whose server does not say: a token for three characters."""
    size = sum(len(m["content"]) for m in messages)
    return Usage(prompt=-(-size // 3), generated=min(max_tokens, -(-len(answer) // 3)), calls=1)


def shown(url: str) -> str:
    """An address without what may be secret in it: user, password, query."""
    try:
        parts = urlsplit(url)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))[:200]
    except ValueError:
        return "what is no address"


def _forms(
    model: str,
    messages: Sequence[Message],
    *,
    temperature: float,
    max_tokens: int,
    seed: int,
    schema: Mapping[str, Any] | None,
) -> list[dict[str, Any]]:
    """The question in the forms that servers know, the fullest first."""
    asked: dict[str, Any] = {"model": model, "messages": [dict(m) for m in messages]}
    plain = asked | {"temperature": temperature, "max_tokens": max_tokens, "seed": seed}
    forms = [plain, asked | {"max_completion_tokens": max_tokens}]  # reasoning models refuse the others
    if schema is not None:
        wanted = {"name": "answer", "strict": True, "schema": dict(schema)}
        forms.insert(0, plain | {"response_format": {"type": "json_schema", "json_schema": wanted}})
    return forms


def _object(body: str) -> dict[str, Any] | None:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _content(data: dict[str, Any] | None) -> str | None:
    """The text of the first choice; a choice without a text is an empty one."""
    choices = data.get("choices") if data else None
    message = choices[0].get("message") if isinstance(choices, list) and _is_object(choices[:1]) else None
    if not isinstance(message, dict):
        return None
    content = message.get("content")
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        return "".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) else ""


def _is_object(items: list[Any]) -> bool:
    return bool(items) and isinstance(items[0], dict)


def _usage(data: dict[str, Any] | None) -> Usage | None:
    """What the server says was used, or None where it does not, or says what cannot be."""
    told = data.get("usage") if data else None
    if not isinstance(told, dict):
        return None
    prompt, generated = told.get("prompt_tokens"), told.get("completion_tokens")
    details = told.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else 0
    if not (_counts(prompt) and _counts(generated)):
        return None
    cached = min(cached, prompt) if _counts(cached) else 0
    return Usage(prompt=prompt - cached, cached=cached, generated=generated, calls=1)


def _counts(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_TOKENS


def _complaint(data: dict[str, Any] | None, body: str) -> str:
    """What a server said in place of an answer, short."""
    error = data.get("error") if data else None
    said = error.get("message") if isinstance(error, dict) else error
    return repr(" ".join(_sound(str(said or body)).split())[:200])


def _hint(status: int) -> str:
    if status in (401, 403):
        return " (is the key right?)"
    if 300 <= status < 400:
        return " (redirects are not followed: give the address that it leads to)"
    return " (is the address right, and the model's name?)" if status == 404 else ""


def _sound(text: str) -> str:
    """A text that can be written anywhere: halves of surrogate pairs become question marks."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _why(error: Exception) -> str:
    return error.strerror or "unknown" if isinstance(error, OSError) else "it is not plain ASCII"
