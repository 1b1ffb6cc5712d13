"""Celery's entry points into skills: each message names work, and the rows say what it is."""

from contextlib import suppress
from uuid import UUID

from celery import shared_task
from kombu.exceptions import OperationalError

from kit import clock
from skills import idempotency
from skills.analyses import dispatch, worker
from skills.cases import dispatch as case_dispatch
from skills.cases import running as case_running
from skills.webhooks import delivery


@shared_task(name="skills.forget_idempotent_calls")
def forget_idempotent_calls() -> None:
    """Remove the answers of idempotent calls that need no longer be kept."""
    idempotency.forget_old(now=clock.now())


@shared_task(name=dispatch.TASK)
def run_analysis(analysis_id: str) -> None:
    """Work on an analysis, then announce what is due next."""
    dispatch.publish(worker.run(lambda: worker.perform(UUID(analysis_id))))
    with suppress(OperationalError):  # the timetable does it within seconds
        deliver_webhooks.apply_async(retry=False, expires=30)


@shared_task(name="skills.dispatch_analyses")
def dispatch_analyses() -> None:
    """Put back what lost workers held, and announce what is due."""
    worker.run(dispatch.recover)
    dispatch.publish(worker.run(dispatch.due))
    worker.run(dispatch.count)


@shared_task(name="skills.delete_expired_analyses")
def delete_expired_analyses() -> None:
    """Delete the content that has been kept for as long as its tenant wants."""
    worker.run(dispatch.delete_expired)


@shared_task(name="skills.deliver_webhooks")
def deliver_webhooks() -> None:
    """Deliver the webhooks that are due."""
    worker.run(delivery.deliver_due)


@shared_task(name=case_dispatch.TASK)
def run_cases(run_id: int) -> None:
    """Try the cases of a run."""
    worker.run(lambda: case_running.work(run_id))


@shared_task(name="skills.dispatch_case_runs")
def dispatch_case_runs() -> None:
    """Send workers to runs whose message or worker was lost."""
    case_dispatch.publish(worker.run(case_running.due))
