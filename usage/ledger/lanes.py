"""How reservations and settlements reach Postgres: those of a moment as one statement, in a few lanes per event loop."""

import asyncio
import json
import logging
from collections.abc import Callable
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple

import orjson
import psycopg
from psycopg_pool import PoolClosed, PoolTimeout

from kit import loops, pg
from kit.batching import Lane
from kit.errors import Unavailable
from kit.statements import Statement
from tenants.keys import Caller
from usage.ledger import unanswered
from usage.ledger.entries import Admission, Closing, Reservation, admission_row, closing_row

log = logging.getLogger(__name__)

MOST_ITEMS = 128
ANSWER_SECONDS = 2.6
_LANES = 4  # a tenant stays in one lane, so batches of one process never wait for each other's tenant lock
_MOST_WAITING = 4_000


def _of_one(function: bytes, row: bytes, *, fields: int, nullable: tuple[int, ...], answer: bytes) -> Statement:
    """Return the statement that applies one row, whose fields, in the order of SQL's type, are its parameters.

    Those in `nullable` places are NULL where they are empty.
    """
    places = (b"nullif($%d, '')" % place if place in nullable else b"$%d" % place for place in range(1, fields + 1))
    return Statement(function, b"SELECT %s FROM %s(ROW(%s)::%s)" % (answer, function, b", ".join(places), row))


_APPLY = Statement(b"usage_apply", b"SELECT * FROM usage_apply($1::jsonb, $2::jsonb)")
_CALL = _of_one(
    b"usage_apply_call",
    b"usage_call",
    fields=19,
    nullable=(12,),
    answer=b"outcome, month, number, opened_at, detail",
)
_CLOSING = _of_one(
    b"usage_apply_closing",
    b"usage_closing",
    fields=18,
    nullable=(16, 17),
    answer=b"outcome, state, over_tokens, over_micros",
)
_REFUSED = (
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.InternalError,
    psycopg.NotSupportedError,
    psycopg.ProgrammingError,
)


class Reserve(NamedTuple):
    """One call that asks to be admitted."""

    caller: Caller
    admission: Admission

    @property
    def tenant_id(self) -> int:
        """Whose ledger it is about."""
        return self.caller.tenant_id


class Settle(NamedTuple):
    """One event that is to be closed."""

    reservation: Reservation
    closing: Closing

    @property
    def tenant_id(self) -> int:
        """Whose ledger it is about."""
        return self.reservation.caller.tenant_id


Entry = Reserve | Settle
Answer = dict[str, Any]


def of(caller: Caller) -> Lane[Entry, Answer]:
    """Return the lane of a caller's tenant; what it answers is committed."""
    return _lanes.here()[caller.tenant_id % _LANES]


def _made() -> list[Lane[Entry, Answer]]:
    return [
        Lane(
            "ledger",
            _flush,
            abandoned=_abandoned,
            at_once=_send_at_once,
            most_items=MOST_ITEMS,
            most_waiting=_MOST_WAITING,
        )
        for _ in range(_LANES)
    ]


def _abandoned(entry: Entry, answer: Answer) -> None:
    if isinstance(entry, Reserve) and answer["outcome"] == "open":
        unanswered.release([entry.admission.event_id])


def _send_at_once(entry: Entry, told: Callable[[Answer | Exception], None]) -> bool:
    alone = _alone(entry)
    if alone is None:
        return False
    statement, fields = alone
    return pg.ask_at_once(statement, *fields, told=partial(_hear, entry, told))


def _hear(entry: Entry, told: Callable[[Answer | Exception], None], answer: list[Answer] | Exception) -> None:
    if isinstance(answer, Exception):
        _heed([entry], answer)
        told(answer)
    else:
        told(answer[0])


async def _flush(entries: list[Entry]) -> list[Answer | Exception]:
    try:
        return list(await _apply(entries))
    except _REFUSED as fault:
        if len(entries) == 1:
            _heed(entries, fault)
            return [fault]
        middle = len(entries) // 2
        return [*await _flush(entries[:middle]), *await _flush(entries[middle:])]
    except Unavailable as lost:
        if isinstance(lost.__cause__, psycopg.errors.LockNotAvailable) and _tenants(entries) > 1:
            return await _flush_each_tenant(entries)
        _heed(entries, lost)
        raise


def _heed(entries: list[Entry], fault: Exception) -> None:
    """Log what Postgres refused; have released what it may have reserved although its answer was lost."""
    if isinstance(fault, _REFUSED):
        log.error("the ledger refused an entry of tenant %s", entries[0].tenant_id, exc_info=fault)
    elif isinstance(fault, Unavailable) and _may_be_committed(fault.__cause__):
        fault.may_be_done = True
        unanswered.release(
            [entry.admission.event_id for entry in entries if isinstance(entry, Reserve)], may_yet_commit=True
        )


async def _apply(entries: list[Entry]) -> list[Answer]:
    if len(entries) == 1 and (alone := _alone(entries[0])):
        statement, fields = alone
        return await pg.ask(statement, *fields)
    settles, reserves = [], []
    for ordinal, entry in enumerate(entries):
        if isinstance(entry, Settle):
            settles.append(closing_row(entry.reservation, entry.closing, ordinal=ordinal))
        else:
            reserves.append(admission_row(entry.caller, entry.admission, ordinal=ordinal))
    # Without a deadline: the lane's callers have their own, and what comes later has to be known here.
    rows = await pg.ask(_APPLY, _json(settles), _json(reserves))
    return sorted(rows, key=itemgetter("ordinal"))


def _alone(entry: Entry) -> tuple[Statement, list[bytes]] | None:
    """Return what applies one entry, or None where a field is no text that Postgres takes as a parameter."""
    if isinstance(entry, Settle):
        statement, row = _CLOSING, closing_row(entry.reservation, entry.closing, ordinal=0)
    else:
        statement, row = _CALL, admission_row(entry.caller, entry.admission, ordinal=0)
    try:
        fields = "\0".join(["" if field is None else str(field) for field in row.values()]).encode().split(b"\0")
    except UnicodeEncodeError:  # half a surrogate pair
        return None
    return (statement, fields) if len(fields) == len(row) else None  # or else there is a zero in one


def _json(rows: list[dict[str, Any]]) -> bytes:
    try:
        return orjson.dumps(rows)
    except TypeError:  # half a surrogate pair or a huge number: Postgres says which entry it refuses
        return json.dumps(rows, default=str).encode()


def _tenants(entries: list[Entry]) -> int:
    return len({entry.tenant_id for entry in entries})


async def _flush_each_tenant(entries: list[Entry]) -> list[Answer | Exception]:
    """Somebody keeps the lock of one tenant for long: the others need not wait for it."""
    places: dict[int, list[int]] = {}
    for place, entry in enumerate(entries):
        places.setdefault(entry.tenant_id, []).append(place)
    answers: list[Answer | Exception] = [Unavailable("The ledger is busy. Try again.")] * len(entries)
    flushed = await asyncio.gather(
        *(_flush([entries[place] for place in group]) for group in places.values()), return_exceptions=True
    )
    for group, outcome in zip(places.values(), flushed, strict=True):
        found = [outcome] * len(group) if isinstance(outcome, BaseException) else outcome
        for place, answer in zip(group, found, strict=True):
            if not isinstance(answer, BaseException) or isinstance(answer, Exception):
                answers[place] = answer
    return answers


def _may_be_committed(lost: BaseException | None) -> bool:
    """Whether the connection went while the outcome was on its way; an error that the server stated was rolled back."""
    if isinstance(lost, PoolTimeout | PoolClosed):
        return False
    state = lost.sqlstate if isinstance(lost, psycopg.Error) else None
    return state is None or state.startswith(("08", "57P"))


_lanes = loops.Own(_made)
