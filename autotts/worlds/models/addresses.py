"""What a model's table says of its servers: addresses, keys, limits. No message shows a key, or what may be one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from autotts.errors import InputError
from autotts.worlds.models.entry import Server
from autotts.worlds.models.table import Table

_LIMITS: Final = ("requests_per_minute", "tokens_per_minute", "most")
_KEYS: Final = ("key_file", "key_env")
SERVER_KEYS: Final = ("endpoint", "endpoints", *_KEYS, *_LIMITS)
ENDPOINT_KEYS: Final = ("url", "weight", *_KEYS, *_LIMITS)
NO_KEYS: Final = (
    "; the secret of a server is not written here: give the file it stands in (key_file) or the environment variable "
    "(key_env)"
)
_ADDRESS: Final = "an address up to the version, such as http://localhost:8000/v1"
_SECRET: Final = re.compile("key|token|secret|sig|pass|auth|code", re.IGNORECASE)
_VARIABLE: Final = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")
_LONGEST_KEY: Final = 65536  # bytes; a file beyond that holds something else


def read_servers(table: Table, folder: Path, environ: Mapping[str, str]) -> tuple[Server, ...]:
    """The servers of a model; a server's own key and limits come before those of the model."""
    if "endpoint" in table.data and "endpoints" in table.data:
        raise table.wrong("endpoint", "either endpoint or endpoints", "both")
    name = "endpoint" if "endpoint" in table.data else "endpoints"
    given = [table.data["endpoint"]] if name == "endpoint" else table.data.get("endpoints", [])
    if not isinstance(given, list) or not given:
        raise table.wrong(name, _ADDRESS if name == "endpoint" else f"a list of addresses, each {_ADDRESS}")
    common = {key: table.data[key] for key in (*_KEYS, *_LIMITS) if key in table.data}
    servers: list[Server] = []
    for i, one in enumerate(given):
        place = f"{table.place}.{name}" + (f"[{i}]" if len(given) > 1 else "")
        own = Table(table.file, place, one) if isinstance(one, dict) else Table(table.file, table.place, {"url": one})
        own.only(ENDPOINT_KEYS, NO_KEYS)
        taken = {k: v for k, v in common.items() if k not in _KEYS or not set(own.data) & set(_KEYS)}
        server = _server(replace(own, data={**taken, **own.data}), place, folder, environ)
        if any(server.url == other.url for other in servers):
            raise table.wrong(name, "addresses that differ", f"{server.url} twice")
        servers.append(server)
    return tuple(servers)


def _server(table: Table, place: str, folder: Path, environ: Mapping[str, str]) -> Server:
    defaults = Server("")
    return Server(
        _url(table, place),
        _key(table, folder, environ),
        weight=table.number("weight", above=0) or defaults.weight,
        requests_per_minute=table.number("requests_per_minute", above=0),
        tokens_per_minute=table.number("tokens_per_minute", above=0),
        most=table.whole("most") or defaults.most,
    )


def _url(table: Table, place: str) -> str:
    """A server's address; where there may be a secret in it, it is not shown."""
    value: Any = table.data.get("url")
    try:
        parts = urlsplit(value if isinstance(value, str) else "")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise _no_address(table, place, "one with a wrong host or port") from None
    if parts.username is not None or parts.password is not None:
        raise _no_address(table, place, f"one with a name and a password in it{NO_KEYS}")
    if any(_SECRET.search(key) for key, _ in parse_qsl(parts.query, keep_blank_values=True)):
        raise _no_address(table, place, f"one with a secret in its query{NO_KEYS}")
    if not isinstance(value, str) or parts.scheme not in ("http", "https") or not host or port == 0 or parts.fragment:
        plain = isinstance(value, str) and re.fullmatch("([a-z]+://[^@#?]{1,80})(#.*)?", value, re.DOTALL)
        raise _no_address(table, place, plain[1] if plain else "something else")
    if any(c <= " " or c == "\x7f" for c in value):
        raise _no_address(table, place, "one with spaces in it")
    path = parts.path.rstrip("/")
    for ending in ("/chat/completions", "/completions", "/models", "/responses"):
        if path.endswith(ending):
            raise _no_address(table, place, f"one that goes on to {ending}: leave that out")
    return f"{parts.scheme}://{parts.netloc}{path}" + (f"?{parts.query}" if parts.query else "")


def _no_address(table: Table, place: str, found: str) -> InputError:
    return InputError(f"{table.file}: {place}: expected {_ADDRESS}, found {found}")


def _key(table: Table, folder: Path, environ: Mapping[str, str]) -> str | None:
    """The secret of a server: from a file, or from the environment."""
    if all(key in table.data for key in _KEYS):
        raise table.wrong("key_file", "either key_file or key_env", "both")
    if "key_env" in table.data:
        return _from_environment(table, environ)
    if "key_file" in table.data:
        return _from_file(table, folder)
    return None


def _from_environment(table: Table, environ: Mapping[str, str]) -> str:
    name = table.data["key_env"]
    if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
        raise table.wrong(
            "key_env", "the name of an environment variable, such as OPENAI_API_KEY", "something else (it is not shown)"
        )
    value = environ.get(name, "").strip()
    if not value:
        raise table.wrong("key_env", f"the environment variable {name} to be set", "it empty or not set")
    return _sound(table, "key_env", value)


def _from_file(table: Table, folder: Path) -> str:
    name = table.data["key_file"]
    if not isinstance(name, str) or not name or "\0" in name:
        raise table.wrong("key_file", f"the name of a file in {folder} or a whole path", "something else")
    try:
        with (folder / Path(name).expanduser()).open("rb") as file:
            value = file.read(_LONGEST_KEY + 1)
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or "no such home"
        # The name is not shown: it might be the secret itself, written into the wrong place.
        raise table.wrong("key_file", f"a file that can be read, in {folder} or a whole path", reason) from None
    return _sound(table, "key_file", value.decode("latin-1").strip())


def _sound(table: Table, key: str, value: str) -> str:
    if not value or len(value) > _LONGEST_KEY or not all("!" <= c <= "~" for c in value):
        raise table.wrong(
            key, "a secret of printable ASCII without spaces, on one line", "something else (it is not shown)"
        )
    return value
