"""Reserve, settle, heartbeat, sweep: each one statement, those of a moment batched into one."""

import asyncio
import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID
from weakref import WeakKeyDictionary

import psycopg
from prometheus_client import Counter

from kit import clock, pg
from kit.batching import Lane
from kit.errors import AuthenticationFailed, BudgetExceeded, SkillgateError, Unavailable
from tenants.keys import Caller
from tenants.limits import refusals
from usage import pricing
from usage.ledger.entries import LEASE_SECONDS, Admission, Closing, Reservation, admission_row, closing_row
from usage.ledger.refusals import refusal

log = logging.getLogger(__name__)

OVERRUN = Counter("skillgate_ledger_overrun_total", "Events for which upstream reported more than was reserved.")
SWEPT = Counter("skillgate_ledger_swept_total", "Events closed by the sweep.")

_LANES = 4  # a tenant stays in one lane, so batches of one process never wait for each other's tenant lock
_MOST_ITEMS = 128
_MOST_WAITING = 4_000
_ANSWER_SECONDS = 2.6
_SETTLE_PAUSES = (0.05, 0.2, 0.5, 1.0, 2.0, 5.0)


@dataclass(frozen=True, slots=True)
class _Reserve:
    caller: Caller
    admission: Admission


@dataclass(frozen=True, slots=True)
class _Settle:
    reservation: Reservation
    closing: Closing


_Entry = _Reserve | _Settle
_Answer = dict[str, Any]
_lanes: WeakKeyDictionary[asyncio.AbstractEventLoop, list[Lane[_Entry, _Answer]]] = WeakKeyDictionary()
_late: set[asyncio.Task[None]] = set()


async def reserve(caller: Caller, admission: Admission) -> Reservation:
    """This function will open a usage event for one upstream attempt and return it, committed.

    Raises `BudgetExceeded` (nothing written), `AuthenticationFailed` when the key or its tenant
    is no longer active, `Unavailable` when the ledger does not answer in time (what it may still
    write is released).
    """
    answer = await _lane(caller.tenant_id).submit(_Reserve(caller, admission), within=_ANSWER_SECONDS)
    if answer["outcome"] == "inactive":
        raise AuthenticationFailed
    if answer["outcome"] != "open":
        raise await _refuse(caller, admission, answer)
    return _reservation(_Reserve(caller, admission), answer)


async def settle(reservation: Reservation, closing: Closing) -> str:
    """This function will close a usage event and return the state it is in now.

    It outlasts an outage of Postgres: it tries until it is done. Closing twice changes nothing.
    """
    attempt = 0
    while True:
        try:
            answer = await _lane(reservation.caller.tenant_id).submit(
                _Settle(reservation, closing), within=_ANSWER_SECONDS
            )
        except Unavailable:
            await asyncio.sleep(_SETTLE_PAUSES[min(attempt, len(_SETTLE_PAUSES) - 1)])
            attempt += 1
            continue
        if answer["over_tokens"]:
            OVERRUN.inc()
            log.error("usage event %s used %s tokens more than reserved", reservation.event_id, answer["over_tokens"])
        return str(answer["state"])


async def heartbeat(events: Iterable[tuple[UUID, date]]) -> dict[UUID, str]:
    """This function will renew the leases of open events (id, month).

    Returns a verdict for each: `go_on`, `inactive` (its key or tenant may spend no more) or
    `closed` (somebody else closed it).
    """
    rows = json.dumps([{"id": str(event_id), "month": month.isoformat()} for event_id, month in events])
    found = await pg.fetch_all("SELECT * FROM usage_heartbeat(%s::jsonb, %s)", (rows, LEASE_SECONDS))
    return {row["id"]: row["verdict"] for row in found}


async def sweep(*, most: int = 500) -> int:
    """This function will close events whose lease is over, as estimated at their reservation, and return how many."""
    row = await pg.fetch_one("SELECT usage_sweep(%s) AS closed", (most,))
    closed = int(row["closed"]) if row else 0
    SWEPT.inc(closed)
    return closed


async def drain() -> None:
    """This function will wait until releases under way in the background are done."""
    while _late:
        await asyncio.wait(set(_late))


async def _refuse(caller: Caller, admission: Admission, answer: _Answer) -> BudgetExceeded:
    book = await pricing.current()
    refused = refusal(caller, admission, outcome=answer["outcome"], detail=answer["detail"], book=book)
    refusals.count(caller, reason=str(refused.details["reason"]), now=clock.now())
    return refused


def _lane(tenant_id: int) -> Lane[_Entry, _Answer]:
    loop = asyncio.get_running_loop()
    lanes = _lanes.get(loop)
    if lanes is None:
        lanes = _lanes[loop] = [
            Lane("ledger", _flush, abandoned=_abandoned, most_items=_MOST_ITEMS, most_waiting=_MOST_WAITING)
            for _ in range(_LANES)
        ]
    return lanes[tenant_id % _LANES]


async def _flush(entries: list[_Entry]) -> list[_Answer | Exception]:
    try:
        return list(await _apply(entries))
    except (psycopg.DataError, psycopg.IntegrityError, psycopg.ProgrammingError) as fault:
        if len(entries) == 1:
            log.exception("the ledger refused an entry")
            return [fault]
        return [answer for entry in entries for answer in await _flush([entry])]


async def _apply(entries: list[_Entry]) -> list[_Answer]:
    settles, reserves = [], []
    for ordinal, entry in enumerate(entries):
        if isinstance(entry, _Settle):
            settles.append(closing_row(entry.reservation, entry.closing) | {"ordinal": ordinal})
        else:
            reserves.append(admission_row(entry.caller, entry.admission) | {"ordinal": ordinal})
    rows = await pg.fetch_all(
        "SELECT * FROM usage_apply(%s::jsonb, %s::jsonb)", (json.dumps(settles), json.dumps(reserves))
    )
    answers = {row["ordinal"]: row for row in rows}
    return [answers[ordinal] for ordinal in range(len(entries))]


def _abandoned(entry: _Entry, answer: _Answer) -> None:
    if isinstance(entry, _Reserve) and answer["outcome"] == "open":
        closing = Closing(state="released", error_type="abandoned")
        task = asyncio.create_task(_release(_reservation(entry, answer), closing))
        _late.add(task)
        task.add_done_callback(_late.discard)


async def _release(reservation: Reservation, closing: Closing) -> None:
    try:
        await settle(reservation, closing)
    except SkillgateError:
        log.warning("usage event %s is left to the sweep", reservation.event_id)


def _reservation(entry: _Reserve, answer: _Answer) -> Reservation:
    detail = answer["detail"]
    return Reservation(
        caller=entry.caller,
        admission=entry.admission,
        month=date.fromisoformat(detail["month"]),
        number=answer["number"],
        opened_at=datetime.fromisoformat(detail["opened_at"]),
    )
