"""Choosing the web server's port."""

from __future__ import annotations

import contextlib
import socket

from embedded.child import StartError

FIRST = 8000
_TRIES = 100


def choose(wanted: str | None) -> int:
    """Return the wanted port, or the first free one from 8000 on; raises StartError."""
    if wanted:
        return _exactly(wanted)
    for port in range(FIRST, FIRST + _TRIES):
        if is_free(port):
            return port
    raise StartError(f"No free port from {FIRST} to {FIRST + _TRIES - 1}: set PORT.")


def is_free(port: int) -> bool:
    """Tell whether nobody listens on the loopback port and we may."""
    with contextlib.suppress(OSError), socket.socket() as caller:
        caller.settimeout(0.2)
        caller.connect(("127.0.0.1", port))
        return False
    with socket.socket() as listener:
        # As servers do: a connection still in TIME_WAIT must not make the port look taken.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _exactly(wanted: str) -> int:
    if not wanted.isascii() or not wanted.isdigit() or not 0 < int(wanted) < 65536:
        raise StartError(f"PORT must be a number from 1 to 65535, not {wanted!r}.")
    if not is_free(int(wanted)):
        raise StartError(f"Port {wanted} is taken: set PORT to another, or leave it unset for the next free one.")
    return int(wanted)
