"""What can be tried, and with what: the tenant's skills, their versions and labels, and its keys that work."""

from dataclasses import dataclass, field

from django.http import HttpRequest

from console import scope
from kit import clock
from kit.errors import NotFound
from skills.models import PRODUCTION, SkillLabel, SkillVersion
from skills.versions import ANALYSIS
from tenants.models import ApiKey

_MOST_KEYS = 500
_MOST_VERSIONS = 50


@dataclass(slots=True)
class Choice:
    """A skill with the labels that hold for the tenant."""

    skill_id: int
    labels: dict[str, SkillVersion] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is to be tried: a label, a number, or neither, which is what callers get."""

    skill: str
    version: SkillVersion
    label: str | None = None
    number: int | None = None


def skills(request: HttpRequest) -> dict[str, Choice]:
    """Return the skills that answer a call, by name; one's own hides the built-in of its name."""
    labels = scope.rows(SkillLabel, request).select_related("skill", "version")
    found: dict[str, Choice] = {}
    for label in sorted(labels, key=lambda one: (one.skill.tenant_id is not None, one.tenant_id is not None)):
        known = found.get(label.skill.name)
        if known is None or known.skill_id != label.skill_id:
            known = found[label.skill.name] = Choice(label.skill_id)
        known.labels[label.name] = label.version
    return {name: choice for name, choice in sorted(found.items()) if _answers(choice)}


def versions(request: HttpRequest, choice: Choice) -> list[int]:
    """Return the numbers of a skill's newest versions."""
    rows = scope.rows(SkillVersion, request).filter(skill=choice.skill_id).order_by("-number")
    return list(rows.values_list("number", flat=True)[:_MOST_VERSIONS])


def keys(request: HttpRequest) -> list[ApiKey]:
    """Return the tenant's keys that work."""
    rows = scope.rows(ApiKey, request).filter(revoked_at=None).exclude(expires_at__lte=clock.now())
    return list(rows.order_by("name", "pk")[:_MOST_KEYS])


def key(request: HttpRequest, pk: str) -> ApiKey:
    """Return one of the tenant's keys that work. Raises `NotFound`."""
    rows = scope.rows(ApiKey, request).filter(revoked_at=None).exclude(expires_at__lte=clock.now())
    found = rows.filter(pk=int(pk)).first() if _is_number(pk) else None
    if found is None:
        raise NotFound("There is no such key that works.")
    return found


def chosen(request: HttpRequest, found: dict[str, Choice], *, skill: str, at: str) -> Chosen:
    """Find what was chosen; `at` is `label:…`, `version:…` or nothing. Raises `NotFound`."""
    choice = found.get(skill)
    if choice is None:
        raise NotFound("There is no such skill that answers a call.")
    sort, _, value = at.partition(":")
    if sort == "label" and value in choice.labels:
        return Chosen(skill, choice.labels[value], label=value)
    if sort == "version" and _is_number(value):
        version = scope.rows(SkillVersion, request).filter(skill=choice.skill_id, number=int(value)).first()
        if version is not None:
            return Chosen(skill, version, number=version.number)
    if at:
        raise NotFound("There is no such version of this skill.")
    return Chosen(skill, choice.labels[PRODUCTION])


def _answers(choice: Choice) -> bool:
    version = choice.labels.get(PRODUCTION)
    return version is not None and version.policy.get("kind") != ANALYSIS


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 10
