"""Celery's entry points into usage."""

from celery import shared_task
from django.db import connection

from kit import clock, pulse
from usage import partitions


@shared_task(name="usage.sweep")
def sweep() -> None:
    """Close usage events whose lease is over."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT usage_sweep(500)")


@shared_task(name="usage.make_partitions")
def make_partitions() -> None:
    """Make the coming months' partitions."""
    partitions.make_ahead(now=clock.now())


@shared_task(name="usage.worker_pulse")
def worker_pulse() -> None:
    """Say that beat and a worker are alive."""
    pulse.beat()
