"""Beginning a run of all cases: what is tried is written down first, a worker does the rest."""

from django.db import transaction

from kit.errors import Conflict, InvalidRequest
from skills import versions
from skills.cases import digests, keeping
from skills.cases.models import CaseResult, CaseRun
from skills.catalog import gate
from skills.models import Skill, SkillVersion
from tenants import audit
from tenants.models import ApiKey, Tenant

MOST_UNDER_WAY = 10


def start(version: SkillVersion, *, key: ApiKey, actor: str, address: str = "", request_id: str = "") -> list[CaseRun]:
    """Write a run of a skill's cases against a version, and one against production to compare with.

    Production is tried again only when it has not been tried on the same cases. `key` pays; its tenant's cases are
    meant. Raises InvalidRequest where nothing can be tried, Conflict when the tenant has too many runs under way.
    """
    tenant, skill = key.tenant, version.skill
    if skill.tenant_id not in (None, tenant.pk):
        raise InvalidRequest("There is no such skill.")
    if versions.of_row(version).is_analysis:
        raise InvalidRequest("A skill that works on documents step by step cannot be tried on cases.")
    with transaction.atomic():
        Tenant.objects.select_for_update().get(pk=tenant.pk)
        wanted = [version, *_compared(version, tenant=tenant, environment=key.environment)]
        under_way = CaseRun.objects.filter(tenant=tenant, state__in=[CaseRun.State.QUEUED, CaseRun.State.RUNNING])
        if under_way.count() >= MOST_UNDER_WAY:
            raise Conflict(f"There are {MOST_UNDER_WAY} runs under way already. Wait until one has ended.")
        return [_write(one, key=key, actor=actor, address=address, request_id=request_id) for one in wanted]


def _compared(version: SkillVersion, *, tenant: Tenant, environment: str) -> list[SkillVersion]:
    present = gate.production_of(version.skill, tenant=tenant)
    if present is None or present.pk == version.pk or environment != ApiKey.Environment.LIVE:
        return []
    cases = digests.of_skill(version.skill, tenant=tenant)
    return [] if gate.latest_run(present, tenant=tenant, cases_digest=cases) else [present]


def _write(version: SkillVersion, *, key: ApiKey, actor: str, address: str, request_id: str) -> CaseRun:
    skill: Skill = version.skill
    cases = keeping.of_skill(skill, tenant=key.tenant)
    if not cases:
        raise InvalidRequest("This skill has no cases yet. Write one first.")
    run = CaseRun.objects.create(
        tenant=key.tenant,
        skill=skill,
        version=version,
        key=key,
        address=address,
        actor=actor,
        request_id=request_id,
        cases_digest=digests.of_cases((case.name, case.input, case.expect) for case in cases),
        total_cases=len(cases),
    )
    CaseResult.objects.bulk_create(
        CaseResult(tenant=key.tenant, run=run, position=position, name=case.name, input=case.input, expect=case.expect)
        for position, case in enumerate(cases)
    )
    audit.record(
        "skill.cases_run",
        tenant=key.tenant,
        actor=actor,
        address=address,
        subject=skill.name,
        version=version.number,
        key=key.public_id,
        cases=len(cases),
    )
    return run
