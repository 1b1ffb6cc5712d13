"""What was consumed, in the operators' site; asked for by name, since only the usage app touches its models."""

from typing import Any

from django.apps import apps
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.paginator import InfinitePaginator

from console.ops.lists import ReadOnlyList
from console.sites import ops_site


class ModelFilter(admin.SimpleListFilter):
    """The models that have a price: to look through millions of events for their models would take seconds."""

    title = "model"
    parameter_name = "model"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the models."""
        prices: Any = apps.get_model("usage", "Price")
        return [(name, name) for name in prices.objects.order_by("model").values_list("model", flat=True).distinct()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep a model's events."""
        return queryset.filter(model=self.value()) if self.value() else queryset


class UsageEventList(ReadOnlyList):
    """Every upstream attempt."""

    list_display = ("tenant", "number", "skill", "model", "state", "charged_tokens", "cost_micros", "opened_at")
    list_filter = ("state", ModelFilter, "tenant")
    list_select_related = ("tenant",)
    paginator = InfinitePaginator  # counting millions takes seconds

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        """Return the order that an index has: a tenant's by number, everyone's by the id's time."""
        return ("-month", "-number") if "tenant__id__exact" in request.GET else ("-month", "-id")


class BudgetAccountList(ReadOnlyList):
    """What is reserved and settled."""

    list_display = ("tenant", "key", "skill", "window", "period", "reserved_tokens", "settled_tokens", "settled_micros")
    list_filter = ("window", "tenant")
    list_select_related = ("tenant", "key")


class PriceBookList(ReadOnlyList):
    """The price versions."""

    list_display = ("id", "as_of", "source", "loaded_at")


class PriceList(ReadOnlyList):
    """The prices."""

    list_display = ("book", "model", "token_class", "prompt_from", "effective_from", "micros_per_million")
    list_filter = ("book", "model", "token_class")
    list_select_related = ("book",)


def _register(name: str, shown: Any) -> None:
    ops_site.register(apps.get_model("usage", name), shown)


_register("UsageEvent", UsageEventList)
_register("BudgetAccount", BudgetAccountList)
_register("PriceBook", PriceBookList)
_register("Price", PriceList)
