"""The skills a tenant can call, and all about one of them."""

from typing import Any
from zoneinfo import ZoneInfo

from django.http import HttpRequest, HttpResponseBase

from console import auditing, scope
from console.pages import page, render
from console.skills import finding
from kit import clock
from skills.cases import digests, keeping
from skills.cases.models import CaseRun
from skills.catalog import gate
from skills.models import KeyPin, Skill, SkillLabelMove, SkillVersion
from usage import reports

MOST_SHOWN = 500


@page("skills/", name="skills", right="skills.see")
def overview(request: HttpRequest) -> HttpResponseBase:
    """List the skills with what runs of them and what they used this month."""
    found = list(scope.rows(Skill, request).order_by("name", "tenant")[:MOST_SHOWN])
    pointing = finding.labels(request, found)
    tenant = scope.member(request).tenant
    today = clock.now().astimezone(ZoneInfo(tenant.timezone)).date()
    used = {line.of: line.sums for line in reports.month(tenant.pk, today).skills}
    own_names = {skill.name for skill in found if skill.tenant_id and "production" in pointing.get(skill.pk, {})}
    rows = [
        {
            "skill": skill,
            "labels": pointing.get(skill.pk, {}),
            "is_shadowed": skill.tenant_id is None and skill.name in own_names,
            "used": used.get(skill.name) if (skill.tenant_id is not None) == (skill.name in own_names) else None,
        }
        for skill in found
    ]
    return render(request, "console/skills/overview.html", title="Skills", rows=rows)


@page("skills/<int:pk>/", name="skill", right="skills.see")
def detail(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Show a skill: its versions, labels, cases, runs, gate, pins and history."""
    skill, tenant = finding.skill(request, pk), scope.member(request).tenant
    pointing = finding.labels(request, [skill]).get(skill.pk, {})
    runs = scope.rows(CaseRun, request).filter(skill=skill).select_related("version")
    moves = scope.rows(SkillLabelMove, request).filter(skill=skill).select_related("version", "previous")
    return render(
        request,
        "console/skills/detail.html",
        title=f"Skill: {skill.name}",
        skill=skill,
        is_own=skill.tenant_id is not None,
        labels=pointing,
        versions=_versions(finding.versions(skill), pointing=pointing, tenant=tenant),
        cases=keeping.of_skill(skill, tenant=tenant),
        runs=runs.order_by("-id")[:10],
        gate=gate.of_skill(skill, tenant=tenant),
        moves=moves.order_by("-id")[:30],
        pins=scope.rows(KeyPin, request).filter(skill=skill).select_related("key", "version"),
        history=auditing.history(request, skill.name)[:20],
        may={name: scope.may(request, f"skills.{name}") for name in ("author", "gate")}
        | {"audit": scope.may(request, "audit.see")},
    )


def _versions(found: list[SkillVersion], *, pointing: Any, tenant: Any) -> list[dict[str, Any]]:
    """Each version with the labels on it and its last run of the cases as they are now."""
    if not found:
        return []
    cases = digests.of_skill(found[0].skill, tenant=tenant)
    ran = CaseRun.objects.filter(tenant=tenant, version__in=found, cases_digest=cases, state=CaseRun.State.FINISHED)
    last = {run.version_id: run for run in ran.order_by("id")}
    return [
        {
            "version": version,
            "labels": [name for name, label in pointing.items() if label.version_id == version.pk],
            "run": last.get(version.pk),
        }
        for version in found
    ]
