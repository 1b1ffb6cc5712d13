"""Skills in and out as zip archives of folders."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect

from console import scope
from console.forms import posted
from console.pages import page, render
from console.skills import finding
from console.skills.forms import ImportForm
from skills import folders
from skills.catalog import archives, gate


@page("skills/<int:pk>/export/", name="skill_export", right="skills.see")
def export(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Send a version as a zip: the one asked for, the one in production, or the newest."""
    skill, tenant = finding.skill(request, pk), scope.member(request).tenant
    given = request.GET.get("version", "")
    if given:
        number = int(given) if given.isdecimal() and len(given) < 10 else 0
        version = get_object_or_404(skill.versions.select_related("skill__tenant"), number=number)
    else:
        newest = skill.versions.select_related("skill__tenant").order_by("-number")
        version = gate.production_of(skill, tenant=tenant) or get_object_or_404(newest[:1])
    packed = archives.pack(folders.export(version, tenant=tenant, **scope.by(request)), folder=skill.name)
    name = f"{skill.name}-{version.number}.zip"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return HttpResponse(packed, content_type="application/zip", headers=headers)


@page("skills/import/", name="skill_import", right="skills.author")
def take(request: HttpRequest) -> HttpResponseBase:
    """Publish what a zip says as the next version of the skill it names."""
    form = ImportForm(posted(request), request.FILES or None)
    if request.method == "POST" and form.is_valid():
        raw = form.cleaned_data["archive"].read(archives.MOST_PACKED_BYTES + 1)
        taken = form.attempt(lambda: folders.take_archive(scope.member(request).tenant, raw, **scope.by(request)))
        if taken is not None:
            state = "is published" if taken.is_new else "says the same already"
            messages.success(request, f"Version {taken.version.number} {state}. No label was moved.")
            if taken.ignored:
                messages.warning(request, f"Not taken: {', '.join(taken.ignored[:20])}.")
            return redirect("admin:skill", taken.version.skill_id)
    return render(
        request,
        "console/skills/import.html",
        title="Import a skill",
        intro="A skill of this name gets a next version; otherwise it is a new skill. The folder's cases replace its cases.",
        form=form,
        submit_label="Import",
        back=redirect("admin:skills").url,
    )
