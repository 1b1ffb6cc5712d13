"""Trying a version on the cases, watching it go, and what it came to beside production."""

from typing import Any

from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect

from console import scope
from console.forms import posted
from console.pages import page, render
from console.skills import finding
from console.skills.forms import RunForm
from kit import clock, ids
from skills.cases import dispatch, starting
from skills.cases.models import CaseResult, CaseRun
from skills.catalog import gate
from skills.models import SkillVersion


@page("skills/<int:pk>/run/", name="case_run_start", right="skills.author")
def start(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Set a run of the cases going."""
    skill = finding.skill(request, pk)
    versions, keys = finding.versions(skill), finding.live_keys(request, now=clock.now())
    form = RunForm(posted(request), initial={"version": request.GET.get("version")}, versions=versions, keys=keys)
    if request.method == "POST" and form.is_valid():
        started = form.attempt(lambda: _start(request, form))
        if started is not None:
            dispatch.announce(started)
            return redirect("admin:case_run", started[0].pk)
    return render(
        request,
        "console/form.html",
        title=f"Try the cases of {skill.name}",
        intro="Every case is a call like any other. The version in production is tried too, unless it has been.",
        form=form,
        submit_label="Run",
        back=redirect("admin:skill", pk).url,
    )


@page("skills/runs/<int:pk>/", name="case_run", right="skills.see")
def run(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Show a run beside production's."""
    found = finding.case_run(request, pk)
    title = f"Cases tried with version {found.version.number} of {found.skill.name}"
    return render(
        request, "console/skills/run.html", title=title, may_author=scope.may(request, "skills.author"), **_shown(found)
    )


@page("skills/runs/<int:pk>/progress/", name="case_run_progress", right="skills.see")
def progress(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Show how far a run is, for the page that watches it."""
    answer = render(request, "console/skills/progress.html", title="", **_shown(finding.case_run(request, pk)))
    answer["Cache-Control"] = "no-store"
    return answer


def _start(request: HttpRequest, form: RunForm) -> list[CaseRun]:
    given = form.cleaned_data
    key = next(one for one in finding.live_keys(request, now=clock.now()) if one.pk == given["key"])
    version = SkillVersion.objects.select_related("skill__tenant").get(pk=given["version"])
    return starting.start(version, key=key, request_id=ids.request_id(), **scope.by(request))


def _shown(found: CaseRun) -> dict[str, Any]:
    beside = _beside(found)
    others = {one.name: one for one in CaseResult.objects.filter(run=beside)} if beside else {}
    results = list(CaseResult.objects.filter(run=found).order_by("position"))
    return {
        "run": found,
        "beside": beside,
        "tried": sum(1 for one in results if one.outcome),
        "rows": [{"result": one, "beside": others.get(one.name)} for one in results],
        "is_over": found.is_over and (beside is None or beside.is_over),
        "cost_change": _change(found.cost_micros, beside.cost_micros)
        if beside and found.is_over and beside.is_over
        else None,
    }


def _beside(found: CaseRun) -> CaseRun | None:
    """Production's last run of the same cases, whatever became of it."""
    present = gate.production_of(found.skill, tenant=found.tenant)
    if present is None or present.pk == found.version_id:
        return None
    runs = CaseRun.objects.filter(tenant=found.tenant, version=present, cases_digest=found.cases_digest)
    return runs.select_related("version").order_by("-id").first()


def _change(cost: int, before: int) -> int | None:
    return round(100 * (cost - before) / before) if before else None
