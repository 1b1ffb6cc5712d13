"""uvicorn's HTTP protocol, with exchanges of the emulator's own: written to once a turn, and severed if a fault says so."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from collections import deque
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote

from httptools import HttpRequestParser, parse_url
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from emulator.exchange import Exchange

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
    from uvicorn.server import ServerState

_log = logging.getLogger("uvicorn.error")
# A request of an SDK has some twenty headers; a thousand streams would hold them all.
_READ = frozenset({b"host", b"expect", b"authorization", b"x-api-key", b"x-client-reference", b"anthropic-beta"})


class _Gathering:
    """A transport that writes what comes in one turn of the loop at its end: a head and its body arrive together.

    Two writes are two wake-ups for whoever reads, which benchmarks would count as the reader's.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._gathered: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Take in what is to be written."""
        if not self._gathered:
            asyncio.get_running_loop().call_soon(self._flush)
        self._gathered.append(data)

    def close(self) -> None:
        """Write what is left, and close."""
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        """Write what is left, as far as it goes at once, and end the connection."""
        self._flush()
        self._transport.abort()

    def _flush(self) -> None:
        gathered, self._gathered = self._gathered, []
        if gathered and not self._transport.is_closing():
            self._transport.write(b"".join(gathered))


class Connection(HttpToolsProtocol):
    """Parses requests as uvicorn does and makes an exchange of each, one after the other.

    What uvicorn would put in between (an ASGI scope and its events, the addresses of both ends, websockets) is left out.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """Take what the rest uses: uvicorn's own asks for its loggers, and makes what we leave out, every time."""
        del app_state
        self.config, self.server_state = config, server_state
        self.app = config.loaded_app
        self.loop = _loop or asyncio.get_running_loop()
        self.logger = _log
        self.parser = HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.connections, self.tasks = server_state.connections, server_state.tasks
        self.timeout_keep_alive = config.timeout_keep_alive
        self.timeout_keep_alive_task = None
        self.pipeline = deque()
        self.ws_protocol_class = None
        self.cycle = cast("RequestResponseCycle", None)
        self.fields: dict[bytes, bytes] = {}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn's is as narrow
        """Write to the connection once a turn."""
        self.connections.add(self)
        self.transport = cast("asyncio.Transport", _Gathering(transport))
        self.flow = FlowControl(self.transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the exchange, if there is one, that nobody listens any more."""
        super().connection_lost(exc)
        if self.cycle is not None:
            self._current.departure.set()

    def on_message_begin(self) -> None:
        """Begin to read a request."""
        self.url = b""
        self.fields = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header that anybody reads; of several with one name the first counts."""
        name = name.lower()
        if name in _READ:
            self.fields.setdefault(name, value)

    def on_headers_complete(self) -> None:
        """Make an exchange of the request, which is answered when those before it are."""
        method, version = self.parser.get_method(), self.parser.get_http_version()
        target = parse_url(self.url)
        exchange = Exchange(
            self,
            method=method.decode("ascii"),
            path=unquote(target.path.decode("ascii")),
            query=(target.query or b"").decode("latin-1"),
            fields=self.fields,
            keep_alive=version != "1.0" and self.parser.should_keep_alive(),
        )
        is_free = self.cycle is None or self.cycle.response_complete
        # uvicorn asks nothing of its cycles that an exchange has not.
        self.cycle = cast("RequestResponseCycle", exchange)
        if is_free:
            self._start_asgi_task(self.cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def opening(self, status: int) -> bytes:
        """Return the first lines of an answer: its status and the date."""
        return STATUS_LINE[status] + b"".join(b"%b: %b\r\n" % pair for pair in self.server_state.default_headers)

    def sever(self, *, with_reset: bool) -> None:
        """End the connection without an answer: with a TCP reset, or by closing it in the middle."""
        if with_reset:
            self._linger_zero()
            self.transport.abort()
        else:
            self.transport.close()

    @property
    def _current(self) -> Exchange:
        return cast("Exchange", self.cycle)

    def _should_upgrade(self) -> bool:
        return False

    def _linger_zero(self) -> None:
        connection = self.transport.get_extra_info("socket")
        if connection is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
            # Lingering for zero seconds makes the kernel send RST where a close would send FIN.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
