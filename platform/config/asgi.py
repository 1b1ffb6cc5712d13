"""The ASGI application: HTTP to Django, and what has to live as long as the server process."""

import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

from django.core.asgi import get_asgi_application

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_pages = get_asgi_application()  # sets Django up; only after it may applications be imported

from config import lifetime  # noqa: E402
from config.handlers import ApiHandler  # noqa: E402
from kit.access import Observed  # noqa: E402
from kit.middleware import is_api  # noqa: E402
from skills import consumers, mcp  # noqa: E402

_api = ApiHandler()
_mcp = mcp.Gate()


def _routed(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
    """Begin what serves a request or a socket: no layer of its own."""
    if scope["type"] == "lifespan":
        return lifetime.lifespan(receive, send)
    path: str = scope["path"]
    serves: Any
    if scope["type"] == "websocket":
        serves = consumers.websocket
    elif path.rstrip("/") == "/mcp":
        serves = _mcp
    else:
        serves = _api if is_api(path) or path == "/metrics" else _pages
    begun: Awaitable[None] = serves(scope, receive, send)
    return begun


class Application(Observed):
    """The whole platform as one ASGI application; `startup` and `shutdown` frame a server's life."""

    async def startup(self) -> None:
        """Start what runs beside requests."""
        await lifetime.startup()

    def end_idle(self) -> None:
        """Close the sockets on which nothing runs, and the others when nothing does any more."""
        lifetime.end_idle()

    def end_calls(self) -> None:
        """End the runs under way, each telling its caller why."""
        lifetime.end_calls()

    async def shutdown(self, *, seconds: float) -> None:
        """Wait for runs under way to settle, then let go of every connection, within `seconds`."""
        await lifetime.shutdown(seconds=seconds)


application = Application(_routed)
