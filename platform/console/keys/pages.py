"""What one does with keys: issue, look, change, rotate, revoke. A secret is in one response and nowhere else."""

import json
from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.debug import sensitive_variables

from console import scope
from console.forms import posted
from console.keys.forms import IssueForm, RevokeForm, RevokeSeveralForm, RotateForm, TermsForm
from console.lists import View
from console.pages import render
from kit import clock
from skills.models import KeyPin
from tenants import keys
from tenants.keys import changing
from tenants.models import ApiKey, AuditEntry, Refusal
from usage import replays, standings

MOST_AT_ONCE = 500
LIST = "admin:tenants_apikey_changelist"
DETAIL = "admin:tenants_apikey_detail"
_EXAMPLE = json.dumps(
    {"input": {"text": "Alice was beginning to get very tired of sitting by her sister.", "max_words": 12}}
)


def urls() -> list[tuple[str, str, str, View]]:
    """Return the pages' addresses, names, rights and views."""
    return [
        ("issue/", "issue", "keys.issue", issue),
        ("revoke/", "revoke_several", "keys.revoke", revoke_several),
        ("<int:pk>/", "detail", "keys.see", detail),
        ("<int:pk>/terms/", "terms", "keys.change", terms),
        ("<int:pk>/rotate/", "rotate", "keys.issue", rotate),
        ("<int:pk>/revoke/", "revoke", "keys.revoke", revoke),
    ]


def state_of(key: ApiKey, *, now: datetime) -> str:
    """Return `live`, `expired` or `revoked`."""
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at is not None and key.expires_at <= now else "live"


def issue(request: HttpRequest) -> HttpResponseBase:
    """Issue a key and show its secret, this once."""
    form = IssueForm(posted(request), skills=scope.skills(request))
    if request.method == "POST" and form.is_valid():
        found = scope.member(request)
        issued = form.attempt(
            lambda: keys.issue(
                found.tenant,
                now=clock.now(),
                created_by=found.user,
                monthly_token_budget=form.cleaned_data["monthly_token_budget"],
                **_options(form.terms(environment=form.cleaned_data["environment"])),
                **scope.by(request),
            )
        )
        if issued is not None:
            return _shown_once(request, issued)
    return render(request, "console/form.html", title="Issue a key", form=form, submit_label="Issue", back=_list())


def detail(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Show a key: what it may, how it stands, what became of it."""
    key = _key(request, pk)
    now, family = clock.now(), key.family_id or key.pk
    hour = now.replace(minute=0, second=0, microsecond=0)
    state = state_of(key, now=now)
    return render(
        request,
        "console/keys/detail.html",
        title=f"Key {key.name}",
        key=key,
        state=state,
        is_live=state == "live",
        has_successor=hasattr(key, "rotated_to"),
        standings=standings.of_keys(key.tenant_id, [family]).get(family, []),
        pins=scope.rows(KeyPin, request).filter(key=family).select_related("skill", "version").order_by("skill__name"),
        refusals=scope.rows(Refusal, request).filter(key=family, hour=hour).order_by("reason"),
        history=scope.rows(AuditEntry, request).filter(subject=key.public_id).order_by("-id")[:50],
        may={name: scope.may(request, f"keys.{name}") for name in ("issue", "change", "revoke")}
        | {"budgets": scope.may(request, "budgets.change"), "audit": scope.may(request, "audit.see")},
    )


def terms(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Change what a key may do."""
    key = _key(request, pk)
    initial = {name: getattr(key, name) for name in TermsForm.base_fields}
    form = TermsForm(posted(request), skills=scope.skills(request), initial=initial)
    replay = None
    if "try" in request.POST and form.is_valid():
        replay = _replay(key, form)
    elif request.method == "POST" and form.is_valid():
        wanted = form.terms(environment=key.environment)
        form.attempt(lambda: changing.change(key, terms=wanted, now=clock.now(), **scope.by(request)))
        if form.is_valid():
            messages.success(request, "Changed. It counts from the next call on.")
            return redirect(DETAIL, pk)
    return render(
        request,
        "console/form.html",
        title=f"Change {key.name}",
        form=form,
        submit_label="Save",
        back=_link(key),
        can_try=True,
        replay=replay,
    )


def rotate(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Issue a key's successor and show its secret, this once."""
    key = _key(request, pk)
    form = RotateForm(posted(request))
    if request.method == "POST" and form.is_valid():
        overlap = form.cleaned_data["overlap"]
        issued = form.attempt(
            lambda: keys.rotate(
                key, overlap=overlap, now=clock.now(), created_by=scope.member(request).user, **scope.by(request)
            )
        )
        if issued is not None:
            return _shown_once(request, issued)
    return render(
        request,
        "console/form.html",
        title=f"Rotate {key.name}",
        form=form,
        submit_label="Issue the successor",
        back=_link(key),
    )


def revoke(request: HttpRequest, pk: int) -> HttpResponseBase:
    """End a key, its calls in flight included."""
    key = _key(request, pk)
    form = RevokeForm(posted(request))
    if request.method == "POST" and form.is_valid():
        reason = form.cleaned_data["reason"]
        form.attempt(lambda: keys.revoke(key, reason=reason, now=clock.now(), **scope.by(request)))
        if form.is_valid():
            messages.success(request, f"{key.name} is revoked. Its calls in flight end within a second.")
            return redirect(DETAIL, pk)
    return render(
        request,
        "console/form.html",
        title=f"Revoke {key.name}",
        intro="Its calls stop now, those in flight too. This cannot be taken back.",
        form=form,
        submit_label="Revoke",
        back=_link(key),
        is_danger=True,
    )


def ask_to_revoke(request: HttpRequest, *, chosen: QuerySet[ApiKey]) -> HttpResponseBase:
    """Show which keys are about to be revoked and ask why."""
    found = list(chosen.filter(revoked_at=None)[:MOST_AT_ONCE])
    form = RevokeSeveralForm(initial={"chosen": ",".join(str(key.pk) for key in found)})
    return _several(request, form, found)


def revoke_several(request: HttpRequest) -> HttpResponseBase:
    """End several keys; those of others are not found, like those that do not exist."""
    form = RevokeSeveralForm(posted(request))
    if request.method != "POST":
        return redirect(LIST)
    found: list[ApiKey] = []
    if form.is_valid():
        chosen = form.cleaned_data["chosen"][:MOST_AT_ONCE]
        found = list(scope.rows(ApiKey, request).filter(pk__in=chosen, revoked_at=None))
        reason = form.cleaned_data["reason"]
        form.attempt(lambda: _revoke_all(request, found, reason=reason))
        if form.is_valid():
            messages.success(request, f"Revoked: {len(found)} of the keys.")
            return redirect(LIST)
    return _several(request, form, found)


def _several(request: HttpRequest, form: RevokeSeveralForm, found: list[ApiKey]) -> HttpResponseBase:
    return render(
        request,
        "console/keys/revoke_several.html",
        title="Revoke keys",
        form=form,
        keys=found,
        form_action=redirect("admin:tenants_apikey_revoke_several").url,
        submit_label="Revoke",
        back=_list(),
        is_danger=True,
    )


def _revoke_all(request: HttpRequest, found: list[ApiKey], *, reason: str) -> None:
    now = clock.now()
    for key in found:
        keys.revoke(key, reason=reason, now=now, **scope.by(request))


@sensitive_variables("issued")
def _shown_once(request: HttpRequest, issued: keys.Issued) -> HttpResponseBase:
    return render(
        request,
        "console/keys/issued.html",
        title="Copy the key now",
        key=issued.key,
        secret=issued.secret,
        curl=f"curl -s {settings.BASE_URL}/v1/skills/summarize \\\n  -H 'Authorization: Bearer {issued.secret}' \\\n"
        f"  -H 'Content-Type: application/json' \\\n  -d '{_EXAMPLE}'",
    )


def _replay(key: ApiKey, form: TermsForm) -> replays.Replay:
    limits = ("requests_per_minute", "tokens_per_minute", "concurrent_calls")
    proposal = replays.Proposal(**{name: form.cleaned_data[name] for name in limits})
    return replays.replay(key.tenant_id, proposal=proposal, now=clock.now(), family_id=key.family_id or key.pk)


def _options(wanted: Any) -> dict[str, Any]:
    return {name: getattr(wanted, name) for name in wanted.__dataclass_fields__}


def _key(request: HttpRequest, pk: int) -> ApiKey:
    return get_object_or_404(scope.rows(ApiKey, request).select_related("tenant", "rotated_from", "created_by"), pk=pk)


def _list() -> str:
    return redirect(LIST).url


def _link(key: ApiKey) -> str:
    return redirect(DETAIL, key.pk).url
