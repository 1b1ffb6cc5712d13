"""Putting right what follows from the events: counters, rollups, partitions. Events themselves are never touched."""

from datetime import date, datetime

from django.db import connection

from tenants.models import Tenant
from usage import partitions, rollups
from usage.verification.findings import Report


def repair(report: Report, *, now: datetime) -> list[str]:
    """Repair what can be derived of the findings and say what it did."""
    done = [_account(found.details["account_id"]) for found in report.findings if found.check == "I1 accounts"]
    days = {(found.details["tenant_id"], found.details["day"]) for found in report.findings if found.check == "rollups"}
    done += [_day(tenant_id, day) for tenant_id, day in sorted(days)]
    if any(found.check == "partitions" and found.subject.startswith("month") for found in report.findings):
        done.append(f"made {partitions.make_ahead(now=now)} partitions")
    return done


def _account(account_id: int) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT usage_repair_account(%s)", [account_id])
    return f"account {account_id}: counters set to what its events say"


def _day(tenant_id: int, day: str) -> str:
    rollups.rebuild(Tenant.objects.get(pk=tenant_id), date.fromisoformat(day))
    return f"tenant {tenant_id} day {day}: rollup rebuilt"
