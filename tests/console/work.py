"""Rows of long work for the console's pages: a failed batch with a failed item, a webhook endpoint, a message."""

from typing import Any

from kit import clock, ids
from skills import catalog
from skills.analyses.models import Analysis, AnalysisStep
from skills.models import Skill, SkillVersion
from skills.webhooks.models import WebhookDelivery, WebhookEndpoint
from tenants.models import ApiKey, Tenant

REASON = {"type": "api_error", "reason": "upstream", "message": "Claude failed again and again."}


def rows_of(tenant: Tenant, key: ApiKey) -> dict[str, Any]:
    """Make one of each and return their ids."""
    batch = failed_batch(tenant, key)
    endpoint = WebhookEndpoint.objects.create(id=ids.uuid7(), tenant=tenant, url=f"https://{tenant.slug}.example/hook")
    delivery = WebhookDelivery.objects.create(
        id=ids.uuid7(),
        tenant=tenant,
        endpoint=endpoint,
        event="batch.failed",
        payload={},
        state="dead",
        attempts=10,
        log=[{"at": clock.now().isoformat(), "status": 500, "error": "", "ms": 12}],
        ended_at=clock.now(),
    )
    return {"analysis": batch.pk, "endpoint": endpoint.pk, "delivery": delivery.pk}


def failed_batch(tenant: Tenant, key: ApiKey) -> Analysis:
    """Make a batch that failed, with one item done, one failed and one undone."""
    now = clock.now()
    batch = Analysis.objects.create(
        id=ids.uuid7(),
        tenant=tenant,
        key=key,
        kind="batch",
        request_id="req_1",
        skill="own",
        version=_version(tenant),
        state="failed",
        error=REASON,
        steps_total=3,
        steps_done=2,
        steps_failed=1,
        ended_at=now,
    )
    outputs: list[Any] = [{"output": "fine"}, {"error": {**REASON, "message": "This item was refused."}}, None]
    for position, output in enumerate(outputs):
        done = {"done_at": now, "fence": 1} if output else {}
        given = {"id": f"item-{position}", "input": {}}
        AnalysisStep.objects.create(
            analysis=batch, kind="item", level=0, position=position, input=given, output=output, **done
        )
    return batch


def _version(tenant: Tenant) -> SkillVersion:
    found = SkillVersion.objects.filter(skill__tenant=tenant, skill__name="own").first()
    if found is not None:
        return found
    skill = Skill.objects.create(tenant=tenant, name="own", description="The tenant's own.")
    content = catalog.read_folder(catalog.BUILTIN / "summarize" / "1").content
    return catalog.publish(skill, content=content, created_by="test")
