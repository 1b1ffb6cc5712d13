"""Tenants in the operators' admin. Keys are issued by command or API of the domain, never typed in."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.http import HttpRequest

from tenants.models import ApiKey, AuditEntry, Budget, BudgetIncrease, Membership, Tenant, User

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:  # generic for the type checker only
    ModelAdmin = admin.ModelAdmin

admin.site.register(User, UserAdmin)


class ReadOnlyAdmin(ModelAdmin):
    """Rows that are looked at and never edited here."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """This function will refuse adding."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """This function will refuse changing."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """This function will refuse deleting: history stays."""
        return False


@admin.register(Tenant)
class TenantAdmin(ReadOnlyAdmin):
    """Who is on the platform."""

    list_display = ("slug", "name", "status", "timezone", "created_at")
    list_filter = ("status",)
    search_fields = ("slug", "name")


@admin.register(Membership)
class MembershipAdmin(ModelAdmin):
    """Who works for which tenant."""

    list_display = ("user", "tenant", "role")
    list_filter = ("role",)
    list_select_related = ("user", "tenant")


@admin.register(ApiKey)
class ApiKeyAdmin(ReadOnlyAdmin):
    """The keys, by their public names."""

    list_display = ("name", "display", "tenant", "environment", "expires_at", "revoked_at", "last_used_at")
    list_filter = ("environment", "tenant")
    search_fields = ("name", "public_id")
    list_select_related = ("tenant",)
    exclude = ("digest", "pepper_id")


@admin.register(Budget)
class BudgetAdmin(ReadOnlyAdmin):
    """The caps."""

    list_display = ("tenant", "key", "skill", "window", "limit_tokens", "limit_micros")
    list_filter = ("window", "tenant")
    list_select_related = ("tenant", "key")


@admin.register(BudgetIncrease)
class BudgetIncreaseAdmin(ReadOnlyAdmin):
    """Temporary additions to caps."""

    list_display = ("budget", "extra_tokens", "extra_micros", "starts_at", "ends_at", "reason")
    list_select_related = ("budget__tenant", "budget__key")


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    """Who did what."""

    list_display = ("at", "tenant", "actor", "action", "subject", "address")
    list_filter = ("action", "tenant")
    search_fields = ("actor", "subject")
    list_select_related = ("tenant",)
