"""uvicorn's HTTP protocol with one more capability: an application may reset its own connection."""

from __future__ import annotations

import socket
import struct
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

EXTENSION = "emulator.sever"


class SeverableProtocol(HttpToolsProtocol):
    """Offers `scope["extensions"]["emulator.sever"]`: a call that ends the connection at once."""

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
