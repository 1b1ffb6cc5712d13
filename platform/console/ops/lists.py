"""How operators look at rows: all tenants, nothing edited but by verbs, and what is edited is recorded."""

import re
from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.http import HttpRequest
from django.utils.html import escape
from django.utils.safestring import mark_safe

from console.theme import ModelAdmin
from tenants import audit
from tenants.api.callers import address

MOST_ROWS, MOST_SHOWN = 40, 200  # rendering a row costs more than finding it


class ReadOnlyList(ModelAdmin):
    """Rows that are looked at and never edited here."""

    view_on_site = False
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False
    list_filter_sheet = True
    list_per_page = MOST_ROWS
    list_max_show_all = MOST_SHOWN

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:  # noqa: FBT001, FBT002 - Django's signature
        """Return what a row is shown by, with what stands between backticks in its help as code."""
        helps = {field.name: _marked(str(field.help_text)) for field in self.opts.fields if "`" in str(field.help_text)}
        return super().get_form(request, obj, change=change, help_texts=helps, **kwargs)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Refuse adding."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse changing."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Refuse deleting: history stays."""
        return False


class RecordedList(ModelAdmin):
    """Rows that operators edit; each change is in the audit log instead of Django's own."""

    show_facets = admin.ShowFacets.NEVER
    list_per_page = MOST_ROWS
    list_max_show_all = MOST_SHOWN
    secret_fields: tuple[str, ...] = ("password",)

    def save_model(self, request: HttpRequest, obj: Model, form: Any, change: bool) -> None:  # noqa: FBT001 - Django's signature
        """Save a row and record what changed."""
        names = [name for name in form.changed_data if name not in self.secret_fields]
        before = {name: _plain(form.initial.get(name)) for name in names} if change else {}
        super().save_model(request, obj, form, change)
        after = {name: _plain(form.cleaned_data.get(name)) for name in names}
        self._record("changed" if change else "added", request, obj, before=before, after=after)
        vars(request)["console_recorded"] = True

    def delete_model(self, request: HttpRequest, obj: Model) -> None:
        """Remove a row and record that."""
        self._record("removed", request, obj)
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        """Remove rows one by one, so that each is recorded."""
        for obj in queryset:
            self.delete_model(request, obj)

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Do nothing: `save_model` recorded it."""

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Record what did not go through `save_model`: a new password."""
        if "console_recorded" not in vars(request):
            self._record("password_set", request, obj)

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        """Do nothing: `delete_model` recorded it."""

    def _record(self, what: str, request: Any, obj: Any, **details: Any) -> None:
        audit.record(
            f"{self.opts.model_name}.{what}",
            tenant=getattr(obj, "tenant", None),
            actor=request.user.username,
            address=address(request),
            subject=str(obj)[:200],
            **details,
        )


def _marked(text: str) -> str:
    return mark_safe(re.sub(r"`([^`]+)`", r'<code class="sg-code">\1</code>', escape(text)))  # noqa: S308 - it is escaped


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | None) else str(value)
