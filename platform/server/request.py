"""One HTTP request and its answer, between Twisted's parser and the ASGI application.

Names in camel case are Twisted's, which calls them.
"""

# daphne has no types, and Twisted's names are in camel case:
# mypy: allow-untyped-calls, allow-subclassing-any
# ruff: noqa: N802, N815

import asyncio
import io
import logging
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit

from daphne.http_protocol import WebRequest
from daphne.utils import HEADER_NAME_RE, INVALID_HEADER_VALUE_BYTES
from twisted.web.http import NO_BODY_CODES, Request

from kit import request_ids
from server import answers, limits

logger = logging.getLogger(__name__)

_OURS = frozenset({b"transfer-encoding", b"connection"})  # framing is the server's, whatever an application says


class HardenedRequest(WebRequest):
    """daphne's request, with a bounded body that is read as the application asks, and an answer that always ends."""

    body_limit = limits.MEBIBYTE
    _response_started: bool
    sentLength: int
    startedWriting: int
    chunked: int

    def __init__(self, channel: Any, *args: Any, **kwargs: Any) -> None:
        Request.__init__(self, channel, *args, **kwargs)  # and what daphne's own adds:
        self.client_addr = self.server_addr = None
        self.server = channel.server
        self.application_queue = None
        self._response_started = False
        self.server.protocol_connected(self)
        self.flow = channel.flow
        self.is_plain = False  # whether its headers were found to be in order already
        self._received_bytes = 0
        self._declared_bytes: int | None = None
        self._is_body_read = False
        self._has_left = False
        self._left: asyncio.Event | None = None  # made for who waits for it
        self._tell_left: Callable[[], None] | None = None

    __hash__ = object.__hash__  # daphne's are the same, in two calls
    __eq__ = object.__eq__

    # --- Reading the request -----------------------------------------------------------------------------------------

    def gotLength(self, length: int | None) -> None:
        is_small = length is not None and length <= limits.SPOOL_BYTES
        spool = io.BytesIO if is_small else partial(tempfile.SpooledTemporaryFile, max_size=limits.SPOOL_BYTES)
        self.content = spool()  # Twisted closes it

    def take_body(self, body: bytes) -> None:
        """Take a body that came whole, of the length that was declared."""
        self.requestHeaders._rawHeaders[b"Content-Length"] = [b"%d" % len(body)]  # noqa: SLF001 - as `addRawHeader` does
        self.content = io.BytesIO(body)

    def parseCookies(self) -> None:
        """Leave them to the application."""

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Take a whole request; its arguments are the application's to parse."""
        self.method, self.uri, self.clientproto = command, path, version
        self.path = path.partition(b"?")[0]
        self.process()

    def handleContentChunk(self, data: bytes) -> None:
        self._received_bytes += len(data)
        if self._received_bytes > self.body_limit:
            self.channel.refuse(answers.too_large(self.body_limit))
        else:
            super().handleContentChunk(data)

    def process(self) -> None:
        """Start the application on a request that was read completely."""
        self.request_start = time.time()
        self.requestHeaders.removeHeader(b"daphne-root-path")  # a client must not choose our root path
        is_websocket = self._wants_websocket()
        fault = "" if self.is_plain else self._header_fault()
        if is_websocket and not fault:
            fault = self._websocket_fault()
        if fault:
            self.basic_error(400, b"Bad Request", fault)
        elif is_websocket:
            self.server.channels.discard(self.channel)
            super().process()
        else:
            self.content.seek(0)
            self.server.create_application(self, self._scope())

    async def receive(self) -> dict[str, Any]:
        """Hand the application its next message: the body in pieces, then the disconnect."""
        if not self._is_body_read and not self._has_left:
            chunk = self.content.read(limits.BODY_CHUNK_BYTES)
            self._is_body_read = len(chunk) < limits.BODY_CHUNK_BYTES
            return {"type": "http.request", "body": chunk, "more_body": not self._is_body_read}
        if not self._has_left:
            self._left = self._left or asyncio.Event()
            await self._left.wait()
        return {"type": "http.disconnect"}

    def send_disconnect(self) -> None:
        """Let `receive` answer that the client has left."""
        self._has_left = True
        if self._left is not None:
            self._left.set()
        if self._tell_left is not None:
            self._tell_left()

    def when_left(self, tell: Callable[[], None] | None) -> None:
        """Have `tell` called when the client leaves, or at once if it has: no task need wait for the message."""
        self._tell_left = tell
        if tell is not None and self._has_left:
            tell()

    def connectionLost(self, reason: Any) -> None:
        self.send_disconnect()
        super().connectionLost(reason)

    def finish(self) -> None:
        """End the answer."""
        Request.finish(self)
        self.server.protocol_disconnected(self)

    # --- Writing the answer ------------------------------------------------------------------------------------------

    def handle_reply(self, message: Mapping[str, Any]) -> None:
        """Write one message of the application's."""
        if self.finished or self.channel is None:
            return
        if message["type"] == "http.response.start":
            self._start(message)
        elif message["type"] == "http.response.body":
            self._continue(message.get("body", b""), is_last=not message.get("more_body", False))
        else:
            unknown = f"Cannot handle message type {message['type']}!"
            raise ValueError(unknown)

    def application_ended(self, error: BaseException | None) -> None:
        """Close what the application left open."""
        if self.finished or self.channel is None:
            return
        if self._response_started:
            self.channel.cut_off()
            return
        is_restart = error is None and self.server.is_draining
        self.basic_error(503 if is_restart else 500, b"", "")

    def abort(self) -> None:
        """Drop the connection at once, with whatever waits to be sent."""
        if self.channel is not None:
            self.channel.forceAbortClient()

    def basic_error(self, status: int, status_text: bytes, body: str) -> None:
        """Answer in the platform's envelope where daphne would answer in HTML."""
        if self._response_started:
            self.application_ended(None)
            return
        error = answers.for_status(status, message=f"{body}.")
        offered = self.requestHeaders.getRawHeaders(b"x-request-id")
        request_id = request_ids.accept(offered[0].decode("latin1") if offered else None)
        content = answers.body(error, request_id=request_id)
        headers = {**error.headers, "content-type": "application/json", "content-length": str(len(content))}
        headers |= {"request-id": request_id, "x-request-id": request_id}
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        self.handle_reply({"type": "http.response.start", "status": status, "headers": pairs})
        self.handle_reply({"type": "http.response.body", "body": content})

    # --- Inside ------------------------------------------------------------------------------------------------------

    def _start(self, message: Mapping[str, Any]) -> None:
        if self._response_started:
            twice = "HTTP response has already been started"
            raise ValueError(twice)
        self.setResponseCode(message["status"])
        lines = [b"%b %d %b" % (self.clientproto, self.code, self.code_message)]
        for name, value in message.get("headers", ()):
            lowered = name.lower()
            if lowered == b"content-length":
                self._declared_bytes = int(value)
            if lowered not in _OURS:
                lines.append(b"%b: %b" % (name, value))
        lines += self._framing()
        head = b"\r\n".join([*lines, b"", b""])
        if head.count(b"\n") != len(lines) + 1 or head.count(b"\r") != len(lines) + 1:
            split = "A header of the answer holds a line break"
            raise ValueError(split)
        self._response_started = True
        self.startedWriting = 1
        self.channel.begin(head)

    def _framing(self) -> list[bytes]:
        """Say how the answer ends: by its declared length, by its last chunk, or by the connection's end."""
        lines = [] if self.channel.persistent else [b"Connection: close"]
        is_open_ended = self._declared_bytes is None and self.method != b"HEAD" and self.code not in NO_BODY_CODES
        self.chunked = int(is_open_ended and self.clientproto == b"HTTP/1.1")
        if self.chunked:
            lines.append(b"Transfer-Encoding: chunked")
        return lines

    def _continue(self, body: bytes, *, is_last: bool) -> None:
        if not self._response_started:
            early = "HTTP response has not yet been started"
            raise ValueError(early)
        if self.method != b"HEAD" and self.code not in NO_BODY_CODES:
            self._write_body(body, is_last=is_last)
        if is_last:
            self.finish()
            self._log()

    def _write_body(self, body: bytes, *, is_last: bool) -> None:
        total = self.sentLength + len(body)
        declared = self._declared_bytes
        if declared is not None and (total > declared or (is_last and total < declared)):
            mismatch = f"The answer has {total} bytes where its Content-Length says {declared}"
            raise ValueError(mismatch)
        if body and not self._disconnected:
            self.sentLength = total
            self.channel.write(self._chunk(body, is_last=is_last) if self.chunked else body)

    def _chunk(self, body: bytes, *, is_last: bool) -> bytes:
        if not is_last:
            return b"%x\r\n%b\r\n" % (len(body), body)
        self.chunked = 0  # or Twisted would send the end once more, by itself
        return b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)

    def _scope(self) -> dict[str, Any]:
        has_address = hasattr(self.client, "host") and hasattr(self.client, "port")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": self.clientproto.partition(b"/")[2].decode("ascii"),
            "method": self.method.decode("ascii"),
            "path": unquote(self.path.decode("ascii")),
            "raw_path": self.path,
            "root_path": self.server.root_path,
            "scheme": "http",
            "extensions": {"skillgate.leaving": self.when_left},
            "query_string": self.uri.partition(b"?")[2],
            "headers": [
                (name.lower(), value)
                for name, values in self.requestHeaders.getAllRawHeaders()
                if b"_" not in name  # `X_Name` and `X-Name` would be the same header to Django
                for value in values
            ],
            "client": [str(self.client.host), self.client.port] if has_address else None,
            "server": [str(self.host.host), self.host.port] if has_address else None,
        }

    def _wants_websocket(self) -> bool:
        upgrade = self.requestHeaders.getRawHeaders(b"upgrade")
        return bool(upgrade) and upgrade[0].lower() == b"websocket"

    def _header_fault(self) -> str:
        for name, values in self.requestHeaders.getAllRawHeaders():
            if not HEADER_NAME_RE.fullmatch(name):
                return "A header has a malformed name"
            if any(INVALID_HEADER_VALUE_BYTES.intersection(value) for value in values):
                return "A header has a malformed value"
        return ""

    def _websocket_fault(self) -> str:
        """What autobahn or daphne would fail on with a 500."""
        protocols = self.requestHeaders.getRawHeaders(b"sec-websocket-protocol") or []
        if not all(value.isascii() for value in protocols):
            return "The subprotocols are malformed"
        try:
            target = urlsplit(self.uri.decode("ascii"))
        except ValueError:
            return "The request target is malformed"
        return "" if not target.netloc and target.path.startswith("/") else "The request target is malformed"

    def _log(self) -> None:
        if self.server.action_logger is None:
            return
        client = f"{self.client_addr[0]}:{self.client_addr[1]}" if self.client_addr else "-"
        details = {
            "method": self.method.decode("ascii"),
            "path": self.uri.decode("ascii"),
            "status": self.code,
            "client": client,
            "time_taken": self.duration(),
            "size": self.sentLength,
        }
        self.server.log_action("http", "complete", details)
