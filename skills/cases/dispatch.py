"""The messages that send workers to runs of cases; a lost one is sent again by the timetable."""

import logging
from collections.abc import Sequence

from celery import current_app
from django.db import transaction

from skills.cases.models import CaseRun

log = logging.getLogger(__name__)

QUEUE = "analyses"  # of the workers that do long work
TASK = "skills.run_cases"


def announce(started: Sequence[CaseRun]) -> None:
    """Send workers to runs, once the transaction under way has committed."""
    run_ids = [run.pk for run in started]
    transaction.on_commit(lambda: publish(run_ids))


def publish(run_ids: Sequence[int]) -> None:
    """Send a message for each; one that cannot be sent is sent later by the timetable."""
    for run_id in run_ids:
        try:
            current_app.send_task(TASK, args=[run_id], queue=QUEUE, retry=False)
        except Exception as trouble:  # noqa: BLE001 - whatever the broker's transport raises: the rows are the truth
            log.warning("case run %s was not announced: %s", run_id, trouble)
            return
