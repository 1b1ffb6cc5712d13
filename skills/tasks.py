"""Celery's entry points into skills."""

from celery import shared_task

from kit import clock
from skills import idempotency


@shared_task(name="skills.forget_idempotent_calls")
def forget_idempotent_calls() -> None:
    """Remove the answers of idempotent calls that need no longer be kept."""
    idempotency.forget_old(now=clock.now())
