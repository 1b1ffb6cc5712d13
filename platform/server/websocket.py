"""One WebSocket: backpressure in both directions, and a close code that says why.

Names in camel case are autobahn's, which calls them.
"""

# daphne has no types, and autobahn's names are in camel case:
# mypy: allow-untyped-calls, allow-subclassing-any
# ruff: noqa: N802

import asyncio
from typing import Any

from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol

from server import limits
from server.flow import Flow

SERVICE_RESTART = 1012
INTERNAL_ERROR = 1011
NORMAL = 1000


class HardenedSocket(WebSocketProtocol):
    """daphne's WebSocket, which stops reading when the application does not keep up."""

    muted: bool
    application_queue: asyncio.Queue[dict[str, Any]]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.flow = Flow()
        self._inbox_bytes = 0
        self._is_reading_paused = False

    def connectionMade(self) -> None:
        # The HTTP channel that read the handshake stays the transport's producer: its flow is ours.
        self.flow = self.transport.producer.flow
        super().connectionMade()

    def connectionLost(self, reason: Any) -> None:
        self.flow.resume()
        super().connectionLost(reason)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:  # noqa: N803, FBT001 - autobahn's signature
        super().onMessage(payload, isBinary)
        if self.muted:
            return
        self._inbox_bytes += len(payload)
        is_full = self._inbox_bytes > limits.SOCKET_INBOX_BYTES
        if is_full or self.application_queue.qsize() > limits.SOCKET_INBOX_MESSAGES:
            self._is_reading_paused = True
            self.transport.pauseProducing()

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:  # noqa: N803, FBT001 - autobahn's signature
        if hasattr(self, "server"):  # else the handshake failed before the application heard of it
            super().onClose(wasClean, code, reason)

    async def receive(self) -> dict[str, Any]:
        """Hand the application its next message, and read on once there is room."""
        message = await self.application_queue.get()
        text, binary = message.get("text"), message.get("bytes")
        self._inbox_bytes -= len(text.encode()) if text else len(binary or b"")
        if self._is_reading_paused and self.application_queue.empty():
            self._is_reading_paused = False
            self.transport.resumeProducing()
        return message

    def send_disconnect(self) -> None:
        """Tell the application and the client that the server restarts."""
        if self.muted:
            return
        self.muted = True
        if hasattr(self, "application_queue"):
            self.application_queue.put_nowait({"type": "websocket.disconnect", "code": SERVICE_RESTART})
        if self.state == self.STATE_OPEN:
            self.serverClose(code=SERVICE_RESTART)

    def application_ended(self, error: BaseException | None) -> None:
        """Close a socket that its application left open."""
        if self.state == self.STATE_CONNECTING:
            if error is not None:
                self.handle_exception(error)
            elif hasattr(self, "handshake_deferred"):
                self.serverReject()
        elif self.state == self.STATE_OPEN:
            self.serverClose(code=INTERNAL_ERROR if error else NORMAL)

    def serverClose(self, code: int | None = None) -> None:
        """Close with any code: autobahn's own method refuses 1001 to 2999, of which servers have need."""
        if self.state == self.STATE_OPEN:
            self.sendCloseFrame(code=NORMAL if code is None else code, isReply=False)

    def abort(self) -> None:
        """Drop the connection at once, with whatever waits to be sent."""
        self.transport.abortConnection()


class HardenedSocketFactory(WebSocketFactory):
    """Builds the WebSockets of one server."""

    protocol = HardenedSocket
