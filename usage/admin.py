"""Usage in the operators' admin: looked at, never edited."""

from django.contrib import admin

from tenants.admin import ReadOnlyAdmin
from usage.models import BudgetAccount, Price, PriceBook, UsageEvent


@admin.register(UsageEvent)
class UsageEventAdmin(ReadOnlyAdmin):
    """Every upstream attempt."""

    list_display = ("tenant", "number", "skill", "model", "state", "charged_tokens", "cost_micros", "opened_at")
    list_filter = ("state", "model", "tenant")
    list_select_related = ("tenant",)
    ordering = ("-opened_at",)
    show_full_result_count = False


@admin.register(BudgetAccount)
class BudgetAccountAdmin(ReadOnlyAdmin):
    """What is reserved and settled."""

    list_display = ("tenant", "key", "skill", "window", "period", "reserved_tokens", "settled_tokens", "settled_micros")
    list_filter = ("window", "tenant")
    list_select_related = ("tenant", "key")


@admin.register(PriceBook)
class PriceBookAdmin(ReadOnlyAdmin):
    """The price versions."""

    list_display = ("id", "as_of", "source", "loaded_at")


@admin.register(Price)
class PriceAdmin(ReadOnlyAdmin):
    """The prices."""

    list_display = ("book", "model", "token_class", "prompt_from", "effective_from", "micros_per_million")
    list_filter = ("book", "model", "token_class")
