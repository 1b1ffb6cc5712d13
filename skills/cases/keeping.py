"""Writing, changing and removing test cases. A change makes earlier runs count no more."""

from typing import Any

from django.db import transaction

from kit.errors import Conflict, InvalidRequest
from skills.cases import expectations
from skills.cases.models import ReleaseGate, SkillCase
from skills.models import Skill
from skills.schemas.nodes import text_of
from tenants import audit
from tenants.models import Tenant

MOST_CASES = 100
MOST_INPUT_BYTES = 512 * 1024
_LONGEST_NAME = 100


def of_skill(skill: Skill, *, tenant: Tenant) -> list[SkillCase]:
    """Return a tenant's cases for a skill, in the order they were written."""
    return list(SkillCase.objects.filter(skill=skill, tenant=tenant).order_by("id"))


def save(
    skill: Skill,
    *,
    tenant: Tenant,
    name: str,
    given: Any,
    expect: Any,
    case: SkillCase | None = None,
    actor: str,
    address: str = "",
) -> SkillCase:
    """Add a case, or change `case`; a first one brings the skill a release gate.

    Raises InvalidRequest for what cannot be a case, Conflict for a name that is taken or too many cases.
    """
    name = name.strip()
    check(name, given=given, expect=expect)
    with transaction.atomic():
        Skill.objects.select_for_update().get(pk=skill.pk)
        others = SkillCase.objects.filter(skill=skill, tenant=tenant)
        if case is not None:
            others = others.exclude(pk=case.pk)
        if others.filter(name=name).exists():
            raise Conflict("There is a case of this name already.", field="name")
        if case is None and others.count() >= MOST_CASES:
            raise Conflict(f"A skill has at most {MOST_CASES} cases.")
        saved = case or SkillCase(tenant=tenant, skill=skill, created_by=actor)
        saved.name, saved.input, saved.expect = name, given, expect
        saved.save()
        ReleaseGate.objects.get_or_create(skill=skill, tenant=tenant)
        _record("skill.case_saved", skill, tenant=tenant, case=name, actor=actor, address=address)
    return saved


def remove(case: SkillCase, *, actor: str, address: str = "") -> None:
    """Remove a case; the results of runs that tried it stay."""
    with transaction.atomic():
        _record("skill.case_removed", case.skill, tenant=case.tenant, case=case.name, actor=actor, address=address)
        case.delete()


def replace(skill: Skill, *, tenant: Tenant, cases: list[dict[str, Any]], actor: str, address: str = "") -> None:
    """Make a skill's cases those of a folder; raises InvalidRequest, and then nothing is changed."""
    with transaction.atomic():
        Skill.objects.select_for_update().get(pk=skill.pk)
        SkillCase.objects.filter(skill=skill, tenant=tenant).delete()
        for case in cases:
            save(
                skill,
                tenant=tenant,
                name=str(case.get("name", "")),
                given=case.get("input"),
                expect=case.get("expect", {}),
                actor=actor,
                address=address,
            )


def check(name: str, *, given: Any, expect: Any) -> None:
    """Raise InvalidRequest unless a name, an input and an expectation make a case."""
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise InvalidRequest(f"A case has a name of 1 to {_LONGEST_NAME} characters.", field="name", path="name")
    if not isinstance(given, dict):
        raise InvalidRequest("The input of a case is a JSON object.", field="input", path="input")
    if len(text_of(given)) > MOST_INPUT_BYTES:
        raise InvalidRequest(f"The input has at most {MOST_INPUT_BYTES:,} bytes.", field="input", path="input")
    expectations.check(expect)


def _record(action: str, skill: Skill, *, tenant: Tenant, case: str, actor: str, address: str) -> None:
    audit.record(action, tenant=tenant, actor=actor, address=address, subject=skill.name, case=case)
