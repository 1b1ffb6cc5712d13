"""Writing test cases."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect

from console import scope
from console.forms import ConsoleForm, posted
from console.pages import page, render
from console.skills import finding
from console.skills.forms import CaseForm, pretty
from skills.cases import keeping
from skills.cases.models import SkillCase
from skills.models import Skill


@page("skills/<int:pk>/cases/new/", name="case_new", right="skills.author")
def new(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Add a case to a skill."""
    skill = finding.skill(request, pk)
    return _saved(request, skill, None, initial={"input": _skeleton(skill), "expect": '{\n  "contains": ""\n}'})


@page("skills/cases/<int:pk>/", name="case", right="skills.author")
def change(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Change a case; runs before it count no more."""
    case = finding.case(request, pk)
    initial = {"name": case.name, "input": pretty(case.input), "expect": pretty(case.expect)}
    return _saved(request, case.skill, case, initial=initial)


@page("skills/cases/<int:pk>/remove/", name="case_remove", right="skills.author")
def remove(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Remove a case."""
    case = finding.case(request, pk)
    form = ConsoleForm(posted(request))
    if request.method == "POST" and form.is_valid():
        keeping.remove(case, **scope.by(request))
        messages.success(request, "Removed.")
        return redirect("admin:skill", case.skill_id)
    return render(
        request,
        "console/form.html",
        title=f"Remove {case.name}",
        intro="What runs found with it stays. For the release gate, versions have to be tried again.",
        form=form,
        submit_label="Remove",
        back=redirect("admin:skill", case.skill_id).url,
        is_danger=True,
    )


def _saved(request: HttpRequest, skill: Skill, case: SkillCase | None, *, initial: dict[str, Any]) -> HttpResponseBase:
    form = CaseForm(posted(request), initial=initial)
    form.fields["input"].widget.attrs["rows"] = "10"
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        form.attempt(
            lambda: keeping.save(
                skill,
                tenant=scope.member(request).tenant,
                name=given["name"],
                given=given["input"],
                expect=given["expect"],
                case=case,
                **scope.by(request),
            )
        )
        if form.is_valid():
            messages.success(request, "Saved.")
            return redirect("admin:skill", skill.pk)
    return render(
        request,
        "console/skills/case.html",
        title=f"Change {case.name}" if case else f"New case of {skill.name}",
        form=form,
        submit_label="Save",
        back=redirect("admin:skill", skill.pk).url,
    )


def _skeleton(skill: Skill) -> str:
    """An input with what the newest version needs, to fill in."""
    newest = skill.versions.order_by("-number").first()
    schema = newest.input_schema if newest else {}
    empty: dict[Any, Any] = {"string": "", "array": [], "integer": 0, "number": 0, "boolean": False, "object": {}}
    kinds = {name: schema.get("properties", {}).get(name, {}) for name in schema.get("required", [])}
    return pretty(
        {name: empty.get(str(kind.get("type")) if isinstance(kind, dict) else "") for name, kind in kinds.items()}
    )
