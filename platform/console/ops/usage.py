"""What was consumed, in the operators' site; asked for by name, since only the usage app touches its models."""

from typing import Any

from django.apps import apps

from console.ops.lists import ReadOnlyList
from console.sites import ops_site


class UsageEventList(ReadOnlyList):
    """Every upstream attempt."""

    list_display = ("tenant", "number", "skill", "model", "state", "charged_tokens", "cost_micros", "opened_at")
    list_filter = ("state", "model", "tenant")
    list_select_related = ("tenant",)
    ordering = ("-month", "-number")


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
