"""The Celery application: its broker, its reliability settings and its timetable."""

import os

from celery import Celery
from celery.schedules import crontab
from celery.signals import worker_ready
from django.conf import settings

from config import tracing as tracing  # noqa: PLC0414 - its receivers are what it is for
from config import worker
from kit import pulse

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
# Celery would run Django's checks, which load every page, and say nothing of what they find.
os.environ.setdefault("CELERY_SKIP_CHECKS", "1")

app = Celery("skillgate")
app.conf.update(
    broker_url=settings.CELERY_BROKER_URL,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"visibility_timeout": 6 * 3600},
    task_ignore_result=True,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    task_serializer="json",
    accept_content=["json"],
    timezone="UTC",
    task_default_queue="default",
    # Analyses are long: workers of their own take them (`-Q analyses`), so that the timetable is never kept waiting.
    task_routes={"skills.run_analysis": {"queue": "analyses"}, "skills.run_cases": {"queue": "analyses"}},
    beat_schedule={
        "sweep lapsed usage events": {"task": "usage.sweep", "schedule": 10.0, "options": {"expires": 10}},
        "make partitions ahead": {
            "task": "usage.make_partitions",
            "schedule": crontab(minute=7),
            "options": {"expires": 3600},
        },
        "forget idempotent calls": {
            "task": "skills.forget_idempotent_calls",
            "schedule": crontab(minute=37),
            "options": {"expires": 3600},
        },
        "tell of budgets near their end": {
            "task": "usage.raise_budget_alerts",
            "schedule": 30.0,
            "options": {"expires": 30},
        },
        "bring daily totals up to date": {
            "task": "usage.refresh_rollups",
            "schedule": 60.0,
            "options": {"expires": 60},
        },
        "notice unusual spend": {
            "task": "usage.raise_spend_alerts",
            "schedule": crontab(minute="*/10"),
            "options": {"expires": 600},
        },
        "seal days that are over": {
            "task": "usage.seal_days",
            "schedule": crontab(minute="*/10"),
            "options": {"expires": 600},
        },
        "close months": {"task": "usage.close_months", "schedule": crontab(minute=43), "options": {"expires": 3600}},
        "compare with the provider": {
            "task": "usage.reconcile",
            "schedule": crontab(hour=6, minute=29),
            "options": {"expires": 3600},
        },
        "verify the ledger": {
            "task": "usage.verify_ledger",
            "schedule": crontab(hour=3, minute=17),
            "options": {"expires": 3600},
        },
        "announce analyses": {"task": "skills.dispatch_analyses", "schedule": 5.0, "options": {"expires": 10}},
        "announce runs of cases": {"task": "skills.dispatch_case_runs", "schedule": 10.0, "options": {"expires": 10}},
        "deliver webhooks": {"task": "skills.deliver_webhooks", "schedule": 5.0, "options": {"expires": 10}},
        "delete expired analyses": {
            "task": "skills.delete_expired_analyses",
            "schedule": crontab(minute=23),
            "options": {"expires": 3600},
        },
        "say the worker is alive": {"task": "usage.worker_pulse", "schedule": 5.0, "options": {"expires": 5}},
    },
)
app.steps["worker"].add(worker.STEP)
app.autodiscover_tasks(["usage", "skills", "tenants"])


@worker_ready.connect
def _say_so(**_: object) -> None:
    pulse.beat()  # beat's first tick would come seconds later
