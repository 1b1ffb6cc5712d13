"""The SDK's client as a gateway needs it: the same requests, without building anew what is the same for each.

Its headers, its authentication, its HTTP client and its errors are the SDK's own; what a message's request does not go
through is its `post`, which would parse a body that is finished (docs/decisions/0007).
"""

import re
import ssl
from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import Any

import aiohttp
import anthropic
import httpx2

# The session's own `request` makes of a body and headers what is ready here, in a task of its own; the connector below
# it gives a connection just the same.
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError, RawResponseMessage

# What `post` makes of its arguments, by default values that are looked up and copied each time.
from anthropic._models import FinalRequestOptions

# Private, but the only way to it: the SDK's public client makes its aiohttp session itself, without bounds of what is
# read ahead and without a socket's options; and other exceptions than these would not be what the SDK expects.
from anthropic._vendor.httpx_aiohttp.transport import (
    AiohttpResponseStream,
    AiohttpTransport,
    map_aiohttp_exceptions,
)
from multidict import CIMultiDict
from yarl import URL

from skills.claude.connector import READ_AHEAD_BYTES

_MESSAGES = "/v1/messages"
_PIECE_BYTES = 4 * 1024  # decoded at a time: whoever reads slowly holds no more of decoded events than this
_FORGED = re.compile(r"[\r\n\0]")
_OF_THE_TRANSFER = frozenset({"content-encoding", "content-length", "transfer-encoding"})
_PLAIN = frozenset({"headers", "timeout", "content", "params", "files"})


class Claude(anthropic.AsyncAnthropic):
    """The SDK's client; what never changes in its requests for messages is put together once."""

    @cached_property
    def _sender(self) -> "Sender":
        sender: Any = self._client
        found: Sender = sender
        return found

    @cached_property
    def default_headers(self) -> dict[str, str | anthropic.Omit]:
        """The headers of every request."""
        return super().default_headers

    @cached_property
    def _outline(self) -> aiohttp.ClientRequest:
        """What every request for a message has in common: where it goes and the SDK's headers."""
        address = URL(str(self.base_url).rstrip("/") + _MESSAGES)
        headers = _headers(self._build_headers(FinalRequestOptions.construct(method="post", url=_MESSAGES)))
        made = aiohttp.ClientRequest("POST", address, headers=headers)
        made.headers.popall("Content-Length", None)
        return made

    @cached_property
    def _head(self) -> bytes:
        return f"POST {self._outline.url.raw_path} HTTP/1.1\r\n{_lines(self._outline.headers)}".encode()

    def asking(self, body: bytes, *, headers: Mapping[str, str]) -> "Asking":
        """Make a request for a message ready to be sent.

        The body goes as it is: the SDK's models would only parse and rebuild it.
        """
        own = _lines(headers).encode()
        written = b"%b%bContent-Length: %d\r\n\r\n%b" % (self._head, own, len(body), body)
        return Asking(self._sender, self._outline, written)

    async def reply(self, asking: "Asking") -> "Reply":
        """Send a request, unless it was sent, and return the reply once its head is there; the caller closes it.

        Raises what the SDK raises.
        """
        try:
            reply = await asking.reply()
        except httpx2.TimeoutException as late:
            raise anthropic.APITimeoutError(request=self._asked()) from late
        except httpx2.HTTPError as broken:
            raise anthropic.APIConnectionError(request=self._asked()) from broken
        if not 200 <= reply.status < 300:
            raise await self._refusal(reply)
        return reply

    def _asked(self) -> httpx2.Request:
        return httpx2.Request("POST", str(self._outline.url))

    async def _refusal(self, reply: "Reply") -> anthropic.APIStatusError:
        """Read an answer that is no success and make the SDK's error of it."""
        try:
            content = b""
            while piece := await reply.read():
                content += piece
        finally:
            reply.close()
        kept = {name: value for name, value in reply.headers.items() if name.lower() not in _OF_THE_TRANSFER}
        response = httpx2.Response(reply.status, headers=kept, content=content, request=self._asked())
        return self._make_status_error_from_response(response)


class Asking:
    """A request for a message that is ready, with a connection if one was at hand; who does not send it drops it."""

    __slots__ = ("_connection", "_is_sent", "_request", "_sender", "_written")

    def __init__(self, sender: "Sender", request: aiohttp.ClientRequest, written: bytes) -> None:
        self._sender = sender
        self._request = request
        self._written = written
        self._is_sent = False
        self._connection = sender.at_hand(request)

    def send(self) -> bool:
        """Send it, if it has a connection that is open, and tell whether it went."""
        connection = self._connection
        protocol = None if connection is None else connection.protocol
        if protocol is None or protocol.transport is None:
            self.drop()
            return False
        self._is_sent = True
        self._sender.heed(protocol)
        protocol.transport.write(self._written)
        if not protocol.writing_paused:  # else it is us who are not done: silence counts from the first answer on
            protocol.start_timeout()
        return True

    def drop(self) -> None:
        """Let go of the connection; one that an answer would come on is closed."""
        connection, self._connection = self._connection, None
        if connection is not None and self._is_sent:
            connection.close()
        elif connection is not None:
            connection.release()

    async def reply(self) -> "Reply":
        """Send it, unless that was done, and return the reply once its head is there."""
        try:
            if not self._is_sent and not self.send():
                self._connection = await self._sender.connected(self._request)
                if not self.send():
                    raise aiohttp.ServerDisconnectedError
            connection: Any = self._connection
            protocol = connection.protocol
            message, body = await protocol.read()
            while message.code < 200:  # "go on": the answer is still to come
                message, body = await protocol.read()
            self._connection = None
            return Reply(connection, message, body)
        except BaseException as raised:
            self.drop()
            if isinstance(raised, HttpProcessingError):
                raise httpx2.RemoteProtocolError(str(raised)) from raised
            with map_aiohttp_exceptions():
                raise


class Reply:
    """The answer to a request for a message: its headers, by names in any case, and its body as it comes in."""

    __slots__ = ("_body", "_connection", "headers", "status")

    def __init__(self, connection: Connection, message: RawResponseMessage, body: aiohttp.StreamReader) -> None:
        self._connection = connection
        self._body = body
        self.status = message.code
        self.headers = message.headers

    @property
    def request_id(self) -> str:
        """The provider's name for the request, in at most 128 characters that can be stored."""
        said: str = self.headers.get("request-id", "")
        return (said if said.isascii() else said.encode("utf-8", "surrogateescape").decode("latin-1"))[:128]

    async def read(self) -> bytes:
        """Return the next piece of the body; nothing at its end. Raises what the SDK's transport raises."""
        try:
            return b"" if self._body.at_eof() else await self._body.read(_PIECE_BYTES)
        except Exception:
            with map_aiohttp_exceptions():
                raise

    def close(self) -> None:
        """Let go of it: a connection on which more would come is closed."""
        self._connection.release()


class Sender(anthropic.DefaultAioHttpClient):
    """The SDK's aiohttp client without what no request to Claude needs: cookies, redirects, merged defaults.

    A redirect is not followed: it would carry a key to where nobody configured it to go.
    """

    def __init__(self, connector: aiohttp.BaseConnector, *, tls: ssl.SSLContext, timeout: httpx2.Timeout) -> None:
        self._connector = connector
        self._patience = _timeout(timeout.connect, timeout.read, timeout.pool)
        session = aiohttp.ClientSession(
            connector=connector, read_bufsize=READ_AHEAD_BYTES, cookie_jar=aiohttp.DummyCookieJar()
        )
        self._way = _Transport(verify=tls, client=session)
        super().__init__(transport=self._way, timeout=timeout, follow_redirects=False)

    def at_hand(self, request: aiohttp.ClientRequest) -> Connection | None:
        """Take a connection that is open and free, if there is one."""
        looking = self._connector._get(request.connection_key, [])  # noqa: SLF001 - its `connect` would open one
        try:
            looking.send(None)
        except StopIteration as found:
            connection: Connection | None = found.value
            return connection
        looking.close()
        return None

    def heed(self, protocol: ResponseHandler) -> None:
        """Have the answer read that is to come on a connection."""
        protocol.set_response_params(
            read_until_eof=True, read_timeout=self._patience.sock_read, read_bufsize=READ_AHEAD_BYTES
        )

    async def connected(self, request: aiohttp.ClientRequest) -> Connection:
        """Take a connection, or open one."""
        try:
            return await self._connector.connect(request, traces=[], timeout=self._patience)
        except TimeoutError as late:
            raise httpx2.ConnectTimeout("No connection came about in time.") from late
        except Exception:
            with map_aiohttp_exceptions():
                raise

    def build_request(self, method: str, url: Any, **rest: Any) -> httpx2.Request:
        """Build a request; one that is no more than a body and headers without what costs most."""
        if rest.keys() - _PLAIN or rest.get("params") or rest.get("files"):
            return super().build_request(method, url, **rest)
        content, timeout = rest.get("content"), rest["timeout"]
        if not isinstance(content, bytes) or not isinstance(timeout, httpx2.Timeout):
            return super().build_request(method, url, **rest)
        body = httpx2.ByteStream(content)
        request = httpx2.Request(
            method, url, headers=rest["headers"], stream=body, extensions={"timeout": timeout.as_dict()}
        )
        request.read()
        return request

    async def send(self, request: httpx2.Request, *, stream: bool = False, **rest: Any) -> httpx2.Response:
        """Send a request and return the response: its head, or with its whole body."""
        if rest:
            return await super().send(request, stream=stream, **rest)
        response = await self._way.handle_async_request(request)
        if not stream:
            try:
                await response.aread()
            finally:
                await response.aclose()
        return response


class _Transport(AiohttpTransport):
    """The SDK's transport, handing headers and URLs over in aiohttp's own forms; those of httpx cost a scan each."""

    client: aiohttp.ClientSession

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request and return the head of its response."""
        patience = request.extensions["timeout"]
        with map_aiohttp_exceptions():
            response = await self.client.request(
                request.method,
                _url(str(request.url)),
                headers=_headers(request.headers),
                data=request.content or None,
                allow_redirects=False,
                auto_decompress=False,
                timeout=_timeout(patience["connect"], patience["read"], patience["pool"]),
            )
        return httpx2.Response(
            status_code=response.status,
            headers=response.raw_headers,
            stream=AiohttpResponseStream(response),
            request=request,
        )


@lru_cache(maxsize=256)
def _url(text: str) -> URL:
    return URL(text)


@lru_cache(maxsize=16)
def _timeout(connect: float | None, read: float | None, pool: float | None) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(sock_connect=connect, sock_read=read, connect=pool)


def _headers(headers: httpx2.Headers) -> CIMultiDict[str]:
    return CIMultiDict((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers.raw)


def _lines(headers: Mapping[str, str]) -> str:
    if _FORGED.search("".join(headers.values())):
        raise ValueError("A header's value is one line.")
    return "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
