"""Analyses, batches and webhooks in the operators' site: what stands where, and trying again what failed."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from console.ops.lists import ReadOnlyList, RecordedList
from console.sites import ops_site
from kit import clock
from kit.errors import Conflict
from skills.analyses import steering
from skills.analyses.models import Analysis, AnalysisTerms, MessageBatch
from skills.webhooks import steering as webhooks
from skills.webhooks.models import WebhookDelivery, WebhookEndpoint
from tenants.api.callers import address


class AnalysisList(ReadOnlyList):
    """Every analysis and batch; what failed can be tried again."""

    list_display = ("id", "tenant", "kind", "skill", "state", "reason", "steps_done", "steps_total", "steps_failed")
    list_filter = ("state", "kind", "tenant")
    list_select_related = ("tenant",)
    ordering = ("-id",)
    fields = ("tenant", "kind", "skill", "state", "error", "steps_done", "steps_total", "steps_failed", "used_tokens")
    actions = ("retry_selected",)

    @admin.display(description="Reason")
    def reason(self, analysis: Analysis) -> str:
        """Say why it failed or waits."""
        return str((analysis.error or {}).get("reason") or "")

    @admin.action(description="Try again", permissions=["view"])
    def retry_selected(self, request: HttpRequest, queryset: QuerySet[Analysis]) -> None:
        """Have the ticked ones tried again; those with nothing to try are left."""
        done = 0
        for analysis in queryset.select_related("tenant"):
            try:
                steering.retry(analysis, **_by(request))
            except Conflict:
                continue
            done += 1
        messages.success(request, f"Tried again: {done}.")


class WebhookEndpointList(ReadOnlyList):
    """Where tenants are told."""

    list_display = ("url", "tenant", "is_active", "disabled_reason", "generation", "created_at")
    list_filter = ("is_active", "tenant")
    list_select_related = ("tenant",)


class WebhookDeliveryList(ReadOnlyList):
    """What they were told; what was given up can be sent again."""

    list_display = ("id", "tenant", "endpoint", "event", "state", "attempts", "created_at")
    list_filter = ("state", "tenant")
    list_select_related = ("tenant", "endpoint")
    ordering = ("-created_at",)
    actions = ("redeliver_selected",)

    @admin.action(description="Send again", permissions=["view"])
    def redeliver_selected(self, request: HttpRequest, queryset: QuerySet[WebhookDelivery]) -> None:
        """Have the ticked messages sent again."""
        for delivery in queryset.select_related("endpoint__tenant"):
            webhooks.redeliver(delivery, now=clock.now(), **_by(request))
        messages.success(request, "They are sent again within seconds.")


class AnalysisTermsList(RecordedList):
    """How many analyses a tenant may have under way at once."""

    list_display = ("tenant", "parallel_analyses")
    list_select_related = ("tenant",)


class MessageBatchList(ReadOnlyList):
    """What went to Claude together."""

    list_display = ("id", "upstream_id", "state", "created_at", "ended_at")
    list_filter = ("state",)


def _by(request: Any) -> dict[str, str]:
    return {"actor": request.user.username, "address": address(request)}


ops_site.register(Analysis, AnalysisList)
ops_site.register(AnalysisTerms, AnalysisTermsList)
ops_site.register(MessageBatch, MessageBatchList)
ops_site.register(WebhookEndpoint, WebhookEndpointList)
ops_site.register(WebhookDelivery, WebhookDeliveryList)
