"""Alerts: whoever must hear of something is told once, and every attempt to tell them is kept.

Each thing that is noticed (a budget near its end, spend out of the ordinary, a model without a price, a difference
to the provider, a ledger that is not true) is a row of one table; what goes out for it, by which channel and with
what outcome, is a row of another.
"""

from usage.alerts.budgets import raise_due as raise_budgets
from usage.alerts.models import Alert
from usage.alerts.prices import raise_due as raise_unpriced
from usage.alerts.records import Raised, deliveries, end, end_one, latest, open_for, raise_alert
from usage.alerts.sending import Sent, channel, send_due
from usage.alerts.spend import raise_due as raise_spend

__all__ = [
    "Alert",
    "Raised",
    "Sent",
    "channel",
    "deliveries",
    "end",
    "end_one",
    "latest",
    "open_for",
    "raise_alert",
    "raise_budgets",
    "raise_spend",
    "raise_unpriced",
    "send_due",
]
