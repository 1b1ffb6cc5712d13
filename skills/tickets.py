"""Single-use tickets: how a browser opens a socket without its key in a URL."""

import hashlib
import re
from datetime import datetime

from kit import ids
from kit import redis as kit_redis
from kit.errors import AuthenticationFailed, Unavailable
from tenants import keys
from tenants.keys import Caller

LIVES_SECONDS = 60
_FORM = re.compile(r"sgt_[0-9A-Za-z]{43}")


async def issue(caller: Caller) -> str:
    """Return a ticket that stands for the caller's key once, within a minute.

    Raises `Unavailable` without Redis.
    """
    ticket = f"sgt_{ids.secret(43)}"
    try:
        await kit_redis.client().set(_name(ticket), caller.key_id, ex=LIVES_SECONDS)
    except kit_redis.TROUBLE as trouble:
        raise Unavailable("Tickets cannot be issued right now. Try again, or send the key in a header.") from trouble
    return ticket


async def redeem(ticket: str, *, address: str, now: datetime) -> Caller:
    """Use a ticket up and return its caller, if the key is still good.

    Raises `AuthenticationFailed`, the same for every reason, or `Unavailable`.
    """
    if not _FORM.fullmatch(ticket):
        raise AuthenticationFailed
    try:
        key_id = await kit_redis.client().getdel(_name(ticket))
    except kit_redis.TROUBLE as trouble:
        raise Unavailable("Tickets cannot be checked right now. Try again, or send the key in a header.") from trouble
    if key_id is None:
        raise AuthenticationFailed
    return await keys.authenticate_again(int(key_id), address=address, now=now)


def _name(ticket: str) -> str:
    return f"skillgate:ticket:{hashlib.sha256(ticket.encode()).hexdigest()}"
