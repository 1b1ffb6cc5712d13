"""One HTTP request and its answer, with what plain ASGI leaves to the application."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from emulator.protocol import EXTENSION
from emulator.refusals import Refused

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

BODY_LIMIT = 32 * 1024 * 1024
# A body over the limit is read to its end (up to this) and thrown away: a client that is still writing
# would otherwise see a broken pipe in place of the 413.
_DISCARD_LIMIT = 8 * BODY_LIMIT
_JSON = (b"content-type", b"application/json")
# Shorter pauses are slept through; a client that leaves is noticed at their end.
_NAP = 0.05


class Exchange:
    """A request under way."""

    def __init__(self, scope: Message, receive: Receive, send: Send, *, request_id: str) -> None:
        self.scope = scope
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.request_id = request_id
        self.status = 0
        self.extra_headers: list[tuple[bytes, bytes]] = []
        self._receive = receive
        self._send = send
        self._watch: asyncio.Task[None] | None = None

    def header(self, name: bytes) -> str:
        """Return a request header, or an empty text."""
        return next((value.decode("latin-1") for key, value in self.scope["headers"] if key == name), "")

    async def body(self) -> bytes:
        """Return the request's body; one over the limit is a 413."""
        parts: list[bytes] = []
        size = 0
        while size <= _DISCARD_LIMIT:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                break
            size += len(message.get("body", b""))
            if size <= BODY_LIMIT:
                parts.append(message.get("body", b""))
            if not message.get("more_body"):
                break
        if size > BODY_LIMIT:
            raise Refused(413, "Request exceeds the maximum size")
        return b"".join(parts)

    async def respond(self, body: bytes, *, status: int = 200, headers: dict[str, str] | None = None) -> None:
        """Send a whole answer, JSON unless the headers say otherwise."""
        own = [(name.encode(), value.encode("latin-1", "replace")) for name, value in (headers or {}).items()]
        kind = [] if headers and "content-type" in headers else [_JSON]
        await self.start(status=status, headers=[*kind, *own, (b"content-length", str(len(body)).encode())])
        await self.write(body, is_last=True)

    async def start(self, *, headers: list[tuple[bytes, bytes]], status: int = 200) -> None:
        """Send the status and the headers."""
        self.status = status
        identity = (b"request-id", self.request_id.encode())
        everything = [*headers, identity, *self.extra_headers]
        await self._send({"type": "http.response.start", "status": status, "headers": everything})

    async def write(self, body: bytes, *, is_last: bool = False) -> None:
        """Send a part of the body."""
        await self._send({"type": "http.response.body", "body": body, "more_body": not is_last})

    async def pause(self, seconds: float) -> bool:
        """Wait, or give others a turn; tell whether the client is still there."""
        watch = self._watching()
        if seconds <= _NAP:
            await asyncio.sleep(max(0.0, seconds))
        else:
            await asyncio.wait([watch], timeout=seconds)
        return not watch.done()

    async def sever(self, *, with_reset: bool) -> None:
        """End the connection abruptly; what was written before is given the time to leave."""
        if self.status:
            await asyncio.sleep(0.02)
        self.close()
        sever = self.scope.get("extensions", {}).get(EXTENSION)
        if sever is not None:
            sever(with_reset=with_reset)

    def close(self) -> None:
        """Stop watching for the client."""
        if self._watch is not None:
            self._watch.cancel()

    def _watching(self) -> asyncio.Task[None]:
        if self._watch is None:
            self._watch = asyncio.create_task(self._until_gone())
        return self._watch

    async def _until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
