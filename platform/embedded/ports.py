"""The web server's port: found, and held from then on, so that no other start takes it meanwhile."""

from __future__ import annotations

import contextlib
import socket

from embedded.child import StartError

FIRST = 8000
_TRIES = 100
_BACKLOG = 2048


def hold(wanted: str | None) -> socket.socket:
    """Listen on the wanted port, or the first free one from 8000 on; raises StartError.

    Who connects waits for the server that takes the socket over.
    """
    if wanted:
        return _exactly(wanted)
    for port in range(FIRST, FIRST + _TRIES):
        if (listener := _listening(port)) is not None:
            return listener
    raise StartError(f"No free port from {FIRST} to {FIRST + _TRIES - 1}: set PORT.")


def _listening(port: int) -> socket.socket | None:
    """Listen on the loopback port, unless somebody does, also on all addresses; None when it is taken."""
    with contextlib.suppress(OSError), socket.socket() as caller:
        caller.settimeout(0.2)
        caller.connect(("127.0.0.1", port))
        return None
    with contextlib.suppress(OSError):
        return socket.create_server(("127.0.0.1", port), backlog=_BACKLOG)
    return None


def _exactly(wanted: str) -> socket.socket:
    if not wanted.isascii() or not wanted.isdigit() or not 0 < int(wanted) < 65536:
        raise StartError(f"PORT must be a number from 1 to 65535, not {wanted!r}.")
    listener = _listening(int(wanted))
    if listener is None:
        raise StartError(f"Port {wanted} is taken: set PORT to another, or leave it unset for the next free one.")
    return listener
