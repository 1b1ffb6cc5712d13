"""Celery's entry points into usage."""

import logging

from celery import shared_task
from django.core.mail import EmailMessage
from django.db import connection

from kit import clock, pulse
from tenants.models import User
from usage import alerts, partitions, rollups, verification
from usage.ledger import verbs

log = logging.getLogger(__name__)

_MOST_NAMED = 50


@shared_task(name="usage.sweep")
def sweep() -> None:
    """Close usage events whose lease is over."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT usage_sweep(500)")
        closed = int(cursor.fetchone()[0])
    verbs.SWEPT.inc(closed)
    if closed:
        log.warning("the sweep closed %s usage events that nobody had closed", closed)


@shared_task(name="usage.make_partitions")
def make_partitions() -> None:
    """Make the coming months' partitions."""
    partitions.make_ahead(now=clock.now())


@shared_task(name="usage.raise_budget_alerts")
def raise_budget_alerts() -> None:
    """Tell of budgets that passed a soft threshold."""
    alerts.raise_due()
    alerts.send_due(now=clock.now())


@shared_task(name="usage.refresh_rollups")
def refresh_rollups() -> None:
    """Bring the daily totals up to date."""
    rollups.refresh()


@shared_task(name="usage.verify_ledger")
def verify_ledger() -> None:
    """Check the ledger and tell the operators if anything is not as it must be."""
    report = verification.verify()
    if report.is_true:
        return
    lines = [f"{found.check}: {found.subject}: {found.fault}" for found in report.findings]
    for line in lines[:_MOST_NAMED]:
        log.error("ledger: %s", line)
    operators = User.objects.filter(is_superuser=True, is_active=True).exclude(email="")
    EmailMessage(
        subject=f"The ledger check has {len(lines)} findings",
        body="\n".join([*lines[:_MOST_NAMED], "", "`manage.py verify_ledger` names them all."]),
        to=sorted(operators.values_list("email", flat=True)),
    ).send()


@shared_task(name="usage.worker_pulse")
def worker_pulse() -> None:
    """Say that beat and a worker are alive."""
    pulse.beat()
