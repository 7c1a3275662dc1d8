"""Where a server is and how it is told who asks; what must not be shown of it is hidden here."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from autotts.errors import InputError
from autotts.worlds.models.entry import Server

_SHORTEST_SECRET = 4  # of what is hidden in texts; shorter ones would blacken plain words
_MOST_SAID = 300  # characters of what a server said


@dataclass(frozen=True, slots=True)
class Address:
    """A server's address, taken apart; `path` has no slash at its end, `shown` has no secrets."""

    secure: bool
    host: str
    port: int
    path: str
    query: str
    shown: str
    login: str | None = field(default=None, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @property
    def origin(self) -> str:
        """Scheme, host and port, as in a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = 443 if self.secure else 80
        return f"{'https' if self.secure else 'http'}://{host}" + (f":{self.port}" if self.port != usual else "")

    def target(self, path: str) -> str:
        """The request's target: below the version, or beside it where `path` begins with "../"."""
        if path.startswith("../"):
            whole = self.path.rpartition("/")[0] + path[2:]
        else:
            whole = self.path + path
        return f"{whole}?{self.query}" if self.query else whole

    def hide(self, text: str) -> str:
        """The text without the secrets."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text

    def excerpt(self, text: str) -> str:
        """A short piece of what a server said: on one line, sound, without the secrets."""
        words = self.hide(" ".join(text.split()))
        words = words if len(words) <= _MOST_SAID else words[: _MOST_SAID - 3] + "..."
        return words.encode("utf-8", "replace").decode()


def address_of(server: Server) -> Address:
    """Take a server's address apart.

    Raises
    ------
    InputError
        When it is none, or its key cannot be sent.
    """
    try:
        parts = urlsplit(server.url)
        host, port = parts.hostname, parts.port
        if parts.scheme not in ("http", "https") or not host or port == 0 or parts.fragment or not _plain(server.url):
            raise ValueError
        host = host if host.isascii() else host.encode("idna").decode()
    except ValueError:
        raise InputError(
            "the address of a server: expected one up to the version, such as http://localhost:8000/v1, "
            f"found {_guess(server.url)!r}"
        ) from None
    if server.key is not None and not (server.key and all("!" <= c <= "~" for c in server.key)):
        raise InputError(
            f"the key of {_guess(server.url)}: expected printable ASCII without spaces (it is not shown here)"
        )
    secure = parts.scheme == "https"
    netloc = parts.netloc.rpartition("@")[2]
    shown = f"{parts.scheme}://{netloc}{parts.path}"
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    login = None
    if server.key is not None:
        login = f"Bearer {server.key}"
    elif parts.username is not None:
        login = "Basic " + b64encode(f"{user}:{password}".encode()).decode()
    secrets = {server.key or "", password, parts.password or "", (login or "").partition(" ")[2]}
    secrets |= {value for _, value in parse_qsl(parts.query)}
    return Address(
        secure=secure,
        host=host,
        port=port or (443 if secure else 80),
        path=parts.path.rstrip("/"),
        query=parts.query,
        shown=shown,
        login=login,
        secrets=tuple(sorted((s for s in secrets if len(s) >= _SHORTEST_SECRET), key=len, reverse=True)),
    )


def _plain(url: str) -> bool:
    return all(c > " " and c != "\x7f" for c in url)


def _guess(url: str) -> str:
    """As much of a faulty address as holds no secrets."""
    return "".join(c for c in url.partition("?")[0].rpartition("@")[2] if c.isprintable())[:200]
