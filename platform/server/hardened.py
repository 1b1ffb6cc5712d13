"""daphne's server with everything bounded: what it reads, what it buffers, how long it takes to stop.

`server.reactor` must have been imported and installed before this module.
"""

# daphne and Twisted have no types here:
# mypy: allow-untyped-calls, allow-subclassing-any

import asyncio
import logging
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from daphne.http_protocol import HTTPFactory
from daphne.server import Server
from twisted.internet import tcp
from twisted.internet.address import IPv6Address
from twisted.logger import LogLevel, STDLibLogObserver, globalLogBeginner

from server import drain, limits, reactor
from server.channel import HardenedChannel
from server.limits import Limits
from server.request import HardenedRequest
from server.websocket import HardenedSocketFactory

logger = logging.getLogger(__name__)

CHECK_SECONDS = 0.5
PING_CHECK_SECONDS = 2
_LENGTH_OF_IPV4 = 2  # as the socket module writes an address: its host and its port

Application = Callable[..., Awaitable[None]]


class Connection(tcp.Server):
    """A connection of one server; Twisted's writes a name for its log, where this server writes none."""

    logstr = repstr = "HTTP connection"

    def __init__(self, sock: socket.socket, protocol: Any, client: Any, server: Any, number: int, using: Any) -> None:
        tcp.Connection.__init__(self, sock, protocol, using)
        if len(client) != _LENGTH_OF_IPV4:
            self._addressType = IPv6Address
        self.server, self.client, self.hostname, self.sessionno = server, client, client[0], number
        self.startReading()
        self.connected = 1


class HardenedFactory(HTTPFactory):
    """Builds the HTTP connections of one server."""

    def buildProtocol(self, addr: Any) -> HardenedChannel:  # noqa: N802 - Twisted's name
        """Make the channel of a connection; Twisted's and daphne's would set what it overrides or never asks for."""
        channel = HardenedChannel()
        channel.factory = self
        channel.peer = addr
        channel.timeOut = self.server.limits.read_seconds
        return channel

    def log(self, request: Any) -> None:
        """Write nothing: Twisted would format a line for each request and drop it."""


class HardenedServer(Server):
    """One process's server: `run` blocks until SIGTERM or SIGINT has been answered by a drain.

    `is_sharing`: others may listen on the same sockets, so that only this process's hold of them is let go.
    """

    def __init__(
        self,
        application: Application,
        *,
        sockets: list[socket.socket],
        bounds: Limits,
        is_sharing: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(
            application,
            endpoints=["adopted"],  # daphne insists on one; the sockets are bound before and adopted in `run`
            server_name="",
            application_close_timeout=limits.CLOSE_SECONDS,
            websocket_max_message_size=bounds.body_bytes,
            websocket_max_frame_size=bounds.body_bytes,
            **options,
        )
        self.sockets = sockets
        self.limits = bounds
        self.ports: list[Any] = []
        self.channels: set[HardenedChannel] = set()
        self.connections: dict[Any, dict[str, Any]] = {}
        self.is_draining = False
        self.is_sharing = is_sharing
        self._draining: asyncio.Task[None] | None = None

    # --- Life --------------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until a signal comes and the drain after it is over."""
        loop = asyncio.get_event_loop_policy().get_event_loop()
        _log_failures_of_twisted()
        self._make_factories()
        startup = getattr(self.application, "startup", None)
        if startup is not None:
            loop.run_until_complete(startup())
        for listener in self.sockets:
            port = reactor.get().adoptStreamPort(listener.fileno(), listener.family, self.http_factory)
            if listener.family != socket.AF_UNIX:
                port.transport = Connection
            self.ports.append(port)
            listener.close()  # the port holds a duplicate
        reactor.get().callLater(CHECK_SECONDS, self.application_checker)
        reactor.get().callLater(PING_CHECK_SECONDS, self.timeout_checker)
        loop.call_soon(self._begin, loop)
        reactor.get().run(installSignalHandlers=False)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Only a loop that runs hears signals: uvloop's loses one that comes between its handler and its start."""
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        if self.ready_callable:
            self.ready_callable()

    def stop(self) -> None:
        """Begin the drain, once."""
        if self._draining is None:
            self._draining = asyncio.ensure_future(drain.run(self))
            self._draining.add_done_callback(self._stopped)

    def _stopped(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception():
            logger.error("The drain failed", exc_info=task.exception())
        reactor.get().stop()

    def _make_factories(self) -> None:
        self.http_factory = HardenedFactory(self)
        self.ws_factory = HardenedSocketFactory(self, server=self.server_name)
        self.ws_factory.setProtocolOptions(
            autoPingTimeout=self.ping_timeout,
            allowNullOrigin=True,
            openHandshakeTimeout=self.websocket_handshake_timeout,
            maxMessagePayloadSize=self.websocket_max_message_size,
            maxFramePayloadSize=self.websocket_max_frame_size,
        )

    # --- Connections and their applications --------------------------------------------------------------------------

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> asyncio.Queue[dict[str, Any]] | None:
        """Start the application on a connection; the queue is a WebSocket's inbox."""
        details = self.connections.get(protocol)
        if details is None:
            return None
        scope.setdefault("asgi", {"version": "3.0", "spec_version": "2.3"})
        running: Any = self.application(scope, protocol.receive, partial(self.handle_reply, protocol))
        task = asyncio.get_running_loop().create_task(running)
        details["application_instance"] = task
        task.add_done_callback(partial(self._application_ended, protocol))
        return None if scope["type"] == "http" else asyncio.Queue()

    async def handle_reply(self, protocol: Any, message: Mapping[str, Any]) -> None:
        """Write a message, and return once the reader has made room for the next."""
        flow = protocol.flow
        if flow.paused:
            await self._wait_for_reader(protocol)
        if self._is_connected(protocol):
            protocol.handle_reply(message)
            if flow.paused:
                await self._wait_for_reader(protocol)

    def protocol_disconnected(self, protocol: Any) -> None:
        """Note that a connection is over; its application gets a little time to end by itself."""
        details = self.connections.get(protocol)
        if details is None:
            return
        details.setdefault("disconnected", time.time())
        if "application_instance" not in details:
            del self.connections[protocol]
            return
        has_left = isinstance(protocol, HardenedRequest) and not protocol.finished
        patience = limits.LEFT_SECONDS if has_left else limits.CLOSE_SECONDS
        details.setdefault("cancel_at", time.monotonic() + patience)

    def application_checker(self) -> None:
        """Twice a second, time connections out, and cancel the applications that outstayed theirs."""
        now = time.monotonic()
        for channel in list(self.channels):
            channel.check_time(now)
        for details in list(self.connections.values()):
            task = details.get("application_instance")
            if task is not None and details.get("cancel_at", now) < now:
                task.cancel()
        reactor.get().callLater(CHECK_SECONDS, self.application_checker)

    def _application_ended(self, protocol: Any, task: asyncio.Future[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            logger.error("Exception inside the application", exc_info=error)
        details = self.connections.get(protocol, {})
        details.pop("application_instance", None)
        if "disconnected" in details:
            del self.connections[protocol]
        else:
            protocol.application_ended(error)

    def _is_connected(self, protocol: Any) -> bool:
        details = self.connections.get(protocol)
        return details is not None and "disconnected" not in details

    async def _wait_for_reader(self, protocol: Any) -> None:
        if not protocol.flow.paused or not self._is_connected(protocol):
            return
        if not await protocol.flow.drained(stall_seconds=self.limits.stall_seconds):
            logger.warning("A client that stopped reading was dropped")
            protocol.abort()


def bind(host: str, port: int) -> socket.socket:
    """Listen on an address; port 0 lets the system choose."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return _tuned(socket.create_server((host, port), family=family, backlog=2048))


def adopt(descriptor: int) -> socket.socket:
    """Take over a socket that already listens."""
    return _tuned(socket.socket(fileno=descriptor))


def _tuned(listener: socket.socket) -> socket.socket:
    listener.settimeout(0)
    if listener.family != socket.AF_UNIX:  # the connections have what their listener has
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_NOTSENT_LOWAT"):
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, limits.UNSENT_BYTES)
    return listener


def _log_failures_of_twisted() -> None:
    to_logging = STDLibLogObserver(__name__)

    def observe(event: dict[str, Any]) -> None:
        if event.get("log_level") is LogLevel.critical:
            to_logging(event)

    begin: Any = globalLogBeginner.beginLoggingTo  # its interfaces are zope's, which mypy cannot read
    begin([observe], redirectStandardIO=False, discardBuffer=True)
