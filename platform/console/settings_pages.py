"""What a tenant decides for itself, and its own Anthropic key, which is written and never read back."""

import json
from functools import cache
from typing import Any
from zoneinfo import available_timezones

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.views.decorators.debug import sensitive_post_parameters

from console import scope
from console.forms import ConsoleForm, LinesField, posted
from console.pages import page, render
from kit import clock, strict_json
from kit.errors import InvalidRequest
from skills import guardrails
from tenants import configuration, provider_keys
from tenants.configuration import Configuration

HOME = "admin:settings"


class RelayPolicyField(forms.CharField):
    """The guardrails of calls to /v1/messages, written as JSON."""

    widget = forms.Textarea

    def prepare_value(self, value: Any) -> Any:
        """Write a policy as JSON, and none as nothing."""
        return json.dumps(value, ensure_ascii=False, indent=2) if value and isinstance(value, dict) else value or ""

    def clean(self, value: Any) -> Any:
        """Read a policy; refused with the path of its first fault."""
        text: str = super().clean(value)
        if not text:
            return {}
        try:
            policy = strict_json.loads(text.encode("utf-8", "replace"))
        except InvalidRequest as fault:
            raise forms.ValidationError(f"This {fault.message.removeprefix('The request body ')}") from None
        for path, why in guardrails.relay_faults(policy):
            raise forms.ValidationError(f"{path or 'It'} {why}")
        return policy


@cache
def _zones() -> list[tuple[str, str]]:
    """Every time zone there is; finding them reads hundreds of files."""
    return [(name, name) for name in sorted(available_timezones())]


class SettingsForm(ConsoleForm):
    """The tenant's configuration."""

    name = forms.CharField(max_length=200)
    timezone = forms.ChoiceField(
        label="Time zone",
        help_text="Days and months of budgets and reports begin in it. A change moves where they begin.",
    )
    alert_recipients = LinesField(label="Alert recipients", help_text="Mail addresses, one per line.")
    retention_days = forms.IntegerField(
        min_value=1,
        max_value=configuration.LONGEST_RETENTION_DAYS,
        label="Retention",
        help_text="Days for which the content of analyses, and logged prompts if any, are kept.",
    )
    logs_prompts = forms.BooleanField(
        required=False, label="Log prompts and answers", help_text="Off: only counts and costs are kept."
    )
    allowed_models = LinesField(label="Allowed models", help_text="One per line. Empty: every priced model.")
    allows_fallback = forms.BooleanField(
        required=False, label="Allow fallback", help_text="Another model may answer when a skill's own fails."
    )
    messages_policy = RelayPolicyField(
        required=False,
        max_length=20_000,
        label="Guardrails of /v1/messages",
        help_text="JSON, in the form of a skill's policy: max_input_bytes and guardrails. Empty: none.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        zone: Any = self.fields["timezone"]
        zone.choices = _zones()


class ProviderKeyForm(ConsoleForm):
    """A key of the tenant's own for Claude."""

    provider_key = forms.CharField(
        max_length=300,
        strip=True,
        label="Anthropic key",
        help_text="Stored encrypted. Nobody can read it back here, only replace or remove it.",
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
    )


@page("settings/", name="settings", right="settings.see")
def settings(request: HttpRequest) -> HttpResponseBase:
    """Show the configuration, and change it for those who may."""
    tenant = scope.member(request).tenant
    may_change = scope.may(request, "settings.change")
    initial = {name: getattr(tenant, name) for name in configuration.NAMES}
    form = SettingsForm(posted(request) if may_change else None, initial=initial)
    if request.method == "POST" and may_change and form.is_valid():
        form.attempt(
            lambda: configuration.configure(tenant, wanted=Configuration(**form.cleaned_data), **scope.by(request))
        )
        if form.is_valid():
            messages.success(request, "Saved.")
            return redirect(HOME)
    if not may_change:
        for field in form.fields.values():
            field.disabled = True
    return render(
        request,
        "console/settings.html",
        title="Settings",
        form=form,
        may_change=may_change,
        tenant=tenant,
        provider_form=ProviderKeyForm(),
        may_key=scope.may(request, "settings.provider_key"),
    )


@page("settings/provider-key/", name="provider_key", right="settings.provider_key")
@sensitive_post_parameters("provider_key")
def provider_key(request: HttpRequest) -> HttpResponseBase:
    """Store or remove the tenant's own Anthropic key."""
    tenant = scope.member(request).tenant
    if request.method == "POST" and "remove" in request.POST:
        provider_keys.remove(tenant, **scope.by(request))
        messages.success(request, "Removed. Calls go by the platform's key again.")
        return redirect(HOME)
    form = ProviderKeyForm(posted(request))
    if request.method == "POST" and form.is_valid():
        secret = form.cleaned_data["provider_key"]
        form.attempt(lambda: provider_keys.store(tenant, secret=secret, now=clock.now(), **scope.by(request)))
        if form.is_valid():
            messages.success(request, "Stored. Calls go by this key from now on.")
            return redirect(HOME)
    return render(
        request, "console/form.html", title="Anthropic key", form=form, submit_label="Store", back=redirect(HOME).url
    )
