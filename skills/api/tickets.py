"""Tickets for sockets."""

import asyncio
from functools import partial

from django_ratelimit.core import get_usage
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from kit import redis as kit_redis
from kit.errors import RateLimited, Unavailable
from kit.rest import AsyncAPIView, respond
from skills import tickets
from skills.api import documentation
from tenants.api import callers
from tenants.keys import Caller

MOST_PER_MINUTE = 60
_PATIENCE_SECONDS = 1.0


class TicketsView(AsyncAPIView):
    """Tickets, which open a socket where no header can be sent."""

    @extend_schema(operation_id="create_ticket", request=None, responses=documentation.TICKET, tags=["skills"])
    async def post(self, request: Request) -> Response:
        """Get a ticket that opens one WebSocket within a minute."""
        caller = await callers.of_request(request, verb="run", fresh=True)
        await _guard(caller)
        ticket = await tickets.issue(caller)
        content = {"type": "ticket", "ticket": ticket, "expires_in": tickets.LIVES_SECONDS}
        return respond(content, request=request, headers={"Cache-Control": "no-store"})


async def _guard(caller: Caller) -> None:
    count = partial(
        get_usage,
        None,
        group="skills.tickets",
        key=lambda *_: f"{caller.family_id:020d}",
        rate=f"{MOST_PER_MINUTE}/m",
        increment=True,
    )
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            usage = await asyncio.to_thread(count)
    except kit_redis.TROUBLE as trouble:
        raise Unavailable("Tickets cannot be issued right now. Try again, or send the key in a header.") from trouble
    if usage and usage["should_limit"]:
        raise RateLimited(
            f"A key gets at most {MOST_PER_MINUTE} tickets a minute. Keep sockets open, or send the key in a header.",
            retry_after=int(usage["time_left"]),
        )
