"""An HTTP client that never reaches into our own network, decided at connect time, where no name can change any more."""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Iterable, Sequence
from typing import Any

import httpcore2
import httpx2
from django.conf import settings

from kit.errors import InvalidRequest

SECONDS = 10.0
_MOST_URL = 2048
_TUNNELS = tuple(
    ipaddress.ip_network(net)
    for net in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "::/96", "fec0::/10")
)
_TROUBLE = (httpx2.HTTPError, httpx2.InvalidURL, httpcore2.ConnectError, OSError, ValueError)


class Undelivered(Exception):
    """There was no answer; the message says why, in our words."""


async def post(url: str, *, body: bytes, headers: dict[str, str]) -> int:
    """Send a message and return the status; it follows no redirect. Raises `Undelivered`."""
    try:
        async with (
            asyncio.timeout(SECONDS),
            _client() as client,
            client.stream("POST", url, content=body, headers=headers) as response,
        ):
            return int(response.status_code)
    except TimeoutError as late:
        raise Undelivered("no answer in time") from late
    except _TROUBLE as trouble:
        raise Undelivered(_words(trouble)) from trouble


def check_url(url: str, *, path: str) -> str:
    """Return a URL that messages may be sent to; raises `InvalidRequest`."""
    try:
        parsed = httpx2.URL(url)
    except (httpx2.InvalidURL, ValueError):
        parsed = httpx2.URL("")
    is_plain = parsed.scheme == "http" and bool(_allowed_networks())
    if not parsed.host or len(url) > _MOST_URL or not (parsed.scheme == "https" or is_plain) or parsed.userinfo:
        raise InvalidRequest("A webhook's URL begins with https://, names a host and no user.", path=path)
    literal = _literal(parsed.host)
    if literal is not None and not is_allowed(literal):
        raise InvalidRequest("A webhook's URL must lead to the public internet.", path=path)
    return str(parsed)


def is_allowed(address: str) -> bool:
    """Tell whether messages may be sent to an address: public ones, and those the operator named."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if any(found.version == network.version and found in network for network in _allowed_networks()):
        return True
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return is_allowed(str(found.ipv4_mapped))
        if any(found in network for network in _TUNNELS):
            return False
    return found.is_global and not (found.is_multicast or found.is_reserved or found.is_unspecified)


class _Refused(httpcore2.ConnectError):
    """The name leads where no message goes."""


class _PublicOnly(httpcore2.AsyncNetworkBackend):
    """Resolves a name once, looks at every address, and connects to one of those it looked at."""

    def __init__(self) -> None:
        self._inner = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to a host unless one of its addresses is not public."""
        addresses = await _resolved(host, port)
        if not addresses or not all(map(is_allowed, addresses)):
            raise _Refused("the host is not on the public internet")
        return await self._inner.connect_tcp(
            addresses[0], port, timeout=timeout, local_address=local_address, socket_options=socket_options
        )

    async def connect_unix_socket(self, *_: Any, **__: Any) -> httpcore2.AsyncNetworkStream:
        """Refuse."""
        raise _Refused("no sockets of the machine")

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await self._inner.sleep(seconds)


def _client() -> httpx2.AsyncClient:
    transport = httpx2.AsyncHTTPTransport()
    # httpx has no parameter for the network backend; its pool is httpcore's, which has.
    transport._pool = httpcore2.AsyncConnectionPool(  # noqa: SLF001 - the reason is the line above
        ssl_context=ssl.create_default_context(), network_backend=_PublicOnly(), max_keepalive_connections=0
    )
    return httpx2.AsyncClient(transport=transport, follow_redirects=False, trust_env=False, timeout=SECONDS)


async def _resolved(host: str, port: int) -> list[str]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise _Refused("the host has no address") from error
    return [str(one[4][0]) for one in found]


def _literal(host: str) -> str | None:
    try:
        return str(ipaddress.ip_address(host.strip("[]").partition("%")[0]))
    except ValueError:
        return None


def _allowed_networks() -> Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    return [ipaddress.ip_network(one) for one in settings.WEBHOOK_ALLOWED_NETWORKS]


def _words(trouble: Exception) -> str:
    cause: BaseException | None = trouble
    while cause is not None:
        if isinstance(cause, _Refused):
            return str(cause)
        cause = cause.__cause__ or cause.__context__
    if isinstance(trouble, httpx2.TimeoutException):
        return "no answer in time"
    return f"no connection ({type(trouble).__name__})"
