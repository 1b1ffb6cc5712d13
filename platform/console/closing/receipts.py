"""A month's receipt, as pages hand it out: with the rows themselves while that is a download one waits for."""

from datetime import date

from kit.errors import NotFound
from tenants.models import Tenant
from usage import reports, seals

_MOST_ROWS = 50_000


def of_month(tenant: Tenant, month: date) -> str | None:
    """Write the receipt of a month's sealed days; None when there are none."""
    if month == date.min:
        return None
    last_day = date(month.year + month.month // 12, month.month % 12 + 1, 1)
    counted = reports.month(tenant.pk, month).completeness.admitted
    rows = "whole" if counted <= _MOST_ROWS else "digests"
    try:
        pieces = seals.receipt(tenant, first_day=month, last_day=date.fromordinal(last_day.toordinal() - 1), rows=rows)
    except NotFound:
        return None
    return "".join(pieces)
