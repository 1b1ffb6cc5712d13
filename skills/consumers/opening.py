"""Who may open a socket: from where, with which key, and how many."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

from django.conf import settings
from django.http.request import validate_host
from django.utils.http import is_same_domain

from kit import clock, ids, loops
from kit.errors import NotAllowed
from skills import tickets
from skills.consumers import seats
from tenants import keys
from tenants.api import callers
from tenants.keys import Caller

Scope = dict[str, Any]
_RENEWAL_SECONDS = seats.LEASE_SECONDS / 3


def _headers(scope: Scope) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        text = value.decode("latin-1")
        key = name.decode("latin-1").lower()
        headers[key] = f"{headers[key]},{text}" if key in headers else text
    return headers


def check_origin(scope: Scope) -> None:
    """Refuse a browser's socket from a page that is not of this platform; raises `NotAllowed`."""
    origin = _headers(scope).get("origin")
    if origin is not None and not _is_ours(origin):
        raise NotAllowed("Pages of this origin may not open sockets here. Ask the operator to allow it.")


def _is_ours(origin: str) -> bool:
    try:
        parts = urlsplit(origin)
        host = parts.hostname or ""
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or not host:
        return False
    if validate_host(f"[{host}]" if ":" in host else host, settings.ALLOWED_HOSTS):
        return True
    return any(_matches(parts.scheme, parts.netloc, trusted) for trusted in settings.CSRF_TRUSTED_ORIGINS)


def _matches(scheme: str, netloc: str, trusted: str) -> bool:
    wanted = urlsplit(trusted)
    return scheme == wanted.scheme and is_same_domain(netloc.lower(), wanted.netloc.lower().removeprefix("*"))


async def caller_of(scope: Scope) -> Caller:
    """Return who opens a socket, by a key in a header or a ticket in the URL.

    Raises `AuthenticationFailed`, `NotAllowed`, `RateLimited` or `Unavailable`.
    """
    request = callers.Bare(scope, _headers(scope))
    given = parse_qs(scope["query_string"].decode("latin-1")).get("ticket", [])
    if given and keys.credentials(request.META) is None:
        caller = await tickets.redeem(given[-1], address=callers.address(request), now=clock.now())
        if not caller.may("run"):
            raise NotAllowed("This key may not be used to run. Ask the tenant's admin for the scope.")
        return caller
    return await callers.of_request(request, verb="run", fresh=True)


@asynccontextmanager
async def seated(caller: Caller) -> AsyncIterator[None]:
    """Count a socket of a key for as long as the block runs; raises `RateLimited` for one too many."""
    seat = ids.secret(16)
    await seats.take(caller.family_id, seat)
    renewal = loops.start(_renew_forever(caller.family_id, seat), name="seat of a socket")
    try:
        yield
    finally:
        await loops.end(renewal)
        await asyncio.shield(seats.leave(caller.family_id, seat))


async def _renew_forever(family_id: int, seat: str) -> None:
    while True:
        await asyncio.sleep(_RENEWAL_SECONDS)
        await seats.renew(family_id, seat)
