"""A few things at a time: when one has to stop, no further one begins, and those under way come to their end."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from skills.analyses.holds import Failed, Hold, Lost, Paused, Stop, Yielded
from tenants.keys import Caller

Row = dict[str, Any]
Do = Callable[[Row], Awaitable[None]]


def share(caller: Caller, *, most: int) -> int:
    """Say how many calls at a time leave the key some for others."""
    return min(most, max(1, caller.concurrent_calls // 2))


async def work_off(hold: Hold, waiting: list[Row], do: Do, *, most: int) -> None:
    """Do what waits, from the end of the list; raises the weightiest reason to stop."""
    ended = await asyncio.gather(
        *(_lane(hold, waiting, do) for _ in range(min(most, len(waiting)))), return_exceptions=True
    )
    faults = [one for one in ended if isinstance(one, BaseException)]
    if faults:
        raise min(faults, key=_weight)


async def _lane(hold: Hold, waiting: list[Row], do: Do) -> None:
    while waiting:
        try:
            await do(waiting.pop())
        except Stop as stop:
            hold.stop(stop)
            raise


def _weight(fault: BaseException) -> int:
    """The weightiest reason decides: lost, then broken, then failed, then out of money, then making room."""
    order = (Lost, Failed, Paused, Yielded)
    return next((rank for rank, kind in enumerate(order, start=1) if isinstance(fault, kind)), 0)
