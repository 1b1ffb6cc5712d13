"""Celery's entry points into usage."""

import logging

from celery import shared_task
from django.conf import settings
from django.db import connection

from kit import clock, pulse
from kit.errors import Unavailable
from usage import alerts, closing, partitions, reconciliation, rollups, seals, verification
from usage.ledger import verbs

log = logging.getLogger(__name__)


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
    """Tell of budgets that passed a soft threshold, and send whatever waits to be told."""
    alerts.raise_budgets()
    alerts.send_due(now=clock.now())


@shared_task(name="usage.raise_spend_alerts")
def raise_spend_alerts() -> None:
    """Notice days that cost more than is usual, and models without a price."""
    alerts.raise_spend()
    alerts.raise_unpriced(now=clock.now())


@shared_task(name="usage.refresh_rollups")
def refresh_rollups() -> None:
    """Bring the daily totals up to date."""
    rollups.refresh()


@shared_task(name="usage.seal_days")
def seal_days() -> None:
    """Seal the days that are over, and sign what was adjusted since."""
    seals.seal_due()
    closing.prove_due()


@shared_task(name="usage.close_months")
def close_months() -> None:
    """Close the months whose grace is over."""
    closing.close_due()


@shared_task(name="usage.reconcile")
def reconcile() -> None:
    """Compare the last days with the provider's reports, where there is a key to ask for them."""
    now = clock.now()
    for day in reconciliation.due(now=now) if settings.ANTHROPIC_ADMIN_KEY else ():
        try:
            reconciliation.reconcile(day, now=now)
        except Unavailable as unavailable:
            log.warning("%s is not reconciled: %s", day, unavailable)


@shared_task(name="usage.verify_ledger")
def verify_ledger() -> None:
    """Check the ledger, keep the result, and tell the operators if anything is not as it must be."""
    started_at = clock.now()
    report = verification.verify()
    verification.announce(verification.record(report, started_at=started_at, ended_at=clock.now()))
    alerts.send_due(now=clock.now())


@shared_task(name="usage.worker_pulse")
def worker_pulse() -> None:
    """Say that beat and a worker are alive."""
    pulse.beat()
