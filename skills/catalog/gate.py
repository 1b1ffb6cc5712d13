"""The release gate: what a version must have shown before a label may send it calls.

It holds for whoever moves a label, in whatever way, since it stands in the verb that moves it. A run counts when it
tried the cases as they are now, to its end, with a live key: the emulator's answers prove nothing.
"""

from django.db import transaction

from kit.errors import InvalidRequest
from skills.cases import digests
from skills.cases.models import CaseRun, ReleaseGate
from skills.models import CANARY, PRODUCTION, Skill, SkillLabel, SkillVersion
from tenants import audit
from tenants.models import ApiKey, Tenant

LARGEST_TOLERANCE = 10_000


def of_skill(skill: Skill, *, tenant: Tenant) -> ReleaseGate | None:
    """Return a tenant's gate for a skill; None where it has none, and so no condition."""
    return ReleaseGate.objects.filter(skill=skill, tenant=tenant).first()


def set_gate(
    skill: Skill,
    *,
    tenant: Tenant,
    needs_passing_cases: bool,
    cost_tolerance_percent: int | None,
    actor: str,
    address: str = "",
) -> ReleaseGate:
    """Set what a release must show; raises InvalidRequest for a tolerance that cannot be."""
    if cost_tolerance_percent is not None and not 0 <= cost_tolerance_percent <= LARGEST_TOLERANCE:
        message = f"A tolerance is a percentage from 0 to {LARGEST_TOLERANCE:,}, or empty."
        raise InvalidRequest(message, field="cost_tolerance_percent")
    wanted = {"needs_passing_cases": needs_passing_cases, "cost_tolerance_percent": cost_tolerance_percent}
    with transaction.atomic():
        Skill.objects.select_for_update().get(pk=skill.pk)
        known = of_skill(skill, tenant=tenant)
        before = {name: getattr(known, name) for name in wanted} if known else {}
        gate, _ = ReleaseGate.objects.update_or_create(skill=skill, tenant=tenant, defaults=wanted)
        if before != wanted:
            audit.record(
                "skill.gate_changed",
                tenant=tenant,
                actor=actor,
                address=address,
                subject=skill.name,
                before=before,
                after=wanted,
            )
    return gate


def faults(skill: Skill, version: SkillVersion, *, label: str, share: int, tenant: Tenant | None) -> list[str]:
    """Say what stands against pointing a label at a version; nothing for labels that serve nobody."""
    owner = skill.tenant or tenant
    if owner is None or not (label == PRODUCTION or (label == CANARY and share > 0)):
        return []
    known = of_skill(skill, tenant=owner)
    present = production_of(skill, tenant=owner)
    if known is None or (present is not None and present.pk == version.pk):
        return []
    cases = digests.of_skill(skill, tenant=owner)
    run = latest_run(version, tenant=owner, cases_digest=cases)
    return [*_case_faults(known, version, run), *_cost_faults(known, version, run, present=present)]


def production_of(skill: Skill, *, tenant: Tenant) -> SkillVersion | None:
    """Return the version that a tenant's calls get without a label."""
    labels = SkillLabel.objects.filter(skill=skill, name=PRODUCTION).select_related("version")
    label = labels.filter(tenant=tenant).first() or labels.filter(tenant=None).first()
    return label.version if label else None


def latest_run(version: SkillVersion, *, tenant: Tenant, cases_digest: str) -> CaseRun | None:
    """Return the last run that counts: of these cases, ended, with a live key."""
    return (
        CaseRun.objects.filter(
            tenant=tenant,
            version=version,
            cases_digest=cases_digest,
            state=CaseRun.State.FINISHED,
            key__environment=ApiKey.Environment.LIVE,
        )
        .order_by("-id")
        .first()
    )


def _case_faults(gate: ReleaseGate, version: SkillVersion, run: CaseRun | None) -> list[str]:
    if not gate.needs_passing_cases:
        return []
    if run is None:
        return [f"Version {version.number} has not been tried on the cases as they are now. Run them first."]
    if not run.has_passed:
        failed = run.total_cases - run.passed_cases
        return [f"Version {version.number} fails {failed} of its {run.total_cases} cases."]
    return []


def _cost_faults(
    gate: ReleaseGate, version: SkillVersion, run: CaseRun | None, *, present: SkillVersion | None
) -> list[str]:
    tolerance = gate.cost_tolerance_percent
    if tolerance is None or present is None:
        return []
    if run is None:
        missing = f"What version {version.number} costs is not known: run its cases first."
        return [] if gate.needs_passing_cases else [missing]
    compared = latest_run(present, tenant=gate.tenant, cases_digest=run.cases_digest)
    if compared is None:
        return [f"Version {present.number}, in production, has no run of these cases to compare the cost with."]
    if 100 * run.cost_micros <= (100 + tolerance) * compared.cost_micros:
        return []
    more = f"{_percent(run.cost_micros, compared.cost_micros)} more than version {present.number} in production"
    return [f"Version {version.number} costs {more}; tolerated are {tolerance} %."]


def _percent(cost: int, before: int) -> str:
    return f"{round(100 * (cost - before) / before)} %" if before else "infinitely"
