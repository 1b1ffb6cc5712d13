"""The list of a tenant's keys: what each is, how it stands, and what is left of it."""

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet, Sum
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from console import scope
from console.keys import pages
from console.lists import TenantList, View
from console.templatetags import humane
from kit import clock
from tenants.models import ApiKey, Refusal
from usage import standings


class StateFilter(admin.SimpleListFilter):
    """Live, expired or revoked."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the states."""
        return [("live", "Live"), ("expired", "Expired"), ("revoked", "Revoked")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> QuerySet[ApiKey]:
        """Keep the keys in a state."""
        over = Q(expires_at__lte=clock.now())
        if self.value() == "revoked":
            return queryset.exclude(revoked_at=None)
        if self.value() == "expired":
            return queryset.filter(over, revoked_at=None)
        if self.value() == "live":
            return queryset.filter(Q(expires_at=None) | ~over, revoked_at=None)
        return queryset


class KeyList(TenantList):
    """Every key that was ever issued; none is deleted."""

    right = "keys.see"
    list_display = ("key", "state", "environment", "last_used", "month", "refused", "expires")
    list_filter = ("environment", StateFilter)
    lookups = ("environment__exact", "state")
    search_fields = ("name", "public_id", "display")
    search_help_text = "Name, public id, or the first or last characters"
    ordering = ("-id",)
    actions = ("revoke_selected",)
    action_rights = {"revoke_selected": "keys.revoke"}
    list_before_template = "console/keys/before_list.html"

    def extra_urls(self) -> Iterable[tuple[str, str, str, View]]:
        """Return the pages of keys."""
        return pages.urls()

    def prepare(self, request: HttpRequest, found: list[ApiKey]) -> None:
        """Get the use and the refusals of a page's keys, in two queries."""
        families = {key.family_id or key.pk for key in found}
        tenant_id = found[0].tenant_id if found else 0
        used = standings.of_keys(tenant_id, families)
        hour = clock.now().replace(minute=0, second=0, microsecond=0)
        refused = dict(
            scope.rows(Refusal, request)
            .filter(key__in=families, hour=hour)
            .values_list("key")
            .annotate(count=Sum("count"))
        )
        for key in found:
            family = key.family_id or key.pk
            key.standing = next((one for one in used.get(family, ()) if not one.skill and one.window == "month"), None)  # type: ignore[attr-defined]  # for the columns below
            key.refused_count = refused.get(family, 0)  # type: ignore[attr-defined]

    @admin.display(description="Key", ordering="name")
    def key(self, key: ApiKey) -> str:
        """Name a key and link to it."""
        link = reverse("admin:tenants_apikey_detail", args=[key.pk])
        return format_html(
            '<a class="sg-link" href="{}">{}</a><br><code class="sg-code">{}</code>', link, key.name, key.display
        )

    @admin.display(description="State")
    def state(self, key: ApiKey) -> str:
        """Show whether a key works."""
        return badge(pages.state_of(key, now=clock.now()))

    @admin.display(description="Last used", ordering="last_used_at")
    def last_used(self, key: ApiKey) -> Any:
        """Show when a key was last used, to the minute."""
        return humane.moment(key.last_used_at) if key.last_used_at else None

    @admin.display(description="This month")
    def month(self, key: Any) -> str:
        """Draw this month's use against the budget."""
        return bar(key.standing)

    @admin.display(description="Refused this hour")
    def refused(self, key: Any) -> int:
        """Count the calls refused in the present hour."""
        return int(key.refused_count)

    @admin.display(description="Expires", ordering="expires_at")
    def expires(self, key: ApiKey) -> Any:
        """Show when a key ends by itself."""
        return humane.moment(key.expires_at) if key.expires_at else None

    @admin.action(description="Revoke…")
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> Any:
        """Ask for the reason to revoke the ticked keys."""
        return pages.ask_to_revoke(request, chosen=queryset)


def bar(standing: standings.Standing | None) -> str:
    """Draw how much of a budget is used; not as a template, which a long list would feel."""
    if standing is None:
        return format_html('<span class="sg-hint">{}</span>', "no budget")
    return format_html(
        '<div class="sg-bar" role="img" aria-label="{} percent of the month\'s budget used"><span class="{}" style="width:{}%">'
        '</span></div><span class="sg-hint">{} of {} tokens</span>',
        standing.percent,
        humane.heat(standing.percent),
        min(standing.percent, 100),
        humane.short(standing.tokens),
        humane.short(standing.limit_tokens),
    )


def badge(state: str) -> str:
    """Draw a state."""
    return format_html('<span class="sg-badge sg-{}">{}</span>', state, state)
