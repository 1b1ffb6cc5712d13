"""The ledger: nothing goes upstream without a committed row, and every row is closed exactly once.

`reserve` opens a usage event against the budgets of tenant, key and skill; `heartbeat` renews
its lease; `settle` closes it; `sweep` closes what nobody closed. No other code writes usage.
"""

from usage.ledger.entries import LEASE_SECONDS, Admission, Closing, Purpose, Reservation
from usage.ledger.refusals import refusal
from usage.ledger.verbs import Reserving, drain, heartbeat, reserve, settle, settle_once, sweep

__all__ = [
    "LEASE_SECONDS",
    "Admission",
    "Closing",
    "Purpose",
    "Reservation",
    "Reserving",
    "drain",
    "heartbeat",
    "refusal",
    "reserve",
    "settle",
    "settle_once",
    "sweep",
]
