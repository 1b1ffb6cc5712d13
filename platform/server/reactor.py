"""Installs Twisted's reactor on the event loop we choose. Import this before anything of Twisted's or daphne's."""

# Twisted has no types here:
# mypy: allow-untyped-calls

import asyncio
import sys
from typing import Any

from twisted.internet import asyncioreactor


def install() -> asyncio.AbstractEventLoop:
    """Make one event loop serve asyncio and Twisted, uvloop's where it is installed."""
    if "twisted.internet.reactor" in sys.modules:
        message = "A Twisted reactor is already installed: import server.reactor first."
        raise RuntimeError(message)
    loop = _new_loop()
    asyncioreactor.install(loop)
    asyncio.set_event_loop(loop)
    return loop


def get() -> Any:
    """Return the installed reactor."""
    from twisted.internet import reactor  # noqa: PLC0415 - importing it any earlier would install another one

    return reactor


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop  # noqa: PLC0415 - optional: it has no wheels for some platforms
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
