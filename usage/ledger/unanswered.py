"""Reservations nobody uses: the caller was told 503, or went away, and the event may be open all the same.

They are released in the background as soon as Postgres answers, so that the sweep does not take
them for spend. Memory is bounded: what does not fit, or is lost with the process, is swept.
"""

import asyncio
import logging
from collections.abc import Iterable
from uuid import UUID
from weakref import WeakKeyDictionary

from kit import clock, loops, pg
from kit.errors import Unavailable

log = logging.getLogger(__name__)

_MOST = 20_000
_PAUSES = (0.0, 0.1, 0.5, 1.0, 2.0, 5.0)
# A backend whose client is gone may still commit, until its statement times out (15 s); after this it is over.
_MAY_YET_COMMIT_SECONDS = 20.0

_pending: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[UUID, float]] = WeakKeyDictionary()
_tasks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[None]] = WeakKeyDictionary()


def release(event_ids: Iterable[UUID], *, may_yet_commit: bool = False) -> None:
    """Have events released in the background, also those that appear only in a moment."""
    loop = asyncio.get_running_loop()
    pending = _pending.setdefault(loop, {})
    until = clock.monotonic() + (_MAY_YET_COMMIT_SECONDS if may_yet_commit else 0.0)
    for event_id in event_ids:
        if len(pending) >= _MOST:
            log.error("too many unanswered reservations; usage event %s is left to the sweep", event_id)
            continue
        pending[event_id] = until
    task = _tasks.get(loop)
    if pending and (task is None or task.done()):
        _tasks[loop] = loops.start(_release_all(pending), name="release unanswered reservations")


def count() -> int:
    """Return how many reservations of the running loop wait to be released."""
    return len(_pending.get(asyncio.get_running_loop(), {}))


async def drain(*, within: float) -> None:
    """Wait until all of them are released, `within` seconds at most."""
    task = _tasks.get(asyncio.get_running_loop())
    if task is not None and not task.done():
        await asyncio.wait({task}, timeout=within)
    if left := count():
        log.warning("%s unanswered reservations are left to the sweep", left)


async def _release_all(pending: dict[UUID, float]) -> None:
    attempt = 0
    while pending:
        await asyncio.sleep(_PAUSES[min(attempt, len(_PAUSES) - 1)])
        attempt += 1
        asked_at = clock.monotonic()
        asked = list(pending)
        try:
            rows = await pg.fetch_all("SELECT usage_release_unanswered(%s::uuid[]) AS id", (asked,))
        except Unavailable:
            continue
        released = {row["id"] for row in rows}
        for event_id in asked:
            if event_id in released or pending[event_id] <= asked_at:
                del pending[event_id]
