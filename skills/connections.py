"""The long-lived connections of this process, such as sockets: each ends when its key may do nothing more.

The control channel tells at once; a look into Postgres every few seconds finds out without Redis.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Protocol
from weakref import WeakKeyDictionary

from kit import control, loops, pg
from kit.errors import Unavailable
from tenants.keys import Caller

log = logging.getLogger(__name__)

CHECK_SECONDS = 10.0
_USABLE = """
SELECT k.id FROM tenants_apikey k JOIN tenants_tenant t ON t.id = k.tenant_id
WHERE k.id = ANY(%(ids)s) AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp())
    AND t.status = 'active'
"""


class Connection(Protocol):
    """What can be held: whose it is, how it is ended, and how it comes to its end when the process is to stop."""

    @property
    def caller(self) -> Caller:
        """Whose it is."""

    @property
    def retire(self) -> Callable[[], None] | None:
        """End what has begun and begin nothing more; None for what is one thing only."""

    def end(self) -> None:
        """End it: its key has lost its validity."""


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    caller: Caller
    end: Callable[[], None]
    retire: Callable[[], None] | None


_held: WeakKeyDictionary[asyncio.AbstractEventLoop, set[Connection]] = WeakKeyDictionary()


def _here() -> set[Connection]:
    loop = asyncio.get_running_loop()
    here = _held.get(loop)
    if here is None:
        here = _held[loop] = set()
        loops.start(_check_forever(here), name="check of long-lived connections")
        control.listener()
    return here


@contextmanager
def held(caller: Caller, *, end: Callable[[], None], retire: Callable[[], None] | None = None) -> Iterator[None]:
    """Call `end()` if the caller's key loses its validity while the block runs.

    `retire()` is called when the process is to stop: the connection may end what it has begun.
    """
    one = _Held(caller, end, retire)
    hold(one)
    try:
        yield
    finally:
        let_go(one)


def hold(one: Connection) -> None:
    """Call its `end()` if its caller's key loses its validity, until it is let go."""
    _here().add(one)


def let_go(one: Connection) -> None:
    """Look after a connection no longer."""
    _here().discard(one)


def retire_all() -> None:
    """Have every connection of the running loop that can begin something new come to its end."""
    for one in tuple(_held.get(asyncio.get_running_loop(), ())):
        if one.retire is not None:
            one.retire()


async def check() -> None:
    """Look once whether the keys of all connections of the running loop are still good."""
    held_now = set(_here())
    if not held_now:
        return
    rows = await pg.fetch_all(_USABLE, {"ids": list({one.caller.key_id for one in held_now})})
    usable = {row["id"] for row in rows}
    for one in held_now:
        if one.caller.key_id not in usable:
            one.end()


async def _check_forever(here: set[Connection]) -> None:
    while True:
        await asyncio.sleep(CHECK_SECONDS)
        try:
            await check()
        except Unavailable:
            log.warning("the keys of %s connections could not be checked; the next look tries again", len(here))
        except Exception:
            log.exception("the check of long-lived connections failed; the next one tries again")


def _end_where(is_meant: Callable[[Caller], bool]) -> None:
    for one in tuple(_held.get(asyncio.get_running_loop(), ())):
        if is_meant(one.caller):
            one.end()


async def _on_connected(_: control.Message) -> None:
    with suppress(Unavailable):  # the periodic look tries again
        await check()


control.subscribe(control.CONNECTED, _on_connected)
control.subscribe("key.revoked", lambda message: _end_where(lambda caller: caller.key_id == message.get("key_id")))
control.subscribe(
    "tenant.suspended", lambda message: _end_where(lambda caller: caller.tenant_id == message.get("tenant_id"))
)
