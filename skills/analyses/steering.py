"""What people do to analyses from the console: trying again what failed. Synchronous, on whatever connection they are behind."""

from typing import Any

from django.db.models import F, JSONField, QuerySet
from django.db.models.functions import Cast, Now

from kit import ids
from kit.errors import Conflict
from skills.analyses.models import Analysis, AnalysisEvent, AnalysisStep
from skills.analyses.states import PREFIXES
from tenants import audit

_STUCK = (Analysis.State.FAILED, Analysis.State.AWAITING_BUDGET)


def public_id(analysis: Analysis) -> str:
    """Name an analysis or a batch as clients know it."""
    return ids.encode(PREFIXES[analysis.kind], analysis.pk)


def may_retry(analysis: Analysis) -> bool:
    """Tell whether there is anything to try again."""
    if analysis.deleted_at is not None:
        return False
    return analysis.state in _STUCK or (analysis.state == Analysis.State.SUCCEEDED and analysis.steps_failed > 0)


def failed_items(analysis: Analysis) -> QuerySet[AnalysisStep]:
    """Return the items of a batch that have an error, in order."""
    # The column keeps the order of keys, as `json`; what asks for keys is `jsonb`.
    steps = AnalysisStep.objects.filter(analysis=analysis).annotate(said=Cast("output", JSONField()))
    return steps.filter(said__has_key="error").order_by("position")


def retry(analysis: Analysis, **by: Any) -> None:
    """Have an analysis go on from its last finished step, and a batch do its failed items again.

    `by` is the actor and the address, for the audit log. Raises `Conflict` when there is nothing to try again.
    """
    if not may_retry(analysis):
        raise Conflict(f"It is {analysis.state}: there is nothing to try again.", state=analysis.state)
    again = 0
    if analysis.kind == Analysis.Kind.BATCH:
        again = failed_items(analysis).update(output=None, done_at=None, fence=None)
    moved = Analysis.objects.filter(pk=analysis.pk, state=analysis.state, deleted_at=None).update(
        state=Analysis.State.QUEUED,
        dispatched_at=None,
        ended_at=None,
        available_at=Now(),
        failures=0,
        error=None,
        result=None,
        steps_done=F("steps_done") - again,
        steps_failed=F("steps_failed") - again,
    )
    if not moved:
        raise Conflict("It has moved on meanwhile. Look again.")
    AnalysisEvent.objects.create(analysis=analysis, name=f"{analysis.kind}.resumed", data={"state": "queued"})
    audit.record("analysis.retried", tenant=analysis.tenant, subject=public_id(analysis), items=again, **by)
