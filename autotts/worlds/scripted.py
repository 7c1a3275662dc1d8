"""A chat server that is none: it gives scripted replies in order, so that what asks it can be tested and tried dry."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, TypeAlias

import httpx

from autotts.errors import InputError

# A text that the model says; a status that the server answers with; a whole body as it is; an error that is raised.
Reply: TypeAlias = str | int | bytes | Exception


@dataclass
class Scripted(httpx.BaseTransport):
    """The replies of a chat server, in order, as a transport for `Chat`.

    Parameters
    ----------
    replies
        One for each request. When they are used up, the next request is an `InputError`.
    again
        Begin again at the first one when they are used up.
    usage
        Say how many tokens each reply took: one for four characters.

    Attributes
    ----------
    asked
        The requests so far, as their JSON.
    headers
        Their headers.

    Examples
    --------
    >>> from autotts.worlds.chat import Chat
    >>> script = Scripted(["good morning"])
    >>> chat = Chat("http://nowhere/v1", "none", transport=script)
    >>> chat.complete([{"role": "user", "content": "hello"}], temperature=0, max_tokens=9, seed=0).text
    'good morning'
    >>> script.calls
    1
    """

    replies: Sequence[Reply]
    _: KW_ONLY
    again: bool = False
    usage: bool = True
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    @property
    def calls(self) -> int:
        """How many requests came."""
        return len(self.asked)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one request by the next reply."""
        number = len(self.asked)
        self.asked.append(json.loads(request.read()))
        self.headers.append(dict(request.headers))
        if not self.replies or (number >= len(self.replies) and not self.again):
            raise InputError(
                f"the script of a chat server: it has {len(self.replies)} replies and was asked once more; "
                "give more, or again=True"
            )
        reply = self.replies[number % len(self.replies)]
        if isinstance(reply, Exception):
            raise reply
        if isinstance(reply, int):
            return httpx.Response(reply, json={"error": {"message": f"scripted status {reply}"}})
        if isinstance(reply, bytes):
            return httpx.Response(200, content=reply)
        return httpx.Response(200, json=self._completion(reply))

    def _completion(self, text: str) -> dict[str, Any]:
        size = sum(len(message["content"]) for message in self.asked[-1]["messages"])
        told = {"prompt_tokens": -(-size // 4), "completion_tokens": -(-len(text) // 4)}
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return {
            "object": "chat.completion",
            "model": self.asked[-1]["model"],
            "choices": [choice],
            **({"usage": told} if self.usage else {}),
        }
