"""Moving labels, one step back, and what a release must show."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect

from console import scope
from console.forms import posted
from console.pages import page, render
from console.skills import finding
from console.skills.forms import GateForm, PointForm, RollbackForm
from skills import catalog
from skills.catalog import gate
from skills.models import PRODUCTION, Skill


@page("skills/<int:pk>/point/", name="skill_point", right="skills.author")
def point(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Point a label at a version, where the release gate, or an owner, lets it."""
    skill = finding.skill(request, pk)
    asked = {name: request.GET[name] for name in ("label", "version", "share") if name in request.GET}
    form = PointForm(
        posted(request),
        initial={"label": PRODUCTION, **asked},
        versions=finding.versions(skill),
        may_override=scope.may(request, "skills.override"),
    )
    if request.method == "POST" and form.is_valid():
        given = {**form.cleaned_data, "share": form.cleaned_data["share"] or 0}
        form.attempt(lambda: catalog.point(skill, tenant=scope.member(request).tenant, **given, **scope.by(request)))
        if form.is_valid():
            messages.success(request, f"{given['label']} points to version {given['version']}.")
            return redirect("admin:skill", pk)
    intro = (
        "" if skill.tenant_id else "This skill is built in: the label is your tenant's own, and moves nobody else's."
    )
    return _form(request, skill, form, title=f"Point a label of {skill.name}", submit_label="Point", intro=intro)


@page("skills/<int:pk>/rollback/", name="skill_rollback", right="skills.author")
def rollback(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Point a label back to where it was before."""
    skill = finding.skill(request, pk)
    form = RollbackForm(posted(request), initial={"label": request.GET.get("label", PRODUCTION)})
    if request.method == "POST" and form.is_valid():
        label = form.cleaned_data["label"]
        moved = form.attempt(
            lambda: catalog.rollback(skill, label=label, tenant=scope.member(request).tenant, **scope.by(request))
        )
        if moved is not None:
            messages.success(request, f"{label} points to version {moved.version.number} again.")
            return redirect("admin:skill", pk)
    intro = "The label goes back to the version it pointed to before. The release gate has no say in it."
    return _form(request, skill, form, title=f"Roll {skill.name} back", submit_label="Roll back", intro=intro)


@page("skills/<int:pk>/gate/", name="skill_gate", right="skills.gate")
def set_gate(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Set what a release of a skill must show."""
    skill, tenant = finding.skill(request, pk), scope.member(request).tenant
    known = gate.of_skill(skill, tenant=tenant)
    names = ("needs_passing_cases", "cost_tolerance_percent")
    form = GateForm(posted(request), initial={name: getattr(known, name) for name in names} if known else {})
    if request.method == "POST" and form.is_valid():
        form.attempt(lambda: gate.set_gate(skill, tenant=tenant, **form.cleaned_data, **scope.by(request)))
        if form.is_valid():
            messages.success(request, "Saved. It counts from the next release on.")
            return redirect("admin:skill", pk)
    intro = "What a version must show before production, or a canary with a share, may point to it. An owner can override it."
    return _form(request, skill, form, title=f"Release gate of {skill.name}", submit_label="Save", intro=intro)


def _form(request: HttpRequest, skill: Skill, form: Any, **context: Any) -> HttpResponseBase:
    back = redirect("admin:skill", skill.pk).url
    return render(request, "console/form.html", form=form, back=back, **context)
