"""Who may ask: the keys that clients show, and what each client may have."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from autotts.core.cost import Amount, parse_amount
from autotts.errors import InputError
from autotts.worlds.models.table import Table

VARIABLE: Final = "AUTOTTS_API_KEY"  # holds the one key where no file is given
PERIODS: Final = ("day", "hour", "month", "ever")
_SHORTEST: Final = 16  # characters of a key: fewer can be guessed
_LONGEST: Final = 1 << 20  # bytes of a file of keys
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_DIGEST: Final = re.compile(r"[0-9a-fA-F]{64}")
_FORMS: Final = ("key", "key_sha256", "key_env")
_KNOWN: Final = (*_FORMS, "requests_per_minute", "at_once", "budget", "per", "admin")
_MAKE: Final = 'python -c "import secrets; print(secrets.token_urlsafe(32))"'


@dataclass(frozen=True, slots=True)
class Client:
    """Who asks, and what it may have; None is no limit.

    Parameters
    ----------
    name
        Stands in metrics and logs.
    at_once
        Requests that run at one time.
    requests_per_minute
        Requests that are let in.
    budget, per
        What its requests may cost in a day, hour or month of UTC, or ever.
    admin
        May read the metrics.
    """

    name: str
    at_once: int | None = None
    requests_per_minute: float | None = None
    budget: Amount | None = None
    per: str = "day"
    admin: bool = False


ANYONE: Final = Client("anyone", admin=True)  # who asks a server that wants no key


class Keys:
    """The keys of all clients; only their digests are kept.

    Parameters
    ----------
    clients
        Each client by the SHA-256 of its key; no clients let anyone in.
    warnings
        What is not wrong, but should be seen to.
    """

    __slots__ = ("_clients", "warnings")

    def __init__(self, clients: Mapping[bytes, Client], warnings: tuple[str, ...] = ()) -> None:
        self._clients = tuple(clients.items())
        self.warnings = warnings

    def __repr__(self) -> str:
        return f"Keys({', '.join(client.name for client in self.clients) or 'anyone'})"

    @classmethod
    def none(cls) -> Keys:
        """No keys: anyone is let in."""
        return cls({})

    @classmethod
    def load(cls, path: Path | None, environ: Mapping[str, str]) -> Keys:
        """The keys of a file, or the one of the environment variable AUTOTTS_API_KEY, or none.

        A file whose name ends in .toml has a table `[clients.NAME]` for each client; any other has a key a line, and
        `#` before comments.

        Raises
        ------
        InputError
            Cannot be read, or something in it is wrong: file, place, expected, found. No key is shown.
        """
        if path is None:
            key = environ.get(VARIABLE, "").strip()
            return cls({_digest(_sound(key, VARIABLE)): Client("key", admin=True)}) if key else cls.none()
        text = _text(path)
        clients = _tables(path, text, environ) if path.suffix == ".toml" else _lines(path, text)
        if not clients:
            raise InputError(f"{path}: expected one key at least, found none; make one by {_MAKE}")
        return cls(clients, _warnings(path))

    @property
    def clients(self) -> tuple[Client, ...]:
        """All clients, in the order of the file."""
        return tuple(client for _, client in self._clients)

    def who(self, headers: Mapping[str, str]) -> Client | None:
        """Whose key a request shows; None for no key or a wrong one.

        Parameters
        ----------
        headers
            Those of the request, by names in lower case: `authorization: Bearer KEY`, `api-key` or `x-api-key`.
        """
        if not self._clients:
            return ANYONE
        shown = _digest(_shown(headers))
        found = None
        for digest, client in self._clients:  # all of them, so that the time says nothing about which
            if hmac.compare_digest(digest, shown):
                found = client
        return found


def check_units(keys: Keys, unit: str) -> None:
    """See that the clients' budgets are in the unit that the policy counts in.

    Raises
    ------
    InputError
        One is not; it names the client.
    """
    for client in keys.clients:
        if client.budget is not None and client.budget.unit != unit:
            raise InputError(
                f"clients.{client.name}.budget: expected an amount in {unit}, which the policy counts in, found "
                f"{client.budget}; write it in {unit}"
            )


def refuses(host: str, keys: Keys) -> None:
    """See that no server without a key listens beyond this machine.

    Raises
    ------
    InputError
        It would; says what to do.
    """
    if keys.clients or _is_local(host):
        return
    raise InputError(
        f"--host {host}: expected a key for a server that others can reach, found none: anyone could spend your "
        f"compute; put a key into a file ({_MAKE} > keys.txt) and give --api-key-file keys.txt, or set {VARIABLE}, or "
        "listen on 127.0.0.1 only"
    )


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _shown(headers: Mapping[str, str]) -> str:
    """The key that a request shows; "", which is nobody's, where it shows none."""
    scheme, _, key = headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() == "bearer":
        return key.strip()
    return headers.get("api-key") or headers.get("x-api-key") or ""


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def _sound(key: str, where: str) -> str:
    if not all("!" <= c <= "~" for c in key):
        raise InputError(f"{where}: expected a key of printable ASCII without spaces, found something else (not shown)")
    if len(key) < _SHORTEST:
        raise InputError(
            f"{where}: expected a key of at least {_SHORTEST} characters, found {len(key)}; make one by {_MAKE}"
        )
    return key


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(_LONGEST + 1)
        if len(raw) > _LONGEST:
            raise InputError(f"{path}: expected a file of keys, found more than {_LONGEST} bytes")
        return raw.decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: expected a file of keys, found none: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: expected text in UTF-8, found other bytes") from None


def _lines(path: Path, text: str) -> dict[bytes, Client]:
    """Of a file with a key a line; all of them may do the same."""
    clients: dict[bytes, Client] = {}
    for number, line in enumerate(text.splitlines(), 1):
        key = line.partition("#")[0].strip()
        if key:
            where = f"{path}: line {number}"
            _add(clients, _digest(_sound(key, where)), Client(f"key-{len(clients) + 1}", admin=True), where)
    return clients


def _tables(path: Path, text: str, environ: Mapping[str, str]) -> dict[bytes, Client]:
    try:
        data: dict[str, Any] = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        # Where it is wrong, not what stands there, which may be a key.
        place = re.search(r"\(at [^()]*\)$", str(error))
        raise InputError(f"{path}: expected TOML, found something else {place[0] if place else ''}".rstrip()) from None
    Table(str(path), "the file", data).only(("clients",), "; tables of clients are named [clients.NAME]")
    own = Table(str(path), "the file", data).table("clients")
    table = Table(str(path), "clients", own.data)
    clients: dict[bytes, Client] = {}
    for name in table.data:
        if not _NAME.fullmatch(name):
            raise InputError(
                f"{path}: clients: expected names of up to 64 letters, digits, _ . and -, found {name[:80]!r}"
            )
        one = table.table(name)
        one.only(_KNOWN)
        _add(clients, _digest_of(one, environ), _client(name, one), f"{path}: {one.place}")
    return clients


def _client(name: str, table: Table) -> Client:
    budget = table.text("budget")
    if "per" in table.data and not budget:
        raise table.wrong("per", 'a budget beside it, such as budget = "1e18flops"', "none")
    where = f"{table.file}: {table.place}.budget"
    return Client(
        name,
        table.whole("at_once"),
        table.number("requests_per_minute", above=0),
        parse_amount(budget, where) if budget else None,
        table.choice("per", PERIODS, "day"),
        bool(table.flag("admin")),
    )


def _digest_of(table: Table, environ: Mapping[str, str]) -> bytes:
    """The digest of the key of a client, which is given in one of three forms."""
    given = [form for form in _FORMS if form in table.data]
    where = f"{table.file}: {table.place}"
    if len(given) != 1:
        raise InputError(f"{where}: expected one of {', '.join(_FORMS)}, found {' and '.join(given) or 'none'}")
    form, value = given[0], table.data[given[0]]
    where = f"{where}.{form}"
    if not isinstance(value, str):
        raise InputError(f"{where}: expected a text, found something else (not shown)")
    if form == "key_sha256":
        if not _DIGEST.fullmatch(value):
            raise InputError(f"{where}: expected the 64 hexadecimal digits of a SHA-256, found something else")
        return bytes.fromhex(value)
    if form == "key_env":
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
            raise InputError(f"{where}: expected the name of an environment variable, found something else (not shown)")
        key = environ.get(value, "").strip()
        if not key:
            raise InputError(f"{where}: expected the environment variable {value} to be set, found it empty or not set")
        return _digest(_sound(key, where))
    return _digest(_sound(value, where))


def _add(clients: dict[bytes, Client], digest: bytes, client: Client, where: str) -> None:
    if digest in clients:
        raise InputError(f"{where}: expected keys that differ, found the one of {clients[digest].name} again")
    clients[digest] = client


def _warnings(path: Path) -> tuple[str, ...]:
    if os.name != "posix" or not path.stat().st_mode & 0o077:
        return ()
    return (f"{path}: other users of this machine can read or change the keys; chmod 600 keeps them out",)
