"""How much of the month's budgets is left, roughly: for choices that need not be exact."""

import asyncio
from collections import OrderedDict
from typing import Any
from weakref import WeakKeyDictionary

from kit import clock, pg
from tenants.keys import Caller
from usage.standings import STANDINGS

LIVES_SECONDS = 5.0
_MOST_KEPT = 4_096
_QUERY = STANDINGS.format(
    scope="(b.key_id IS NULL OR b.key_id = %s) AND b.\"window\" = 'month' AND b.skill = ANY(%s)",
)

_Of = tuple[int, int, str]
_Kept = OrderedDict[_Of, tuple[float, "asyncio.Task[float]"]]
_kept: WeakKeyDictionary[asyncio.AbstractEventLoop, _Kept] = WeakKeyDictionary()


async def share_left(caller: Caller, *, skill: str) -> float:
    """Return the share (0 to 1) that is left of the tightest monthly budget of tenant, key and skill.

    It is up to `LIVES_SECONDS` old; what calls under way hold reserved counts as used. Raises `Unavailable`.
    """
    here = _kept.setdefault(asyncio.get_running_loop(), OrderedDict())
    of = (caller.tenant_id, caller.family_id, skill)
    found = here.get(of)
    if found is None or found[0] <= clock.monotonic() or _is_lost(found[1]):
        found = here[of] = (clock.monotonic() + LIVES_SECONDS, asyncio.create_task(_read(caller, skill)))
        here.move_to_end(of)
        while len(here) > _MOST_KEPT:
            here.popitem(last=False)
    return await asyncio.shield(found[1])


def _is_lost(task: "asyncio.Task[float]") -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


async def _read(caller: Caller, skill: str) -> float:
    rows = await pg.fetch_all(_QUERY, [caller.tenant_id, caller.family_id, ["", skill]])
    shares = [_left(row, unit) for row in rows for unit in ("tokens", "micros") if row[f"limit_{unit}"] is not None]
    return min(shares, default=1.0)


def _left(row: dict[str, Any], unit: str) -> float:
    limit, used = row[f"limit_{unit}"], row[f"settled_{unit}"] + row[f"reserved_{unit}"]
    return max(0.0, 1 - used / limit) if limit > 0 else 0.0
