"""From an HTTP request to the caller: the first step of every API view."""

import ipaddress
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from django.conf import settings

from kit import access, clock
from kit.errors import NotAllowed
from tenants import keys
from tenants.keys import Caller


class Bare:
    """What is read here of a request, for an edge that has no more of it than its ASGI scope."""

    def __init__(self, scope: Mapping[str, Any], headers: Mapping[str, str]) -> None:
        """Take in a scope and its headers, by names in lower case."""
        self.META = {
            "REMOTE_ADDR": (scope.get("client") or ("",))[0],
            "HTTP_X_FORWARDED_FOR": headers.get("x-forwarded-for", ""),
            "HTTP_X_API_KEY": headers.get("x-api-key", ""),
            "HTTP_AUTHORIZATION": headers.get("authorization", ""),
        }


async def of_request(request: Any, *, verb: str, fresh: bool = False) -> Caller:
    """Return who makes a request, if the key may do `verb` (run, read, messages, health, reports).

    `fresh` looks the key up anew, for answers that nothing else checks again. Raises
    `AuthenticationFailed` or `NotAllowed`.
    """
    caller = await keys.authenticate(
        keys.credentials(request.META), address=address(request), now=clock.now(), fresh=fresh
    )
    access.note(tenant=caller.tenant_slug, key=caller.public_id)
    if not caller.may(verb):
        raise NotAllowed(f"This key may not be used to {verb}. Ask the tenant's admin for the scope.")
    return caller


def address(request: Any) -> str:
    """Return the client's address; `X-Forwarded-For` counts only as far as trusted proxies wrote it."""
    nearest = str(request.META.get("REMOTE_ADDR", ""))
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR")
    hops = [hop.strip() for hop in forwarded.split(",") if hop.strip()] if forwarded else []
    while hops and _is_trusted(nearest):
        nearest = hops.pop()
    return nearest[:64]


def _is_trusted(hop: str) -> bool:
    try:
        parsed = ipaddress.ip_address(hop)
    except ValueError:
        return False
    return any(parsed in network for network in _proxies(tuple(settings.TRUSTED_PROXIES)))


@lru_cache(maxsize=8)
def _proxies(networks: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(ipaddress.ip_network(network) for network in networks)
