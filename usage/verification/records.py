"""Checks that are kept: when the ledger was last looked at, and what was found."""

import logging
from datetime import datetime

from usage import alerts
from usage.verification.findings import Report
from usage.verification.models import Verification

log = logging.getLogger(__name__)

_MOST_KEPT = 500
_MOST_NAMED = 50


def record(report: Report, *, started_at: datetime, ended_at: datetime) -> Verification:
    """Keep a report for those who ask later."""
    rendered = report.as_json()
    return Verification.objects.create(
        started_at=started_at,
        ended_at=ended_at,
        is_true=report.is_true,
        checks=rendered["checks"],
        finding_count=len(report.findings),
        findings=[f"{one.check}: {one.subject}: {one.fault}" for one in report.findings[:_MOST_KEPT]],
    )


def latest() -> Verification | None:
    """Return the newest check that was kept."""
    return Verification.objects.order_by("-started_at", "-pk").first()


def recent(*, most: int) -> list[Verification]:
    """Return the last checks that were kept, the newest first."""
    return list(Verification.objects.order_by("-started_at", "-pk")[:most])


def announce(kept: Verification) -> None:
    """Tell the operators of findings, once until the ledger is true again; then the alert ends."""
    if kept.is_true:
        alerts.end("ledger", now=kept.ended_at)
        return
    for line in kept.findings[:_MOST_NAMED]:
        log.error("ledger: %s", line)
    if any(one.kind == "ledger" for one in alerts.open_for(None)):
        return
    alerts.raise_alert(
        "ledger",
        once=f"ledger:{kept.pk}",
        title=f"The ledger check has {kept.finding_count} findings",
        text="\n".join([*kept.findings[:_MOST_NAMED], "", "`manage.py verify_ledger` names them all."]),
        details={"verification": kept.pk, "findings": kept.finding_count},
    )
