"""What a set of cases is known by, so that a run can be told to have tried the present ones."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from skills.cases.models import SkillCase
from skills.models import Skill
from tenants.models import Tenant


def of_skill(skill: Skill, *, tenant: Tenant) -> str:
    """Return the digest of a tenant's present cases for a skill."""
    found = SkillCase.objects.filter(skill=skill, tenant=tenant)
    return of_cases(found.values_list("name", "input", "expect"))


def of_cases(cases: Iterable[tuple[str, Any, Any]]) -> str:
    """Return the digest of cases given as name, input, expectation; their order is of no matter."""
    written = sorted(json.dumps(case, ensure_ascii=True, separators=(",", ":")) for case in cases)
    return hashlib.sha256("\n".join(written).encode()).hexdigest()
