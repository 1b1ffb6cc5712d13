"""A tenant's months: draft while they last, in grace after their end, closed for good.

The state is not kept but follows: from the calendar of the tenant's time zone by the database's clock, and from
whether there is a statement. Months are closed in their order, every one from the tenant's first use on.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection, transaction

from kit.errors import Conflict, NotFound
from tenants import audit
from tenants.models import Tenant
from usage import seals
from usage.closing import adjusting, figures, proofs
from usage.closing.models import Statement
from usage.rows import fetch
from usage.seals import signing

SYSTEM = "system"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where one month stands: `state` is draft, grace or closed; `closes_at` is when it is closed by itself."""

    month: date
    state: str
    closes_at: datetime
    is_due: bool
    open_events: int
    statement_id: int | None
    number: int | None
    closed_at: datetime | None
    closed_by: str | None


def standings(tenant_id: int) -> list[Standing]:
    """Return a tenant's months, the newest first."""
    grace = timedelta(days=settings.CLOSING_GRACE_DAYS)
    return [Standing(**row) for row in fetch(_STANDINGS, {"tenant": tenant_id, "grace": grace})]


def statement_of(tenant_id: int, month: date) -> Statement | None:
    """Return the statement of a tenant's month, if it is closed."""
    return Statement.objects.filter(tenant_id=tenant_id, month=month.replace(day=1)).first()


def close(tenant: Tenant, *, month: date, actor: str = SYSTEM, address: str = "") -> Statement:
    """Close a month that is over, in its grace or after: freeze, number, sign and record it.

    Raises `Conflict` when it is not over, an earlier one is open, an event of it is, or it is closed
    already; `NotFound` when the tenant used nothing by then. Nothing is written then.
    """
    seals.seal_tenant(tenant.pk, settling=timedelta(0))
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT usage_lock_tenants(ARRAY[%s]::bigint[])", [tenant.pk])
        adjusting.book_late(tenant.pk)
        proofs.prove_tenant(tenant.pk)
        _refuse(standings(tenant.pk), month=month.replace(day=1))
        _refuse_unsealed(tenant, month=month.replace(day=1))
        statement = _write(tenant, month=month.replace(day=1), actor=actor)
        audit.record(
            "month.closed",
            tenant=tenant,
            actor=actor,
            address=address,
            subject=f"{statement.month:%Y-%m}",
            number=statement.number,
            sha256=statement.sha256,
        )
    return statement


def close_due() -> int:
    """Close every month whose grace is over, and return how many there were."""
    closed = 0
    for tenant in Tenant.objects.order_by("pk").iterator():
        for standing in reversed(standings(tenant.pk)):
            if standing.state == "closed":
                continue
            if not standing.is_due or standing.open_events:
                break  # the sweep closes what is open; the months after wait for this one
            close(tenant, month=standing.month)
            closed += 1
    return closed


def _refuse(found: list[Standing], *, month: date) -> None:
    standing = next((one for one in found if one.month == month), None)
    if standing is None:
        raise NotFound(f"Nothing was used in {month:%Y-%m}, and nothing before: there is no such month to close.")
    if standing.state == "closed":
        raise Conflict(f"{month:%Y-%m} is closed already, by statement {standing.number}.")
    if standing.state == "draft":
        raise Conflict(f"{month:%Y-%m} is not over yet in the tenant's time zone.")
    if standing.open_events:
        raise Conflict(f"{standing.open_events} calls of {month:%Y-%m} are not settled yet. Try again in two minutes.")
    earlier = [one.month for one in found if one.month < month and one.state != "closed"]
    if earlier:
        raise Conflict(f"Close {min(earlier):%Y-%m} first: months are closed in their order.")


def _refuse_unsealed(tenant: Tenant, *, month: date) -> None:
    last = fetch("SELECT max(number) AS last FROM usage_event WHERE tenant_id = %s AND month = %s", [tenant.pk, month])[
        0
    ]["last"]
    if last is not None and last > seals.sealed_to(tenant.pk):
        raise Conflict(
            "The month's days cannot be sealed, so it cannot be closed: `manage.py verify_ledger` says what is wrong."
        )


def _write(tenant: Tenant, *, month: date, actor: str) -> Statement:
    before = Statement.objects.filter(tenant=tenant).order_by("-number").first()
    facts: dict[str, Any] = fetch(_FACTS, [tenant.pk])[0]
    number = before.number + 1 if before else 1
    text = figures.freeze(
        tenant,
        month=month,
        number=number,
        before=before,
        last_event_number=facts["last_number"],
        closed_at=facts["now"],
        closed_by=actor,
    )
    signed = signing.sign(text)
    return Statement.objects.create(
        tenant=tenant,
        number=number,
        month=month,
        figures=text,
        sha256=figures.digest(text),
        key_id=signed.key_id,
        signature=signed.signature,
        last_event_number=facts["last_number"],
        closed_at=facts["now"],
        closed_by=actor,
    )


_FACTS = "SELECT usage_clock() AS now, last_number FROM usage_tenanttally WHERE tenant_id = %s"
_STANDINGS = """
WITH calendar AS (
    SELECT t.timezone, (usage_clock() AT TIME ZONE t.timezone)::date AS today,
           date_trunc('month', least(
               (SELECT min(r.day) FROM usage_dayrevision r WHERE r.tenant_id = t.id),
               (SELECT min(s.month) FROM usage_statement s WHERE s.tenant_id = t.id)
           ))::date AS first
    FROM tenants_tenant t WHERE t.id = %(tenant)s
)
SELECT m.month, CASE WHEN s.id IS NOT NULL THEN 'closed' WHEN m.month + interval '1 month' > c.today THEN 'draft' ELSE 'grace' END AS state,
       e.ends_at + %(grace)s::interval AS closes_at,
       s.id IS NULL AND e.ends_at + %(grace)s::interval <= usage_clock() AS is_due,
       (SELECT count(*) FROM usage_event o WHERE o.state = 'open' AND o.tenant_id = %(tenant)s AND o.month = m.month) AS open_events,
       s.id AS statement_id, s.number, s.closed_at, s.closed_by
FROM calendar c
CROSS JOIN LATERAL (
    SELECT g::date AS month FROM generate_series(c.first, date_trunc('month', c.today)::date, interval '1 month') g
) m
CROSS JOIN LATERAL (SELECT (m.month + interval '1 month') AT TIME ZONE c.timezone AS ends_at) e
LEFT JOIN usage_statement s ON s.tenant_id = %(tenant)s AND s.month = m.month
ORDER BY m.month DESC
"""
