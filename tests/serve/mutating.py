"""Hostile requests: those that clients send, broken at random; the same arguments give the same ones."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

CHAT, TEXT, VECTORS = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"

_TOOL = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Adds.",
        "parameters": {"type": "object", "properties": {"a": {"type": "number"}}, "required": ["a"]},
    },
}
_SCHEMA = {"name": "sum", "strict": True, "schema": {"type": "object", "properties": {"answer": {"type": "integer"}}}}
_IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"}}
_CALL = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}


def _asked(text: Any, **more: Any) -> dict[str, Any]:
    return {"model": "auto", "messages": [{"role": "user", "content": text}], **more}


# What the clients of OpenAI's API send.
BODIES: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    (CHAT, _asked("solve: 12+3*4")),
    (CHAT, _asked("solve: 1+1", stream=True, stream_options={"include_usage": True})),
    (CHAT, _asked("solve: 2*3", model="auto@2e14flops", temperature=0.2, top_p=0.9, max_tokens=64, seed=7)),
    (CHAT, _asked("solve: 7-5", model="plain:small", n=2, stop=["\n\n", "END"], user="u", metadata={"a": "b"})),
    (CHAT, _asked("solve: 4", model="auto-fast", logprobs=True, top_logprobs=3, logit_bias={"50256": -100})),
    (CHAT, _asked("add 1 and 2", tools=[_TOOL], tool_choice="auto", parallel_tool_calls=False)),
    (CHAT, _asked("say it", response_format={"type": "json_schema", "json_schema": _SCHEMA})),
    (CHAT, _asked([{"type": "text", "text": "What is this?"}, _IMAGE], model="plain:small")),
    (CHAT, _asked("solve: 5+5", autotts={"effort": 0.5, "deadline": 5, "token": "t", "progress": True}, stream=True)),
    (CHAT, _asked("solve: 6/2", autotts={"budget": "2e14flops"}, max_completion_tokens=20)),
    (
        CHAT,
        {
            "model": "auto-best",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "add 1 and 2", "name": "Ann"},
                {"role": "assistant", "content": None, "tool_calls": [_CALL]},
                {"role": "tool", "tool_call_id": "call_1", "content": "3"},
            ],
            "tools": [_TOOL],
            "frequency_penalty": 0.1,
            "presence_penalty": 0.1,
        },
    ),
    (
        CHAT,
        {
            "model": "auto",
            "messages": [
                {"role": "developer", "content": "Be brief."},
                {"role": "user", "content": "solve: 1"},
                {"role": "assistant", "content": "1", "refusal": None},
                {"role": "user", "content": [{"type": "text", "text": "solve: 8*8"}]},
            ],
            "reasoning_effort": "low",
            "store": False,
            "service_tier": "auto",
        },
    ),
    (TEXT, {"model": "auto", "prompt": "solve: 12+3*4", "max_tokens": 16, "temperature": 0}),
    (TEXT, {"model": "plain:small", "prompt": ["solve: 1", "solve: 2"], "max_tokens": 5, "echo": True, "logprobs": 1}),
    (TEXT, {"model": "auto", "prompt": [1, 2, 3, 4], "stream": True, "best_of": 1, "suffix": "."}),
    (VECTORS, {"model": "embedder", "input": ["one", "two"], "encoding_format": "float", "dimensions": 8}),
    (VECTORS, {"model": "small", "input": [[1, 2, 3]]}),
)

_HEADERS: Final = (
    ("x-autotts-budget", ("2e14flops", "", "x", "-1flops", "1e999flops", "nan", "1e15usd", "9" * 5000, "1flops")),
    ("x-autotts-effort", ("0.5", "2", "-0", "nan", "inf", "1e400", "0x1", "", "½", "1_0")),
    ("x-autotts-deadline", ("5", "0", "-1", "nan", "inf", "1e-9", "1e300", "soon")),
    ("x-autotts-token", ("t", "", "\xff\xfe", "a" * 10_000, "\x00", "é")),
    ("x-autotts-progress", ("1", "yes", "", "2", "\xff")),
    ("authorization", ("Bearer x", "Bearer", "Basic eDp5", "\xff", "Bearer " + "a" * 20_000)),
    (
        "content-type",
        ("text/plain", "application/json; charset=utf-16", "", "application/x-www-form-urlencoded", "\xff"),
    ),
    ("content-encoding", ("gzip", "identity", "deflate, br", "\xff")),
    ("content-length", ("0", "-1", "5", "99999999999999", "1e3", "٣", "9" * 5000)),
    ("expect", ("100-continue", "x")),
    ("accept", ("text/html", "*/*;q=0", "\xff")),
    ("host", ("example.org", "", "\xff", "localhost:99999")),
    ("transfer-encoding", ("chunked", "gzip", "x")),
    ("x-forwarded-for", ("1.2.3.4", "\xff")),
)
_PATHS: Final = (
    *("/", "/v1", "/v1/", "/v1/models", "/v1/models/auto", "/v1/models/" + "a" * 5000, "/health", "/ready", "/metrics"),
    *("/v1/chat/completions/", "/v1//chat/completions", "/v1/models/../../etc/passwd", "/v1/models/\x00", "/é", "*"),
    *("/v1/models/%ff", "/V1/CHAT/COMPLETIONS", "/docs", "/openapi.json", "//example.org/", "/v1/engines"),
)
_METHODS: Final = ("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "post", "X" * 300)


def _deep(times: int, kind: int) -> Any:
    out: Any = "x"
    for i in range(times):
        out = [out] if (kind, i % 2) in ((0, 0), (0, 1), (2, 0)) else {"a": out}
    return out


ODD: Final[tuple[Any, ...]] = (
    *(None, True, False, "", " ", "x", "\x00", "\ud800", "\udc00\ud800", "\U0001f600" * 40, "\u202e\u200b", "é" * 3000),
    *(0, -1, 1, 2, -0.0, 0.1, 5e-324, 1e300, -1e308, 129, 10**6, 10**19, 10**30, 2**31, 2**63, 2**64, -(2**63) - 1),
    *(10**400, float("nan"), float("inf"), float("-inf")),
    *([], {}, [[]], [{}], {"": {}}, [None], [1, "a"], {"a": 1}, {"type": "text"}, {"type": "json_object"}, [[1], []]),
    *({"role": "user"}, {"role": "user", "content": "x"}, [{"role": "user", "content": "x"}], {"__proto__": {}}),
    *("auto", "auto@", "auto@1flops", "auto@1e999flops", "auto@-1", "auto@2e14", "auto-fast@1flops", "plain:", "small"),
    *(
        "user",
        "assistant",
        "tool",
        "system",
        "none",
        "required",
        "text",
        "image_url",
        "http://169.254.169.254/",
        "1e15flops",
    ),
    *(
        "{{7*7}}",
        "%s%n",
        "${HOME}",
        "{0.__class__}",
        "\\" * 60,
        '"' * 60,
        "\r\nx: y",
        "data: [DONE]\n\n",
        "<|im_end|>",
        "a" * 40_000,
    ),
    *([0.0] * 500, list(range(3000)), ["a"] * 500, [""] * 65, {str(i): i for i in range(500)}),
    *(_deep(20, 0), _deep(62, 1), _deep(70, 2), _deep(100, 0)),
)
_KEYS: Final = (
    *(
        "messages",
        "prompt",
        "model",
        "stream",
        "n",
        "stop",
        "seed",
        "tools",
        "autotts",
        "response_format",
        "max_tokens",
    ),
    *(
        "logprobs",
        "content",
        "role",
        "type",
        "",
        "\x00",
        "__class__",
        "temperature",
        "stream_options",
        "suffix",
        "images",
    ),
    *("guided_json", "prompt_logprobs", "use_beam_search", "chat_template", "chat_template_kwargs", "extra_body"),
    *(
        "continue_final_message",
        "add_generation_prompt",
        "priority",
        "modalities",
        "audio",
        "functions",
        "top_k",
        "budget",
    ),
)


@dataclass(frozen=True, slots=True)
class Shot:
    """A request: how it was made, what is sent, and in how many pieces; -1 hangs up in the middle of the body."""

    name: str
    method: str
    path: str
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    pieces: int = 1


def shots(seed: int, count: int) -> Iterator[Shot]:
    """So many requests, each with one to three faults."""
    for number in range(count):
        yield shot(seed, number)


def shot(seed: int, number: int) -> Shot:
    """One of them by its number, for looking at it again."""
    rng = random.Random(f"{seed} {number}")
    path, body = copy.deepcopy(rng.choice(BODIES))
    names = []
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3))):
        fault = rng.choice(_FAULTS)
        names.append(fault.__name__.strip("_"))
        fault(body, rng)
    raw = _written(body, rng)
    headers = [("host", "localhost"), ("content-type", "application/json"), ("accept", "*/*")]
    made = Shot(", ".join(names), "POST", path, (), raw, rng.choice((1, 1, 1, 2, 7)))
    if rng.random() < 0.3:
        blow = rng.choice(_BLOWS)
        made = replace(made, name=f"{made.name}, {blow.__name__.strip('_')}", body=blow(made.body, rng))
    if rng.random() < 0.3:
        for name, values in rng.sample(_HEADERS, rng.choice((1, 1, 2, 4))):
            headers = [each for each in headers if each[0] != name or rng.random() < 0.3]
            headers.append((name, rng.choice(values)))
            made = replace(made, name=f"{made.name}, {name}")
    if rng.random() < 0.05:
        made = replace(made, path=rng.choice(_PATHS), method=rng.choice(("GET", "POST", rng.choice(_METHODS))))
    if rng.random() < 0.03:
        made = replace(made, method=rng.choice(_METHODS))
    if rng.random() < 0.03:
        made = replace(made, pieces=-1)
    coded = tuple(
        (name.encode(), value.encode("utf-8" if ord(max(value, default="a")) > 255 else "latin-1"))
        for name, value in headers
    )
    return replace(made, name=f"{number}: {made.name}", headers=coded)


def _written(body: Any, rng: random.Random) -> bytes:
    """As JSON; half characters are escapes where they are not plain bytes that no UTF-8 is."""
    return json.dumps(body, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")


def _places(data: Any) -> list[tuple[Any, Any]]:
    """Every object or array with one of its keys."""
    out: list[tuple[Any, Any]] = []
    left = [data]
    while left and len(out) < 5000:
        here = left.pop()
        keys = list(here) if isinstance(here, dict) else range(len(here))
        out += [(here, key) for key in keys]
        left += [here[key] for key in keys if isinstance(here[key], dict | list)]
    return out


def _swap(body: Any, rng: random.Random) -> None:
    if places := _places(body):
        here, key = rng.choice(places)
        here[key] = copy.deepcopy(rng.choice(ODD))


def _swap_top(body: Any, rng: random.Random) -> None:
    if isinstance(body, dict) and body:
        body[rng.choice(list(body))] = copy.deepcopy(rng.choice(ODD))


def _drop(body: Any, rng: random.Random) -> None:
    if places := _places(body):
        here, key = rng.choice(places)
        del here[key]


def _add(body: Any, rng: random.Random) -> None:
    objects = [body, *(here[key] for here, key in _places(body) if isinstance(here[key], dict))]
    rng.choice(objects)[rng.choice(_KEYS)] = copy.deepcopy(rng.choice(ODD))


def _add_top(body: Any, rng: random.Random) -> None:
    body[rng.choice(_KEYS)] = copy.deepcopy(rng.choice(ODD))


def _copy(body: Any, rng: random.Random) -> None:
    """A part of it in the place of another."""
    if places := _places(body):
        (here, key), (there, name) = rng.choice(places), rng.choice(places)
        here[key] = copy.deepcopy(there[name])


def _borrow(body: Any, rng: random.Random) -> None:
    """The fields of another request beside its own."""
    _, other = rng.choice(BODIES)
    for key in rng.sample(list(other), rng.randint(1, len(other))):
        body[key] = copy.deepcopy(other[key])


def _many(body: Any, rng: random.Random) -> None:
    lists = [here[key] for here, key in _places(body) if isinstance(here[key], list) and here[key]]
    if lists:
        some = rng.choice(lists)
        some.extend(copy.deepcopy(some[:1]) * rng.choice((1, 10, 300)))


def _wrap(body: Any, rng: random.Random) -> None:
    if places := _places(body):
        here, key = rng.choice(places)
        for _ in range(rng.choice((1, 2, 70))):
            here[key] = [here[key]] if rng.random() < 0.5 else {"a": here[key]}


_FAULTS: Final[tuple[Callable[[Any, random.Random], None], ...]] = (
    *(_swap, _swap, _swap_top, _swap_top, _drop, _add, _add_top, _copy, _borrow, _borrow, _many, _wrap),
)


def _flip(raw: bytes, rng: random.Random) -> bytes:
    out = bytearray(raw)
    for _ in range(rng.choice((1, 1, 3, 30))):
        out[rng.randrange(len(out))] = rng.randrange(256)
    return bytes(out)


def _cut(raw: bytes, rng: random.Random) -> bytes:
    return raw[: rng.randrange(len(raw))]


def _insert(raw: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(raw) + 1)
    return (
        raw[:at]
        + rng.choice((b"\xff", b"\xed\xa0\x80", b"\x00", b"{", b"[" * 2000, b'"', b"\\", b"1e999", b"NaN", b","))
        + raw[at:]
    )


def _twice(raw: bytes, rng: random.Random) -> bytes:
    """A key of the object a second time, or a second object behind the first."""
    return rng.choice(
        (raw + raw, raw[:-1] + b', "model": "auto"}', raw[:-1] + b', "messages": []}', b"\xef\xbb\xbf" + raw)
    )


def _other(raw: bytes, rng: random.Random) -> bytes:
    return rng.choice((*_OTHERS, raw.decode("utf-8", "replace").encode("utf-16")))


_OTHERS: Final = (
    *(
        b"",
        b" ",
        b"null",
        b"[]",
        b"1",
        b'"a"',
        b"{}",
        b"[" * 60_000,
        b'{"a":' * 60_000,
        b"\xff\xfe{\x00}\x00",
        b"a=1&b=2",
    ),
    *(b"{" + b'"a":1,' * 20_000 + b'"b":1}', b'{"seed":' + b"9" * 60_000 + b"}"),
)


def _spaces(raw: bytes, rng: random.Random) -> bytes:
    return raw.replace(b", ", b" ,\r\n\t " * rng.choice((1, 50)))


_BLOWS: Final[tuple[Callable[[bytes, random.Random], bytes], ...]] = (
    _flip,
    _flip,
    _cut,
    _insert,
    _twice,
    _other,
    _spaces,
)
