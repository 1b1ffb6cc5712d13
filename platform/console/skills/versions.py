"""One version whole, and the difference between any two."""

from typing import Any

from django.http import HttpRequest, HttpResponseBase

from console import scope
from console.pages import page, render
from console.skills import diffs, drafts, finding
from skills import versions
from skills.catalog import gate
from skills.models import Skill, SkillVersion


@page("skills/versions/<int:pk>/", name="skill_version", right="skills.see")
def version(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Show a version: every field, who made it, its digest, the labels on it."""
    found = finding.version(request, pk)
    labels = finding.labels(request, [found.skill]).get(found.skill_id, {})
    return render(
        request,
        "console/skills/version.html",
        title=f"Version {found.number} of {found.skill.name}",
        version=found,
        fields=_fields(found),
        labels=[name for name, label in labels.items() if label.version_id == found.pk],
        is_own=found.skill.tenant_id is not None,
        may_author=scope.may(request, "skills.author"),
    )


@page("skills/<int:pk>/diff/", name="skill_diff", right="skills.see")
def diff(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Show what differs between two versions: those asked for, or production and the newest."""
    skill = finding.skill(request, pk)
    known = finding.versions(skill)
    old, new = _asked(request, skill, known)
    return render(
        request,
        "console/skills/diff.html",
        title=f"Versions of {skill.name} compared",
        skill=skill,
        versions=known,
        old=old,
        new=new,
        changes=diffs.changes(versions.of_row(old), versions.of_row(new)) if old and new else [],
    )


def _fields(found: SkillVersion) -> list[dict[str, Any]]:
    columns = versions.of_row(found).as_columns()
    fields = [
        {
            "name": diffs.title(name),
            "text": diffs.written(name, value),
            "is_long": name in ("system", "template", *drafts.JSON),
        }
        for name, value in columns.items()
    ]
    return sorted(fields, key=lambda field: field["is_long"])


def _asked(
    request: HttpRequest, skill: Skill, known: list[SkillVersion]
) -> tuple[SkillVersion | None, SkillVersion | None]:
    if not known:
        return None, None
    present = gate.production_of(skill, tenant=scope.member(request).tenant)
    newest = known[0]
    default = present if present and present.pk != newest.pk else known[min(1, len(known) - 1)]
    return _numbered(request, skill, "old") or default, _numbered(request, skill, "new") or newest


def _numbered(request: HttpRequest, skill: Skill, name: str) -> SkillVersion | None:
    given = request.GET.get(name, "")
    return skill.versions.filter(number=int(given)).first() if given.isdecimal() and len(given) < 10 else None
