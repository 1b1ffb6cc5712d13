"""The SDK's client as a gateway needs it: the same requests, without building anew what is the same for each.

Only what the SDK offers for it is overridden: its default headers, and the HTTP client that is handed to it.
"""

from collections.abc import AsyncIterable, Callable
from functools import cached_property, lru_cache
from typing import Any

import aiohttp
import anthropic
import httpx2

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

_MESSAGES = "/v1/messages"
_PLAIN = frozenset({"headers", "timeout", "content", "params", "files"})


class Claude(anthropic.AsyncAnthropic):
    """The SDK's client; its default headers, which never change, are put together once."""

    @cached_property
    def default_headers(self) -> dict[str, str | anthropic.Omit]:
        """The headers of every request."""
        return super().default_headers

    @cached_property
    def _messages(self) -> FinalRequestOptions:
        # With the whole URL, parsed: the SDK would put it together and parse it for each request.
        url: Any = httpx2.URL(str(self.base_url).rstrip("/") + _MESSAGES)
        return FinalRequestOptions.construct(method="post", url=url)

    async def stream(self, body: bytes, *, headers: dict[str, str]) -> httpx2.Response:
        """Ask for a message and return the response once its head is there; the caller closes it.

        The body goes as it is: the SDK's models would only parse and rebuild it. Raises what the SDK raises.
        """
        options = self._messages.model_copy(update={"content": body, "headers": headers})
        response: Any = await self.request(httpx2.Response, options, stream=True, stream_cls=anthropic.AsyncStream[Any])
        found: httpx2.Response = response
        return found


def lowered(response: httpx2.Response) -> dict[str, str]:
    """Return a response's headers by their names in lower case, for who looks up many of them."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers.raw}


def chunks(response: httpx2.Response) -> AsyncIterable[bytes]:
    """Return the pieces of a response's body as they come in, decompressed where they have to be."""
    stream = response.stream
    if isinstance(stream, AiohttpResponseStream) and "content-encoding" not in response.headers:
        return stream
    return response.aiter_bytes()


class Sender(anthropic.DefaultAioHttpClient):
    """The SDK's aiohttp client without what no request to Claude needs: cookies, redirects, merged defaults.

    A redirect is not followed: it would carry a key to where nobody configured it to go.
    """

    def __init__(self, session: Callable[[], aiohttp.ClientSession], *, timeout: httpx2.Timeout) -> None:
        self._way = _Transport(client=session)
        super().__init__(transport=self._way, timeout=timeout, follow_redirects=False)

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

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request and return the head of its response."""
        if not isinstance(self.client, aiohttp.ClientSession):
            self.client = self.get_client()
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
