"""Tenants, people and keys in the operators' site."""

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.urls import URLPattern, path
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from console.forms import ConsoleForm, posted
from console.ops.lists import ReadOnlyList, RecordedList
from console.pages import render
from console.sites import ops_site
from console.theme import UserAdmin
from kit import clock
from tenants import tenants
from tenants.api.callers import address
from tenants.models import ApiKey, AuditEntry, Budget, BudgetIncrease, Invitation, Membership, Refusal, Tenant, User

CHANGE = "ops:tenants_tenant_change"


class UserList(RecordedList, UserAdmin):
    """Everyone who can sign in."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "email", "is_superuser", "is_active", "last_login")
    list_filter = ("is_superuser", "is_active")
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Person", {"fields": ("first_name", "last_name", "email")}),
        ("Rights", {"fields": ("is_active", "is_superuser")}),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    )
    add_fieldsets = ((None, {"classes": ("wide",), "fields": ("username", "email", "password1", "password2")}),)
    readonly_fields = ("last_login", "date_joined")


class ReasonForm(ConsoleForm):
    """Why."""

    reason = forms.CharField(max_length=200)


class TenantOpsList(ReadOnlyList):
    """Who is on the platform."""

    list_display = ("slug", "name", "status", "timezone", "created_at")
    list_filter = ("status",)
    search_fields = ("slug", "name")
    exclude = ("provider_key_sealed",)
    change_form_before_template = "console/ops/tenant_buttons.html"

    def get_urls(self) -> list[URLPattern]:
        """Return the addresses, those of suspending and resuming included."""
        wrap = self.admin_site.admin_view
        return [
            path("<int:pk>/suspend/", wrap(self.suspend), name="tenants_tenant_suspend"),
            path("<int:pk>/resume/", wrap(self.resume), name="tenants_tenant_resume"),
            *super().get_urls(),
        ]

    def suspend(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """Stop all of a tenant's keys."""
        tenant = get_object_or_404(Tenant, pk=pk)
        form = ReasonForm(posted(request))
        if request.method == "POST" and form.is_valid():
            reason = form.cleaned_data["reason"]
            form.attempt(lambda: tenants.suspend(tenant, reason=reason, now=clock.now(), **_by(request)))
            if form.is_valid():
                messages.success(request, f"{tenant} is suspended: every key of it is refused from now on.")
                return redirect(CHANGE, pk)
        return _form(request, form, title=f"Suspend {tenant}", submit_label="Suspend", back=redirect(CHANGE, pk).url)

    def resume(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        """Let a tenant's keys work again."""
        tenant = get_object_or_404(Tenant, pk=pk)
        if request.method == "POST":
            tenants.resume(tenant, now=clock.now(), **_by(request))
            messages.success(request, f"{tenant} is active again.")
            return redirect(CHANGE, pk)
        return _form(
            request, ConsoleForm(), title=f"Resume {tenant}", submit_label="Resume", back=redirect(CHANGE, pk).url
        )


class MembershipList(RecordedList):
    """Who works for which tenant."""

    fields = ("user", "tenant", "role")
    raw_id_fields = ("user", "tenant")
    list_display = ("user", "tenant", "role")
    list_filter = ("role",)
    list_select_related = ("user", "tenant")
    search_fields = ("user__username", "tenant__slug")


class InvitationList(ReadOnlyList):
    """Who was asked in."""

    list_display = ("email", "tenant", "role", "invited_by", "created_at", "accepted_at", "withdrawn_at")
    list_select_related = ("tenant",)
    exclude = ("digest",)


class ApiKeyList(ReadOnlyList):
    """The keys, by their public names."""

    list_display = ("name", "display", "tenant", "environment", "expires_at", "revoked_at", "last_used_at")
    list_filter = ("environment", "tenant")
    search_fields = ("name", "public_id")
    list_select_related = ("tenant",)
    exclude = ("digest", "pepper_id")


class BudgetList(ReadOnlyList):
    """The caps."""

    list_display = ("tenant", "key", "skill", "window", "limit_tokens", "limit_micros")
    list_filter = ("window", "tenant")
    list_select_related = ("tenant", "key")


class BudgetIncreaseList(ReadOnlyList):
    """Temporary additions to caps."""

    list_display = ("budget", "extra_tokens", "extra_micros", "starts_at", "ends_at", "reason")
    list_select_related = ("budget__tenant", "budget__key")


class RefusalList(ReadOnlyList):
    """Refused calls, by hour."""

    list_display = ("hour", "tenant", "key", "reason", "count")
    list_select_related = ("tenant", "key")
    ordering = ("-hour",)


class AuditEntryList(ReadOnlyList):
    """Who did what, everywhere."""

    list_display = ("at", "tenant", "actor", "action", "subject", "address")
    list_filter = ("action", "tenant")
    search_fields = ("actor", "subject", "address")
    list_select_related = ("tenant",)
    ordering = ("-id",)


def _by(request: Any) -> dict[str, str]:
    return {"actor": request.user.username, "address": address(request)}


def _form(request: HttpRequest, form: ConsoleForm, **context: Any) -> HttpResponseBase:
    return render(request, "console/form.html", form=form, **context)


ops_site.register(User, UserList)
ops_site.register(Tenant, TenantOpsList)
ops_site.register(Membership, MembershipList)
ops_site.register(Invitation, InvitationList)
ops_site.register(ApiKey, ApiKeyList)
ops_site.register(Budget, BudgetList)
ops_site.register(BudgetIncrease, BudgetIncreaseList)
ops_site.register(Refusal, RefusalList)
ops_site.register(AuditEntry, AuditEntryList)
