"""The ASGI application: HTTP to Django, and what has to live as long as the server process."""

import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

from channels.routing import ProtocolTypeRouter
from django.core.asgi import get_asgi_application

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_pages = get_asgi_application()  # sets Django up; only after it may applications be imported

from config import lifetime  # noqa: E402
from config.handlers import ApiHandler  # noqa: E402
from kit import doorway  # noqa: E402
from kit.access import Observed  # noqa: E402
from kit.middleware import is_api  # noqa: E402
from skills import consumers, mcp  # noqa: E402

_api = ApiHandler()
_mcp = mcp.Gate()


async def _http(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["path"].rstrip("/") == "/mcp":
        await _mcp(scope, receive, send)
        return
    is_program = is_api(scope["path"]) or scope["path"] == "/metrics"
    if is_program and scope["method"] == "POST":
        await doorway.enter()
    handler: Any = _api if is_program else _pages  # Django's stubs want a dict for a scope
    await handler(scope, receive, send)


class Application:
    """The whole platform as one ASGI application; `startup` and `shutdown` frame a server's life."""

    def __init__(self) -> None:
        self._router = Observed(ProtocolTypeRouter({"http": _http, "websocket": consumers.websocket}))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await lifetime.lifespan(receive, send)
        else:
            await self._router(scope, receive, send)

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


application = Application()
