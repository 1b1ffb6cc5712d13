"""Sealing what is over: a day's events, once all of them are closed and some hours have passed for late corrections."""

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.db import connection, transaction

from kit import clock
from usage.rows import fetch
from usage.seals import canonical, signing
from usage.seals.models import Seal

log = logging.getLogger(__name__)

# A stalled process settles within hours, if at all; after the sealing its correction is an adjustment.
SETTLING = timedelta(hours=6)
FORM = 1
_GENESIS = "0" * 64
_MOVED = 3  # days by which a tenant that changes its time zone can come back to a day, and more
_EARLIEST = date(2000, 1, 1)


@dataclass(frozen=True, slots=True)
class _Chain:
    """Where a tenant's chain ends."""

    tenant_id: int
    sequence: int
    last_number: int
    hash: str
    day: date


@dataclass(frozen=True, slots=True)
class _Part:
    """What comes into the next seal."""

    day: date
    first_number: int
    last_number: int
    is_over: bool
    is_open: bool
    estimated: int


def seal_due(*, settling: timedelta = SETTLING, within: float = 300.0) -> int:
    """Seal every day that is over and wholly closed, and return how many seals were made.

    It stops after `within` seconds; the next time goes on. It can run anywhere and several times at once.
    """
    until, made = clock.monotonic() + within, 0
    for chain in _chains():
        for _ in _seals(chain.tenant_id, settling=settling):
            made += 1
            if clock.monotonic() >= until:
                return made
    return made


def seal_tenant(tenant_id: int, *, settling: timedelta = SETTLING) -> int:
    """Seal what is due of one tenant, and return how many seals were made."""
    return sum(1 for _ in _seals(tenant_id, settling=settling))


def sealed_to(tenant_id: int) -> int:
    """Return the number of a tenant's last sealed event; 0 when none is."""
    return _chain(tenant_id).last_number


def _seals(tenant_id: int, *, settling: timedelta) -> Iterator[Seal]:
    while True:
        seal = _next(_chain(tenant_id), settling=settling)
        if seal is None:
            return
        yield seal


def _next(chain: _Chain, *, settling: timedelta) -> Seal | None:
    part = _part(chain, settling=settling)
    if part is None or not part.is_over or part.is_open:
        return None
    content = _content(chain, part)
    if content["events"] != part.last_number - part.first_number + 1:
        log.error("tenant %s cannot be sealed: of events %s to %s some are missing", chain.tenant_id, *_range(part))
        return None
    with transaction.atomic():
        _lock(chain.tenant_id)
        # Only an estimate can have changed since it was read, and then it is none any more.
        if _chain(chain.tenant_id) != chain or _estimated(chain.tenant_id, part) != part.estimated:
            return None
        return _write(chain, part, content)


def _write(chain: _Chain, part: _Part, content: dict[str, object]) -> Seal:
    digests = content.pop("digests")
    assert isinstance(digests, bytes)  # noqa: S101 - `_content` puts them there
    now = _now()
    payload = canonical.text(
        {
            "columns": list(canonical.COLUMNS),
            "day": part.day.isoformat(),
            "first_number": part.first_number,
            "form": FORM,
            "last_number": part.last_number,
            "previous": chain.hash,
            "rows_sha256": hashlib.sha256(digests).hexdigest(),
            "sealed_at": now.isoformat(),
            "sequence": chain.sequence + 1,
            "tenant": chain.tenant_id,
            **content,
        }
    )
    signed = signing.sign(payload)
    return Seal.objects.create(
        tenant_id=chain.tenant_id,
        sequence=chain.sequence + 1,
        day=part.day,
        first_number=part.first_number,
        last_number=part.last_number,
        payload=payload,
        digests=digests,
        hash=hashlib.sha256(payload.encode()).hexdigest(),
        key_id=signed.key_id,
        signature=signed.signature,
        sealed_at=now,
    )


def _range(part: _Part) -> tuple[int, int]:
    return part.first_number, part.last_number


def _chains() -> list[_Chain]:
    return [_Chain(**row) for row in fetch(_ENDS.format(scope="y.last_number > coalesce(s.last_number, 0)"))]


def _chain(tenant_id: int) -> _Chain:
    found = fetch(_ENDS.format(scope="y.tenant_id = %s"), [tenant_id])
    return _Chain(**found[0]) if found else _Chain(tenant_id, 0, 0, _GENESIS, date.min)


def _part(chain: _Chain, *, settling: timedelta) -> _Part | None:
    """Months are named in each statement, as near as they are known: else all partitions are planned for each."""
    first = {"tenant": chain.tenant_id, "first": chain.last_number + 1, "since": _month(chain.day, days=-_MOVED)}
    begun = fetch(_FIRST, first)
    if not begun:
        return None
    day: date = begun[0]["day"]
    found = fetch(_PART, {**first, **_near(day), "day": day, "settling": settling})
    return _Part(day=day, first_number=chain.last_number + 1, **found[0])


def _content(chain: _Chain, part: _Part) -> dict[str, object]:
    (found,) = fetch(_CONTENT, _given(chain.tenant_id, part))
    return {**found, "digests": bytes(found["digests"] or b"")}


def _estimated(tenant_id: int, part: _Part) -> int:
    return int(fetch(_ESTIMATED, _given(tenant_id, part))[0]["estimated"])


def _given(tenant_id: int, part: _Part) -> dict[str, object]:
    return {"tenant": tenant_id, "first": part.first_number, "last": part.last_number, **_near(part.day)}


def _near(day: date) -> dict[str, date]:
    return {"from": _month(day, days=-_MOVED), "to": _month(day, days=_MOVED)}


def _month(day: date, *, days: int) -> date:
    return (max(day, _EARLIEST) + timedelta(days=days)).replace(day=1)


def _lock(tenant_id: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT usage_lock_tenants(ARRAY[%s]::bigint[])", [tenant_id])


def _now() -> datetime:
    now: datetime = fetch("SELECT usage_clock() AS now")[0]["now"]
    return now


_ENDS = f"""
SELECT y.tenant_id, coalesce(s.sequence, 0) AS sequence, coalesce(s.last_number, 0) AS last_number,
       coalesce(s.hash, '{_GENESIS}') AS hash, coalesce(s.day, '{_EARLIEST}') AS day
FROM usage_tenanttally y LEFT JOIN LATERAL (
    SELECT sequence, last_number, hash, day FROM usage_seal s WHERE s.tenant_id = y.tenant_id ORDER BY sequence DESC LIMIT 1
) s ON true
WHERE {{scope}} ORDER BY y.tenant_id
"""  # noqa: S608 - the text is ours
_FIRST = "SELECT day FROM usage_event WHERE tenant_id = %(tenant)s AND number = %(first)s AND month >= %(since)s"
# By numbers, not by days: a tenant that moves to another time zone can come to a day twice, never to a number.
_PART = """
SELECT l.last_number, r.is_open, r.estimated,
       ((usage_clock() - %(settling)s::interval) AT TIME ZONE t.timezone)::date > %(day)s::date AS is_over
FROM tenants_tenant t
CROSS JOIN LATERAL (
    SELECT max(e.number) AS last_number FROM usage_event e
    WHERE e.tenant_id = %(tenant)s AND e.day = %(day)s AND e.month BETWEEN %(from)s AND %(to)s
) l
CROSS JOIN LATERAL (
    SELECT bool_or(e.state = 'open') AS is_open, count(*) FILTER (WHERE e.state = 'estimated') AS estimated
    FROM usage_event e
    WHERE e.tenant_id = %(tenant)s AND e.number BETWEEN %(first)s AND l.last_number AND e.month BETWEEN %(from)s AND %(to)s
) r
WHERE t.id = %(tenant)s
"""
_ESTIMATED = """
SELECT count(*) FILTER (WHERE state = 'estimated') AS estimated FROM usage_event
WHERE tenant_id = %(tenant)s AND number BETWEEN %(first)s AND %(last)s AND month BETWEEN %(from)s AND %(to)s
"""
_CONTENT = f"""
SELECT count(*) AS events, count(*) FILTER (WHERE e.state = 'settled') AS settled,
       count(*) FILTER (WHERE e.state = 'estimated') AS estimated, count(*) FILTER (WHERE e.state = 'released') AS released,
       coalesce(sum(e.charged_tokens), 0)::bigint AS charged_tokens, coalesce(sum(e.cost_micros), 0)::bigint AS cost_micros,
       string_agg({canonical.digest()}, ''::bytea ORDER BY e.number, e.id) AS digests
FROM usage_event e
WHERE e.tenant_id = %(tenant)s AND e.number BETWEEN %(first)s AND %(last)s AND e.month BETWEEN %(from)s AND %(to)s
"""  # noqa: S608 - the columns are the model's own
