"""The protocol behind the door: one stateless server, kept running on each event loop that was asked.

Loading it costs half a second and 30 MiB, so a process that nobody speaks MCP with never does.
"""

import asyncio
from typing import Any
from weakref import WeakKeyDictionary

from django.conf import settings
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings

from kit import loops
from skills.mcp import tools

_INSTRUCTIONS = (
    "Each tool is a skill of this platform: a task that Claude carries out in a fixed form. Calls count against the "
    "key's rate limits and token budgets; a refused call says what would pass."
)
_server: Server[Any] = Server(
    "skillgate",
    version="1",
    title="Skillgate",
    instructions=_INSTRUCTIONS,
    on_list_tools=tools.list_tools,
    on_call_tool=tools.call_tool,
)
_sessions: WeakKeyDictionary[asyncio.AbstractEventLoop, StreamableHTTPSessionManager] = WeakKeyDictionary()
_starting: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


async def sessions() -> StreamableHTTPSessionManager:
    """Return what answers messages on the running loop, started by the first to ask."""
    loop = asyncio.get_running_loop()
    async with _starting.setdefault(loop, asyncio.Lock()):
        if loop not in _sessions:
            _sessions[loop] = await _started()
    return _sessions[loop]


async def _started() -> StreamableHTTPSessionManager:
    started = StreamableHTTPSessionManager(
        _server,
        stateless=True,
        max_request_body_size=settings.MAX_BODY_BYTES,
        # Checked at the door already, by the patterns of ALLOWED_HOSTS, which this list cannot express.
        security_settings=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
    is_running = asyncio.Event()

    async def run() -> None:
        async with started.run():
            is_running.set()
            await asyncio.get_running_loop().create_future()

    loops.start(run(), name="mcp")
    await is_running.wait()
    return started
