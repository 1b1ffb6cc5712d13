"""What was used, read only: the only reader of the ledger's events and rollups for people and for clients.

Of one key for itself (`budgets`, `events`, `totals`), of a tenant's month (`month`), of all tenants (`platform`).
"""

from usage.reports.comparisons import Change, changes, movers, rise
from usage.reports.months import Line, MonthReport, month, month_for_client, thawed
from usage.reports.own import Filter, budgets, events, resets_at, today, totals
from usage.reports.plans import Plan, plans
from usage.reports.platforms import TenantLine, platform
from usage.reports.sums import TOKEN_CLASSES, Completeness, Sums

__all__ = [
    "TOKEN_CLASSES",
    "Change",
    "Completeness",
    "Filter",
    "Line",
    "MonthReport",
    "Plan",
    "Sums",
    "TenantLine",
    "budgets",
    "changes",
    "events",
    "month",
    "month_for_client",
    "movers",
    "plans",
    "platform",
    "resets_at",
    "rise",
    "thawed",
    "today",
    "totals",
]
