"""uvicorn's HTTP protocol, which writes once a turn, with one more capability: an application may reset its connection."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

EXTENSION = "emulator.sever"


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


class SeverableProtocol(HttpToolsProtocol):
    """Offers `scope["extensions"]["emulator.sever"]`: a call that ends the connection at once."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn's is as narrow
        """Write to the connection once a turn."""
        super().connection_made(cast("asyncio.Transport", _Gathering(transport)))

    def on_message_begin(self) -> None:
        """Put the capability into the scope of each request."""
        super().on_message_begin()
        cast("dict[str, Any]", self.scope)["extensions"] = {EXTENSION: self.sever}

    def sever(self, *, with_reset: bool) -> None:
        """End the connection without an answer: with a TCP reset, or by closing it in the middle."""
        self.cycle.disconnected = True
        if with_reset:
            self._linger_zero()
            self.transport.abort()
        else:
            self.transport.close()

    def _linger_zero(self) -> None:
        connection = self.transport.get_extra_info("socket")
        if connection is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
            # Lingering for zero seconds makes the kernel send RST where a close would send FIN.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
