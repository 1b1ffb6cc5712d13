"""Lists of a tenant's rows: of Django's ModelAdmin only the list is used, scoped, with nothing that writes or tells.

Forms, related choices, popups, autocompletes, `to_field` and deletion do not exist: what a list's
rows lead to are pages of our own (`detail`, `extra_urls`), which call the domain's verbs.
"""

from collections.abc import Callable, Iterable
from typing import Any

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse

from console import pages, scope
from console.theme import ChangeList, ModelAdmin

View = Callable[..., HttpResponseBase]


class TenantList(ModelAdmin):
    """The list of a model's rows within one tenant, for roles with `right`."""

    right = ""
    lookups: tuple[str, ...] = ()  # the only names a query string may filter by
    action_rights: dict[str, str] = {}  # action → the right it needs
    view_on_site = False
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False
    list_per_page = 25
    list_max_show_all = 200
    list_display_links: Any = None

    def extra_urls(self) -> Iterable[tuple[str, str, str, View]]:
        """Return the pages that belong to the list: path, name's end, right, view."""
        return ()

    def get_urls(self) -> list[URLPattern]:
        """Return the list's address and those of its pages, and none of Django's others."""
        meta = self.opts
        views = [("", "changelist", self.right, self.changelist_view), *self.extra_urls()]
        return [
            path(
                address,
                self.admin_site.admin_view(pages.guarded(view, right=right)),
                name=f"{meta.app_label}_{meta.model_name}_{name}",
            )
            for address, name, right, view in views
        ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the tenant's rows."""
        return scope.rows(self.model, request, super().get_queryset(request))

    def get_object_or_404(self, request: HttpRequest, pk: int) -> Any:
        """Return one of the tenant's rows; another's is as absent as an absent one."""
        return get_object_or_404(self.get_queryset(request), pk=pk)

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """Allow the list's own filters and nothing that asks across relations."""
        return lookup in self.lookups

    def to_field_allowed(self, request: HttpRequest, to_field: str) -> bool:
        """Allow no field to be chosen by."""
        return False

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Return the list's own actions, without the site's deletion."""
        return {
            name: found
            for name, found in super().get_actions(request).items()
            if name in self.action_rights and scope.may(request, self.action_rights[name])
        }

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Go by the list's right."""
        return scope.may(request, self.right)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Go by the list's right."""
        return scope.may(request, self.right)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse: adding is a page of its own."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Refuse: changing is a page of its own."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Refuse: history stays."""
        return False

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Return the list's class, which lets `prepare` look at the rows of a page together."""
        return _Prepared

    def prepare(self, request: HttpRequest, found: list[Any]) -> None:
        """Get for a page's rows what their columns show, in a fixed number of queries."""


class _Prepared(ChangeList):
    def url_for_result(self, result: Any) -> str:
        meta = self.opts
        return reverse(f"admin:{meta.app_label}_{meta.model_name}_detail", args=[result.pk])

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list = list(self.result_list)
        own: Any = self.model_admin
        own.prepare(request, self.result_list)
