"""Reserve, settle, heartbeat, sweep: each one statement, those of a moment batched into one."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Coroutine, Iterable
from datetime import UTC, date
from typing import Any
from uuid import UUID

from prometheus_client import Counter

from kit import pg, traces
from kit.errors import AuthenticationFailed, BudgetExceeded, Unavailable
from tenants.keys import Caller
from usage import pricing
from usage.ledger import lanes, unanswered
from usage.ledger.entries import LEASE_SECONDS, Admission, Closing, Reservation
from usage.ledger.refusals import refusal

log = logging.getLogger(__name__)

OVERRUN = Counter("skillgate_ledger_overrun_total", "Events that used more than was reserved for them.", ["unit"])
SWEPT = Counter("skillgate_ledger_swept_total", "Events closed by the sweep.")

_SETTLE_PAUSES = (0.05, 0.2, 0.5, 1.0, 2.0, 5.0)
_DRAIN_SECONDS = 3.0


class Reserving:
    """A reservation that is on its way as soon as this is made."""

    __slots__ = ("_answer", "_entry", "_lane")

    def __init__(self, caller: Caller, admission: Admission) -> None:
        self._entry = lanes.Reserve(caller, admission)
        self._lane = lanes.of(caller)
        self._answer = self._lane.put(self._entry, within=lanes.ANSWER_SECONDS)

    async def done(self) -> Reservation:
        """Return what `reserve` does, or raise that; who is cancelled has not asked."""
        try:
            with traces.span("ledger.reserve"):
                answer = await self._answer
        except asyncio.CancelledError:
            self.forgo()
            raise
        caller, admission = self._entry
        if answer["outcome"] == "inactive":
            raise AuthenticationFailed
        if answer["outcome"] != "open":
            raise await _refuse(caller, admission, answer)
        return Reservation(
            caller=caller,
            admission=admission,
            month=answer["month"],
            number=answer["number"],
            opened_at=answer["opened_at"].astimezone(UTC),
        )

    def forgo(self) -> None:
        """Want it no more: it is not made, or released in the background."""
        self._lane.forgo(self._entry, self._answer)


async def reserve(caller: Caller, admission: Admission) -> Reservation:
    """Open a usage event for one upstream attempt and return it, committed.

    Raises `BudgetExceeded` (nothing written), `AuthenticationFailed` when the key or its tenant
    is no longer active, `Unavailable` when the ledger does not answer in time (what it may still
    write is released).
    """
    return await Reserving(caller, admission).done()


async def settle(reservation: Reservation, closing: Closing) -> str:
    """Close a usage event and return the state it is in now.

    It outlasts an outage of Postgres: it tries until it is done. Closing twice changes nothing.
    """
    attempt = 0
    while True:
        try:
            return await settle_once(reservation, closing)
        except Unavailable:
            await asyncio.sleep(_SETTLE_PAUSES[min(attempt, len(_SETTLE_PAUSES) - 1)])
            attempt += 1


def settle_once(
    reservation: Reservation, closing: Closing, *, within: float = lanes.ANSWER_SECONDS
) -> Coroutine[Any, Any, str]:
    """Put a closing on its way, at once, and return what awaits the state that the event is in then.

    That raises `Unavailable` when the ledger does not answer `within` seconds.
    """
    lane = lanes.of(reservation.caller)
    return _settled(reservation, lane.put(lanes.Settle(reservation, closing), within=within))


async def _settled(reservation: Reservation, answering: Awaitable[lanes.Answer]) -> str:
    with traces.span("ledger.settle"):
        answer = await answering
    _note_overrun(reservation, answer)
    if answer["outcome"] == "missing":
        log.error("usage event %s is to be closed and does not exist", reservation.event_id)
    return str(answer["state"])


async def heartbeat(events: Iterable[tuple[UUID, date]]) -> dict[UUID, str]:
    """Renew the leases of open events (id, month).

    Returns a verdict for each: `go_on`, `inactive` (its key or tenant may spend no more) or
    `closed` (somebody else closed it).
    """
    rows = json.dumps([{"id": str(event_id), "month": month.isoformat()} for event_id, month in events])
    found = await pg.fetch_all("SELECT * FROM usage_heartbeat(%s::jsonb, %s)", (rows, LEASE_SECONDS))
    return {row["id"]: row["verdict"] for row in found}


async def sweep(*, most: int = 500) -> int:
    """Close events whose lease is over, as estimated at their reservation, and return how many."""
    row = await pg.fetch_one("SELECT usage_sweep(%s) AS closed", (most,))
    closed = int(row["closed"]) if row else 0
    SWEPT.inc(closed)
    return closed


async def drain() -> None:
    """Wait a moment for releases under way in the background."""
    await unanswered.drain(within=_DRAIN_SECONDS)


async def _refuse(caller: Caller, admission: Admission, answer: lanes.Answer) -> BudgetExceeded:
    book = await pricing.current(caller.tenant_id)
    on = answer["opened_at"].astimezone(UTC).date()
    return refusal(caller, admission, outcome=answer["outcome"], detail=answer["detail"], book=book, on=on)


def _note_overrun(reservation: Reservation, answer: lanes.Answer) -> None:
    if not answer["over_tokens"] and not answer["over_micros"]:
        return
    for unit in ("tokens", "micros"):
        if answer[f"over_{unit}"]:
            OVERRUN.labels(unit).inc()
            log.error(
                "usage event %s used %s %s more than reserved", reservation.event_id, answer[f"over_{unit}"], unit
            )
