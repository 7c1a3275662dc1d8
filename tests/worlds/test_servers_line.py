"""What a server's answer means, and that no secret is in any message."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from autotts.errors import BackendError, InputError
from autotts.worlds.models.entry import Server
from autotts.worlds.servers import Fault, Fleet, Line, Retries
from autotts.worlds.servers.address import address_of
from autotts.worlds.servers.line import pause
from tests.worlds.servers_fakes import KEY, Clock, post, scripted, streamed

SERVER = Server("https://api.example.com/v1", key=KEY)


def end_of(
    response: httpx.Response | Exception,
    attempt: Callable[[Line], Awaitable[Any]] = post,
    server: Server = SERVER,
) -> Exception:
    """How one attempt ends at a server that answers so; never with the key in it."""

    async def handler(request: httpx.Request) -> httpx.Response:
        if isinstance(response, Exception):
            raise response
        return response

    clock = Clock()

    async def main() -> Exception:
        async with clock.fleet(scripted(handler), Retries(tries=1)) as fleet:
            with pytest.raises((Fault, InputError, BackendError)) as caught:
                await fleet.call([server], attempt, tokens=1, what="model S")
            assert KEY not in repr(fleet.standings())
        return caught.value

    end = clock.run(main())
    assert KEY not in str(end) + repr(end) + getattr(end, "said", "")
    return end


def fault_of(response: httpx.Response | Exception, attempt: Callable[[Line], Awaitable[Any]] = post) -> Fault:
    end = end_of(response, attempt)
    assert isinstance(end, Fault)
    return end


@pytest.mark.parametrize("attempt", [post, streamed])
@pytest.mark.parametrize("status", [400, 404, 405, 413, 422])
def test_a_request_that_is_refused(status: int, attempt: Callable[[Line], Awaitable[Any]]) -> None:
    said = f"context is 4096 tokens, key {KEY}"
    for body in ({"error": {"message": said, "code": status}}, {"object": "error", "message": said}, {"detail": said}):
        fault = fault_of(httpx.Response(status, json=body), attempt)
        assert (fault.kind, fault.again, fault.status) == ("request", False, status)
        assert fault.said == "context is 4096 tokens, key ***"
        assert fault.said in str(fault) and str(status) in str(fault) and "api.example.com" in str(fault)


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_refused(status: int) -> None:
    end = end_of(httpx.Response(status, json={"error": {"message": f"Incorrect API key provided: {KEY}"}}))
    assert isinstance(end, InputError)
    assert "https://api.example.com/v1" in str(end) and "key was refused" in str(end) and "***" in str(end)
    end = end_of(httpx.Response(status), server=Server(SERVER.url))
    assert "none is given" in str(end)


def test_redirects_are_refused() -> None:
    where = f"https://ann:{KEY}@elsewhere.example.org/v2?key={KEY}"
    end = end_of(httpx.Response(307, headers={"Location": where}))
    assert isinstance(end, InputError)
    assert "elsewhere.example.org/v2" in str(end) and "not followed" in str(end)
    assert isinstance(end_of(httpx.Response(301, headers={"Location": "http://[bad"})), InputError)


@pytest.mark.parametrize(("status", "kind"), [(500, "server"), (502, "server"), (504, "server"), (408, "server")])
def test_a_broken_server_says_so_without_its_tags(status: int, kind: str) -> None:
    html = f"<html><head><title>x</title></head><body><h1>Bad  gateway</h1><p>{KEY}</p></body></html>"
    fault = fault_of(httpx.Response(status, html=html))
    assert (fault.kind, fault.again, fault.said) == (kind, True, "Bad gateway ***")


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_says_how_long(status: int) -> None:
    fault = fault_of(httpx.Response(status, headers={"Retry-After": "2.5"}, text="slow down"))
    assert (fault.kind, fault.again, fault.wait) == ("busy", True, 2.5)


def test_retry_after() -> None:
    date = {"retry-after": "Wed, 21 Oct 2015 07:29:00 GMT"}
    assert pause(date | {"date": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 60.0
    assert pause(date | {"date": "Wed, 21 Oct 2015 08:28:00 GMT"}) == 0.0
    for unsaid in (
        date,
        date | {"date": "Wed, 21 Oct 2015 07:28:00"},
        {"retry-after": "nan"},
        {"retry-after": "soon"},
        {},
    ):
        assert pause(unsaid) == 0.0
    assert pause({"retry-after": "inf"}) == pause({"retry-after": "99999999"}) == 3600.0


@pytest.mark.parametrize(
    "body", ["", "[1]", "nope", '{"a":', "<html><body>Welcome to nginx</body></html>", "[" * 99999]
)
def test_what_is_no_json_object_is_nonsense(body: str) -> None:
    for attempt in (post, streamed):
        fault = fault_of(httpx.Response(200, text=body), attempt)
        assert fault.kind == "nonsense" and fault.again and len(str(fault)) < 600
        assert "<" not in fault.said


def test_a_body_that_is_packed_is_nonsense() -> None:
    fault = fault_of(httpx.Response(200, headers={"Content-Encoding": "br"}, stream=httpx.ByteStream(b"\x00\x01")))
    assert fault.kind == "nonsense" and "br" in str(fault)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (httpx.ConnectError("refused"), "refused"),
        (httpx.ConnectTimeout(""), "refused"),
        (httpx.ReadTimeout(""), "timeout"),
        (httpx.ReadError(""), "reset"),
        (httpx.RemoteProtocolError("Server disconnected without sending a response."), "reset"),
        (httpx.RemoteProtocolError("illegal status line"), "nonsense"),
    ],
)
def test_what_a_transport_says(error: Exception, kind: str) -> None:
    assert fault_of(error).kind == kind


@pytest.mark.parametrize(
    "error", [httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed"), httpx.ProxyError("407")]
)
def test_what_no_try_can_help(error: Exception) -> None:
    assert isinstance(end_of(error), InputError)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8000",
        "ftp://h/v1",
        "http://",
        "http:///v1",
        "http://h:0/v1",
        "http://h:99999/v1",
        "http://[::1/v1",
        "http://h/v 1",
        "http://h/v1#x",
        "http://h\r\nX-Evil: 1/v1",
        f"http://ann:{KEY}@h:x/v1?key={KEY}",
    ],
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(InputError, match="up to the version") as caught:
        address_of(Server(url))
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("key", ["", "a b", "a\n", "schlüssel"])
def test_a_key_that_cannot_be_sent(key: str) -> None:
    with pytest.raises(InputError, match="printable ASCII") as caught:
        address_of(Server("http://h/v1", key=key))
    assert not key or key not in str(caught.value)


def test_addresses() -> None:
    address = address_of(Server(f"https://ann:{KEY}@[::1]:8443/proxy/v1/?api-version=2024"))
    assert (address.host, address.port, address.shown) == ("::1", 8443, "https://[::1]:8443/proxy/v1/")
    assert address.origin == "https://[::1]:8443"
    assert address.target("/chat") == "/proxy/v1/chat?api-version=2024"
    assert address.target("../tokenize") == "/proxy/tokenize?api-version=2024"
    assert KEY not in repr(address) and address.hide(f"x {KEY} y") == "x *** y"
    assert address_of(Server("http://h")).target("../health") == "/health"


def test_an_excerpt_is_cut_after_the_secrets_are_hidden() -> None:
    address = address_of(SERVER)
    for before in range(260, 300):
        assert KEY[:8] not in address.excerpt("x" * before + KEY)


def test_proxies() -> None:
    proxies = {"https": "http://ann:pw-secret@127.0.0.1:1", "no": "localhost, .internal,10.0.0.1:80"}

    async def main(url: str) -> Exception:
        async with Fleet(proxies=proxies, retries=Retries(tries=1)) as fleet:
            with pytest.raises((Fault, InputError)) as caught:
                await fleet.call([Server(url)], post, tokens=1, what="t")
        return caught.value

    assert "pw-secret" not in str(asyncio.run(main("https://api.invalid/v1")))
    fleet = Fleet(proxies=proxies)
    through = {
        url: fleet._proxy(address_of(Server(url))) for url in ("https://h/v1", "http://h/v1", "https://localhost")
    }
    assert list(through.values()) == [proxies["https"], None, None]
    assert fleet._proxy(address_of(Server("https://a.internal/v1"))) is None
