"""Which WebSocket paths there are."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from skills.consumers.entry import socket

_PATH = "/v1/ws"


async def websocket(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None:
    """Serve a WebSocket on its path and refuse the handshake on any other."""
    if scope["path"] == _PATH:
        await socket(scope, receive, send)
        return
    await receive()
    await send({"type": "websocket.close"})
