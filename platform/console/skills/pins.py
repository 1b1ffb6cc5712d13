"""Pinning a key to a version of a skill."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect

from console import scope
from console.forms import ConsoleForm, posted
from console.pages import page, render
from console.skills.forms import PinForm
from skills import catalog
from skills.models import KeyPin, Skill
from tenants.models import ApiKey

_KEY = "admin:tenants_apikey_detail"


@page("pins/keys/<int:pk>/", name="pin_key", right="keys.change")
def pin(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Pin a key, and its successors, to a version."""
    key = get_object_or_404(scope.rows(ApiKey, request).select_related("tenant"), pk=pk)
    known = {skill.pk: skill for skill in scope.rows(Skill, request).order_by("name", "tenant")}
    choices = [(one.pk, one.name if one.tenant_id else f"{one.name} (built in)") for one in known.values()]
    asked = {name: request.GET[name] for name in ("skill", "version") if name in request.GET}
    form = PinForm(posted(request), initial=asked, skills=choices)
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        form.attempt(
            lambda: catalog.pin(key, skill=known[given["skill"]], version=given["version"], **scope.by(request))
        )
        if form.is_valid():
            messages.success(request, "Pinned. It counts from the next call on.")
            return redirect(_KEY, pk)
    return render(
        request,
        "console/form.html",
        title=f"Pin {key.name} to a version",
        intro="Its calls get this version, wherever labels point. A call that names a version's number still gets that.",
        form=form,
        submit_label="Pin",
        back=redirect(_KEY, pk).url,
    )


@page("pins/<int:pk>/remove/", name="pin_remove", right="keys.change")
def remove(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Let a key follow the labels again."""
    rows = scope.rows(KeyPin, request).select_related("key__tenant", "tenant", "skill", "version")
    pinned = get_object_or_404(rows, pk=pk)
    form = ConsoleForm(posted(request))
    if request.method == "POST" and form.is_valid():
        key_id = pinned.key_id
        catalog.unpin(pinned, **scope.by(request))
        messages.success(request, "Its calls follow the labels again.")
        return redirect(_KEY, key_id)
    return render(
        request,
        "console/form.html",
        title=f"Unpin {pinned.key.name} from {pinned.skill.name} {pinned.version.number}",
        form=form,
        submit_label="Unpin",
        back=redirect(_KEY, pinned.key_id).url,
    )
