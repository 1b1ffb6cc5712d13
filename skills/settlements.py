"""The closing of a usage event on its way: waited for a moment, tried again until it is done, told of when it is.

Nobody waits longer than `SECONDS`: where Postgres is away, the event is closed later, in the background.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

from kit import clock, loops
from kit.errors import Unavailable
from skills import inflight, observing
from usage import ledger
from usage.ledger import Closing, Reservation

SECONDS = 2.0


def begin(reservation: Reservation, closing: Closing, *, lease: inflight.Lease) -> Coroutine[Any, Any, None]:
    """Put an attempt's closing on its way, at once, and return what waits for it; the lease is held until it is done."""
    return _closed(reservation, closing, ledger.settle_once(reservation, closing, within=SECONDS), lease=lease)


async def close(reservation: Reservation, closing: Closing) -> None:
    """Close the event of which no attempt was made."""
    until = clock.monotonic() + SECONDS
    try:
        await ledger.settle_once(reservation, closing, within=SECONDS)
    except Unavailable:
        await _go_on(reservation, closing, until=until)


async def _closed(
    reservation: Reservation, closing: Closing, settling: Coroutine[Any, Any, str], *, lease: inflight.Lease
) -> None:
    until = clock.monotonic() + SECONDS
    with lease:
        try:
            await settling
        except Unavailable:
            await _go_on(reservation, closing, until=until, lease=lease.keep())
        finally:
            loop = asyncio.get_running_loop()  # in the turn of the loop after that in which the answer leaves
            loop.call_soon(loop.call_soon, observing.ended, reservation, closing)


async def _go_on(
    reservation: Reservation, closing: Closing, *, until: float, lease: inflight.Lease | None = None
) -> None:
    """Try again to close an event until it is closed; from `until` on nobody waits for that."""
    settling = loops.start(_settle(reservation, closing, lease), name="settle")
    await asyncio.wait({settling}, timeout=max(0.0, until - clock.monotonic()))
    if settling.done():
        settling.result()


async def _settle(reservation: Reservation, closing: Closing, lease: inflight.Lease | None) -> None:
    try:
        await ledger.settle(reservation, closing)
    finally:
        if lease is not None:
            lease.end()
