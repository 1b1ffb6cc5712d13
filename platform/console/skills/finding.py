"""Rows of skills as a person may see them: one's own and the built-in; another's is as absent as an absent one."""

from typing import Any

from django.http import HttpRequest
from django.shortcuts import get_object_or_404

from console import scope
from skills.cases.models import CaseRun, SkillCase
from skills.models import CANARY, PRODUCTION, Skill, SkillLabel, SkillVersion
from tenants.models import ApiKey


def skill(request: HttpRequest, pk: int) -> Skill:
    """Return a skill that the tenant can call."""
    return get_object_or_404(scope.rows(Skill, request).select_related("tenant"), pk=pk)


def own_skill(request: HttpRequest, pk: int) -> Skill:
    """Return a skill that the tenant writes."""
    return get_object_or_404(scope.rows(Skill, request).select_related("tenant").exclude(tenant=None), pk=pk)


def version(request: HttpRequest, pk: int) -> SkillVersion:
    """Return a version of a skill that the tenant can call."""
    return get_object_or_404(scope.rows(SkillVersion, request).select_related("skill__tenant"), pk=pk)


def case(request: HttpRequest, pk: int) -> SkillCase:
    """Return a case of the tenant's."""
    return get_object_or_404(scope.rows(SkillCase, request).select_related("skill", "tenant"), pk=pk)


def case_run(request: HttpRequest, pk: int) -> CaseRun:
    """Return a run of the tenant's."""
    return get_object_or_404(scope.rows(CaseRun, request).select_related("skill", "version", "key", "tenant"), pk=pk)


def versions(found: Skill, *, most: int = 200) -> list[SkillVersion]:
    """Return a skill's versions, the newest first, without their long texts."""
    wanted = ("number", "digest", "model", "created_by", "created_at", "skill_id")
    return list(found.versions.only(*wanted).order_by("-number")[:most])


def labels(request: HttpRequest, of: list[Skill]) -> dict[int, dict[str, SkillLabel]]:
    """Return where labels point for the tenant, by skill and name; its own come before the platform's."""
    rows = scope.rows(SkillLabel, request).filter(skill__in=of).select_related("version")
    found: dict[int, dict[str, SkillLabel]] = {}
    for label in sorted(rows, key=lambda row: (row.tenant_id is not None, row.name)):
        found.setdefault(label.skill_id, {})[label.name] = label
    order = {PRODUCTION: 0, CANARY: 1}
    return {
        skill_id: dict(sorted(named.items(), key=lambda item: (order.get(item[0], 2), item[0])))
        for skill_id, named in found.items()
    }


def live_keys(request: HttpRequest, *, now: Any) -> list[ApiKey]:
    """Return the keys that the tenant can call with."""
    found = scope.rows(ApiKey, request).filter(revoked_at=None).exclude(expires_at__lte=now)
    return list(found.order_by("environment", "name", "pk")[:500])
