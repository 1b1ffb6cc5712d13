"""The connections to Claude: how many, how they are opened, and how little is read ahead on them."""

import asyncio
import socket
import ssl
from functools import lru_cache, partial
from ipaddress import ip_address
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler

READ_AHEAD_BYTES = 8 * 1024
_CONNECTIONS = 4_000
_KEEPALIVE_SECONDS = 30.0
_Address = tuple[str, int]


class Connector(aiohttp.TCPConnector):
    """aiohttp's connector, with what an address by its number does not need left out as it opens a connection.

    Little is read ahead: a reader of ours that stops may not cost more than some dozens of KiB upstream.
    """

    def __init__(self, *, tls: ssl.SSLContext) -> None:
        super().__init__(limit=_CONNECTIONS, keepalive_timeout=_KEEPALIVE_SECONDS, ssl=tls, socket_factory=_socket_for)
        end: type[ResponseHandler] = _End
        self._factory = partial(end, loop=self._loop)

    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Any],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's signature
    ) -> ResponseHandler:
        """Open a connection to an address; a name is looked up, a proxy asked and TLS begun by aiohttp."""
        address = None if req.proxy or req.is_ssl() else _address(req.url.raw_host or "", req.port or 0)
        if address is None:
            return await super()._create_connection(req, traces, timeout)
        family, to = address
        made = _small_socket(family)
        try:
            made.settimeout(0)
            if made.connect_ex(to) and made.connect_ex(to):  # what is near has answered when it is asked again
                async with asyncio.timeout(timeout.sock_connect):
                    await self._loop.sock_connect(made, to)
        except BaseException as raised:
            made.close()
            if isinstance(raised, OSError) and raised.errno is not None:  # else it is the time that is over
                raise aiohttp.ClientConnectorError(req.connection_key, raised) from raised
            raise
        _, protocol = await self._loop.create_connection(self._factory, sock=made)
        return protocol


class _End(ResponseHandler):
    """aiohttp's end of a connection; for each piece that comes it would set a timer anew and ask the parser for more."""

    _heard_at = 0.0

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: FBT001, FBT002 - aiohttp's signature
        """Read on, if reading was paused: else nothing waits in the parser."""
        if self._reading_paused:
            super().resume_reading(resume_parser)

    def _reschedule_timeout(self) -> None:
        self._heard_at = self._loop.time()
        if self._read_timeout_handle is None:
            super()._reschedule_timeout()

    def _on_read_timeout(self) -> None:
        left = self._heard_at + (self._read_timeout or 0.0) - self._loop.time()
        if left > 0:
            self._read_timeout_handle = self._loop.call_later(left, self._on_read_timeout)
        else:
            super()._on_read_timeout()


@lru_cache(maxsize=16)
def _address(host: str, port: int) -> tuple[socket.AddressFamily, _Address] | None:
    """Return the address that a host is given by; none for a name."""
    try:
        version = ip_address(host).version
    except ValueError:
        return None
    return (socket.AF_INET if version == 4 else socket.AF_INET6), (host, port)


def _socket_for(address: Any) -> socket.socket:
    family, kind, protocol, _, _ = address
    return _small_socket(family, kind, protocol)


def _small_socket(family: int, kind: int = socket.SOCK_STREAM, protocol: int = 0) -> socket.socket:
    made = socket.socket(family=family, type=kind, proto=protocol)
    if hasattr(socket, "TCP_WINDOW_CLAMP"):  # not SO_RCVBUF, which counts small packets many times over and stalls
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_WINDOW_CLAMP, 2 * READ_AHEAD_BYTES)
    return made
