"""One HTTP connection: reads requests within limits, refuses in our envelope, closes without losing the refusal.

Names in camel case are Twisted's, which calls them.
"""

# Twisted has no types for what is built on here, and its names are in camel case:
# mypy: allow-untyped-calls
# ruff: noqa: N802, N815

import asyncio
import logging
import math
import select
from typing import Any

from twisted.web.http import HTTPChannel

from kit import clock, doorway, request_ids
from kit.errors import InvalidRequest, SkillgateError
from server import answers, drain, heads, limits
from server.flow import Flow
from server.request import HardenedRequest

logger = logging.getLogger(__name__)


class HardenedChannel(HTTPChannel):
    """Twisted's HTTP/1.1 parser with bounds on what it reads, how long it takes, and what it writes unread."""

    transport: Any
    factory: Any
    requestFactory = HardenedRequest
    peer: Any  # the address of whoever connected
    timeOut: Any
    maxHeaders = limits.HEADER_COUNT
    totalHeadersSize = limits.HEADER_BYTES
    abortTimeout = limits.ABORT_SECONDS

    def __init__(self) -> None:
        super().__init__()
        self.flow = Flow()
        self._is_refused = False
        self._discarded_bytes = 0
        self._deadline: float | None = None  # while a request is being read
        self._began_at = clock.monotonic()
        self._has_served = False
        self._is_lost = False
        self._early: bytes | None = None  # of a request whose turn to be read has not come
        self._head = b""  # of an answer that has begun and of which nothing was sent yet
        self._room: select.poll | None = None
        self._unasked = 0  # bytes written since the kernel was asked whether it has room
        self._expires_at = math.inf

    # --- The connection ----------------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        self._host = self.transport.getHost()
        self.setTimeout(self.timeOut)
        self._networkProducer = self.transport
        self.transport.registerProducer(self, True)  # noqa: FBT003 - Twisted's signature: it pauses and resumes
        self.transport.bufferSize = limits.HELD_BYTES
        self.flow.watch(self.transport)
        self.server.channels.add(self)

    def connectionLost(self, reason: Any = None) -> None:
        self._is_lost = True
        self.server.channels.discard(self)
        self.flow.resume()
        super().connectionLost(reason)

    def getPeer(self) -> Any:
        return self.peer

    def getHost(self) -> Any:
        return self._host

    # Twisted would set a timer anew five times for each request; the server looks at the clock for all of them.

    def setTimeout(self, period: float | None) -> float | None:
        before: float | None = self.timeOut
        self.timeOut = period
        self._expires_at = math.inf if period is None else clock.monotonic() + period
        return before

    def resetTimeout(self) -> None:
        self._expires_at = math.inf if self.timeOut is None else clock.monotonic() + self.timeOut

    def check_time(self, now: float) -> None:
        """Find out whether nothing happened for too long."""
        if self._expires_at < now:
            self._expires_at = math.inf
            self.timeoutConnection()

    @property
    def server(self) -> Any:
        """The server this connection came in through."""
        return self.factory.server

    def pauseProducing(self) -> None:
        self.flow.pause()
        super().pauseProducing()

    def resumeProducing(self) -> None:
        self.flow.resume()
        super().resumeProducing()

    def stopProducing(self) -> None:
        self.flow.resume()
        super().stopProducing()

    def is_idle(self) -> bool:
        """Say whether no request is being read or answered here."""
        return not self.requests and self._early is None

    def close_when_done(self) -> None:
        """Close an idle connection now, a busy one after its answer, and a new one after its request."""
        self.persistent = False
        is_new = clock.monotonic() - self._began_at < drain.NEWCOMER_SECONDS and not self._has_served
        if self.is_idle() and not is_new and not drain.is_readable(self.transport.socket):
            self.loseConnection()

    def cut_off(self) -> None:
        """End an answer that cannot be completed, so that the client can tell."""
        if self.requests and not self.requests[0].chunked:
            self.forceAbortClient()  # closing would look like the regular end of an HTTP/1.0 answer
        else:
            self.timeoutConnection()

    # --- Reading -----------------------------------------------------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        if self._is_refused:
            self._discard(data)
            return
        if self._early is not None:
            self._early += data
            if len(self._early) > limits.HELD_BYTES:
                self.transport.pauseProducing()
            return
        if not self._handlingRequest:
            if data.startswith(b"POST ") and self._deadline is None:
                self._early = data
                doorway.here().begin(self._come_in)  # reading a request is a good part of beginning it
                return
            self._keep_time()
        self._read(data)

    def _come_in(self) -> bool:
        """Read what came while others had to be begun first."""
        data, self._early = self._early, None
        if data is None or self._is_lost:
            return False
        if len(data) > limits.HELD_BYTES:
            self.transport.resumeProducing()
        self._keep_time()
        self._read(data)
        return True

    def _read(self, data: bytes) -> None:
        try:
            rest = self._read_head(data)
            if rest:
                super().dataReceived(rest)
        except Exception:
            logger.exception("A request could not be read")
            self.refuse(InvalidRequest("The request is malformed."))

    def _read_head(self, data: bytes) -> bytes:
        """Read the whole of a plain head, and return what is left for Twisted, which reads any other line by line."""
        is_new = self.line_mode and not self.requests and not self._buffer and not self._handlingRequest
        head = heads.read(data) if is_new and self.persistent and not self._is_refused else None
        if head is None:
            return data
        request = self.requestFactory(self, False)  # noqa: FBT003 - Twisted's signature: it is not queued
        self.requests.append(request)
        parser: Any = self  # Twisted's own types for these are not what it keeps in them
        parser._command, parser._path, parser._version = head.method, head.target, b"HTTP/1.1"  # noqa: SLF001
        request.requestHeaders._rawHeaders = head.headers  # noqa: SLF001 - as `addRawHeader` would leave them
        request.is_plain = True
        if self._has_come_whole(head, data):
            request.take_body(data[head.size :])
            self.persistent = self.checkPersistence(request, b"HTTP/1.1")
            self.allContentReceived()
            return b""
        if not all(self.headerReceived(line) for line in head.framing):
            return b""
        self.allHeadersReceived()
        if self.length == 0:
            self.allContentReceived()
        else:
            self._HTTPChannel__first_line = 0
            self.setRawMode()
        return data[head.size :]

    def _has_come_whole(self, head: heads.Head, data: bytes) -> bool:
        """Tell whether a request has come with its whole body, of the declared length, and is small enough anywhere."""
        length = len(data) - head.size
        is_whole = head.framing == [b"Content-Length: %d" % length] and b"Expect" not in head.headers
        return is_whole and length <= int(self.server.limits.body_bytes)

    def lineReceived(self, line: bytes) -> None:
        if not self._is_refused:
            super().lineReceived(line)

    def rawDataReceived(self, data: bytes) -> None:
        if not self._is_refused:
            super().rawDataReceived(data)

    def headerReceived(self, line: bytes) -> bool:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length" and len(value.strip()) > len(str(2**63)):
            self.refuse(answers.too_large(self.server.limits.body_bytes_of(self._path)))
            return False
        return bool(super().headerReceived(line))

    def allHeadersReceived(self) -> None:
        limit = self.server.limits.body_bytes_of(self._path)
        if self.length is not None and self.length > limit:
            self.refuse(answers.too_large(limit))
            return
        self._deadline = clock.monotonic() + limits.BODY_SECONDS
        self.requests[-1].body_limit = limit
        super().allHeadersReceived()

    def allContentReceived(self) -> None:
        self._deadline = None
        if not self._is_refused:
            super().allContentReceived()

    def checkPersistence(self, request: Any, version: bytes) -> bool:
        """Tell whether another request may follow; Twisted's also notes it among headers that no answer is made of."""
        said = request.requestHeaders.getRawHeaders(b"Connection")
        is_closing = bool(said) and b"close" in said[0].lower().split(b" ")
        return version == b"HTTP/1.1" and not is_closing and not self.server.is_draining

    def requestDone(self, request: Any) -> None:
        self._send_head()
        self._has_served = True
        super().requestDone(request)
        if self.requests or not self.persistent:
            return
        reading = self.server.limits.read_seconds if self._deadline else limits.KEEP_ALIVE_SECONDS
        self.setTimeout(self.server.limits.stall_seconds if self.flow.paused else reading)

    # --- Writing -----------------------------------------------------------------------------------------------------

    def begin(self, head: bytes) -> None:
        """Send an answer's head: with the first of its body if that comes in this turn of the loop, else by itself."""
        self._head = head
        asyncio.get_running_loop().call_soon(self._send_head)

    def write(self, data: bytes) -> None:
        """Send a part of an answer."""
        head, self._head = self._head, b""
        self._write_through(head + data if head else data)

    def _send_head(self) -> None:
        if self._head:
            self.write(b"")

    def _write_through(self, data: bytes) -> None:
        """Send at once what the kernel has room for; only the rest waits for the reactor's turn.

        By way of the reactor a chunk of a stream costs two changes of what it polls, several times its sending.
        """
        transport = self.transport
        is_alone = not transport.dataBuffer and not transport._tempDataBuffer  # noqa: SLF001 - what waits before it
        self._unasked += len(data)
        if is_alone and transport.connected and not transport.disconnecting and self._has_room():
            try:
                sent = transport.socket.send(data)
            except OSError:  # no room, or the connection is lost, which the reactor finds out when it writes
                sent = 0
            data = data[sent:]
        if data:
            transport.write(data)

    def _has_room(self) -> bool:
        """Asked of the kernel, whose send buffer would take far more of a reader that stopped than `UNSENT_BYTES`."""
        if self._unasked <= limits.UNASKED_BYTES:
            return True
        self._unasked = 0
        if self._room is None:
            self._room = select.poll()
            self._room.register(self.transport.fileno(), select.POLLOUT)
        return bool(self._room.poll(0))

    # --- Refusing ----------------------------------------------------------------------------------------------------

    def refuse(self, error: SkillgateError, *, status: int | None = None) -> None:
        """Answer with an error, half-close, and read on for a while without keeping anything.

        Closing at once would reset the connection of a client that is still sending, which may lose it the answer.
        """
        if self._is_refused:
            return
        self._is_refused = True
        self._deadline = None
        self._send_head()
        self.setTimeout(limits.LINGER_SECONDS)
        self.transport.write(answers.raw(error, request_id=self._request_id(), status=status))
        self._networkProducer.unregisterProducer()
        self.transport.loseWriteConnection()

    def timeoutConnection(self) -> None:
        if self._deadline is not None and not self._is_refused:
            self.refuse(InvalidRequest("The request did not arrive in time."), status=408)
        elif self._is_refused:
            self.forceAbortClient()
        else:
            super().timeoutConnection()

    def lineLengthExceeded(self, line: bytes) -> None:
        self._refuse_headers()

    def _respondToBadRequestAndDisconnect(self) -> None:
        if self._receivedHeaderSize > self.totalHeadersSize or self._receivedHeaderCount > self.maxHeaders:
            self._refuse_headers()
        else:
            self.refuse(InvalidRequest("The request line, a header or the framing of the body is malformed."))

    def _refuse_headers(self) -> None:
        message = f"The headers are over the limit of {self.maxHeaders} lines and {self.totalHeadersSize} bytes."
        self.refuse(InvalidRequest(message), status=431)

    def _discard(self, data: bytes) -> None:
        self._discarded_bytes += len(data)
        if self._discarded_bytes > limits.LINGER_BYTES:
            self.forceAbortClient()

    def _keep_time(self) -> None:
        """A request that trickles in is cut off, however steadily it trickles."""
        now = clock.monotonic()
        if self._deadline is None:
            self._deadline = now + self.server.limits.read_seconds
            self.setTimeout(self.server.limits.read_seconds)
        elif now > self._deadline:
            self.refuse(InvalidRequest("The request did not arrive in time."), status=408)

    def _request_id(self) -> str:
        offered = self.requests[-1].requestHeaders.getRawHeaders(b"x-request-id") if self.requests else None
        return request_ids.accept(offered[0].decode("latin1") if offered else None)
