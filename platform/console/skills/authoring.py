"""Writing: a new skill, the next version of one, and what is wrong with it as one types."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.shortcuts import redirect

from console import scope
from console.forms import posted
from console.pages import page, render
from console.skills import drafts, finding, forms
from console.skills.forms import ContentForm, NewSkillForm
from skills import catalog, versions
from skills.models import SkillVersion

_EXAMPLE: dict[str, Any] = {
    "template": "<text>\n{{ text }}\n</text>",
    "input_schema": forms.pretty(
        {
            "type": "object",
            "properties": {"text": {"type": "string", "minLength": 1, "maxLength": 20_000}},
            "required": ["text"],
            "additionalProperties": False,
        }
    ),
}


@page("skills/new/", name="skill_new", right="skills.author")
def new(request: HttpRequest) -> HttpResponseBase:
    """Add a skill of the tenant's own; `from` names a version to begin with."""
    form = NewSkillForm(posted(request), initial=_beginning(request))
    if request.method == "POST" and form.is_valid():
        created = form.attempt(
            lambda: catalog.create(
                scope.member(request).tenant, name=form.cleaned_data["name"], content=form.content, **_by(request)
            )
        )
        if created is not None:
            return _published(request, created)
    return _written(request, form, title="New skill", back=redirect("admin:skills").url)


@page("skills/<int:pk>/publish/", name="skill_publish", right="skills.author")
def publish(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Publish a skill's next version, beginning with its newest or the one that `from` names."""
    skill = finding.own_skill(request, pk)
    form = ContentForm(posted(request), initial=_beginning(request, skill.versions.order_by("-number").first()))
    if request.method == "POST" and form.is_valid():
        published = form.attempt(lambda: catalog.publish(skill, content=form.content, **_by(request)))
        if published is not None:
            return _published(request, published)
    back = redirect("admin:skill", pk).url
    return _written(request, form, title=f"Next version of {skill.name}", back=back)


@page("skills/check/", name="skill_check", right="skills.author")
def check(request: HttpRequest) -> HttpResponseBase:
    """Say what is wrong with what is being typed; nothing is written."""
    found = drafts.read(request.POST)
    return JsonResponse({"faults": [fault.as_json() for fault in found.faults]}, headers={"Cache-Control": "no-store"})


def _beginning(request: HttpRequest, newest: SkillVersion | None = None) -> dict[str, Any]:
    given = request.GET.get("from", "")
    asked = scope.rows(SkillVersion, request).filter(pk=int(given)).first() if given.isdecimal() else None
    basis = asked or newest
    return forms.initial(versions.of_row(basis)) if basis else _EXAMPLE


def _written(request: HttpRequest, form: ContentForm, *, title: str, back: str) -> HttpResponseBase:
    return render(
        request,
        "console/skills/author.html",
        title=title,
        form=form,
        submit_label="Publish",
        back=back,
        opens_advanced=any(field.errors or field.value() for field in form.advanced),
    )


def _published(request: HttpRequest, version: SkillVersion) -> HttpResponseBase:
    messages.success(request, f"Version {version.number} is published. Calls get it once a label points to it.")
    return redirect("admin:skill", version.skill_id)


def _by(request: HttpRequest) -> dict[str, Any]:
    by = scope.by(request)
    return {"created_by": by["actor"], "address": by["address"]}
