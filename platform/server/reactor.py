"""Installs Twisted's reactor on the event loop we choose. Import this before anything of Twisted's or daphne's."""

# Twisted has no types here, and its names are in camel case:
# mypy: allow-untyped-calls, allow-subclassing-any
# ruff: noqa: N802, N815

import asyncio
import sys
from typing import Any

from twisted.internet import main
from twisted.internet.asyncioreactor import AsyncioSelectorReactor


class _Reactor(AsyncioSelectorReactor):
    """Twisted's reactor, without the context for its own logs that it makes for each readable socket."""

    _asyncioEventloop: asyncio.AbstractEventLoop
    _readers: dict[Any, int]

    def addReader(self, reader: Any) -> None:
        """Have a socket read whenever something has come."""
        if reader in self._readers:
            return
        try:
            self._asyncioEventloop.add_reader(reader.fileno(), self._readOrWrite, reader, True)  # noqa: FBT003
        except OSError:
            super().addReader(reader)  # what cannot be waited for is asked all the time
        else:
            self._readers[reader] = reader.fileno()


def install() -> asyncio.AbstractEventLoop:
    """Make one event loop serve asyncio and Twisted, uvloop's where it is installed."""
    if "twisted.internet.reactor" in sys.modules:
        message = "A Twisted reactor is already installed: import server.reactor first."
        raise RuntimeError(message)
    loop = new_loop()
    main.installReactor(_Reactor(loop))
    asyncio.set_event_loop(loop)
    return loop


def get() -> Any:
    """Return the installed reactor."""
    from twisted.internet import reactor  # noqa: PLC0415 - importing it any earlier would install another one

    return reactor


def new_loop() -> asyncio.AbstractEventLoop:
    """Make an event loop, uvloop's where it is installed."""
    try:
        import uvloop  # noqa: PLC0415 - optional: it has no wheels for some platforms
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
