"""One HTTP request and its answer, as the endpoints see it and as uvicorn's protocol expects a cycle to be."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from emulator.refusals import Refused
from emulator.signals import Signal
from emulator.state import identity

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from emulator.protocol import Connection

JSON = b"content-type: application/json\r\n"
_PLAIN = b"content-type: text/plain; charset=utf-8\r\n"

BODY_LIMIT = 32 * 1024 * 1024
# A body over the limit is read to its end (up to this) and thrown away: a client that is still writing
# would otherwise see a broken pipe in place of the 413.
_DISCARD_LIMIT = 8 * BODY_LIMIT


class Exchange:
    """A request under way.

    uvicorn's protocol feeds `body`, `more_body` and `message_event`, and heeds `response_complete`; `disconnected` and
    `keep_alive` it sets. Headers to be sent are lines as they go over the wire: all of them are the emulator's own.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        method: str,
        path: str,
        query: str,
        fields: dict[bytes, bytes],
        keep_alive: bool,
    ) -> None:
        self.method, self.path, self.query = method, path, query
        self.request_id = identity("req")
        self.status = 0
        self.extra_headers = b""
        self.body = bytearray()
        self.more_body = True
        self.message_event = Signal()
        self.departure = Signal()
        self.disconnected = False
        self.response_complete = False
        self.keep_alive = keep_alive
        self._connection = connection
        self._fields = fields
        self._is_chunked = False

    async def run_asgi(self, app: Callable[[Exchange], Awaitable[None]]) -> None:
        """Have the request answered; without a whole answer the connection ends."""
        try:
            await app(self)
        finally:
            if not self.response_complete and not self.disconnected:
                self._give_up()

    def header(self, name: bytes) -> str:
        """Return a request header, or an empty text."""
        return self._fields.get(name, b"").decode("latin-1")

    async def read(self) -> bytes:
        """Return the request's body; one over the limit is a 413."""
        self._invite()
        parts: list[bytes] = []
        size = 0
        while size <= _DISCARD_LIMIT:
            await self._hear()
            if self.disconnected:
                break
            size += len(self.body)
            if size <= BODY_LIMIT:
                parts.append(bytes(self.body))
            self.body.clear()
            if not self.more_body:
                break
        self._connection.flow.resume_reading()
        if size > BODY_LIMIT:
            raise Refused(413, "Request exceeds the maximum size")
        return b"".join(parts)

    async def respond(self, body: bytes, *, status: int = 200, headers: bytes = JSON) -> None:
        """Send a whole answer."""
        await self.start(status=status, headers=headers, length=len(body))
        await self.write(body, is_last=True)

    async def start(self, *, headers: bytes, status: int = 200, length: int | None = None) -> None:
        """Send the status and the headers; a body of unknown length goes in chunks."""
        self.status = status
        self._is_chunked = length is None and self.method != "HEAD"
        lines = [self._connection.opening(status), headers]
        if length is not None:
            lines.append(b"content-length: %d\r\n" % length)
        lines += (b"request-id: %b\r\n" % self.request_id.encode(), self.extra_headers)
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
        if self._is_chunked:
            lines.append(b"transfer-encoding: chunked\r\n")
        lines.append(b"\r\n")
        self.extra_headers = b""
        await self._send(b"".join(lines))

    async def write(self, body: bytes, *, is_last: bool = False) -> None:
        """Send a part of the body."""
        if self._is_chunked:
            body = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            body += b"0\r\n\r\n" if is_last else b""
        await self._send(body if self.method != "HEAD" else b"")
        if is_last and not self.disconnected:
            self._complete()

    async def pause(self, seconds: float) -> bool:
        """Wait, or give others a turn; tell whether the client is still there."""
        if seconds > 0:
            await self.departure.wait(seconds=seconds)
        else:
            await asyncio.sleep(0)
        return not self.disconnected

    async def sever(self, *, with_reset: bool) -> None:
        """End the connection abruptly; what was written before is given the time to leave."""
        if self.status:
            await asyncio.sleep(0.02)
        self.disconnected = True
        self._connection.sever(with_reset=with_reset)

    def _invite(self) -> None:
        """Tell a client that waits to be told so that its body is welcome."""
        if self.header(b"expect").lower() == "100-continue" and not self._connection.transport.is_closing():
            self._connection.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    async def _hear(self) -> None:
        """Wait for more of the body, for its end, or for the client's."""
        if not self.disconnected:
            self._connection.flow.resume_reading()
            await self.message_event.wait()
            self.message_event.clear()

    async def _send(self, data: bytes) -> None:
        flow = self._connection.flow
        if flow.write_paused and not self.disconnected:
            await flow.drain()
        if not self.disconnected:
            self._connection.transport.write(data)

    def _complete(self) -> None:
        self.response_complete = True
        if not self.keep_alive:
            self._connection.transport.close()
        self._connection.on_response_complete()

    def _give_up(self) -> None:
        """End an exchange that a stop of the emulator has cut short."""
        if not self.status:
            head = _PLAIN + b"content-length: 21\r\nconnection: close\r\n\r\n"
            self._connection.transport.write(self._connection.opening(500) + head + b"Internal Server Error")
        self._connection.transport.close()
